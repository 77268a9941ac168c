//! Everything at once: processes are killed and frozen, the broker dies, members come and go, and handlers fail.

use crate::child::Child;
use crate::ledger::Ledger;
use crate::service::{PARTITIONS, Places, has_extra, is_poison, key_of};
use crate::support::{PATIENCE, binder, blocking, own, shared, sink, topic};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidings_core::{Binder, Message, Outgoing};
use tidings_kafka::KafkaBinder;

const SECOND: Duration = Duration::from_secs(1);

/// How many messages a run has: few in every run, as many as wanted on demand.
pub(crate) fn messages(usual: u64) -> u64 {
    let given = std::env::var("TIDINGS_ONCE_MESSAGES").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// New topics of one run.
pub(crate) async fn places(binder: &KafkaBinder) -> Places {
    let places = Places {
        orders: topic(binder, "orders", PARTITIONS).await,
        priced: topic(binder, "priced", PARTITIONS).await,
        extras: topic(binder, "extras", PARTITIONS).await,
        group: brokers::unique("pricing"),
    };
    let letters = dead_letters(&places);
    crate::support::prepare(binder, &letters, PARTITIONS).await;
    places
}

fn dead_letters(places: &Places) -> Arc<str> {
    format!("{}.DLT", places.orders).into()
}

/// Publishes numbers at about that rate. Each is acknowledged.
pub(crate) async fn publish(binder: &KafkaBinder, orders: &Arc<str>, count: u64, a_second: u64) {
    let sink = sink(binder);
    let began = Instant::now();
    let mut receipts = Vec::new();
    for number in 0..count {
        let message = Message::new(number.to_string()).with_key(key_of(number));
        receipts.push(sink.publish(Outgoing::new(orders.clone(), message)));
        if number % 100 == 99 {
            let due = began + SECOND.mul_f64((number + 1) as f64 / a_second as f64);
            tokio::time::sleep_until(due.into()).await;
        }
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
}

/// Publishes while something is done to the service, or to the broker, and judges what came out.
async fn under_faults(
    test: &'static str,
    servers: &str,
    count: u64,
    a_second: u64,
    faults: impl FnOnce(&str, &Places, Instant) -> Vec<Child> + Send + 'static,
) {
    let kafka = binder(servers, &[]);
    let places = places(&kafka).await;
    let lasts = SECOND.mul_f64(count as f64 / a_second as f64);
    let (given, address) = (places.clone(), servers.to_owned());
    let faulting = blocking(move || faults(&address, &given, Instant::now() + lasts));
    let (children, ()) = tokio::join!(faulting, publish(&kafka, &places.orders, count, a_second));
    judge(test, servers, &places, count, children).await;
    let _ = kafka.close().await;
}

/// Each input came out once.
async fn judge(test: &'static str, servers: &str, places: &Places, count: u64, children: Vec<Child>) {
    let (servers, places) = (servers.to_owned(), places.clone());
    blocking(move || {
        let letters = dead_letters(&places);
        let topics = [
            (&places.priced, PARTITIONS),
            (&places.extras, PARTITIONS),
            (&letters, PARTITIONS),
        ];
        let mut ledger = Ledger::open(&servers, &topics);
        let priced = || (0..count).filter(|number| !is_poison(*number));
        let extras = || (0..count).filter(|number| has_extra(*number));
        let poison = || (0..count).filter(|number| is_poison(*number));
        ledger.read_until(PATIENCE, |ledger| {
            ledger.has_all(&places.priced, priced())
                && ledger.has_all(&places.extras, extras())
                && ledger.has_all(&letters, poison())
        });
        children.into_iter().for_each(Child::end);
        // What would come late.
        ledger.read_for(SECOND);
        ledger.judge(&format!("{test}: outputs"), &places.priced, priced());
        ledger.judge(
            &format!("{test}: published by handlers"),
            &places.extras,
            extras(),
        );
        ledger.judge(&format!("{test}: dead letters"), &letters, poison());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_are_killed_and_frozen_while_they_share_a_group_leave_each_output_once() {
    let test = "processes_that_are_killed_and_frozen_while_they_share_a_group_leave_each_output_once";
    let Some(servers) = shared(test).await else { return };
    under_faults(test, servers, messages(8_000), 1_000, |servers, places, until| {
        let mut children = vec![
            Child::start(servers, places, Some("till-1")),
            Child::start(servers, places, None),
        ];
        std::thread::sleep(2 * SECOND);
        let mut random = fastrand::Rng::with_seed(7);
        while Instant::now() < until {
            let index = random.usize(..children.len());
            match random.u8(..4) {
                0 => children[index].freeze(3 * SECOND),
                1 if children.len() < 3 => children.push(Child::start(servers, places, None)),
                1 => children.swap_remove(2).end(),
                _ => children[index].die_and_begin_anew(),
            }
            std::thread::sleep(Duration::from_millis(random.u64(500..1_500)));
        }
        children
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_and_comes_back_leaves_each_output_once() {
    let test = "a_broker_that_is_killed_and_comes_back_leaves_each_output_once";
    let Some(own) = own(test).await else { return };
    let (kafka, servers) = (own.kafka.clone(), own.kafka.bootstrap());
    under_faults(
        test,
        &servers,
        messages(6_000),
        750,
        move |servers, places, until| {
            let children = vec![
                Child::start(servers, places, Some("till-1")),
                Child::start(servers, places, Some("till-2")),
            ];
            std::thread::sleep(3 * SECOND);
            while Instant::now() < until {
                kafka.kill(1).unwrap();
                std::thread::sleep(SECOND);
                kafka.start_node(1).unwrap();
                std::thread::sleep(3 * SECOND);
            }
            children
        },
    )
    .await;
}

//! Everything at once: processes are killed and frozen, the broker dies, members come and go, and handlers fail.
//!
//! How many faults there are, and when, goes by how far the service has come, and not by the clock: a machine that is
//! slower takes longer, and that is all.

use crate::child::{Child, Session};
use crate::ledger::{Ledger, state};
use crate::service::{PARTITIONS, Places, has_extra, is_poison, key_of};
use crate::support::{PATIENCE, binder, blocking, own_of, shared, sink, topic};
use brokers::Options;
use std::collections::BTreeSet;
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

/// Publishes numbers at about that rate, and gives those of which nobody knows whether they were published.
#[allow(clippy::print_stdout, reason = "a campaign reports its figures")]
pub(crate) async fn publish(
    binder: &KafkaBinder,
    orders: &Arc<str>,
    count: u64,
    a_second: u64,
) -> BTreeSet<u64> {
    let sink = sink(binder);
    let began = Instant::now();
    let mut receipts = Vec::new();
    for number in 0..count {
        let message = Message::new(number.to_string()).with_key(key_of(number));
        receipts.push((number, sink.publish(Outgoing::new(orders.clone(), message))));
        if number % 100 == 99 {
            let due = began + SECOND.mul_f64((number + 1) as f64 / a_second as f64);
            tokio::time::sleep_until(due.into()).await;
        }
    }
    let mut unsure = BTreeSet::new();
    for (number, receipt) in receipts {
        if let Err(error) = receipt.await {
            assert!(!error.is_permanent(), "{error}");
            println!("{number} may be there or not: {error}");
            unsure.insert(number);
        }
    }
    unsure
}

fn where_all_is(servers: &str, places: &Places) -> String {
    let topics = [(&places.orders, PARTITIONS), (&places.priced, PARTITIONS)];
    state(servers, &topics, &places.group)
}

/// How far the service is.
struct Watch {
    ledger: Ledger,
    servers: String,
    places: Places,
    all: usize,
}

impl Watch {
    fn new(servers: &str, places: &Places, count: u64) -> Self {
        Self {
            ledger: Ledger::open(servers, &[(&places.priced, PARTITIONS)]),
            servers: servers.to_owned(),
            places: places.clone(),
            all: (0..count).filter(|number| !is_poison(*number)).count(),
        }
    }

    /// Waits until there are so many outputs more. False when the end is near: a fault would meet nobody at work.
    fn goes_on(&mut self, more: usize) -> bool {
        let priced = &self.places.priced;
        let wanted = self.ledger.of(priced).len() + more;
        if wanted >= self.all {
            return false;
        }
        let goes_on = self
            .ledger
            .read_until(PATIENCE, |ledger| ledger.of(priced).len() >= wanted);
        let there = self.ledger.of(priced).len();
        assert!(
            goes_on,
            "nothing came for {PATIENCE:?}: {there} of {} are there\n{}",
            self.all,
            where_all_is(&self.servers, &self.places)
        );
        there < self.all
    }
}

/// Publishes while something is done to the service, or to the broker, and judges what came out.
async fn under_faults(
    test: &'static str,
    servers: &str,
    count: u64,
    a_second: u64,
    faults: impl FnOnce(&str, &Places, &mut Watch) -> Vec<Child> + Send + 'static,
) {
    // However long the broker is away.
    let kafka = binder(servers, &[("message.timeout.ms", "900000")]);
    let places = places(&kafka).await;
    let (given, address) = (places.clone(), servers.to_owned());
    let faulting = blocking(move || {
        let mut watch = Watch::new(&address, &given, count);
        faults(&address, &given, &mut watch)
    });
    let (children, unsure) = tokio::join!(faulting, publish(&kafka, &places.orders, count, a_second));
    judge(test, servers, &places, count, unsure, children).await;
    let _ = kafka.close().await;
}

/// Each input came out once.
#[allow(clippy::print_stdout, reason = "why a campaign failed")]
async fn judge(
    test: &'static str,
    servers: &str,
    places: &Places,
    count: u64,
    unsure: BTreeSet<u64>,
    mut children: Vec<Child>,
) {
    let (servers, places) = (servers.to_owned(), places.clone());
    blocking(move || {
        let letters = dead_letters(&places);
        let topics = [
            (&places.priced, PARTITIONS),
            (&places.extras, PARTITIONS),
            (&letters, PARTITIONS),
        ];
        let mut ledger = Ledger::open(&servers, &topics);
        ledger.unsure = unsure;
        let priced = || (0..count).filter(|number| !is_poison(*number));
        let extras = || (0..count).filter(|number| has_extra(*number));
        let poison = || (0..count).filter(|number| is_poison(*number));
        ledger.read_until(PATIENCE, |ledger| {
            ledger.has_all(&places.priced, priced())
                && ledger.has_all(&places.extras, extras())
                && ledger.has_all(&letters, poison())
        });
        if !ledger.has_all(&places.priced, priced()) {
            println!("{}", where_all_is(&servers, &places));
        }
        // They go when it is judged: a failure shows what they said.
        children.iter_mut().for_each(Child::end);
        // What would come late.
        ledger.read_for(SECOND);
        ledger.judge(&format!("{test}: outputs"), &places.priced, priced());
        ledger.judge(
            &format!("{test}: published by handlers"),
            &places.extras,
            extras(),
        );
        ledger.judge(&format!("{test}: dead letters"), &letters, poison());
        drop(children);
    })
    .await;
}

/// How many faults, and how many outputs there are at least between one and the next.
fn rounds(count: u64, each: u64) -> (u64, usize) {
    let rounds = (count / each).max(1);
    let between = count / rounds / 2;
    (rounds, usize::try_from(between).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_are_killed_and_frozen_while_they_share_a_group_leave_each_output_once() {
    let test = "processes_that_are_killed_and_frozen_while_they_share_a_group_leave_each_output_once";
    let Some(servers) = shared(test).await else { return };
    let count = messages(8_000);
    under_faults(test, servers, count, 1_000, move |servers, places, watch| {
        let another = |instance| Child::start(servers, places, instance, Session::Short);
        let mut children = vec![another(Some("till-1")), another(None)];
        let mut random = fastrand::Rng::with_seed(7);
        let (rounds, between) = rounds(count, 1_000);
        for _ in 0..rounds {
            if !watch.goes_on(between) {
                break;
            }
            std::thread::sleep(Duration::from_millis(random.u64(0..500)));
            let index = random.usize(..children.len());
            match random.u8(..4) {
                0 => children[index].freeze(),
                1 if children.len() < 3 => children.push(another(None)),
                1 => children.swap_remove(2).end(),
                _ => children[index].die_and_begin_anew(),
            }
        }
        children
    })
    .await;
}

/// Kills brokers in turn, each for so long.
async fn with_brokers_killed(test: &'static str, options: Options, nodes: u32, away: Duration) {
    let Some(own) = own_of(test, options).await else {
        return;
    };
    let (kafka, servers) = (own.kafka.clone(), own.kafka.bootstrap());
    let count = messages(6_000);
    under_faults(test, &servers, count, 750, move |servers, places, watch| {
        let till = |name| Child::start(servers, places, Some(name), Session::Long);
        let children = vec![till("till-1"), till("till-2")];
        let (rounds, between) = rounds(count, 2_000);
        for node in (1..=nodes).cycle().take(usize::try_from(rounds).unwrap()) {
            if !watch.goes_on(between) {
                break;
            }
            kafka.kill(node).unwrap();
            std::thread::sleep(away);
            kafka.start_node(node).unwrap();
            kafka
                .wait_in_sync(&places.orders, usize::try_from(nodes).unwrap())
                .unwrap();
        }
        children
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_and_comes_back_leaves_each_output_once() {
    let test = "a_broker_that_is_killed_and_comes_back_leaves_each_output_once";
    with_brokers_killed(test, Options::plain(), 1, SECOND).await;
}

/// With each broker its partitions, the group and its transactions move: whoever coordinates them dies sooner or later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_brokers_that_are_killed_in_turn_leave_each_output_once() {
    let test = "three_brokers_that_are_killed_in_turn_leave_each_output_once";
    // The others take over while one is away.
    with_brokers_killed(test, Options::cluster().heap_mb(350), 3, 3 * SECOND).await;
}

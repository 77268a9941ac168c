//! Servers that block, freeze and die.

use crate::support::{PATIENCE, answer, blocking, consume, kept, to, until, until_down, with_queue};
use brokers::{Rabbit, RabbitApi, RabbitOptions, VirtualHost, or_skip};
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tidings_core::{BinderHealth, PublishError, Sink};
use tidings_rabbitmq::{ClientOptions, RabbitSink};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_alarm_and_a_frozen_server_are_lived_through() {
    let test = "a_memory_alarm_and_a_frozen_server_are_lived_through";
    let started = blocking(|| Rabbit::start(RabbitOptions::plain())).await;
    let Some(rabbit) = or_skip(test, started).map(Arc::new) else {
        return;
    };
    rabbit
        .api()
        .put("queues/%2F/orders", &json!({ "durable": true }))
        .expect("a queue");
    while_the_server_takes_nothing_messages_wait(&rabbit).await;
    a_confirmation_that_does_not_come_is_a_new_try(&rabbit).await;
    closing_does_not_wait_for_a_frozen_server(&rabbit).await;
}

fn open(rabbit: &Rabbit, change: impl FnOnce(ClientOptions) -> ClientOptions) -> RabbitSink {
    let options = ClientOptions::from_url(&rabbit.url()).expect("an address");
    with_queue(RabbitSink::open(change(options)).expect("a sink"), "orders")
}

async fn while_the_server_takes_nothing_messages_wait(rabbit: &Arc<Rabbit>) {
    // Shorter than the alarm: what waits because of it is not late.
    let sink = open(rabbit, |options| {
        options.with_confirm_timeout(Duration::from_secs(1))
    });
    kept(&sink, to("orders", "before")).await;
    let server = rabbit.clone();
    blocking(move || server.raise_memory_alarm(1))
        .await
        .expect("an alarm");
    let receipts: Vec<_> = (0..2000)
        .map(|number| sink.publish(to("orders", number.to_string())))
        .collect();
    until_down(&sink, &["takes no messages", "memory"]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    until_down(&sink, &["takes no messages"]).await;
    let server = rabbit.clone();
    blocking(move || server.clear_memory_alarm(1))
        .await
        .expect("no alarm");
    for receipt in receipts {
        answer(receipt).await.expect("it is kept");
    }
    assert_eq!(sink.health(), BinderHealth::Up);
    sink.close().await.expect("closed");
    // Closing while it takes nothing: no farewell gets through.
    let sink = open(rabbit, |options| {
        options.with_close_timeout(Duration::from_millis(500))
    });
    kept(&sink, to("orders", "before")).await;
    let server = rabbit.clone();
    blocking(move || server.raise_memory_alarm(1))
        .await
        .expect("an alarm");
    let receipt = sink.publish(to("orders", "x"));
    until_down(&sink, &["takes no messages"]).await;
    closes_in_time(&sink).await;
    assert!(answer(receipt).await.is_err());
    let server = rabbit.clone();
    blocking(move || server.clear_memory_alarm(1))
        .await
        .expect("no alarm");
}

async fn a_confirmation_that_does_not_come_is_a_new_try(rabbit: &Rabbit) {
    let sink = open(rabbit, |options| {
        options
            .with_confirm_timeout(Duration::from_millis(300))
            .with_message_timeout(Duration::from_secs(2))
            .with_connect_timeout(Duration::from_millis(500))
    });
    kept(&sink, to("orders", "before")).await;
    rabbit.freeze(1).expect("frozen");
    let receipt = sink.publish(to("orders", "frozen"));
    let error = answer(receipt).await.expect_err("nobody answers");
    assert!(
        matches!(error, PublishError::Timeout { after, .. } if after.as_secs() == 2),
        "{error}"
    );
    let never_sent = answer(sink.publish(to("orders", "never")))
        .await
        .expect_err("nobody answers");
    assert!(
        matches!(never_sent, PublishError::Unavailable { .. }),
        "{never_sent}"
    );
    rabbit.thaw(1).expect("thawed");
    until("it is back", || sink.health() == BinderHealth::Up).await;
    kept(&sink, to("orders", "after")).await;
    sink.close().await.expect("closed");
}

async fn closing_does_not_wait_for_a_frozen_server(rabbit: &Rabbit) {
    let sink = open(rabbit, |options| {
        options.with_close_timeout(Duration::from_millis(500))
    });
    kept(&sink, to("orders", "before")).await;
    rabbit.freeze(1).expect("frozen");
    let receipts: Vec<_> = (0..100)
        .map(|number| sink.publish(to("orders", number.to_string())))
        .collect();
    closes_in_time(&sink).await;
    for receipt in receipts {
        let error = answer(receipt).await.expect_err("nobody answers");
        assert!(!error.is_permanent(), "{error}");
    }
    rabbit.thaw(1).expect("thawed");
}

async fn closes_in_time(sink: &RabbitSink) {
    let began = Instant::now();
    assert!(sink.close().await.is_err(), "something is undecided");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(6), "closing took {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_under_load_costs_no_confirmed_message() {
    let test = "a_node_that_is_killed_under_load_costs_no_confirmed_message";
    let started = blocking(|| Rabbit::start(RabbitOptions::cluster())).await;
    let Some(rabbit) = or_skip(test, started).map(Arc::new) else {
        return;
    };
    let ours = quorum_queue(&rabbit).await;
    let sink = Arc::new(at_the_leader(&ours));
    kept(&*sink, to("orders", "first")).await;
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let publishing = tokio::spawn(publish_until(sink.clone(), stop.clone(), count.clone()));
    for _ in 0..2 {
        more(&sink, &count).await;
        let node = leader(&ours);
        let server = rabbit.clone();
        blocking(move || server.kill(node)).await.expect("killed");
        more(&sink, &count).await;
        let server = rabbit.clone();
        blocking(move || server.start_node(node)).await.expect("started");
    }
    stop.store(true, Ordering::Relaxed);
    let (confirmed, refused) = publishing.await.expect("it publishes");
    assert!(
        confirmed.len() > 1000,
        "{} confirmed, {refused} refused",
        confirmed.len()
    );
    let found = read_all(&ours, &sink, confirmed.len()).await;
    let lost = confirmed.iter().filter(|number| !found.contains(*number)).count();
    assert_eq!(lost, 0, "of {} confirmed", confirmed.len());
}

async fn quorum_queue(rabbit: &Rabbit) -> VirtualHost {
    let ours = rabbit.virtual_host("load").expect("a virtual host");
    let arguments = json!({ "x-queue-type": "quorum", "x-quorum-initial-group-size": 3 });
    ours.declare("orders", &arguments).expect("a queue");
    until("all nodes take part", || {
        let queue = ours.queue("orders").ok().flatten();
        queue.is_some_and(|queue| queue.online.len() == 3 && queue.leader.is_some())
    })
    .await;
    ours
}

fn leader(ours: &VirtualHost) -> u32 {
    let queue = ours.queue("orders").ok().flatten();
    queue.and_then(|queue| queue.leader).unwrap_or(1)
}

/// A sink whose first connection leads to the node that leads the queue: when that is killed, the next channel is opened
/// while there is no leader.
fn at_the_leader(ours: &VirtualHost) -> RabbitSink {
    let urls = ours.urls();
    let hosts = urls
        .iter()
        .filter_map(|url| url.rsplit_once('@')?.1.split('/').next());
    let hosts: Vec<_> = hosts.collect();
    let name = RabbitApi::segment(ours.name());
    let url = format!("amqp://guest:guest@{}/{name}", hosts.join(","));
    let wanted = leader(ours) as usize - 1;
    // Which host is first is left to chance, and chance to this thread.
    let seed = (0..).find(|seed| {
        fastrand::seed(*seed);
        fastrand::usize(..hosts.len()) == wanted
    });
    fastrand::seed(seed.unwrap_or_default());
    let options = ClientOptions::from_url(&url).expect("an address");
    with_queue(RabbitSink::open(options).expect("a sink"), "orders")
}

/// Waits until some more are confirmed.
async fn more(sink: &RabbitSink, count: &AtomicUsize) {
    let before = count.load(Ordering::Relaxed);
    let end = Instant::now() + PATIENCE;
    while count.load(Ordering::Relaxed) <= before + 2000 {
        assert!(
            Instant::now() < end,
            "nothing more is confirmed after {before}: {sink:?}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Publishes up to 500 at a time; the numbers that were confirmed, and how many were not.
async fn publish_until(
    sink: Arc<RabbitSink>,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
) -> (Vec<String>, usize) {
    let (mut confirmed, mut refused, mut number) = (Vec::new(), 0, 0_u64);
    while !stop.load(Ordering::Relaxed) {
        let some: Vec<_> = (0..500)
            .map(|_| {
                number += 1;
                (number.to_string(), sink.publish(to("orders", number.to_string())))
            })
            .collect();
        for (number, receipt) in some {
            match answer(receipt).await {
                Ok(_) => {
                    confirmed.push(number);
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) => refused += 1,
            }
        }
        // Enough to be hit by a kill at any time, and not so much that reading it takes minutes.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (confirmed, refused)
}

/// What the queue holds. Some of it may be there twice.
async fn read_all(ours: &VirtualHost, sink: &RabbitSink, at_least: usize) -> HashSet<String> {
    // Whatever was published has reached the queue before the last one.
    kept(sink, to("orders", "end")).await;
    let ready = || {
        ours.queue("orders")
            .ok()
            .flatten()
            .and_then(|queue| queue.ready)
            .unwrap_or(0)
    };
    until("the queue tells of all", || ready() > at_least as u64).await;
    let count = usize::try_from(ready()).unwrap_or(0);
    let all = consume(&ours.url(), "orders", count).await;
    all.iter()
        .map(|payload| String::from_utf8_lossy(payload).into_owned())
        .collect()
}

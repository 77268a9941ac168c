//! One promise of exactly-once at a time.

use super::broker::TxBroker;
use super::world::*;
use crate::world::{How, message, quiet_retry};
use std::time::Duration;
use tidings_core::*;
use tidings_runtime::*;
use tokio::time::{Instant, sleep};

fn send(broker: &TxBroker, ids: std::ops::Range<u64>) {
    ids.for_each(|id| put(broker, 0, id, "k"));
}

fn seen(broker: &TxBroker) -> usize {
    broker.committed("outputs").len()
}

fn commits(broker: &TxBroker) -> u64 {
    broker.lock().commits
}

fn aborts(broker: &TxBroker) -> u64 {
    broker.lock().aborts
}

fn timeouts(broker: &TxBroker) -> u64 {
    broker.lock().timeouts
}

fn put(broker: &TxBroker, partition: u32, id: u64, key: &str) {
    broker.put("orders", partition, message(id, Some(key)));
}

fn quick(subscription: Subscription<()>) -> Subscription<()> {
    subscription
        .commit(Duration::from_millis(100), 10_000)
        .retry(quiet_retry(3, Duration::from_millis(10)))
}

#[tokio::test(start_paused = true)]
async fn outputs_and_progress_are_seen_together() {
    let (world, broker) = (World::default(), TxBroker::new(1));
    send(&broker, 0..5);
    let handle = start(spec(&broker, quick(world.returning())));
    sleep(Duration::from_millis(50)).await;
    assert_eq!(
        (broker.count("outputs"), seen(&broker)),
        (5, 0),
        "published, and not seen"
    );
    assert_eq!(broker.stored("orders", 0).watermark, 0);
    assert!(!handle.status().idle, "what is not committed is not done");
    sleep(Duration::from_millis(100)).await;
    assert_eq!((seen(&broker), broker.stored("orders", 0).watermark), (5, 5));
    sleep(Duration::from_secs(60)).await;
    assert!(handle.status().idle);
    assert_eq!(commits(&broker), 1, "with nothing to do nothing is committed");
}

#[tokio::test(start_paused = true)]
async fn a_span_ends_after_so_many_messages() {
    let (world, broker) = (World::default(), TxBroker::new(1));
    send(&broker, 0..20);
    let subscription = world.returning().commit(Duration::from_secs(3_600), 5);
    let _handle = start(spec(&broker, subscription));
    sleep(Duration::from_secs(1)).await;
    assert_eq!((commits(&broker), seen(&broker)), (4, 20));
}

/// A transaction whose commit takes as long as everything in it costs half of the throughput.
#[tokio::test(start_paused = true)]
async fn a_span_is_longer_where_commits_take_long() {
    let (world, broker) = (World::default(), TxBroker::new(1));
    broker.edit(|state| state.commit_takes = Some(Duration::from_millis(50)));
    let _handle = start(spec(&broker, quick(world.returning())));
    for id in 0..500 {
        put(&broker, 0, id, "k");
        sleep(Duration::from_millis(10)).await;
    }
    // 34 spans of 100 ms and 50 ms for their commit without it; 6 of 900 ms with it.
    let commits = commits(&broker);
    assert!((4..10).contains(&commits), "{commits}");
}

/// Nothing starts while what runs comes to its end, so that counts like the commit itself.
#[tokio::test(start_paused = true)]
async fn a_span_is_longer_where_what_runs_takes_long_to_end() {
    let (world, broker) = (World::default(), TxBroker::new(1));
    for id in 0..100 {
        let slow = Deed {
            takes: Duration::from_millis(70),
            ..Deed::default()
        };
        world.plan(id, slow);
    }
    send(&broker, 0..100);
    let handle = start(spec(&broker, quick(world.returning())));
    finished(&broker, &handle).await;
    // 50 spans of 100 ms that wait 40 ms for their last message without it.
    let commits = commits(&broker);
    assert!((8..16).contains(&commits), "{commits}");
}

#[tokio::test(start_paused = true)]
async fn a_commit_waits_for_what_runs_and_starts_nothing_meanwhile() {
    let (world, broker) = (World::default(), TxBroker::new(1));
    let slow = Deed {
        takes: Duration::from_secs(5),
        ..Deed::default()
    };
    world.plan(0, slow);
    put(&broker, 0, 0, "slow");
    put(&broker, 0, 1, "quick");
    let subscription = quick(world.returning()).concurrency(2);
    let _handle = start(spec(&broker, subscription));
    sleep(Duration::from_secs(1)).await;
    put(&broker, 0, 2, "later");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(
        (world.running(), world.deliveries(1), world.deliveries(2)),
        (1, 1, 0)
    );
    assert_eq!((commits(&broker), seen(&broker)), (0, 0));
    // The next span is longer, but not longer than ten intervals.
    sleep(Duration::from_millis(2_100)).await;
    assert_eq!((commits(&broker), seen(&broker)), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_handling_that_publishes_and_fails_has_no_effects_and_its_attempts_count() {
    let (world, broker) = (World::default(), TxBroker::new(1));
    let hopeless = Deed {
        fails: 100,
        publishes: 2,
        even_if_it_fails: true,
        ..Deed::default()
    };
    world.plan(1, hopeless);
    send(&broker, 0..4);
    let subscription = world
        .publishing()
        .retry(quiet_retry(3, Duration::from_millis(500)));
    let handle = start(spec(&broker, subscription));
    let began = Instant::now();
    finished(&broker, &handle).await;
    assert_eq!(
        world.deliveries(1),
        3,
        "as often as the policy says, whatever was given up"
    );
    assert!(
        began.elapsed() >= Duration::from_millis(900),
        "with the waits between them"
    );
    assert_eq!(
        counts(&broker.committed("orders.DLT")),
        [("1".to_owned(), 1)].into()
    );
    let once = ["0", "2", "3"].map(|id| (id.to_owned(), 1));
    assert_eq!(counts(&broker.committed("outputs")), once.into());
    assert!(aborts(&broker) >= 3);
    assert_eq!(handle.status().obstacle, None, "that is no trouble");
}

#[tokio::test(start_paused = true)]
async fn a_handling_that_fails_without_having_published_gives_nothing_up() {
    let (world, broker) = (World::default(), TxBroker::new(1));
    let once = Deed {
        fails: 1,
        publishes: 1,
        ..Deed::default()
    };
    world.plan(1, once);
    send(&broker, 0..4);
    let handle = start(spec(&broker, quick(world.publishing())));
    finished(&broker, &handle).await;
    assert_eq!((aborts(&broker), seen(&broker)), (0, 5));
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_leaves_behind_publishes_into_no_other_transaction() {
    let (world, broker) = (World::default(), TxBroker::new(1));
    let leaves = Deed {
        leaves: Some(Duration::from_millis(250)),
        ..Deed::default()
    };
    world.plan(0, leaves);
    send(&broker, 0..1);
    let handle = start(spec(&broker, quick(world.publishing())));
    sleep(Duration::from_millis(200)).await;
    send(&broker, 1..2);
    finished(&broker, &handle).await;
    assert_eq!((world.refused(), seen(&broker)), (1, 2));
}

/// Publishes, and does not say so.
struct Sly(Publisher);

impl<S> FromDelivery<S> for Sly {
    fn from_delivery(delivery: &Delivery, _: &S) -> Result<Self, Failure> {
        Ok(Self(delivery.context().publisher.clone()))
    }
}

#[tokio::test(start_paused = true)]
async fn an_extractor_that_does_not_say_that_it_publishes_is_told_so() {
    let broker = TxBroker::new(1);
    send(&broker, 0..1);
    let handler = |Sly(publisher): Sly| async move {
        publisher
            .send("outputs", Message::new("x"))
            .await
            .permanent()
            .map(drop)
    };
    let handle = start(spec(&broker, on("orders", handler).exactly_once()));
    finished(&broker, &handle).await;
    let letters = broker.committed("orders.DLT");
    let said = letters[0].headers().get_str(names::ERROR).unwrap();
    assert!(said.contains("take `Publisher` as an argument"), "{said}");
    assert_eq!(broker.count("outputs") + broker.count("outside.outputs"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_handler_in_a_transaction_begins_no_other() {
    let broker = TxBroker::new(1);
    let (sender, mut said) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |publisher: Publisher| {
        let sender = sender.clone();
        async move {
            let nested = publisher.transaction("outputs", async |_| Ok::<_, PublishError>(()));
            drop(sender.send(nested.await));
        }
    };
    send(&broker, 0..1);
    let _handle = start(spec(&broker, quick(on("orders", handler).exactly_once())));
    let nested = said.recv().await.unwrap();
    assert!(
        matches!(nested, Err(PublishError::NoTransaction { .. })),
        "{nested:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_handling_that_takes_half_of_the_brokers_limit_fails_before_the_transaction_does() {
    let (world, broker) = (World::default(), TxBroker::new(1));
    broker.edit(|state| state.timeout = Duration::from_secs(10));
    let stuck = Deed {
        fails: 100,
        how: How::Stuck,
        ..Deed::default()
    };
    world.plan(0, stuck);
    send(&broker, 0..3);
    let subscription = quick(world.returning()).timeout(Duration::from_secs(3_600));
    let handle = start(spec(&broker, subscription));
    finished(&broker, &handle).await;
    assert_eq!((timeouts(&broker), aborts(&broker)), (0, 0));
    assert_eq!(
        counts(&broker.committed("orders.DLT")),
        [("0".to_owned(), 1)].into()
    );
    let letters = broker.committed("orders.DLT");
    let said = letters[0].headers().get_str(names::ERROR).unwrap();
    assert!(said.contains("5s"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn an_output_that_is_refused_for_good_makes_a_dead_letter_and_no_partial_effects() {
    let (world, broker) = (World::default(), TxBroker::new(1));
    broker.edit(|state| state.forbidden.push("outputs".to_owned()));
    send(&broker, 0..3);
    let handle = start(spec(&broker, quick(world.returning())));
    finished(&broker, &handle).await;
    let once = ["0", "1", "2"].map(|id| (id.to_owned(), 1));
    assert_eq!(counts(&broker.committed("orders.DLT")), once.into());
    let deliveries = [0, 1, 2].map(|id| world.deliveries(id));
    assert_eq!(deliveries, [1; 3], "none is handled again to find out the same");
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_is_said_and_everything_is_handled_again() {
    let (world, broker) = (World::default(), TxBroker::new(1));
    broker.edit(|state| state.faults.commit_refused = 1_000);
    send(&broker, 0..3);
    let handle = start(spec(&broker, quick(world.returning())));
    sleep(Duration::from_secs(2)).await;
    let said = handle.status().obstacle.unwrap();
    assert!(said.contains("a transaction was given up"), "{said}");
    assert_eq!(seen(&broker), 0);
    let tries = aborts(&broker);
    assert!((2..10).contains(&tries), "with a rest in between: {tries}");
    broker.edit(|state| state.faults.commit_refused = 0);
    finished(&broker, &handle).await;
    assert_eq!((handle.status().obstacle, seen(&broker)), (None, 3));
}

#[tokio::test(start_paused = true)]
async fn a_drain_commits_what_is_done() {
    let (world, broker) = (World::default(), TxBroker::new(1));
    send(&broker, 0..5);
    let subscription = world.returning().commit(Duration::from_secs(3_600), 10_000);
    let handle = start(spec(&broker, subscription));
    sleep(Duration::from_millis(50)).await;
    assert_eq!(seen(&broker), 0);
    let report = handle.drain(Instant::now() + Duration::from_secs(5)).await;
    assert!(report.finished_in_time);
    assert_eq!((seen(&broker), broker.stored("orders", 0).watermark), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_must_stop_a_handler_gives_its_transaction_up() {
    let (world, broker) = (World::default(), TxBroker::new(1));
    let slow = Deed {
        takes: Duration::from_secs(20),
        publishes: 1,
        ..Deed::default()
    };
    world.plan(1, slow);
    send(&broker, 0..2);
    let handle = start(spec(&broker, world.publishing()));
    sleep(Duration::from_millis(50)).await;
    let report = handle.drain(Instant::now() + Duration::from_secs(5)).await;
    assert_eq!((report.finished_in_time, report.abandoned), (false, 1));
    assert_eq!((seen(&broker), broker.stored("orders", 0).watermark), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_waits_is_parked_when_a_transaction_cannot_keep_what_is_done_above_it() {
    let (world, broker) = (World::default(), TxBroker::new(1));
    broker.edit(|state| state.ranges = 0);
    let once = Deed {
        fails: 1,
        ..Deed::default()
    };
    world.plan(0, once);
    (0..4).for_each(|id| put(&broker, 0, id, &id.to_string()));
    let retry = quiet_retry(3, Duration::from_secs(20)).durable_after(Duration::from_secs(60));
    let subscription = world.returning().concurrency(4).retry(retry);
    let handle = start(spec(&broker, subscription));
    sleep(Duration::from_secs(1)).await;
    assert_eq!((seen(&broker), broker.stored("orders", 0).watermark), (3, 4));
    assert_eq!(broker.committed("orders.g.retry").len(), 1);
    finished(&broker, &handle).await;
    assert_eq!((seen(&broker), world.deliveries(0)), (4, 2));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_waits_stays_in_memory_while_a_transaction_keeps_what_is_done_above_it() {
    let (world, broker) = (World::default(), TxBroker::new(1));
    let once = Deed {
        fails: 1,
        ..Deed::default()
    };
    world.plan(0, once);
    (0..4).for_each(|id| put(&broker, 0, id, &id.to_string()));
    let retry = quiet_retry(3, Duration::from_secs(20)).durable_after(Duration::from_secs(60));
    let subscription = world.returning().concurrency(4).retry(retry);
    let handle = start(spec(&broker, subscription));
    sleep(Duration::from_secs(1)).await;
    let stored = broker.stored("orders", 0);
    assert_eq!((seen(&broker), stored.watermark), (3, 0));
    assert_eq!(
        (stored.finished.len(), stored.finished.first().cloned()),
        (1, Some(1..4))
    );
    finished(&broker, &handle).await;
    assert_eq!((seen(&broker), broker.count("orders.g.retry")), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn a_revoked_lane_is_committed_before_it_leaves_and_the_others_go_on() {
    let (world, broker) = (World::default(), TxBroker::new(2));
    (0..4).for_each(|id| put(&broker, (id % 2) as u32, id, "k"));
    let subscription = world.returning().commit(Duration::from_secs(3_600), 10_000);
    let handle = start(spec(&broker, subscription));
    sleep(Duration::from_millis(20)).await;
    broker.edit(|state| state.revoke.push((vec![0, 1], Duration::from_secs(5))));
    sleep(Duration::from_millis(20)).await;
    assert_eq!(seen(&broker), 4, "one transaction spans both");
    assert_eq!((commits(&broker), aborts(&broker)), (1, 0));
    drop(handle);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_gives_no_transaction_is_refused_with_a_cure() {
    let broker = crate::broker::Broker::new(1);
    let subscription = on("orders", async |_: Raw| {}).exactly_once();
    let handle = start(crate::world::spec(&broker, subscription, 1));
    handle.stopped().await;
    let status = handle.status();
    assert_eq!(status.phase, Phase::Failed);
    assert!(status.obstacle.unwrap().contains("exactly_once"));
}

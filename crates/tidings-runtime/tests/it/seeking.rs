//! A running subscription that goes on elsewhere, met by everything that can come in between.

use crate::broker::Broker;
use crate::world::*;
use std::time::Duration;
use tidings_core::*;
use tidings_runtime::*;
use tokio::time::{Instant, sleep};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(offset: u64) -> Vec<Position> {
    vec![Position::new("orders", 0, offset)]
}

fn takes(time: Duration) -> Script {
    Script {
        takes: time,
        ..Script::default()
    }
}

#[tokio::test(start_paused = true)]
async fn what_ends_in_the_retry_lane_while_its_partition_goes_elsewhere_is_not_handled_again() {
    let (world, broker) = (World::default(), Broker::new(1));
    broker.put("orders", 0, message(0, Some("a")));
    world.script(
        0,
        Script {
            takes: secs(3),
            fails: 1,
            how: How::Transient,
        },
    );
    let waits = quiet_retry(3, secs(60)).durable_after(Duration::ZERO);
    let handle = start(spec(&broker, world.subscription().concurrency(4).retry(waits), 1));
    while world.handlings().len() < 2 {
        sleep(secs(1)).await;
    }
    // It is being handled in the retry lane.
    assert_eq!(handle.seek(at(1)).await, at(1));
    finished(&broker, &handle).await;
    broker.put("orders", 0, message(1, Some("a")));
    finished(&broker, &handle).await;
    let handled: Vec<_> = world.handlings().iter().map(|one| (one.id, one.ok)).collect();
    assert_eq!(handled, [(0, false), (0, true), (1, true)]);
    assert_eq!(broker.stored("orders.g.retry", 0).watermark, 1);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_seek_that_is_over_stops_nothing_any_more() {
    let (world, broker) = (World::default(), Broker::new(1));
    let handle = start(spec(&broker, world.subscription(), 1));
    broker.put("orders", 0, message(0, None));
    finished(&broker, &handle).await;
    // It has 10 s and needs none.
    assert_eq!(handle.seek(at(1)).await, at(1));
    sleep(secs(5)).await;
    world.script(1, takes(secs(20)));
    broker.put("orders", 0, message(1, None));
    sleep(secs(1)).await;
    let report = handle.drain(Instant::now() + secs(60)).await;
    let last = world.handlings().pop().unwrap();
    assert!(last.ok, "it had a minute: {last:?}");
    assert_eq!((report.finished_in_time, report.abandoned), (true, 0));
    assert_eq!(broker.stored("orders", 0).watermark, 2);
}

#[tokio::test(start_paused = true)]
async fn a_later_seek_gives_what_runs_its_whole_time() {
    let (world, broker) = (World::default(), Broker::new(1));
    let handle = start(spec(&broker, world.subscription(), 1));
    broker.put("orders", 0, message(0, None));
    finished(&broker, &handle).await;
    handle.seek(at(1)).await;
    world.script(1, takes(secs(12)));
    broker.put("orders", 0, message(1, None));
    sleep(secs(5)).await;
    handle.seek(at(2)).await;
    let last = world.handlings().pop().unwrap();
    assert!(last.ok, "it needed 7 of 10 s: {last:?}");
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_taken_away_before_it_went_elsewhere_is_not_said_to_have_moved() {
    for lost in [false, true] {
        let (world, broker) = (World::default(), Broker::new(1));
        world.script(0, takes(secs(5)));
        for id in 0..3 {
            broker.put("orders", 0, message(id, None));
        }
        let handle = start(spec(&broker, world.subscription(), 1));
        sleep(secs(1)).await;
        let seeking = handle.clone();
        let seeking = tokio::spawn(async move { seeking.seek(at(3)).await });
        sleep(secs(1)).await;
        match lost {
            true => broker.lose(&[0, 1]),
            false => broker.revoke(&[0, 1], secs(8)),
        }
        let moved = seeking.await.unwrap();
        finished(&broker, &handle).await;
        assert_eq!(world.succeeded(), [0, 1, 2], "it has not moved");
        assert_eq!(moved, [], "lost: {lost}");
    }
}

#[tokio::test(start_paused = true)]
async fn times_beyond_all_clocks_are_no_reason_to_panic() {
    let longest = Duration::MAX;
    let (world, broker) = (World::default(), Broker::new(1));
    world.script(0, takes(secs(1)));
    for id in 0..3 {
        broker.put("orders", 0, message(id, None));
    }
    let subscription = world.subscription().timeout(longest).stuck_after(longest);
    let mut given = spec(&broker, subscription.commit(longest, 1), 1);
    given.revoke_timeout = longest;
    given.policy.alone.wait = longest;
    given.policy.alone.time = longest;
    given.policy.alone.time_max = longest;
    broker.mark_on(&MarkBoard::without_memory());
    broker.died(
        "orders",
        0,
        [Deaths {
            executing: 2,
            ..Deaths::of(1)
        }],
    );
    let handle = start(given);
    sleep(secs(5)).await;
    assert_eq!(handle.seek(at(3)).await, at(3));
    finished(&broker, &handle).await;
    assert_eq!(world.succeeded(), [0, 1, 2]);
    let batches = World::default();
    let subscription = batches.batch_subscription().batch(2, longest);
    let other = Broker::new(1);
    for id in 0..4 {
        other.put("orders", 0, message(id, None));
    }
    let handle = start(spec(&other, subscription, 1));
    finished(&other, &handle).await;
}

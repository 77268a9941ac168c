//! Long waits: in the group's retry lane, over restarts, with the order of a key.

use crate::apps::{retry, until};
use crate::faulty::{Faults, PublishFault};
use crate::features::Feature;
use crate::stage::{Stage, Verdict};
use crate::world::{How, Script, World, message};
use std::time::Duration;
use tidings::{LaneRole, RetryOrder, Subscription, Timestamp};
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// Almost every wait is durable.
fn patient(world: &World, attempts: u32, wait: Duration) -> Subscription<()> {
    let retry = retry(attempts, wait).durable_after(Duration::from_millis(100));
    world.subscription().concurrency(4).retry(retry)
}

pub(crate) async fn a_long_wait_holds_its_key_and_nothing_else(stage: Stage) -> Verdict {
    stage.needs(&[Feature::WaitsInPlace, Feature::StoredPositions])?;
    let (broker, world) = (stage.open().await, World::default());
    world.script(0, Script::fails(1, How::Transient));
    let running = stage.run(&broker, patient(&world, 3, stage.minutes(10))).await;
    let (begun, before) = (Instant::now(), stage.clock.now());
    let long_ago = Timestamp::from_millis(12_345);
    let waiting = message(0, Some("waiting")).with_timestamp(long_ago);
    let first = running.send("orders", waiting).await;
    for id in 1..6 {
        running.order(id, "waiting").await;
        running.order(100 + id, &format!("free {id}")).await;
    }
    tokio::time::sleep(stage.minutes(5)).await;
    let mut succeeded = world.succeeded();
    succeeded.sort_unstable();
    assert_eq!(succeeded, [101, 102, 103, 104, 105]);
    assert_eq!(running.status("billing").parked, 1);
    let stored = broker.stored("orders", "billing").await[first.partition() as usize];
    assert!(
        stored > Some(first.offset()),
        "it has left its partition: {stored:?}"
    );
    let waiting = broker
        .read("orders.billing.retry", first.partition(), 0, 1 << 20)
        .await
        .expect("it can be read");
    let parked = waiting.records().first().expect("it waits there").timestamp;
    assert!(
        parked >= before,
        "brokers delete by it, and {parked:?} is long ago: {before:?}"
    );
    running.settled().await;
    world.keys_kept_their_order();
    let times = world.times(0, begun);
    assert!(
        times[1] >= stage.minutes(10)
            && times[1] < stage.minutes(10) + Duration::from_secs(1) + stage.slack(),
        "{times:?}"
    );
    let again = world.of(0).remove(1);
    assert_eq!(
        (again.role, again.position),
        (LaneRole::Retry, first),
        "it says where it was published"
    );
    Ok(())
}

pub(crate) async fn a_long_wait_outlives_its_process_with_the_order_of_its_key(stage: Stage) -> Verdict {
    stage.needs(&[Feature::WaitsInPlace, Feature::StoredPositions])?;
    let (broker, world) = (stage.open().await, World::default());
    world.script(0, Script::fails(1, How::Transient));
    let begun = Instant::now();
    let mut running = stage.run(&broker, patient(&world, 3, stage.minutes(10))).await;
    for id in 0..4 {
        running.order(id, "a").await;
    }
    running.order(100, "b").await;
    for minute in 1..=3 {
        tokio::time::sleep(stage.minutes(1)).await;
        running.kill().await;
        running = stage.run(&broker, patient(&world, 3, stage.minutes(10))).await;
        running.order(3 + minute, "a").await;
    }
    running.settled().await;
    world.keys_kept_their_order();
    assert_eq!(world.succeeded().len(), 8);
    assert_eq!(world.attempts(0), [1, 2], "the attempt of before counts");
    let times = world.times(0, begun);
    assert!(
        times[1] >= stage.minutes(10) && times[1] < stage.minutes(11) + 4 * stage.slack(),
        "nor does the wait begin anew: {times:?}"
    );
    Ok(())
}

pub(crate) async fn attempts_are_not_counted_from_the_start_again_after_a_crash(stage: Stage) -> Verdict {
    stage.needs(&[Feature::WaitsInPlace, Feature::StoredPositions])?;
    let (broker, world) = (stage.open().await, World::default());
    world.script(0, Script::always(How::Transient));
    let mut running = stage.run(&broker, patient(&world, 6, stage.minutes(2))).await;
    running.order(0, "a").await;
    while world.of(0).len() < 5 {
        let before = world.of(0).len();
        until("another attempt", || world.of(0).len() > before).await;
        // Long enough for the count to be stored, and then it dies.
        tokio::time::sleep(Duration::from_secs(2)).await;
        running.kill().await;
        running = stage.run(&broker, patient(&world, 6, stage.minutes(2))).await;
    }
    running.settled().await;
    assert_eq!(world.attempts(0), [1, 2, 3, 4, 5, 6]);
    assert_eq!(running.dead().await, ["0"]);
    Ok(())
}

pub(crate) async fn a_wait_of_a_relaxed_order_is_overtaken(stage: Stage) -> Verdict {
    stage.needs(&[Feature::RetryLane])?;
    let (broker, world) = (stage.open().await, World::default());
    world.script(0, Script::fails(1, How::Transient));
    let subscription = patient(&world, 3, stage.minutes(10)).retry_order(RetryOrder::Relaxed);
    let running = stage.run(&broker, subscription).await;
    for id in 0..4 {
        running.order(id, "a").await;
    }
    running.settled().await;
    assert_eq!(world.succeeded(), [1, 2, 3, 0]);
    world.keys_never_overlapped();
    Ok(())
}

pub(crate) async fn many_behind_a_waiting_key_neither_fill_memory_nor_lose_their_order(
    stage: Stage,
) -> Verdict {
    stage.needs(&[Feature::WaitsInPlace])?;
    let (broker, world) = (stage.open().await, World::default());
    world.script(0, Script::fails(2, How::Transient));
    let running = stage
        .run(&broker, patient(&world, 5, stage.minutes(20)).max_in_flight(20))
        .await;
    for id in 0..150 {
        running.order(id, "waiting").await;
    }
    for id in 1_000..1_050 {
        running.order(id, &format!("free {id}")).await;
    }
    tokio::time::sleep(stage.minutes(5)).await;
    assert_eq!(
        world.succeeded().len(),
        50,
        "other keys of its partition pass all of them"
    );
    running.settled().await;
    assert_eq!(world.succeeded().len(), 200);
    world.keys_kept_their_order();
    let attempts: Vec<_> = (1..150).map(|id| world.attempts(id)).collect();
    assert!(
        attempts.iter().all(|all| *all == [1]),
        "those behind it were tried once: {attempts:?}"
    );
    Ok(())
}

pub(crate) async fn a_full_parking_lot_pauses_the_partition_and_loses_nothing(stage: Stage) -> Verdict {
    stage.needs(&[Feature::WaitsInPlace])?;
    let (broker, world) = (stage.open().await, World::default());
    for id in 0..100 {
        world.script(id, Script::fails(1, How::Transient));
    }
    let subscription = patient(&world, 3, stage.minutes(5))
        .max_parked(10)
        .max_in_flight(20);
    let running = stage.run(&broker, subscription).await;
    for id in 0..100 {
        running.order(id, &format!("key {}", id % 30)).await;
    }
    tokio::time::sleep(stage.minutes(1)).await;
    let parked: u64 = broker.size("orders.billing.retry").await;
    assert!(
        parked <= 2 * (10 + 4),
        "as many as may wait in each partition: {parked}"
    );
    running.settled().await;
    assert_eq!(world.succeeded().len(), 100);
    world.keys_kept_their_order();
    Ok(())
}

pub(crate) async fn without_a_group_long_waits_stay_in_memory(stage: Stage) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    world.script(0, Script::fails(2, How::Transient));
    let handler = {
        let world = world.clone();
        move |delivery: tidings::Delivery| world.clone().handle(delivery)
    };
    let anonymous = tidings::on("orders", handler)
        .retry(retry(3, stage.minutes(4)))
        .name("anonymous");
    let running = stage.run(&broker, anonymous).await;
    running.send("orders", message(0, Some("a"))).await;
    running.send("orders", message(1, Some("a"))).await;
    running.settled().await;
    assert_eq!(world.attempts(0), [1, 2, 3]);
    assert_eq!(world.succeeded(), [0, 1]);
    Ok(())
}

pub(crate) async fn a_retry_lane_that_cannot_be_written_loses_nothing(stage: Stage) -> Verdict {
    stage.needs(&[Feature::VirtualTime, Feature::RetryLane])?;
    for fault in [
        PublishFault::Refused,
        PublishFault::Lost,
        PublishFault::Doubted,
        PublishFault::Forbidden,
    ] {
        let stage = stage.anew();
        let (broker, faults) = Faults::over(&stage.open().await);
        let world = World::default();
        for id in 0..10 {
            world.script(id, Script::fails(1, How::Transient));
        }
        let running = stage.run(&broker, patient(&world, 3, MINUTE)).await;
        faults.publishes("orders.billing.retry", fault, 7);
        for id in 0..20 {
            running.order(id, &format!("key {}", id % 4)).await;
        }
        running.settled().await;
        assert_eq!(world.succeeded().len(), 20, "{fault:?}");
        assert!(running.dead().await.is_empty(), "{fault:?}");
        if fault != PublishFault::Doubted {
            world.keys_kept_their_order();
        }
        broker.close().await.expect("it can be closed");
    }
    Ok(())
}

pub(crate) async fn a_parked_message_that_is_back_before_its_receipt_leaves_the_subscription_idle(
    stage: Stage,
) -> Verdict {
    stage.needs(&[Feature::VirtualTime, Feature::RetryLane])?;
    let (broker, faults) = Faults::over(&stage.open().await);
    let world = World::default();
    world.script(0, Script::fails(1, How::Transient));
    let running = stage
        .run(&broker, patient(&world, 3, Duration::from_secs(2)))
        .await;
    faults.publishes(
        "orders.billing.retry",
        PublishFault::Late(Duration::from_secs(20)),
        1,
    );
    running.order(0, "a").await;
    running.order(1, "a").await;
    running.settled_within(10 * MINUTE).await;
    assert_eq!(world.succeeded(), [0, 1]);
    assert!(running.status("billing").idle);
    Ok(())
}

pub(crate) async fn with_the_order_of_a_partition_no_wait_is_durable_and_nothing_overtakes(
    stage: Stage,
) -> Verdict {
    stage.needs(&[Feature::Durable, Feature::Offsets, Feature::RetryLane])?;
    let world = World::default();
    world.script(0, Script::fails(2, How::Transient));
    let strict = || patient(&world, 5, stage.minutes(10)).ordering(tidings::Ordering::Partition);
    let broker = stage.open().await;
    let running = stage.run(&broker, strict()).await;
    for id in 0..20 {
        running.order(id, &format!("key {}", id % 5)).await;
    }
    let first = world.clone();
    until("the first failure", || !first.of(0).is_empty()).await;
    tokio::time::sleep(stage.minutes(5)).await;
    assert_eq!(broker.size("orders.billing.retry").await, 0, "nothing is parked");
    running.kill().await;
    let broker = stage.crash(broker).await;
    let begun = Instant::now();
    let running = stage.run(&broker, strict()).await;
    let second = world.clone();
    until("the second failure", || second.of(0).len() == 2).await;
    assert!(
        begun.elapsed() < stage.minutes(9),
        "after a restart it comes at once: {:?}",
        begun.elapsed()
    );
    running.settled().await;
    assert_eq!(world.attempts(0), [1, 2, 3], "with its attempts");
    assert!(begun.elapsed() >= stage.minutes(10));
    assert_eq!(broker.size("orders.billing.retry").await, 0);
    assert_eq!(world.succeeded().len(), 20);
    let behind: Vec<_> = world
        .handlings()
        .into_iter()
        .filter(|one| one.ok && one.position.partition() == world.of(0)[0].position.partition())
        .map(|one| one.position.offset())
        .collect();
    assert!(behind.is_sorted() && behind.len() > 1, "{behind:?}");
    Ok(())
}

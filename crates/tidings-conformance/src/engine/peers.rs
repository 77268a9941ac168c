//! Loss bugs of other systems, as scenarios. What is a case elsewhere is named there: a rebalance within a back-off in
//! `rebalance`, one bad record and its batch in `batches`, work of a revoked partition in `rebalance`.

use crate::apps::{app, retry, until};
use crate::features::Feature;
use crate::stage::{Stage, Verdict, to};
use crate::world::{How, Script, World};
use std::time::Duration;
use tidings::{Ordering, Retry, Start};

/// librdkafka's offset store before the handler ran: a crash within the handler loses the message.
pub(crate) async fn a_process_killed_within_a_handler_handles_the_message_again(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    for ordering in [Ordering::Key, Ordering::Partition, Ordering::None] {
        let stage = stage.anew();
        let (broker, world) = (stage.open().await, World::default());
        world.script(3, Script::fails(2, How::Stuck));
        let subscription = || world.subscription().ordering(ordering);
        let mut running = stage.run(&broker, subscription()).await;
        for id in 0..6 {
            running.order(id, "a").await;
        }
        for lives in 1..=2 {
            until("the handler", || world.of(3).len() == lives).await;
            tokio::time::sleep(stage.seconds(5.0)).await;
            running.kill().await;
            running = stage.run(&broker, subscription()).await;
        }
        running.settled().await;
        assert_eq!(world.succeeded(), [0, 1, 2, 3, 4, 5], "{ordering:?}");
        broker.close().await.expect("it can be closed");
    }
    Ok(())
}

/// `auto.offset.reset` = latest makes a new group skip what was published before it joined.
pub(crate) async fn a_new_group_begins_at_the_earliest_message(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Replay])?;
    let (broker, world) = (stage.open().await, World::default());
    broker.has("orders", crate::apps::PARTITIONS).await;
    broker.send(to("orders", 0, "0")).await.expect("it is kept");
    let running = stage.run(&broker, world.subscription()).await;
    running.settled().await;
    assert_eq!(world.succeeded(), [0]);
    let late = World::default();
    let second = stage
        .run(&broker, late.subscription().group("late").start(Start::Latest))
        .await;
    second.order(1, "a").await;
    second.settled().await;
    assert_eq!(late.succeeded(), [1], "who says latest gets latest");
    Ok(())
}

/// A retry wait longer than the session evicts the member, and the message loops.
pub(crate) async fn a_wait_longer_than_any_session_evicts_nobody(stage: Stage) -> Verdict {
    stage.needs(&[Feature::VirtualTime])?;
    let (broker, world) = (stage.open().await, World::default());
    world.script(0, Script::fails(2, How::Transient));
    let waits = Retry::fixed(3, Duration::from_secs(7_200)).durable_after(Duration::from_secs(86_400));
    let running = stage.run(&broker, world.subscription().retry(waits)).await;
    running.order(0, "a").await;
    running.order(1, "b").await;
    running.settled().await;
    assert_eq!(world.attempts(0), [1, 2, 3]);
    assert_eq!(world.attempts(1), [1]);
    Ok(())
}

/// A handler's fatal error kills the consumer, and health stays green.
pub(crate) async fn whatever_a_handler_does_the_consumer_lives_or_health_says_that_it_does_not(
    stage: Stage,
) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    for id in 0..20 {
        world.script(id, Script::always(How::Panic));
    }
    let app = app().add(world.subscription().retry(retry(2, Duration::from_millis(10))));
    let running = stage.start(&broker, app).await;
    for id in 0..30 {
        running.order(id, "a").await;
    }
    running.settled().await;
    assert_eq!(world.succeeded(), (20..30).collect::<Vec<_>>());
    assert!(running.0.running().health().live);
    let handle = running.handle("billing").clone();
    handle.abort();
    handle.stopped().await;
    let health = running.0.running().health();
    assert!(
        !health.live || !health.ready,
        "a dead consumer never reports healthy: {health:?}"
    );
    Ok(())
}

/// The mark of having been seen is set before the work: the redelivery of a failed message is dropped.
pub(crate) async fn a_failed_message_is_never_taken_for_one_that_was_seen(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let (broker, world) = (stage.open().await, World::default());
    world.script(0, Script::fails(3, How::Transient));
    let subscription = || {
        let waits = retry(9, stage.seconds(30.0)).durable_after(Duration::from_secs(3_600));
        world.subscription().concurrency(4).retry(waits)
    };
    let mut running = stage.run(&broker, subscription()).await;
    running.order(0, "a").await;
    for id in 1..20 {
        running.order(id, &format!("key {id}")).await;
    }
    for tries in 1..=3 {
        until("the failure", || world.of(0).len() >= tries).await;
        // The others are finished above it, and stored so.
        tokio::time::sleep(Duration::from_secs(2)).await;
        running.kill().await;
        running = stage.run(&broker, subscription()).await;
    }
    running.settled().await;
    assert_eq!(world.succeeded().len(), 20);
    let once = (1..20).filter(|id| world.of(*id).len() == 1).count();
    assert_eq!(once, 19, "and what was finished above it does not come again");
    Ok(())
}

/// An error requeues at full speed for ever.
pub(crate) async fn a_message_that_always_fails_does_not_loop_at_full_speed(stage: Stage) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    world.script(0, Script::always(How::Transient));
    // As it is by default.
    let running = stage.run(&broker, world.subscription()).await;
    running.order(0, "a").await;
    running.settled().await;
    let handlings = world.of(0);
    assert_eq!(handlings.len(), 3);
    for pair in handlings.windows(2) {
        let wait = pair[1].began - pair[0].began;
        assert!(wait >= Duration::from_millis(800), "{wait:?}");
    }
    assert_eq!(running.dead().await, ["0"]);
    Ok(())
}

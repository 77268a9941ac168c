//! The broker itself dies or is closed under a running service.

use crate::apps::{nothing_is_lost, retry, until};
use crate::features::Feature;
use crate::stage::{Stage, Verdict};
use crate::world::{How, Script, World};
use std::time::Duration;
use tidings::{Phase, Subscription};

fn subscription(stage: &Stage, world: &World) -> Subscription<()> {
    world
        .subscription()
        .concurrency(4)
        .retry(retry(4, stage.seconds(5.0)))
}

pub(crate) async fn nothing_acknowledged_is_lost_by_crashes_of_the_whole_machine_room(
    stage: Stage,
) -> Verdict {
    stage.needs(&[Feature::Durable, Feature::StoredPositions])?;
    let world = World::default();
    let mut random = fastrand::Rng::with_seed(17);
    for id in 0..150 {
        world.script(
            id,
            Script {
                takes: Duration::from_millis(random.u64(0..200)),
                fails: match random.u8(0..8) {
                    0 => 1,
                    1 => 9,
                    _ => 0,
                },
                how: How::Transient,
            },
        );
    }
    let mut broker = stage.open().await;
    let mut running = stage.run(&broker, subscription(&stage, &world)).await;
    for life in 0..5 {
        for id in life * 30..(life + 1) * 30 {
            running.order(id, &format!("key {}", id % 10)).await;
        }
        tokio::time::sleep(stage.seconds(random.f64() * 4.0)).await;
        running.kill().await;
        broker = stage.crash(broker).await;
        running = stage.run(&broker, subscription(&stage, &world)).await;
    }
    running.settled().await;
    nothing_is_lost(&running, &world, 0..150).await;
    world.keys_kept_their_order();
    // Where attempts in place are not stored, each life counts its own.
    let most = match stage.needs(&[Feature::Offsets]) {
        Ok(()) => 4 + 5,
        Err(_) => 4 * 6,
    };
    for id in 0..150 {
        assert!(
            world.of(id).len() <= most,
            "attempts of {id}: {:?}",
            world.attempts(id)
        );
    }
    Ok(())
}

pub(crate) async fn after_a_clean_end_nothing_comes_again(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Durable, Feature::StoredPositions])?;
    let world = World::default();
    for id in 0..90 {
        world.script(
            id,
            Script {
                takes: Duration::from_millis(50),
                fails: u32::from(id % 20 == 0),
                how: How::Transient,
            },
        );
    }
    let mut broker = stage.open().await;
    for life in 0..3 {
        let running = stage.run(&broker, subscription(&stage, &world)).await;
        for id in life * 30..(life + 1) * 30 {
            running.order(id, &format!("key {}", id % 10)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(running.0.stop().await.finished_in_time);
        broker.close().await.expect("it can be closed");
        drop(broker);
        broker = stage.open().await;
    }
    let running = stage.run(&broker, subscription(&stage, &world)).await;
    running.settled().await;
    for id in 0..90 {
        assert_eq!(
            world.of(id).len(),
            1 + usize::from(id % 20 == 0),
            "deliveries of {id}"
        );
    }
    world.keys_kept_their_order();
    Ok(())
}

pub(crate) async fn redriven_and_parked_messages_outlive_a_crash(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Durable, Feature::RetryLane, Feature::Redrive])?;
    let world = World::default();
    world.script(0, Script::fails(1, How::Permanent));
    world.script(1, Script::fails(1, How::Transient));
    let mut broker = stage.open().await;
    let running = stage.run(&broker, subscription(&stage, &world)).await;
    running.order(0, "a").await;
    running.order(1, "b").await;
    until("both failures", || world.handlings().len() == 2).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.handle("billing").pause();
    running
        .0
        .redrive("billing", tidings::Selection::All)
        .await
        .expect("it can");
    running.kill().await;
    broker = stage.crash(broker).await;
    let running = stage.run(&broker, subscription(&stage, &world)).await;
    running.settled().await;
    let mut succeeded = world.succeeded();
    succeeded.sort_unstable();
    assert_eq!(succeeded, [0, 1]);
    assert!(
        running.dead().await.is_empty(),
        "that it was redriven is remembered"
    );
    Ok(())
}

pub(crate) async fn a_service_on_a_closed_broker_ends_and_says_so(stage: Stage) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    let running = stage.run(&broker, world.subscription()).await;
    running.order(0, "a").await;
    running.settled().await;
    broker.close().await.expect("it can be closed");
    until("the end", || running.status("billing").phase == Phase::Stopped).await;
    assert!(
        running
            .0
            .send("orders", tidings::Message::new("1"))
            .await
            .is_err()
    );
    assert!(
        !running.0.running().health().ready,
        "a dead consumer never reports healthy"
    );
    Ok(())
}

//! Memory is bounded at any ratio of producer to handler speed, and who is slow slows nobody else.

use crate::apps::{app, until};
use crate::features::Feature;
use crate::stage::{Stage, Verdict, to};
use crate::world::{Script, World};
use std::time::Duration;
use tidings::{Delivery, Ordering, on};

/// So large that a batch, which has at most half a MiB, holds few.
fn large(id: u64) -> String {
    format!("{id:<20000}")
}

/// A lane is paused after the batch that fills it, and another may be under way.
const UNDER_WAY: u64 = 3 * (512 * 1_024 / 20_000);

pub(crate) async fn what_is_received_and_not_finished_is_bounded(stage: Stage) -> Verdict {
    for ordering in [Ordering::Key, Ordering::Partition, Ordering::None] {
        let stage = stage.anew();
        let (broker, world) = (stage.open().await, World::default());
        for id in 0..600 {
            world.script(id, Script::takes(Duration::from_millis(10)));
        }
        let subscription = world
            .subscription()
            .ordering(ordering)
            .concurrency(4)
            .max_in_flight(50);
        let running = stage.run(&broker, subscription).await;
        let partitions = u64::from(stage.partitions());
        let all = (0..600).map(|id| {
            let partition = u32::try_from(id % partitions).expect("few partitions");
            to("orders", partition, &large(id))
        });
        for receipt in broker.sink().publish_all(all.collect()) {
            receipt.await.expect("it is kept");
        }
        let mut most = 0;
        while world.succeeded().len() < 590 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let lanes = running.status("billing").lanes;
            let spans = lanes.iter().map(|lane| lane.received - lane.watermark);
            most = spans.max().unwrap_or(0).max(most);
        }
        running.settled().await;
        assert_eq!(world.succeeded().len(), 600);
        assert!(
            most > 0 && most <= 50 + UNDER_WAY,
            "{ordering:?}: {most} of 300 messages in memory"
        );
        broker.close().await.expect("it can be closed");
    }
    Ok(())
}

pub(crate) async fn large_messages_do_not_pile_up_in_memory(stage: Stage) -> Verdict {
    stage.needs(&[Feature::VirtualTime])?;
    let (broker, world) = (stage.open().await, World::default());
    let slow = {
        let world = world.clone();
        move |delivery: Delivery| {
            let world = world.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                drop((world, delivery));
            }
        }
    };
    let running = stage
        .run(&broker, on("orders", slow).group("billing").max_in_flight(8))
        .await;
    let payload = "x".repeat(200_000);
    for _ in 0..60 {
        broker.send(to("orders", 0, &payload)).await.expect("it is kept");
    }
    let mut most = 0;
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let lanes = running.status("billing").lanes;
        most = lanes
            .iter()
            .map(|lane| lane.received - lane.watermark)
            .max()
            .unwrap_or(0)
            .max(most);
    }
    assert!(most <= 8 + 4, "{most} messages of 200 kB in memory");
    running.settled().await;
    assert_eq!(running.status("billing").handled, 60);
    Ok(())
}

pub(crate) async fn a_slow_group_slows_only_itself(stage: Stage) -> Verdict {
    let (broker, slow, fast) = (stage.open().await, World::default(), World::default());
    for id in 0..500 {
        slow.script(id, Script::takes(Duration::from_secs(600)));
    }
    let noting = fast.clone();
    let quick = move |delivery: Delivery| noting.clone().handle(delivery);
    let app = app()
        .add(slow.subscription().max_in_flight(10))
        .add(on("orders", quick).group("audit"));
    let running = stage.start(&broker, app).await;
    for id in 0..500 {
        running.order(id, &id.to_string()).await;
    }
    // It waits for nobody.
    until("all of the fast group", || fast.succeeded().len() == 500).await;
    assert!(slow.succeeded().is_empty());
    Ok(())
}

pub(crate) async fn a_stuck_partition_does_not_stop_the_other(stage: Stage) -> Verdict {
    stage.needs(&[Feature::VirtualTime, Feature::Partitions])?;
    let (broker, world) = (stage.open().await, World::default());
    world.script(0, Script::always(crate::world::How::Stuck));
    let subscription = world
        .subscription()
        .ordering(Ordering::Partition)
        .concurrency(2)
        .max_in_flight(10);
    let running = stage.run(&broker, subscription).await;
    broker.send(to("orders", 0, "0")).await.expect("it is kept");
    for id in 1..400u64 {
        let partition = u32::try_from(id % 2).expect("two partitions");
        broker
            .send(to("orders", partition, &id.to_string()))
            .await
            .expect("it is kept");
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.succeeded().len(), 200, "all of the other partition");
    drop(running);
    Ok(())
}

pub(crate) async fn a_handler_that_is_always_ready_leaves_others_their_turn(stage: Stage) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    let busy = async |_: tidings::Raw| {};
    let noting = world.clone();
    let other = move |delivery: Delivery| noting.clone().handle(delivery);
    let app = app()
        .add(on("payments", busy).group("billing"))
        .add(on("orders", other).group("audit"));
    let running = stage.start(&broker, app).await;
    let many = (0..20_000).map(|_| to("payments", 0, "x"));
    for receipt in broker.sink().publish_all(many.collect()) {
        receipt.await.expect("it is kept");
    }
    running.order(0, "a").await;
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    until("the turn of the other", || world.succeeded() == [0]).await;
    running.settled().await;
    Ok(())
}

//! What keeps its order, and how much runs at once.

use crate::apps::retry;
use crate::features::Feature;
use crate::stage::{Stage, Verdict};
use crate::world::{How, Script, World, message};
use std::time::Duration;
use tidings::Ordering;
use tokio::time::Instant;

pub(crate) async fn a_key_keeps_its_order_through_failures_and_never_overlaps(stage: Stage) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    let mut random = fastrand::Rng::with_seed(3);
    for id in 0..200 {
        world.script(
            id,
            Script {
                takes: Duration::from_millis(random.u64(0..20)),
                fails: if random.u8(0..4) == 0 { random.u32(1..3) } else { 0 },
                how: if random.bool() { How::Transient } else { How::Panic },
            },
        );
    }
    let subscription = world
        .subscription()
        .concurrency(16)
        .retry(retry(5, Duration::from_millis(30)));
    let running = stage.run(&broker, subscription).await;
    for id in 0..200 {
        running.order(id, &format!("key {}", id % 9)).await;
    }
    running.settled().await;
    assert_eq!(world.succeeded().len(), 200);
    world.keys_kept_their_order();
    // On a real broker messages come one by one, and most handlings end before the next one comes.
    let few = stage.needs(&[Feature::VirtualTime]).map_or(1, |()| 4);
    assert!(
        world.most_running() > few,
        "keys are handled beside each other: {}",
        world.most_running()
    );
    Ok(())
}

pub(crate) async fn keys_run_beside_each_other_up_to_the_concurrency(stage: Stage) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    for id in 0..60 {
        world.script(id, Script::takes(stage.seconds(1.0)));
    }
    let running = stage.run(&broker, world.subscription().concurrency(5)).await;
    let begun = Instant::now();
    for id in 0..60 {
        running.order(id, &id.to_string()).await;
    }
    running.settled().await;
    assert_eq!(world.most_running(), 5);
    let took = world
        .handlings()
        .iter()
        .filter_map(|handling| handling.ended)
        .max()
        .expect("it ended")
        - begun;
    assert!(
        took < stage.seconds(12.5) + stage.slack(),
        "60 s of work by five: {took:?}"
    );
    Ok(())
}

pub(crate) async fn a_failed_key_does_not_stop_other_keys(stage: Stage) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    world.script(0, Script::fails(2, How::Transient));
    let subscription = world
        .subscription()
        .retry(retry(3, stage.minutes(10)).durable_after(Duration::from_secs(3_600)));
    let running = stage.run(&broker, subscription).await;
    let begun = Instant::now();
    running.order(0, "failing").await;
    running.order(1, "failing").await;
    for id in 2..50 {
        running.order(id, &format!("fine {id}")).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let done = world.succeeded();
    assert_eq!(done.len(), 48, "all but those of the failing key: {done:?}");
    running.settled().await;
    world.keys_kept_their_order();
    assert!(
        world.times(1, begun)[0] >= stage.minutes(20),
        "it waited behind its key"
    );
    Ok(())
}

pub(crate) async fn a_partition_keeps_its_order_and_partitions_run_beside_each_other(
    stage: Stage,
) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    for id in 0..60 {
        world.script(
            id,
            Script {
                takes: Duration::from_millis(20 - id % 20),
                fails: u32::from(id % 11 == 0),
                how: How::Transient,
            },
        );
    }
    let subscription = world
        .subscription()
        .ordering(Ordering::Partition)
        .concurrency(8)
        .retry(retry(3, Duration::from_millis(50)));
    let running = stage.run(&broker, subscription).await;
    for id in 0..60 {
        running.order(id, &format!("key {id}")).await;
    }
    running.settled().await;
    assert_eq!(world.succeeded().len(), 60);
    let partitions = stage.partitions() as usize;
    assert_eq!(world.most_running(), partitions);
    let mut last = vec![None; partitions];
    for handling in world.handlings().into_iter().filter(|handling| handling.ok) {
        let last = &mut last[handling.position.partition() as usize];
        assert!(
            *last < Some(handling.position.offset()),
            "{handling:?} after {last:?}"
        );
        *last = Some(handling.position.offset());
    }
    Ok(())
}

pub(crate) async fn without_an_order_messages_of_one_key_run_at_once(stage: Stage) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    for id in 0..10 {
        world.script(id, Script::takes(Duration::from_secs(1)));
    }
    let subscription = world.subscription().ordering(Ordering::None).concurrency(10);
    let running = stage.run(&broker, subscription).await;
    for id in 0..10 {
        running.order(id, "one").await;
    }
    running.settled().await;
    assert_eq!(world.most_running(), 10);
    Ok(())
}

pub(crate) async fn messages_without_a_key_are_free(stage: Stage) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    for id in 0..8 {
        world.script(id, Script::takes(Duration::from_secs(1)));
    }
    let running = stage.run(&broker, world.subscription().concurrency(8)).await;
    for id in 0..8 {
        running.send("orders", message(id, None)).await;
    }
    running.settled().await;
    assert_eq!(world.most_running(), 8);
    Ok(())
}

pub(crate) async fn handlers_in_tasks_of_their_own_keep_the_order_of_a_key(stage: Stage) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    for id in 0..80 {
        world.script(
            id,
            Script {
                takes: Duration::from_millis(id % 7),
                fails: u32::from(id % 13 == 0),
                how: if id % 2 == 0 { How::Panic } else { How::Transient },
            },
        );
    }
    let subscription = world
        .subscription()
        .spawn()
        .concurrency(8)
        .retry(retry(3, Duration::from_millis(20)));
    let running = stage.run(&broker, subscription).await;
    for id in 0..80 {
        running.order(id, &format!("key {}", id % 5)).await;
    }
    running.settled().await;
    assert_eq!(world.succeeded().len(), 80);
    world.keys_kept_their_order();
    Ok(())
}

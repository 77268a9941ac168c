//! The broker misbehaves: what comes late, twice or not at all.

use crate::apps::{Running, app, retry, until};
use crate::faulty::{EventFault, Faults, PublishFault};
use crate::features::Feature;
use crate::stage::{Stage, Verdict};
use crate::world::{How, Script, World};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings::{Condition, LaneRole, Message, Output, Text, on};

/// Notes if progress is reported beyond what was finished at that instant: handled or dead.
fn watch_the_watermark(
    faults: &Faults,
    world: &World,
    dead_or_moved: &'static [u64],
) -> Arc<Mutex<Vec<String>>> {
    let ahead: Arc<Mutex<Vec<String>>> = Arc::default();
    let (noting, world) = (ahead.clone(), world.clone());
    faults.watch(move |lane, progress| {
        if lane.role != LaneRole::Main {
            return;
        }
        let handlings = world.handlings();
        let here = handlings
            .iter()
            .filter(|one| one.position.partition() == lane.partition);
        let finished: BTreeSet<_> = here
            .clone()
            .filter(|one| one.ok || dead_or_moved.contains(&one.id))
            .map(|one| one.position.offset())
            .collect();
        let above = progress.finished.iter().cloned().flatten();
        for offset in (0..progress.watermark).chain(above) {
            if !finished.contains(&offset) {
                let said = format!("{}/{offset} is reported and not finished", lane.partition);
                noting.lock().expect("nothing panics while it is held").push(said);
            }
        }
    });
    ahead
}

fn is_empty(ahead: &Mutex<Vec<String>>) {
    let ahead = ahead.lock().expect("nothing panics while it is held");
    assert!(ahead.is_empty(), "{ahead:?}");
}

pub(crate) async fn progress_never_runs_ahead_of_what_is_finished(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let (broker, faults) = Faults::over(&stage.open().await);
    let world = World::default();
    let mut random = fastrand::Rng::with_seed(9);
    for id in 0..200 {
        world.script(
            id,
            Script {
                takes: Duration::from_millis(random.u64(0..60)),
                fails: if random.u8(0..5) == 0 { random.u32(1..4) } else { 0 },
                how: How::Transient,
            },
        );
    }
    let ahead = watch_the_watermark(&faults, &world, &[]);
    let retry = retry(10, Duration::from_millis(70)).durable_after(Duration::from_secs(3_600));
    let running = stage
        .run(&broker, world.subscription().concurrency(6).retry(retry))
        .await;
    for id in 0..200 {
        running.order(id, &format!("key {}", id % 20)).await;
    }
    running.settled().await;
    is_empty(&ahead);
    let stopped = running.0.stop().await;
    assert!(stopped.finished_in_time);
    is_empty(&ahead);
    Ok(())
}

pub(crate) async fn progress_does_not_pass_a_dead_letter_that_is_not_kept(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let (broker, faults) = Faults::over(&stage.open().await);
    let world = World::default();
    for id in [3, 7] {
        world.script(id, Script::always(How::Permanent));
    }
    // None of them counts as finished while the fault lasts.
    let ahead = watch_the_watermark(&faults, &world, &[]);
    faults.publishes("orders.DLT", PublishFault::Refused, usize::MAX);
    let running = stage.run(&broker, world.subscription().concurrency(6)).await;
    for id in 0..30 {
        running.order(id, &format!("key {}", id % 20)).await;
    }
    tokio::time::sleep(stage.minutes(10)).await;
    is_empty(&ahead);
    assert!(world.succeeded().len() >= 26, "{:?}", world.succeeded());
    Ok(())
}

pub(crate) async fn a_batch_that_comes_twice_is_handled_once(stage: Stage) -> Verdict {
    let (broker, faults) = Faults::over(&stage.open().await);
    let world = World::default();
    faults.events(Some(EventFault::Doubled));
    let running = stage.run(&broker, world.subscription().concurrency(4)).await;
    for id in 0..100 {
        running.order(id, &format!("key {}", id % 9)).await;
    }
    running.settled().await;
    assert_eq!(world.handlings().len(), 100);
    assert_eq!(world.succeeded().len(), 100);
    Ok(())
}

pub(crate) async fn a_batch_of_a_membership_that_is_over_is_not_taken_for_one_of_the_next(
    stage: Stage,
) -> Verdict {
    stage.needs(&[Feature::VirtualTime, Feature::StoredPositions])?;
    let (broker, faults) = Faults::over(&stage.open().await);
    let world = World::default();
    for id in 0..10 {
        world.script(id, Script::takes(Duration::from_secs(1)));
    }
    let running = stage.run(&broker, world.subscription()).await;
    for id in 0..10 {
        running.order(id, "a").await;
    }
    until("the first handling", || world.running() == 1).await;
    faults.events(Some(EventFault::Delayed(Duration::from_millis(500))));
    for id in 10..20 {
        running.order(id, "a").await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    // The later half is on its way, and overtaken by the end of the membership. It arrives before the next membership
    // gets the first half again: taken for its own, it would make that look as if it had been handled.
    faults.expire();
    running.settled().await;
    assert_eq!(world.succeeded(), (0..20).collect::<Vec<_>>());
    Ok(())
}

pub(crate) async fn progress_that_is_lost_before_a_crash_means_duplicates_and_no_loss(
    stage: Stage,
) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let (broker, faults) = Faults::over(&stage.open().await);
    let world = World::default();
    world.script(5, Script::always(How::Permanent));
    let running = stage.run(&broker, world.subscription()).await;
    for id in 0..10 {
        running.order(id, "a").await;
    }
    running.settled().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    faults.forget_progress();
    for id in 10..20 {
        running.order(id, "a").await;
    }
    until("the second half", || world.succeeded().len() == 19).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.kill().await;
    faults.heal();
    let running = stage.run(&broker, world.subscription()).await;
    running.settled().await;
    let counts: Vec<_> = (0..20).map(|id| world.of(id).len()).collect();
    assert_eq!(counts[..10], [1; 10], "what was stored does not come again");
    assert_eq!(counts[10..], [2; 10], "what was not stored comes again");
    world.keys_kept_their_order();
    assert_eq!(running.dead().await, ["5"]);
    Ok(())
}

pub(crate) async fn progress_that_cannot_be_stored_stops_no_handover(stage: Stage) -> Verdict {
    stage.needs(&[
        Feature::VirtualTime,
        Feature::Partitions,
        Feature::StoredPositions,
    ])?;
    let (broker, faults) = Faults::over(&stage.open().await);
    let world = World::default();
    let first = stage.run(&broker, world.subscription()).await;
    faults.forget_progress();
    for id in 0..20 {
        first.order(id, &id.to_string()).await;
    }
    until("all of them", || world.succeeded().len() == 20).await;
    let second = stage.run(&broker, world.subscription()).await;
    until("a share", || !second.status("billing").lanes.is_empty()).await;
    assert!(
        !first.0.stop().await.finished_in_time,
        "it says that it could not store its progress"
    );
    faults.heal();
    second.settled().await;
    assert_eq!(
        world.handlings().len(),
        40,
        "everything comes again, and nothing is lost"
    );
    Ok(())
}

pub(crate) async fn a_broker_that_is_away_for_a_while_is_waited_for(stage: Stage) -> Verdict {
    stage.needs(&[Feature::VirtualTime])?;
    let (broker, faults) = Faults::over(&stage.open().await);
    let world = World::default();
    let running = stage.run(&broker, world.subscription()).await;
    running.order(0, "a").await;
    running.settled().await;
    faults.away(6);
    running.order(1, "a").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let why = running.status("billing").obstacle;
    assert!(
        why.as_ref().is_some_and(|why| why.contains("away")),
        "health says so: {why:?}"
    );
    let health = running.0.running().health();
    let well = health.parts.iter().all(|part| part.condition == Condition::Up);
    assert!(!well, "a dead consumer never reports healthy: {health}");
    running.settled().await;
    assert_eq!(world.succeeded(), [0, 1]);
    running.order(2, "a").await;
    running.settled().await;
    until("no obstacle", || running.status("billing").obstacle.is_none()).await;
    Ok(())
}

async fn forwarding(stage: &Stage, broker: &crate::stage::Broker, world: &World) -> Running {
    let forward = async |Text(text): Text| Output::message(Message::new(text).with_key("a")).to("payments");
    let noting = world.clone();
    let noted = move |delivery: tidings::Delivery| noting.clone().handle(delivery);
    let app = app()
        .add(on("orders", forward).group("billing").concurrency(4))
        .add(
            on("payments", noted)
                .group("paying")
                .retry(retry(3, Duration::from_secs(5))),
        );
    stage.start(broker, app).await
}

pub(crate) async fn in_a_storm_of_failed_publishes_nothing_is_lost(stage: Stage) -> Verdict {
    stage.needs(&[Feature::VirtualTime, Feature::RetryLane])?;
    for seed in 0..4 {
        let stage = stage.anew();
        let (broker, faults) = Faults::over(&stage.open().await);
        let world = World::default();
        for id in 0..60 {
            world.script(
                id,
                match id % 10 {
                    0 => Script::fails(1, How::Transient),
                    1 => Script::always(How::Transient),
                    _ => Script::default(),
                },
            );
        }
        let running = forwarding(&stage, &broker, &world).await;
        let mut kept = Vec::new();
        faults.storm(seed, 0.3);
        for id in 0..60u64 {
            let sent = running
                .0
                .send("orders", crate::world::message(id, Some(&id.to_string())));
            if let Ok(Ok(_)) = tokio::time::timeout(Duration::from_secs(5), sent).await {
                kept.push(id);
            }
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        faults.heal();
        running.settled().await;
        let succeeded = world.succeeded();
        let letters = running
            .0
            .dead_letters("payments")
            .await
            .expect("they can be read");
        let dead: BTreeSet<_> = letters
            .iter()
            .map(|letter| crate::stage::text_of(&letter.message))
            .collect();
        for id in &kept {
            let hopeless = id % 10 == 1;
            assert_eq!(succeeded.contains(id), !hopeless, "seed {seed}: {id}");
            assert_eq!(dead.contains(&id.to_string()), hopeless, "seed {seed}: {id}");
        }
        assert!(kept.len() > 30, "seed {seed}: most were acknowledged");
        broker.close().await.expect("it can be closed");
    }
    Ok(())
}

//! Members come and go while messages are handled.

use crate::apps::{Running, app, nothing_is_lost, retry, until};
use crate::faulty::Faults;
use crate::features::Feature;
use crate::stage::{Broker, Stage, Verdict};
use crate::world::{How, Script, World};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings::Subscription;
use tokio::time::Instant;

/// A revoked partition may drain for two seconds.
const TWO_SECONDS: &str = "[binder.main]\nsession_drain = \"2s\"";

async fn start(stage: &Stage, broker: &Broker, subscription: Subscription<()>) -> Running {
    stage
        .start_with(broker, app().add(subscription), TWO_SECONDS)
        .await
}

/// Waits until both members have a share of the partitions. Where there are none, one of them has all there is, and the
/// other is there for when it goes.
async fn both_have_lanes(stage: &Stage, one: &Running, other: &Running) {
    if stage.needs(&[Feature::Partitions]).is_err() {
        return;
    }
    let lanes = |running: &Running| {
        let lanes = running.status("billing").lanes;
        lanes
            .into_iter()
            .map(|lane| (lane.destination, lane.partition))
            .collect::<BTreeSet<_>>()
    };
    until("a share for each", || {
        let (one, other) = (lanes(one), lanes(other));
        !one.is_empty() && one.len() == other.len() && one.is_disjoint(&other)
    })
    .await;
}

pub(crate) async fn a_polite_handover_loses_nothing_and_repeats_nothing(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let (broker, world) = (stage.open().await, World::default());
    for id in 0..300 {
        world.script(id, Script::takes(Duration::from_millis(20 + id % 30)));
    }
    let subscription = || world.subscription().concurrency(4);
    let first = start(&stage, &broker, subscription()).await;
    for id in 0..200 {
        first.order(id, &format!("key {}", id % 11)).await;
    }
    until("some handlings", || world.handlings().len() > 20).await;
    let second = start(&stage, &broker, subscription()).await;
    both_have_lanes(&stage, &first, &second).await;
    for id in 200..300 {
        second.order(id, &format!("key {}", id % 11)).await;
    }
    until("more handlings", || world.handlings().len() > 100).await;
    assert!(first.0.stop().await.finished_in_time);
    second.settled().await;
    assert_eq!(
        world.handlings().len(),
        300,
        "everything that ran was finished before it moved"
    );
    assert_eq!(world.succeeded().len(), 300);
    world.keys_kept_their_order();
    Ok(())
}

pub(crate) async fn work_of_a_revoked_partition_never_commits(stage: Stage) -> Verdict {
    stage.needs(&[
        Feature::VirtualTime,
        Feature::Partitions,
        Feature::StoredPositions,
    ])?;
    let (broker, slow, quick) = (stage.open().await, World::default(), World::default());
    // Longer than a revoked partition may drain.
    for id in 0..20 {
        slow.script(id, Script::takes(Duration::from_secs(5)));
        quick.script(id, Script::takes(Duration::from_secs(30)));
    }
    let first = start(&stage, &broker, slow.subscription().concurrency(20)).await;
    for id in 0..20 {
        first.order(id, &id.to_string()).await;
    }
    until("twenty handlings", || slow.running() == 20).await;
    let second = start(&stage, &broker, quick.subscription().concurrency(20)).await;
    both_have_lanes(&stage, &first, &second).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    // What the first member had begun of them was cut; what it says of them now counts for nothing.
    let moved: BTreeSet<_> = quick
        .handlings()
        .iter()
        .map(|handling| handling.position.partition())
        .collect();
    assert_eq!(moved.len(), 1, "one partition moved");
    for partition in moved {
        let stored = broker.stored("orders", "billing").await[partition as usize];
        assert_eq!(
            stored.unwrap_or(0),
            0,
            "the second member has finished nothing of it yet"
        );
    }
    for id in slow.succeeded() {
        assert!(
            quick.of(id).is_empty(),
            "{id} was finished by one and is handled by the other"
        );
    }
    drop(first);
    second.settled().await;
    let all: BTreeSet<_> = slow.succeeded().into_iter().chain(quick.succeeded()).collect();
    assert_eq!(all.len(), 20);
    Ok(())
}

pub(crate) async fn a_rebalance_within_a_back_off_skips_nothing(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    for durable_after in [3_600, 0] {
        let stage = stage.anew();
        let (broker, world) = (stage.open().await, World::default());
        for id in 0..30 {
            world.script(id, Script::fails(1, How::Transient));
        }
        let subscription = || {
            let retry = retry(4, stage.minutes(2)).durable_after(Duration::from_secs(durable_after));
            world.subscription().concurrency(30).retry(retry)
        };
        let first = start(&stage, &broker, subscription()).await;
        for id in 0..30 {
            first.order(id, &format!("key {}", id % 6)).await;
        }
        until("the first failures", || world.handlings().len() >= 6).await;
        tokio::time::sleep(stage.seconds(1.0)).await;
        let second = start(&stage, &broker, subscription()).await;
        both_have_lanes(&stage, &first, &second).await;
        tokio::time::sleep(stage.seconds(3.0)).await;
        drop(second.0.stop().await);
        first.settled().await;
        nothing_is_lost(&first, &world, 0..30).await;
        assert_eq!(world.succeeded().len(), 30);
        world.keys_kept_their_order();
        broker.close().await.expect("it can be closed");
    }
    Ok(())
}

pub(crate) async fn a_membership_that_expired_is_taken_up_again(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let (broker, faults) = Faults::over(&stage.open().await);
    let world = World::default();
    for id in 0..100 {
        world.script(
            id,
            Script {
                takes: Duration::from_millis(40),
                fails: u32::from(id % 9 == 0),
                how: How::Transient,
            },
        );
    }
    let subscription = world
        .subscription()
        .concurrency(4)
        .retry(retry(20, Duration::from_millis(200)));
    let running = stage.run(&broker, subscription).await;
    for id in 0..100 {
        running.order(id, &format!("key {}", id % 8)).await;
    }
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(130)).await;
        faults.expire();
    }
    running.settled().await;
    nothing_is_lost(&running, &world, 0..100).await;
    world.keys_kept_their_order();
    let duplicates = world.handlings().iter().filter(|handling| handling.ok).count() - 100;
    assert!(
        duplicates <= 10 * (4 + 10),
        "what was not stored yet, and no more: {duplicates}"
    );
    Ok(())
}

pub(crate) async fn nobody_is_paused_for_ever_after_a_storm_of_rebalances(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let (broker, world) = (stage.open().await, World::default());
    let mut random = fastrand::Rng::with_seed(23);
    for id in 0..200 {
        world.script(
            id,
            Script {
                takes: Duration::from_millis(random.u64(0..150)),
                fails: u32::from(random.u8(0..6) == 0),
                how: How::Transient,
            },
        );
    }
    let subscription = || {
        let retry = retry(50, stage.seconds(3.0));
        world.subscription().concurrency(3).max_in_flight(10).retry(retry)
    };
    let first = start(&stage, &broker, subscription()).await;
    for id in 0..200 {
        first.order(id, &format!("key {}", id % 12)).await;
    }
    for _ in 0..12 {
        let other = start(&stage, &broker, subscription()).await;
        tokio::time::sleep(Duration::from_millis(random.u64(1..700))).await;
        if random.bool() {
            other.kill().await;
        } else {
            drop(other.0.stop().await);
        }
    }
    let begun = Instant::now();
    first.settled().await;
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "lag is gone a minute after the faults end"
    );
    nothing_is_lost(&first, &world, 0..200).await;
    world.keys_kept_their_order();
    Ok(())
}

pub(crate) async fn two_members_never_handle_one_key_at_once(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let (broker, world) = (stage.open().await, World::default());
    for id in 0..60 {
        world.script(id, Script::takes(stage.seconds(0.7)));
    }
    let subscription = || world.subscription().concurrency(2);
    let first = start(&stage, &broker, subscription()).await;
    for id in 0..60 {
        first.order(id, &format!("key {}", id % 4)).await;
    }
    let mut others = Vec::new();
    for _ in 0..2 {
        tokio::time::sleep(stage.seconds(1.0)).await;
        others.push(start(&stage, &broker, subscription()).await);
    }
    first.settled().await;
    assert_eq!(world.succeeded().len(), 60);
    world.keys_kept_their_order();
    Ok(())
}

/// Notes every committed watermark of a run, to see that none goes back.
pub(crate) async fn what_is_reported_of_a_partition_only_grows(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let (broker, faults) = Faults::over(&stage.open().await);
    let world = World::default();
    let reported: Arc<Mutex<BTreeMap<(String, u32), u64>>> = Arc::default();
    let noting = reported.clone();
    faults.watch(move |lane, progress| {
        let mut noted = noting.lock().expect("nothing panics while it is held");
        let key = (lane.destination.to_string(), lane.partition);
        let before = noted.insert(key, progress.watermark);
        assert!(before <= Some(progress.watermark), "{before:?} then {progress:?}");
    });
    let subscription = || world.subscription().concurrency(4);
    let first = start(&stage, &broker, subscription()).await;
    for id in 0..100 {
        first.order(id, &format!("key {}", id % 8)).await;
    }
    let second = start(&stage, &broker, subscription()).await;
    first.settled().await;
    drop(second.0.stop().await);
    first.settled().await;
    let total: u64 = reported.lock().expect("fine").values().sum();
    assert_eq!(total, 100);
    Ok(())
}

/// Polling never waits for commits, and neither do the lanes that stay.
pub(crate) async fn a_commit_that_hangs_while_lanes_move_stops_no_other_lane(stage: Stage) -> Verdict {
    stage.needs(&[
        Feature::VirtualTime,
        Feature::Partitions,
        Feature::StoredPositions,
    ])?;
    let inner = stage.open().await;
    let (broker, faults) = Faults::over(&inner);
    let (world, other) = (World::default(), World::default());
    let first = start(&stage, &broker, world.subscription().concurrency(4)).await;
    faults.hang();
    let second = start(&stage, &inner, other.subscription().concurrency(4)).await;
    let begun = Instant::now();
    let mut sent = BTreeMap::new();
    for id in 0..20 {
        sent.insert(id, first.order(id, &id.to_string()).await.partition());
    }
    both_have_lanes(&stage, &first, &second).await;
    second.settled().await;
    let lanes = first.status("billing").lanes;
    let kept: BTreeSet<_> = lanes.iter().map(|lane| lane.partition).collect();
    let of_kept = world
        .handlings()
        .into_iter()
        .filter(|handling| kept.contains(&sent[&handling.id]));
    let latest = of_kept.map(|handling| handling.began - begun).max();
    assert!(
        latest.is_some_and(|latest| latest < Duration::from_secs(1)),
        "{latest:?}"
    );
    Ok(())
}

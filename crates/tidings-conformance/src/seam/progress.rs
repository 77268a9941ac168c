//! What a group has finished, and that it is there again.

use crate::features::Feature;
use crate::stage::{Stage, Verdict, numbers, spec};
use std::time::Duration;
use tidings_core::{Epoch, Progress};

fn gapped() -> Progress {
    Progress {
        watermark: 4,
        finished: vec![6..7, 8..10],
        attempts: vec![(5, 3)],
    }
}

pub(crate) async fn finished_ranges_and_attempts_come_back_with_the_next_member(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions, Feature::Offsets])?;
    let broker = stage.open().await;
    broker.has("orders", 1).await;
    broker.count_up("orders", 0, 12).await;
    let mut member = broker.join("billing", "orders").await;
    let lane = member.assigned(1).await.remove(0);
    assert_eq!((lane.next, &lane.finished, &lane.attempts), (0, &vec![], &vec![]));
    member.take(12).await;
    member.progress(lane.lane, lane.epoch, gapped());
    member.commit().await;
    assert_eq!(
        broker.at("orders", Some("billing")).await[0].progress,
        Some(gapped())
    );
    drop(member);
    let mut member = broker.join("billing", "orders").await;
    let again = member.assigned(1).await.remove(0);
    assert_eq!((again.next, again.end), (4, 12));
    assert_eq!(
        (again.finished, again.attempts),
        (gapped().finished, gapped().attempts)
    );
    assert!(again.epoch > lane.epoch);
    assert_eq!(
        member.drain().await,
        numbers(4..12),
        "from the watermark on; the ranges are for the engine"
    );
    Ok(())
}

pub(crate) async fn progress_of_another_epoch_is_ignored(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let broker = stage.open().await;
    broker.has("orders", 1).await;
    broker.knows("orders", &["billing"]).await;
    broker.count_up("orders", 0, 10).await;
    let mut member = broker.join("billing", "orders").await;
    let lane = member.assigned(1).await.remove(0);
    member.take(10).await;
    member.done(lane.lane, lane.epoch, 2);
    member.done(lane.lane, Epoch(lane.epoch.0.wrapping_sub(1)), 9);
    member.done(lane.lane, Epoch(lane.epoch.0 + 1), 9);
    member.commit().await;
    assert_eq!(broker.stored("orders", "billing").await, [Some(2)]);
    Ok(())
}

pub(crate) async fn progress_is_stored_after_the_interval_or_so_many_messages(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions, Feature::VirtualTime])?;
    let broker = stage.open().await;
    broker.has("orders", 1).await;
    broker.count_up("orders", 0, 10).await;
    let mut wanted = spec(Some("billing"), "orders");
    wanted.commit_every = 5;
    let mut member = broker.member(wanted).await;
    let lane = member.assigned(1).await.remove(0);
    member.drain().await;
    member.commit().await;
    member.done(lane.lane, lane.epoch, 3);
    // Nothing but waiting for events stores it.
    assert!(member.next_within(Duration::from_millis(500)).await.is_none());
    assert_eq!(
        broker.stored("orders", "billing").await,
        [Some(3)],
        "the interval is over"
    );
    member.done(lane.lane, lane.epoch, 9);
    assert!(member.next_within(Duration::from_millis(20)).await.is_none());
    assert_eq!(
        broker.stored("orders", "billing").await,
        [Some(9)],
        "so many messages are finished"
    );
    Ok(())
}

pub(crate) async fn a_member_that_closes_has_stored_everything(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions, Feature::Partitions])?;
    let broker = stage.open().await;
    broker.has("orders", 2).await;
    broker.count_up("orders", 0, 5).await;
    broker.count_up("orders", 1, 5).await;
    let mut wanted = spec(Some("billing"), "orders");
    wanted.commit_interval = Duration::from_secs(3_600);
    let mut member = broker.member(wanted).await;
    let lanes = member.assigned(2).await;
    member.take(10).await;
    for (lane, below) in lanes.iter().zip([3, 5]) {
        member.done(lane.lane, lane.epoch, below);
    }
    member.close().await;
    assert_eq!(broker.stored("orders", "billing").await, [Some(3), Some(5)]);
    Ok(())
}

pub(crate) async fn groups_have_positions_of_their_own_in_each_destination(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let broker = stage.open().await;
    for name in ["orders", "payments"] {
        broker.has(name, 1).await;
        broker.knows(name, &["billing"]).await;
    }
    broker.knows("orders", &["audit"]).await;
    for name in ["orders", "payments"] {
        broker.count_up(name, 0, 5).await;
    }
    for (group, name, below) in [
        ("billing", "orders", 1),
        ("billing", "payments", 2),
        ("audit", "orders", 3),
    ] {
        let mut member = broker.join(group, name).await;
        let lane = member.assigned(1).await.remove(0);
        member.take(5).await;
        member.done(lane.lane, lane.epoch, below);
        member.close().await;
    }
    assert_eq!(broker.stored("orders", "billing").await, [Some(1)]);
    assert_eq!(broker.stored("payments", "billing").await, [Some(2)]);
    assert_eq!(broker.stored("orders", "audit").await, [Some(3)]);
    assert_eq!(broker.stored("payments", "audit").await, [None]);
    Ok(())
}

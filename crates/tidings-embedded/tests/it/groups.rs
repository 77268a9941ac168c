use crate::support::*;
use std::time::Duration;
use tidings_core::{
    Assignment, Binder, BinderError, LaneRole, Progress, Source, SourceError, SourceEvent, SourceInput, Start,
};
use tidings_embedded::{EmbeddedSource, Fsync};
use tokio::time::Instant;

fn partitions(assignments: &[Assignment]) -> Vec<u32> {
    assignments.iter().map(|one| one.partition).collect()
}

async fn revoking(source: &mut EmbeddedSource) -> (Vec<tidings_core::LaneId>, Instant) {
    loop {
        match next(source).await.unwrap() {
            SourceEvent::Revoking { lanes, deadline } => return (lanes, deadline),
            SourceEvent::Idle | SourceEvent::Batch(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn only_what_must_move_is_taken_and_given_after_its_release_with_the_progress() {
    let broker = memory();
    prepare(&broker, "orders", 4).await;
    for partition in 0..4 {
        for number in 0..10 {
            publish(&broker, "orders", partition, number.to_string())
                .await
                .unwrap();
        }
    }
    let mut first = join(&broker, "billing", "orders").await;
    let all = assigned(&mut first).await;
    assert_eq!(partitions(&all), [0, 1, 2, 3]);
    assert_eq!(drain(&mut first).await.len(), 40);
    for one in &all {
        let progress = Progress {
            watermark: 5,
            finished: vec![7..8],
            attempts: vec![(6, 2)],
        };
        first.progress(one.lane, one.epoch, progress);
    }

    let mut second = join(&broker, "billing", "orders").await;
    let (lanes, _) = revoking(&mut first).await;
    assert_eq!(lanes.len(), 2);
    assert!(
        matches!(next(&mut second).await, Ok(SourceEvent::Idle)),
        "nothing before the release"
    );
    let moved: Vec<_> = all.iter().filter(|one| lanes.contains(&one.lane)).collect();
    done(&mut first, lanes[0], moved[0].epoch, 8);
    first.commit().await.unwrap();
    first.release(&lanes);
    let given = [assigned(&mut second).await, assigned(&mut second).await].concat();
    assert_eq!(
        partitions(&given),
        moved.iter().map(|one| one.partition).collect::<Vec<_>>()
    );
    assert!(
        given
            .iter()
            .all(|one| all.iter().all(|before| before.epoch < one.epoch))
    );
    assert_eq!(
        (given[0].next, &given[0].finished, &given[0].attempts),
        (8, &vec![], &vec![])
    );
    assert_eq!(
        (given[1].next, &given[1].finished, &given[1].attempts),
        (5, &vec![7..8], &vec![(6, 2)])
    );
    assert_eq!(drain(&mut second).await.len(), 2 + 5);

    // The old member's reports of what it gave away count for nothing.
    done(&mut first, lanes[0], moved[0].epoch, 10);
    first.commit().await.unwrap();
    assert_eq!(
        stored(&broker, "orders", "billing").await[moved[0].partition as usize],
        Some(8)
    );
}

#[tokio::test(start_paused = true)]
async fn a_member_that_keeps_a_partition_loses_it_at_the_deadline() {
    let broker = memory();
    prepare(&broker, "orders", 2).await;
    let mut first = join(&broker, "billing", "orders").await;
    let all = assigned(&mut first).await;
    let begun = Instant::now();
    let mut second = join(&broker, "billing", "orders").await;
    let (lanes, deadline) = revoking(&mut first).await;
    assert_eq!(deadline - begun, Duration::from_secs(5));
    let lost = all.iter().find(|one| one.lane == lanes[0]).unwrap();
    done(&mut first, lost.lane, lost.epoch, 0);
    let given = assigned(&mut second).await;
    assert!(begun.elapsed() >= Duration::from_secs(5));
    assert_eq!(partitions(&given), [lost.partition]);
    publish(&broker, "orders", lost.partition, "tea").await.unwrap();
    // It has not heard yet that it lost the partition.
    done(&mut first, lost.lane, lost.epoch, 1);
    first.commit().await.unwrap();
    assert_eq!(
        stored(&broker, "orders", "billing").await[lost.partition as usize],
        Some(0)
    );
    assert!(matches!(next(&mut first).await, Ok(SourceEvent::Lost(gone)) if gone == lanes));
    first.release(&lanes);
    assert_eq!(drain(&mut second).await, ["tea"]);
}

#[tokio::test(start_paused = true)]
async fn a_release_after_the_deadline_changes_nothing_and_is_not_answered() {
    let broker = memory();
    prepare(&broker, "orders", 2).await;
    let mut first = join(&broker, "billing", "orders").await;
    assigned(&mut first).await;
    let mut second = join(&broker, "billing", "orders").await;
    let (lanes, _) = revoking(&mut first).await;
    let given = assigned(&mut second).await;
    first.release(&lanes);
    assert!(matches!(next(&mut first).await, Ok(SourceEvent::Idle)));
    publish(&broker, "orders", given[0].partition, "tea")
        .await
        .unwrap();
    assert_eq!(drain(&mut second).await, ["tea"]);
    assert!(
        tokio::time::timeout(Duration::from_secs(60), first.next())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn whoever_is_dropped_leaves_at_once_with_what_was_reported() {
    let broker = memory();
    prepare(&broker, "orders", 2).await;
    publish(&broker, "orders", 0, "a").await.unwrap();
    publish(&broker, "orders", 0, "b").await.unwrap();
    let mut first = join(&broker, "billing", "orders").await;
    let all = assigned(&mut first).await;
    let mut second = join(&broker, "billing", "orders").await;
    let (lanes, _) = revoking(&mut first).await;
    let kept = all.iter().find(|one| !lanes.contains(&one.lane)).unwrap();
    done(&mut first, kept.lane, kept.epoch, 1);
    drop(first);
    let given = assigned(&mut second).await;
    assert_eq!(partitions(&given), [0, 1]);
    assert_eq!(given[kept.partition as usize].next, 1);
    assert_eq!(drain(&mut second).await, ["b"]);
}

#[tokio::test]
async fn a_partition_and_its_retry_partition_always_move_together() {
    let broker = memory();
    prepare(&broker, "orders", 2).await;
    prepare(&broker, "orders.retry", 2).await;
    publish(&broker, "orders.retry", 0, "parked").await.unwrap();
    let mut wanted = spec(Some("billing"), "orders");
    wanted.start = Start::Latest;
    wanted.inputs = vec![SourceInput {
        destination: "orders".into(),
        retry: Some("orders.retry".into()),
    }];
    let mut first = broker.subscribe(wanted.clone()).await.unwrap();
    let all = assigned(&mut first).await;
    assert_eq!(all.len(), 4);
    for one in &all {
        let partner = all.iter().find(|other| Some(other.lane) == one.partner).unwrap();
        assert_eq!((partner.partition, partner.epoch), (one.partition, one.epoch));
        assert_ne!(partner.role, one.role);
    }
    assert_eq!(
        drain(&mut first).await,
        ["parked"],
        "what is parked is read from its start, whatever `start` says"
    );

    let mut second = broker.subscribe(wanted).await.unwrap();
    let (lanes, _) = revoking(&mut first).await;
    assert_eq!(lanes.len(), 2);
    first.release(&lanes[..1]);
    assert!(
        matches!(next(&mut second).await, Ok(SourceEvent::Idle)),
        "one of the two is not enough"
    );
    first.release(&lanes[1..]);
    let given = assigned(&mut second).await;
    let roles: Vec<_> = given.iter().map(|one| one.role).collect();
    assert_eq!(roles, [LaneRole::Main, LaneRole::Retry]);
    assert_eq!(given[0].partition, given[1].partition);
}

#[tokio::test]
async fn a_retry_destination_of_another_shape_is_refused() {
    let broker = memory();
    prepare(&broker, "orders", 2).await;
    prepare(&broker, "orders.retry", 3).await;
    let mut wanted = spec(Some("billing"), "orders");
    wanted.inputs[0].retry = Some("orders.retry".into());
    assert!(matches!(
        broker.subscribe(wanted.clone()).await,
        Err(BinderError::Failed { .. })
    ));
    wanted.inputs[0].retry = Some("missing".into());
    assert!(matches!(
        broker.subscribe(wanted).await,
        Err(BinderError::UnknownDestination { .. })
    ));
}

#[tokio::test]
async fn groups_do_not_know_of_each_other() {
    let broker = memory();
    prepare(&broker, "orders", 2).await;
    publish(&broker, "orders", 1, "tea").await.unwrap();
    for group in ["billing", "shipping"] {
        let mut source = join(&broker, group, "orders").await;
        assert_eq!(drain(&mut source).await, ["tea"]);
    }
}

#[tokio::test]
async fn progress_survives_a_killed_process_and_what_was_not_finished_comes_again() {
    let root = tempfile::tempdir().unwrap();
    let (live, killed) = (root.path().join("live"), root.path().join("killed"));
    let broker = disk(&live, Fsync::Os);
    prepare(&broker, "orders", 1).await;
    for number in 0..10 {
        publish(&broker, "orders", 0, number.to_string()).await.unwrap();
    }
    let mut source = join(&broker, "billing", "orders").await;
    let lane = assigned(&mut source).await.remove(0);
    let progress = Progress {
        watermark: 4,
        finished: vec![6..7],
        attempts: vec![(5, 3)],
    };
    source.progress(lane.lane, lane.epoch, progress.clone());
    source.commit().await.unwrap();
    done(&mut source, lane.lane, lane.epoch, 9);
    copy(&live, &killed);

    let broker = disk(&killed, Fsync::Os);
    let positions = broker.positions("orders", Some("billing")).await.unwrap();
    assert_eq!(positions[0].progress, Some(progress));
    let mut source = join(&broker, "billing", "orders").await;
    let lane = assigned(&mut source).await.remove(0);
    assert_eq!(
        (lane.next, lane.end, lane.finished, lane.attempts),
        (4, 10, vec![6..7], vec![(5, 3)])
    );
    assert_eq!(drain(&mut source).await, ["4", "5", "6", "7", "8", "9"]);
}

#[tokio::test(start_paused = true)]
async fn progress_is_stored_after_the_interval_or_so_many_messages() {
    let broker = memory();
    prepare(&broker, "orders", 1).await;
    for number in 0..10 {
        publish(&broker, "orders", 0, number.to_string()).await.unwrap();
    }
    let mut wanted = spec(Some("billing"), "orders");
    wanted.commit_every = 5;
    let mut source = broker.subscribe(wanted).await.unwrap();
    let lane = assigned(&mut source).await.remove(0);
    drain(&mut source).await;
    // Where the group begins was noted in the background: from here on nothing is.
    source.commit().await.unwrap();
    done(&mut source, lane.lane, lane.epoch, 4);
    let wait = |duration| tokio::time::timeout(duration, std::future::pending::<()>());
    drop(wait(Duration::from_millis(90)).await);
    assert_eq!(
        stored(&broker, "orders", "billing").await,
        [Some(0)],
        "neither is reached"
    );
    assert!(
        tokio::time::timeout(Duration::from_millis(200), source.next())
            .await
            .is_err()
    );
    assert_eq!(
        stored(&broker, "orders", "billing").await,
        [Some(4)],
        "the interval is over"
    );
    done(&mut source, lane.lane, lane.epoch, 9);
    drop(wait(Duration::from_millis(10)).await);
    assert_eq!(
        stored(&broker, "orders", "billing").await,
        [Some(9)],
        "so many messages are finished"
    );
}

#[tokio::test]
async fn a_position_is_set_from_outside_only_while_nobody_reads() {
    let broker = memory();
    prepare(&broker, "orders", 1).await;
    for number in 0..3 {
        publish(&broker, "orders", 0, number.to_string()).await.unwrap();
    }
    let at = |watermark| Progress {
        watermark,
        ..Progress::default()
    };
    let mut source = join(&broker, "billing", "orders").await;
    assert_eq!(drain(&mut source).await.len(), 3);
    assert!(matches!(
        broker.store_progress("orders", 0, "billing", at(1)).await,
        Err(BinderError::Failed { .. })
    ));
    source.close().await.unwrap();
    broker
        .store_progress("orders", 0, "billing", at(2))
        .await
        .unwrap();
    assert!(
        broker
            .store_progress("orders", 0, "billing", at(4))
            .await
            .is_err(),
        "beyond the end"
    );
    assert!(
        broker
            .store_progress("orders", 9, "billing", at(0))
            .await
            .is_err(),
        "no such partition"
    );
    let mut source = join(&broker, "billing", "orders").await;
    assert_eq!(drain(&mut source).await, ["2"]);
}

#[tokio::test]
async fn a_position_beyond_the_end_is_refused_with_the_cure_and_skips_nothing() {
    let root = tempfile::tempdir().unwrap();
    let broker = disk(root.path(), Fsync::Os);
    prepare(&broker, "orders", 2).await;
    for number in 0..5 {
        publish(&broker, "orders", 0, number.to_string()).await.unwrap();
    }
    let mut source = join(&broker, "billing", "orders").await;
    let lane = assigned(&mut source).await.remove(0);
    done(&mut source, lane.lane, lane.epoch, 5);
    source.close().await.unwrap();
    broker.close().await.unwrap();
    // The machine crashed and its disk lied: the partition is empty.
    for entry in std::fs::read_dir(root.path().join("topics/orders/0")).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }

    let broker = disk(root.path(), Fsync::Os);
    let mut source = join(&broker, "billing", "orders").await;
    assigned(&mut source).await;
    for _ in 0..6 {
        publish(&broker, "orders", 0, "new").await.unwrap();
    }
    publish(&broker, "orders", 1, "other").await.unwrap();
    let refused = next(&mut source).await.unwrap_err();
    assert!(
        matches!(&refused, SourceError::Corrupt { partition: 0, .. }),
        "{refused}"
    );
    assert!(
        refused.to_string().contains("set the group's position"),
        "{refused}"
    );
    assert_eq!(drain(&mut source).await, ["other"]);
}

#[tokio::test(start_paused = true)]
async fn members_that_come_and_go_never_share_a_partition_and_miss_none() {
    let broker = memory();
    prepare(&broker, "orders", 6).await;
    let mut random = fastrand::Rng::with_seed(7);
    let mut members: Vec<(EmbeddedSource, Vec<Assignment>)> = Vec::new();
    let mut sent = 0;
    let mut handled = vec![0u64; 6];
    for _ in 0..400 {
        match random.u8(0..10) {
            0 if members.len() < 5 => members.push((join(&broker, "billing", "orders").await, Vec::new())),
            1 if members.len() > 1 => drop(members.swap_remove(random.usize(..members.len()))),
            2..=5 => {
                publish(&broker, "orders", random.u32(..6), "x").await.unwrap();
                sent += 1;
            }
            _ => {}
        }
        for (source, own) in &mut members {
            step(source, own, &mut handled, random.bool()).await;
        }
        let mut held: Vec<_> = members.iter().flat_map(|(_, own)| partitions(own)).collect();
        held.sort_unstable();
        let all = held.len();
        held.dedup();
        assert_eq!(held.len(), all, "a partition has two members");
    }
    members.truncate(1);
    if members.is_empty() {
        members.push((join(&broker, "billing", "orders").await, Vec::new()));
    }
    let (source, own) = &mut members[0];
    // What the others kept too long is free after the deadline.
    tokio::time::sleep(Duration::from_secs(6)).await;
    for _ in 0..200 {
        step(source, own, &mut handled, true).await;
    }
    assert_eq!(own.len(), 6);
    assert_eq!(handled.iter().sum::<u64>(), sent);
}

/// One event of a member that handles what it gets, in order, and sometimes keeps what it should give back.
async fn step(source: &mut EmbeddedSource, own: &mut Vec<Assignment>, handled: &mut [u64], obedient: bool) {
    let Ok(event) = tokio::time::timeout(Duration::from_millis(1), source.next()).await else {
        return;
    };
    match event.unwrap() {
        SourceEvent::Assigned(more) => own.extend(more),
        SourceEvent::Revoking { lanes, .. } if obedient => {
            own.retain(|one| !lanes.contains(&one.lane));
            source.release(&lanes);
        }
        SourceEvent::Lost(lanes) => own.retain(|one| !lanes.contains(&one.lane)),
        SourceEvent::Batch(batch) => {
            let one = own.iter().find(|one| one.lane == batch.lane()).unwrap();
            let handled = &mut handled[one.partition as usize];
            assert_eq!(batch.epoch(), one.epoch);
            assert_eq!(batch.records()[0].offset, *handled, "in order, nothing twice");
            *handled = batch.next();
            done(source, batch.lane(), batch.epoch(), batch.next());
        }
        _ => {}
    }
}

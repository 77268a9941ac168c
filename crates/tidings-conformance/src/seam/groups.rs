//! Members that share the work of a group.

use crate::faulty::Faults;
use crate::features::Feature;
use crate::member::{Manners, Worker, partitions};
use crate::stage::{Broker, Stage, Verdict, numbers, spec, watermark};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tidings_core::{Assignment, LaneRole, SourceEvent, SourceInput, SourceSpec, Start};
use tokio::time::Instant;

pub(crate) async fn every_group_sees_every_message(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    broker.has("orders", 2).await;
    broker.knows("orders", &["billing", "shipping", "audit"]).await;
    broker.count_up("orders", 0, 10).await;
    for group in ["billing", "shipping", "audit"] {
        let mut member = broker.join(group, "orders").await;
        assert_eq!(member.take(10).await, numbers(0..10), "{group}");
    }
    Ok(())
}

/// Lets workers work until nothing comes any more.
async fn work(workers: &mut [Worker]) -> Vec<(String, u32, u64)> {
    let mut handled = Vec::new();
    for _ in 0..20 {
        for worker in workers.iter_mut() {
            handled.extend(worker.work(Duration::from_millis(20), Manners::Good).await);
        }
    }
    handled
}

pub(crate) async fn members_share_the_partitions(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Partitions, Feature::VirtualTime])?;
    let broker = stage.open().await;
    broker.has("orders", 6).await;
    let mut workers = Vec::new();
    let mut handled = Vec::new();
    for members in 1..=4usize {
        workers.push(Worker::new(broker.join("billing", "orders").await));
        for partition in 0..6 {
            broker
                .publish("orders", partition, "x")
                .await
                .expect("it is kept");
        }
        handled.extend(work(&mut workers).await);
        let counts: Vec<_> = workers.iter().map(|worker| worker.own().count()).collect();
        assert_eq!(
            counts.iter().sum::<usize>(),
            6,
            "each partition has one member: {counts:?}"
        );
        let fair = 6 / members..=6usize.div_ceil(members);
        assert!(counts.iter().all(|count| fair.contains(count)), "{counts:?}");
    }
    // One leaves politely, one is gone.
    workers.remove(0).member.close().await;
    drop(workers.remove(0));
    handled.extend(work(&mut workers).await);
    assert_eq!(
        workers.iter().map(|worker| worker.own().count()).sum::<usize>(),
        6
    );
    let distinct: BTreeSet<_> = handled.iter().collect();
    assert_eq!(distinct.len(), 24, "everything is handled");
    assert_eq!(handled.len(), 24, "and, as everybody behaves, once");
    Ok(())
}

pub(crate) async fn only_what_must_move_is_taken_and_comes_with_its_progress(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Partitions, Feature::StoredPositions])?;
    let broker = stage.open().await;
    broker.has_counted("orders", 4, 10).await;
    let mut first = broker.join("billing", "orders").await;
    let all = first.assigned(4).await;
    assert_eq!(first.drain().await.len(), 40);
    for one in &all {
        first.done(one.lane, one.epoch, 5);
    }
    let mut second = broker.join("billing", "orders").await;
    let (lanes, _) = first.revoking().await;
    assert_eq!(lanes.len(), 2, "half of the partitions move, the others stay");
    let moved: Vec<_> = all.iter().filter(|one| lanes.contains(&one.lane)).collect();
    first.done(moved[0].lane, moved[0].epoch, 8);
    first.commit().await;
    first.0.release(&lanes);
    let given = first.beside(second.assigned(2)).await;
    assert_eq!(
        partitions(&given),
        moved.iter().map(|one| one.partition).collect::<Vec<_>>()
    );
    for (before, after) in moved.iter().zip(&given) {
        assert!(after.epoch > before.epoch, "an epoch grows with every assignment");
        assert_eq!(after.end, 10);
    }
    assert_eq!((given[0].next, given[1].next), (8, 5));
    assert_eq!(second.drain().await.len(), 2 + 5);

    // What the old member says of what it gave away counts for nothing.
    first.done(moved[0].lane, moved[0].epoch, 10);
    first.commit().await;
    second.commit().await;
    let stored = broker.stored("orders", "billing").await;
    assert_eq!(stored[moved[0].partition as usize], Some(8));
    Ok(())
}

pub(crate) async fn nothing_of_a_partition_is_given_before_its_old_member_let_go(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Partitions, Feature::VirtualTime])?;
    let broker = stage.open().await;
    broker.has("orders", 2).await;
    let mut first = broker.join("billing", "orders").await;
    let all = first.assigned(2).await;
    let begun = Instant::now();
    let mut second = broker.join("billing", "orders").await;
    let (lanes, deadline) = first.revoking().await;
    assert_eq!(
        deadline - begun,
        Duration::from_secs(5),
        "as the subscription says"
    );
    let moved = all
        .iter()
        .find(|one| lanes.contains(&one.lane))
        .expect("one moves")
        .clone();
    broker
        .publish("orders", moved.partition, "x")
        .await
        .expect("it is kept");
    let soon = second.next_within(Duration::from_secs(4)).await;
    assert!(
        matches!(soon, None | Some(SourceEvent::Idle)),
        "{soon:?} before the release"
    );

    // It keeps the partition too long: it is taken away, and its work counts for nothing.
    let given = second.assigned(1).await;
    assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
    first.done(moved.lane, moved.epoch, 1);
    first.commit().await;
    assert_eq!(
        broker.stored("orders", "billing").await[moved.partition as usize].unwrap_or(0),
        0
    );
    let lost = loop {
        match first.next().await.expect("a healthy broker tells") {
            SourceEvent::Lost(lanes) => break lanes,
            SourceEvent::Idle => {}
            other => panic!("{other:?} instead of the loss"),
        }
    };
    assert_eq!(lost, lanes);
    assert!(given[0].epoch > moved.epoch);
    first.0.release(&lanes);
    assert_eq!(
        second.take(1).await,
        ["x"],
        "a release that comes too late changes nothing"
    );
    Ok(())
}

pub(crate) async fn a_member_that_is_dropped_leaves_at_once_with_what_it_reported(stage: Stage) -> Verdict {
    stage.needs(&[Feature::VirtualTime, Feature::StoredPositions])?;
    let broker = stage.open().await;
    broker.has("orders", 2).await;
    broker.count_up("orders", 0, 4).await;
    let mut first = broker.join("billing", "orders").await;
    let all = first.assigned(2).await;
    first.drain().await;
    first.done(all[0].lane, all[0].epoch, 3);
    first.commit().await;
    let begun = Instant::now();
    drop(first);
    let mut second = broker.join("billing", "orders").await;
    assert_eq!(partitions(&second.assigned(2).await), [0, 1]);
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(second.drain().await, ["3"]);
    Ok(())
}

fn with_retry(broker_start: Start) -> SourceSpec {
    let mut wanted = spec(Some("billing"), "orders");
    wanted.start = broker_start;
    wanted.inputs = vec![SourceInput {
        destination: "orders".into(),
        retry: Some("orders.billing.retry".into()),
    }];
    wanted
}

async fn with_retry_lanes(stage: &Stage) -> Broker {
    let broker = stage.open().await;
    broker.has("orders", 2).await;
    broker.has("orders.billing.retry", 2).await;
    broker
}

fn partner<'a>(one: &Assignment, all: &'a [Assignment]) -> &'a Assignment {
    all.iter()
        .find(|other| Some(other.lane) == one.partner)
        .expect("both are in the same event")
}

pub(crate) async fn a_partition_and_its_retry_partition_always_move_together(stage: Stage) -> Verdict {
    stage.needs(&[Feature::RetryLane, Feature::Partitions])?;
    let broker = with_retry_lanes(&stage).await;
    broker
        .publish("orders", 0, "before the start")
        .await
        .expect("it is kept");
    broker
        .publish("orders.billing.retry", 0, "parked")
        .await
        .expect("it is kept");
    let mut first = broker.member(with_retry(Start::Latest)).await;
    let all = first.assigned(4).await;
    for one in &all {
        let other = partner(one, &all);
        assert_eq!((other.partition, other.epoch), (one.partition, one.epoch));
        assert_ne!(other.role, one.role);
        assert_eq!(
            one.role == LaneRole::Retry,
            &*one.destination == "orders.billing.retry"
        );
    }
    assert_eq!(
        first.drain().await,
        ["parked"],
        "what is parked is read from its start, whatever the start says"
    );
    let mut second = broker.member(with_retry(Start::Latest)).await;
    let (lanes, _) = first.revoking().await;
    assert_eq!(lanes.len(), 2);
    first.0.release(&lanes[..1]);
    let soon = second.next_within(Duration::from_millis(50)).await;
    assert!(
        matches!(soon, None | Some(SourceEvent::Idle)),
        "one of the two is not enough: {soon:?}"
    );
    first.0.release(&lanes[1..]);
    let given = first.beside(second.assigned(2)).await;
    assert_eq!(given[0].partition, given[1].partition);
    assert_eq!(partner(&given[0], &given).lane, given[1].lane);
    Ok(())
}

pub(crate) async fn a_retry_destination_of_another_shape_is_refused(stage: Stage) -> Verdict {
    stage.needs(&[Feature::RetryLane, Feature::Partitions])?;
    let broker = stage.open().await;
    broker.has("orders", 2).await;
    assert!(
        broker.subscribe(with_retry(Start::Earliest)).await.is_err(),
        "it is missing"
    );
    broker.has("orders.billing.retry", 3).await;
    assert!(
        broker.subscribe(with_retry(Start::Earliest)).await.is_err(),
        "it has more partitions"
    );
    Ok(())
}

pub(crate) async fn members_that_come_and_go_never_share_a_partition_and_miss_nothing(
    stage: Stage,
) -> Verdict {
    stage.needs(&[
        Feature::Partitions,
        Feature::VirtualTime,
        Feature::StoredPositions,
    ])?;
    let broker = stage.open().await;
    broker.has("orders", 5).await;
    let mut random = fastrand::Rng::with_seed(11);
    let mut members: Vec<Worker> = Vec::new();
    let mut sent = [0u64; 5];
    let mut handled: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
    for _ in 0..300 {
        match random.u8(0..10) {
            0 if members.len() < 4 => {
                members.push(Worker::new(broker.join("billing", "orders").await));
            }
            1 if members.len() > 1 => drop(members.swap_remove(random.usize(..members.len()))),
            2..=6 => {
                let partition = random.u32(..5);
                broker
                    .publish("orders", partition, "x")
                    .await
                    .expect("it is kept");
                sent[partition as usize] += 1;
            }
            _ => {}
        }
        for worker in &mut members {
            let manners = if random.u8(0..5) == 0 {
                Manners::Bad
            } else {
                Manners::Good
            };
            for (_, partition, offset) in worker.work(Duration::from_millis(1), manners).await {
                handled.entry(partition).or_default().insert(offset);
            }
        }
        let held: Vec<_> = members.iter().flat_map(Worker::own).collect();
        let distinct: BTreeSet<_> = held.iter().collect();
        assert_eq!(
            distinct.len(),
            held.len(),
            "a partition has two members: {held:?}"
        );
    }
    members.clear();
    let mut last = Worker::new(broker.join("billing", "orders").await);
    tokio::time::sleep(Duration::from_secs(6)).await;
    for (_, partition, offset) in last.work(Duration::from_secs(6), Manners::Good).await {
        handled.entry(partition).or_default().insert(offset);
    }
    assert_eq!(last.own().count(), 5);
    for (partition, sent) in (0..).zip(sent) {
        let seen = handled.get(&partition).map_or(0, BTreeSet::len) as u64;
        assert_eq!(seen, sent, "partition {partition}");
    }
    Ok(())
}

pub(crate) async fn a_position_is_set_from_outside_only_while_nobody_reads(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions, Feature::Replay])?;
    let broker = stage.open().await;
    broker.has("orders", 1).await;
    broker.count_up("orders", 0, 5).await;
    let mut member = broker.join("billing", "orders").await;
    assert_eq!(member.take(5).await.len(), 5);
    let refused = broker.store_progress("orders", 0, "billing", watermark(1)).await;
    assert!(refused.is_err(), "a member reads it");
    member.close().await;
    broker
        .store_progress("orders", 0, "billing", watermark(3))
        .await
        .expect("nobody reads it");
    assert_eq!(broker.stored("orders", "billing").await, [Some(3)]);
    assert!(
        broker
            .store_progress("orders", 0, "billing", watermark(6))
            .await
            .is_err(),
        "beyond the end"
    );
    assert!(
        broker
            .store_progress("orders", 7, "billing", watermark(0))
            .await
            .is_err(),
        "no such partition"
    );
    let mut member = broker.join("billing", "orders").await;
    assert_eq!(member.drain().await, ["3", "4"]);
    Ok(())
}

/// Group, destination, partition, watermark, member.
type Row = (String, String, u32, Option<u64>, Option<String>);

async fn listed(broker: &Broker) -> Vec<Row> {
    let groups = broker.groups().await.expect("groups can be listed");
    let rows = groups.iter().flat_map(|group| {
        group.positions.iter().map(|at| {
            let watermark = at.progress.as_ref().map(|progress| progress.watermark);
            let member = at.member.as_ref().map(ToString::to_string);
            let name = group.name.to_string();
            (name, at.destination.to_string(), at.partition, watermark, member)
        })
    });
    rows.collect()
}

pub(crate) async fn groups_are_listed_with_their_positions_and_their_members(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions, Feature::Replay, Feature::Partitions])?;
    let broker = stage.open().await;
    assert_eq!(listed(&broker).await, []);
    broker.has("orders", 2).await;
    broker.has("audits", 1).await;
    broker.count_up("orders", 1, 5).await;
    let mut member = broker.join("billing", "orders").await;
    let lanes = member.assigned(2).await;
    member.take(5).await;
    let second = lanes
        .iter()
        .find(|lane| lane.partition == 1)
        .expect("it has both");
    member.done(second.lane, second.epoch, 3);
    member.commit().await;
    broker
        .store_progress("audits", 0, "audit", watermark(0))
        .await
        .expect("nobody reads it");
    let row = |group: &str, destination: &str, partition, watermark, member: Option<&str>| {
        let member = member.map(str::to_owned);
        (
            group.to_owned(),
            destination.to_owned(),
            partition,
            Some(watermark),
            member,
        )
    };
    let expected = [
        row("audit", "audits", 0, 0, None),
        row("billing", "orders", 0, 0, Some("case")),
        row("billing", "orders", 1, 3, Some("case")),
    ];
    assert_eq!(listed(&broker).await, expected);
    let (layered, _) = Faults::over(&broker);
    assert_eq!(
        listed(&layered).await,
        expected,
        "also through what stands in front"
    );
    member.close().await;
    let expected = [
        row("audit", "audits", 0, 0, None),
        row("billing", "orders", 0, 0, None),
        row("billing", "orders", 1, 3, None),
    ];
    assert_eq!(listed(&broker).await, expected);
    broker.close().await.expect("it can be closed");
    assert!(broker.groups().await.is_err(), "a closed broker knows nothing");
    Ok(())
}

pub(crate) async fn a_position_that_is_deleted_makes_the_group_begin_anew(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions, Feature::Replay])?;
    let mut broker = stage.open().await;
    broker.has("orders", 1).await;
    broker.count_up("orders", 0, 5).await;
    let mut member = broker.join("billing", "orders").await;
    let lane = member.assigned(1).await.remove(0);
    member.take(5).await;
    member.done(lane.lane, lane.epoch, 4);
    member.commit().await;
    let refused = broker.delete_progress("orders", "billing").await;
    assert!(refused.is_err(), "a member reads it");
    member.close().await;
    broker
        .delete_progress("orders", "billing")
        .await
        .expect("nobody reads it");
    assert_eq!(broker.stored("orders", "billing").await, [None]);
    assert_eq!(listed(&broker).await, []);
    broker
        .delete_progress("orders", "nobody")
        .await
        .expect("there is nothing to delete");
    assert!(broker.delete_progress("nowhere", "billing").await.is_err());
    if stage.needs(&[Feature::Durable]).is_ok() {
        broker = stage.crash(broker).await;
        assert_eq!(
            broker.stored("orders", "billing").await,
            [None],
            "nor after a crash"
        );
    }
    let mut member = broker.join("billing", "orders").await;
    assert_eq!(
        member.drain().await,
        numbers(0..5),
        "from the earliest, as a new group"
    );
    Ok(())
}

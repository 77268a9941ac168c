//! Members that share the work of a group, under each protocol.

use crate::members::{Member, PATIENCE, begin, clean, numbers, spec, stored};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tidings_core::{
    Binder, BinderError, LaneRole, Progress, Source, SourceError, SourceEvent, SourceInput, SourceSpec, Start,
};
use tokio::time::Instant;

/// Each way of sharing partitions.
const PROTOCOLS: &[&[(&str, &str)]] = &[
    &[("partition.assignment.strategy", "range")],
    &[("partition.assignment.strategy", "cooperative-sticky")],
    &[("group.protocol", "consumer")],
];

/// Lets members handle what comes, each for that long in turn, until it is as it should be or the rounds are over.
async fn work_until(
    members: &mut [Member],
    handled: &mut Vec<(String, u32, u64)>,
    (rounds, wait): (usize, Duration),
    is_good: impl Fn(&[Member], usize) -> bool,
) {
    for _ in 0..rounds {
        for member in members.iter_mut() {
            handled.extend(member.work(wait).await);
        }
        if is_good(members, handled.len()) {
            return;
        }
    }
}

#[tokio::test]
async fn members_share_the_partitions_and_hand_over_without_loss_or_repetition() {
    let kafka = begin!("members_share_the_partitions_and_hand_over_without_loss_or_repetition");
    for (number, protocol) in PROTOCOLS.iter().enumerate() {
        let topic = kafka.topic(&format!("orders-{number}"), 4).await;
        let group = kafka.name(&format!("billing-{number}"));
        let binder = kafka.binder(protocol);
        let mut members = vec![Member::join(&binder, spec(Some(&group), &[&topic])).await];
        let mut handled = Vec::new();
        members[0].assigned(4).await;
        for partition in 0..4 {
            kafka.count(&topic, partition, 0..20).await;
        }
        handled.extend(members[0].work(Duration::from_millis(300)).await);
        members.push(Member::join(&binder, spec(Some(&group), &[&topic])).await);
        let shared = |members: &[Member]| members.iter().all(|member| member.own.len() == 2);
        let patience = (100, Duration::from_millis(100));
        work_until(&mut members, &mut handled, patience, |members, _| shared(members)).await;
        assert!(shared(&members), "{protocol:?}");
        for partition in 0..4 {
            kafka.count(&topic, partition, 20..40).await;
        }
        for member in &mut members {
            handled.extend(member.work(Duration::from_millis(500)).await);
        }
        members.remove(0).close().await;
        for partition in 0..4 {
            kafka.count(&topic, partition, 40..60).await;
        }
        for _ in 0..100 {
            handled.extend(members[0].work(Duration::from_millis(200)).await);
            if members[0].own.len() == 4 && handled.len() >= 240 {
                break;
            }
        }
        let distinct: BTreeSet<_> = handled.iter().collect();
        let missing: Vec<_> = (0..4)
            .flat_map(|partition| (0..60).map(move |offset| (partition, offset)))
            .filter(|(partition, offset)| !distinct.contains(&(topic.clone(), *partition, *offset)))
            .collect();
        assert_eq!(missing, [], "never handled: {protocol:?}");
        assert_eq!(handled.len(), 240, "handled twice: {protocol:?}");
        members.remove(0).close().await;
        for partition in 0..4 {
            assert_eq!(
                stored(&kafka, &group, &topic, partition).map(|at| at.0),
                Some(60),
                "{protocol:?}"
            );
        }
    }
    clean(&kafka).await;
}

#[tokio::test]
async fn what_members_read_changes_without_loss_or_repetition() {
    let kafka = begin!("what_members_read_changes_without_loss_or_repetition");
    for (number, protocol) in PROTOCOLS.iter().enumerate() {
        let eu = kafka.topic(&format!("eu-{number}"), 4).await;
        let us = kafka.topic(&format!("us-{number}"), 4).await;
        let group = kafka.name(&format!("billing-{number}"));
        let binder = kafka.binder(protocol);
        let mut members = Vec::new();
        for _ in 0..2 {
            members.push(Member::join(&binder, spec(Some(&group), &[&eu])).await);
        }
        for partition in 0..4 {
            kafka.count(&eu, partition, 0..20).await;
            kafka.count(&us, partition, 0..20).await;
        }
        let mut handled = Vec::new();
        for round in 0..300 {
            // One learns of it first, the other some rounds later.
            for (index, member) in members.iter_mut().enumerate() {
                if round == 5 + 10 * index {
                    let both = spec(None, &[&eu, &us]).inputs;
                    member.source.change_inputs(&both).unwrap();
                }
                handled.extend(member.work(Duration::from_millis(50)).await);
            }
            let shared = members.iter().all(|member| member.own.len() == 4);
            if round > 15 && shared && handled.len() >= 160 {
                break;
            }
        }
        let distinct: BTreeSet<_> = handled.iter().cloned().collect();
        assert_eq!((distinct.len(), handled.len()), (160, 160), "{protocol:?}");
        for member in &mut members {
            member.source.change_inputs(&spec(None, &[&us]).inputs).unwrap();
        }
        let let_go = |members: &[Member]| {
            let own = members.iter().map(|member| member.own.values());
            let of_us = |one: &tidings_core::Assignment| *one.destination == *us;
            own.clone().all(|mut own| own.len() == 2 && own.all(of_us))
        };
        let patience = (300, Duration::from_millis(50));
        work_until(&mut members, &mut handled, patience, |members, _| let_go(members)).await;
        assert!(let_go(&members), "{protocol:?}");
        for partition in 0..4 {
            kafka.publish(&eu, partition, "not read any more").await;
            kafka.publish(&us, partition, "read").await;
        }
        work_until(&mut members, &mut handled, patience, |_, handled| handled >= 164).await;
        let late = handled.split_off(160);
        let late: BTreeSet<_> = late.into_iter().collect();
        let expected = (0..4).map(|partition| (us.clone(), partition, 20));
        assert_eq!(late, expected.collect(), "{protocol:?}");
        for member in members {
            member.close().await;
        }
    }
    clean(&kafka).await;
}

fn with_retry(group: &str, topic: &str, retry: &str) -> SourceSpec {
    let mut wanted = spec(Some(group), &[]);
    wanted.inputs = vec![SourceInput {
        destination: topic.into(),
        retry: Some(retry.into()),
    }];
    wanted
}

#[tokio::test]
async fn a_partition_and_its_retry_partition_always_move_together() {
    let kafka = begin!("a_partition_and_its_retry_partition_always_move_together");
    for (number, protocol) in PROTOCOLS.iter().enumerate() {
        let topic = kafka.topic(&format!("orders-{number}"), 6).await;
        let retry = kafka.topic(&format!("orders-{number}.retry"), 6).await;
        let group = kafka.name(&format!("billing-{number}"));
        let binder = kafka.binder(protocol);
        let mut members: Vec<Member> = Vec::new();
        let mut handled: BTreeMap<(String, u32, u64), u32> = BTreeMap::new();
        let mut sent = 0;
        for round in 0..8 {
            if round % 3 == 2 {
                // One leaves politely or is dropped.
                let gone = members.remove(0);
                if round % 2 == 0 {
                    gone.close().await;
                }
            } else {
                members.push(Member::join(&binder, with_retry(&group, &topic, &retry)).await);
            }
            for partition in 0..6 {
                kafka.publish(&topic, partition, "x").await;
                kafka.publish(&retry, partition, "y").await;
            }
            sent += 12;
            for _ in 0..200 {
                for member in &mut members {
                    for one in member.work(Duration::from_millis(30)).await {
                        *handled.entry(one).or_default() += 1;
                    }
                    for (lane, one) in &member.own {
                        let partner = &member.own[&one.partner.expect("each has a partner")];
                        assert_eq!((partner.partition, partner.epoch), (one.partition, one.epoch));
                        assert_eq!(partner.partner, Some(*lane));
                        assert_ne!(partner.role == LaneRole::Retry, one.role == LaneRole::Retry);
                    }
                }
                let own: Vec<_> = members
                    .iter()
                    .flat_map(|member| {
                        member
                            .own
                            .values()
                            .map(|one| (one.destination.clone(), one.partition))
                    })
                    .collect();
                let distinct: BTreeSet<_> = own.iter().collect();
                assert_eq!(
                    distinct.len(),
                    own.len(),
                    "a partition has two members: {protocol:?}"
                );
                if own.len() == 12 && handled.len() == sent {
                    break;
                }
            }
            assert_eq!(handled.len(), sent, "{protocol:?}, round {round}");
        }
        for member in members {
            member.close().await;
        }
        for partition in 0..6 {
            assert_eq!(
                stored(&kafka, &group, &retry, partition).map(|at| at.0),
                Some(8),
                "{protocol:?}"
            );
        }
    }
    clean(&kafka).await;
}

#[tokio::test]
async fn late_progress_of_a_partition_that_was_taken_never_commits() {
    let kafka = begin!("late_progress_of_a_partition_that_was_taken_never_commits");
    let topic = kafka.topic("orders", 2).await;
    let group = kafka.name("billing");
    for partition in 0..2 {
        kafka.count(&topic, partition, 0..10).await;
    }
    let binder = kafka.binder(&[]);
    let mut wanted = spec(Some(&group), &[&topic]);
    wanted.revoke_timeout = Duration::from_millis(500);
    let mut first = Member::join(&binder, wanted.clone()).await;
    let all = first.assigned(2).await;
    assert_eq!(first.drain().await.len(), 20);
    let mut second = Member::join(&binder, wanted).await;
    let (lanes, _) = tokio::join!(first.revoking(), second.next_within(Duration::from_secs(2)));
    let moved = all.iter().find(|one| lanes.contains(&one.lane)).unwrap().clone();
    first.done(moved.lane, moved.epoch, 3);
    first.store().await;
    // It never releases: the partition is taken away.
    let lost = loop {
        if let SourceEvent::Lost(lanes) = first.next().await {
            break lanes;
        }
    };
    assert_eq!(lost, lanes);
    first.done(moved.lane, moved.epoch, 10);
    first.store().await;
    first.source.release(&lanes);
    let given = loop {
        first.next_within(Duration::from_millis(50)).await;
        if second.own.len() == 1 {
            break second.assigned(1).await.remove(0);
        }
        second.next_within(Duration::from_millis(50)).await;
    };
    assert_eq!((given.partition, given.next), (moved.partition, 3));
    assert!(given.epoch > moved.epoch);
    assert_eq!(
        stored(&kafka, &group, &topic, moved.partition as i32).map(|at| at.0),
        Some(3)
    );
    first.close().await;
    second.close().await;
    clean(&kafka).await;
}

#[tokio::test]
async fn finished_ranges_and_attempts_come_back_and_metadata_of_others_is_ignored() {
    let kafka = begin!("finished_ranges_and_attempts_come_back_and_metadata_of_others_is_ignored");
    let topic = kafka.topic("orders", 1).await;
    let group = kafka.name("billing");
    kafka.count(&topic, 0, 0..12).await;
    let binder = kafka.binder(&[]);
    let mut member = Member::join(&binder, spec(Some(&group), &[&topic])).await;
    let lane = member.assigned(1).await.remove(0);
    member.drain().await;
    let gapped = Progress {
        watermark: 4,
        finished: vec![6..7, 8..10],
        attempts: vec![(5, 3)],
    };
    member.source.progress(lane.lane, lane.epoch, gapped.clone());
    member.close().await;
    let mut member = Member::join(&binder, spec(Some(&group), &[&topic])).await;
    let again = member.assigned(1).await.remove(0);
    assert_eq!(
        (again.next, again.finished, again.attempts),
        (4, gapped.finished, gapped.attempts)
    );
    assert_eq!(member.drain().await, numbers(4..12));
    member.close().await;
    commit_from_outside(&kafka, &group, &topic, 5, "written by another tool");
    let mut member = Member::join(&binder, spec(Some(&group), &[&topic])).await;
    let again = member.assigned(1).await.remove(0);
    assert_eq!(
        (again.next, again.finished.len(), again.attempts.len()),
        (5, 0, 0)
    );
    member.close().await;
    clean(&kafka).await;
}

fn commit_from_outside(kafka: &crate::members::Kafka, group: &str, topic: &str, offset: i64, metadata: &str) {
    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
    let consumer: BaseConsumer = kafka.config().set("group.id", group).create().unwrap();
    let mut list = rdkafka::TopicPartitionList::new();
    let mut one = list.add_partition(topic, 0);
    one.set_offset(rdkafka::Offset::Offset(offset)).unwrap();
    one.set_metadata(metadata);
    consumer.commit(&list, CommitMode::Sync).unwrap();
}

#[tokio::test]
async fn a_static_member_that_comes_back_finds_its_partitions_and_nobody_is_asked_to_move() {
    let kafka = begin!("a_static_member_that_comes_back_finds_its_partitions_and_nobody_is_asked_to_move");
    let topic = kafka.topic("orders", 4).await;
    let group = kafka.name("billing");
    let binders = ["a", "b"].map(|id| kafka.binder(&[("group.instance.id", id)]));
    let mut one = Member::join(&binders[0], spec(Some(&group), &[&topic])).await;
    one.assigned(4).await;
    let mut other = Member::join(&binders[1], spec(Some(&group), &[&topic])).await;
    for _ in 0..100 {
        one.work(Duration::from_millis(50)).await;
        other.work(Duration::from_millis(50)).await;
        if (one.own.len(), other.own.len()) == (2, 2) {
            break;
        }
    }
    let before: Vec<_> = one.assigned(2).await.iter().map(|lane| lane.partition).collect();
    assert_eq!(other.own.len(), 2);
    one.close().await;
    let mut one = Member::join(&binders[0], spec(Some(&group), &[&topic])).await;
    let after: Vec<_> = one.assigned(2).await.iter().map(|lane| lane.partition).collect();
    assert_eq!(before, after);
    while let Some(event) = other.next_within(Duration::from_millis(500)).await {
        assert!(matches!(event, SourceEvent::Idle), "{event:?}");
    }
    // The same id once more puts the first out, which says why and what to do.
    let double = kafka.binder(&[("group.instance.id", "a")]);
    let mut double = Member::join(&double, spec(Some(&group), &[&topic])).await;
    double.assigned(2).await;
    let refused = loop {
        match tokio::time::timeout(Duration::from_secs(20), one.source.next()).await {
            Ok(Err(error)) => break error,
            Ok(Ok(_)) => {}
            Err(_) => panic!("it never hears that it was put out"),
        }
    };
    assert!(
        matches!(&refused, SourceError::Refused { reason } if reason.contains("group.instance.id")),
        "{refused}"
    );
    double.close().await;
    other.close().await;
    clean(&kafka).await;
}

#[tokio::test]
async fn partitions_that_are_added_later_are_read_from_their_first_message_whatever_the_group_began_with() {
    let kafka = begin!(
        "partitions_that_are_added_later_are_read_from_their_first_message_whatever_the_group_began_with"
    );
    for (number, protocol) in PROTOCOLS.iter().enumerate() {
        let topic = kafka.topic(&format!("orders-{number}"), 2).await;
        let group = kafka.name(&format!("billing-{number}"));
        kafka.publish(&topic, 0, "before the group").await;
        let binder = kafka.binder(protocol);
        let mut wanted = spec(Some(&group), &[&topic]);
        wanted.start = Start::Latest;
        // Two of a new group at once: neither may take the other's position for that of an older group.
        let mut first = Member::join(&binder, wanted.clone()).await;
        let mut second = Member::join(&binder, wanted.clone()).await;
        for _ in 0..100 {
            assert!(
                first.work(Duration::from_millis(50)).await.is_empty(),
                "{protocol:?}"
            );
            assert!(
                second.work(Duration::from_millis(50)).await.is_empty(),
                "{protocol:?}"
            );
            if (first.own.len(), second.own.len()) == (1, 1) {
                break;
            }
        }
        second.close().await;
        kafka.grow(&topic, 4).await;
        for partition in 2..4 {
            kafka.publish(&topic, partition, "before it was assigned").await;
        }
        let mut handled = Vec::new();
        for _ in 0..200 {
            handled.extend(first.work(Duration::from_millis(50)).await);
            if first.own.len() == 4 && handled.len() >= 2 {
                break;
            }
        }
        handled.sort();
        assert_eq!(
            handled,
            [(topic.clone(), 2, 0), (topic.clone(), 3, 0)],
            "{protocol:?}"
        );
        first.close().await;
        // And while nobody reads.
        kafka.grow(&topic, 5).await;
        kafka.publish(&topic, 4, "before anybody came back").await;
        let mut again = Member::join(&binder, wanted).await;
        assert_eq!(again.take(1).await, ["before anybody came back"], "{protocol:?}");
        again.close().await;
    }
    clean(&kafka).await;
}

#[tokio::test]
async fn a_revoked_lane_gives_nothing_more_and_moves_as_soon_as_it_is_released() {
    let kafka = begin!("a_revoked_lane_gives_nothing_more_and_moves_as_soon_as_it_is_released");
    let topic = kafka.topic("orders", 2).await;
    let group = kafka.name("billing");
    let binder = kafka.binder(&[]);
    let mut wanted = spec(Some(&group), &[&topic]);
    wanted.revoke_timeout = Duration::from_secs(120);
    let mut first = Member::join(&binder, wanted.clone()).await;
    let lanes: Vec<_> = first.assigned(2).await.iter().map(|one| one.lane).collect();
    first.drain().await;
    // Batches that are ready when the lane is revoked are not given either.
    first.source.pause(&lanes);
    for partition in 0..2 {
        kafka.count(&topic, partition, 0..50).await;
    }
    assert!(first.next_within(Duration::from_millis(500)).await.is_none());
    let mut second = Member::join(&binder, wanted).await;
    let (revoked, _) = tokio::join!(first.revoking(), second.next_within(Duration::from_secs(3)));
    first.source.resume(&lanes);
    while let Some(event) = first.next_within(Duration::from_secs(1)).await {
        if let SourceEvent::Batch(batch) = event {
            assert!(!revoked.contains(&batch.lane()), "it is being handed over");
        }
    }
    let begun = std::time::Instant::now();
    first.store().await;
    first.source.release(&revoked);
    first.forget(&revoked);
    while second.own.is_empty() {
        while let Some(event) = first.next_within(Duration::from_millis(50)).await {
            assert!(!matches!(event, SourceEvent::Lost(_)), "it was released in time");
        }
        second.next_within(Duration::from_millis(50)).await;
    }
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "nobody waits for the deadline: {:?}",
        begun.elapsed()
    );
    assert_eq!(
        second.take(50).await,
        numbers(0..50),
        "and the other has all of it"
    );
    first.close().await;
    second.close().await;
    clean(&kafka).await;
}

#[tokio::test]
async fn a_member_whose_lanes_are_full_answers_its_group_all_the_same() {
    let kafka = begin!("a_member_whose_lanes_are_full_answers_its_group_all_the_same");
    let topic = kafka.topic("orders", 2).await;
    let binder = kafka.binder(&[("partition.assignment.strategy", "cooperative-sticky")]);
    let mut wanted = spec(Some(&kafka.name("billing")), &[&topic]);
    // So little that much stays behind in librdkafka's queue when the lanes are full.
    wanted.max_batch_bytes = 256;
    for partition in 0..2 {
        kafka.count(&topic, partition, 0..2_000).await;
    }
    let mut first = Member::join(&binder, wanted.clone()).await;
    let lanes: Vec<_> = first.assigned(2).await.iter().map(|one| one.lane).collect();
    first.source.pause(&lanes);
    let told = first.next_within(Duration::from_millis(300)).await;
    assert!(matches!(told, None | Some(SourceEvent::Idle)), "{told:?}");
    let mut second = Member::join(&binder, wanted).await;
    // A member that hears nothing while its lanes are full never tells.
    let (revoked, _) = tokio::join!(first.revoking(), second.next_within(Duration::from_secs(3)));
    assert_eq!(revoked.len(), 1);
    first.source.release(&revoked);
    first.forget(&revoked);
    first.source.resume(&lanes);
    // Both are polled to the end: a group may begin anew, and waits for each of its members then.
    let (mut own, mut given) = (Vec::new(), Vec::new());
    let until = Instant::now() + PATIENCE;
    while (own.len() < 2_000 || given.len() < 2_000) && Instant::now() < until {
        let slice = Duration::from_millis(20);
        let (one, other) = tokio::join!(first.batch_within(slice), second.batch_within(slice));
        own.extend(one);
        given.extend(other);
    }
    assert_eq!(
        own,
        numbers(0..2_000),
        "what was left where it was comes without a gap"
    );
    assert_eq!(given, numbers(0..2_000));
    first.close().await;
    second.close().await;
    clean(&kafka).await;
}

/// Each property is known and has a value that it may have: only librdkafka knows that they do not go together.
#[tokio::test]
async fn properties_that_contradict_each_other_end_the_start() {
    let kafka = begin!("properties_that_contradict_each_other_end_the_start");
    let topic = kafka.topic("orders", 1).await;
    for (name, value) in [
        ("heartbeat.interval.ms", "1000"),
        ("partition.assignment.strategy", "range"),
    ] {
        let binder = kafka.binder(&[("group.protocol", "consumer"), (name, value)]);
        let group = kafka.name("billing");
        let refused = binder.subscribe(spec(Some(&group), &[&topic])).await;
        let error = refused.expect_err("it cannot be made");
        assert!(
            matches!(&error, BinderError::Source(SourceError::Refused { .. })),
            "{error:?}"
        );
        let said = error.to_string();
        assert!(
            said.contains(name) && said.contains("group.protocol") && said.contains("[binder.…]"),
            "{said}"
        );
    }
    clean(&kafka).await;
}

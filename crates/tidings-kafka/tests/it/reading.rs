//! Where reading begins, how it is steered, and that batches are what was published.

use crate::members::{Member, begin, clean, numbers, spec, texts};
use rdkafka::producer::{BaseRecord, Producer};
use std::collections::BTreeMap;
use std::time::Duration;
use tidings_core::{Binder, BinderHealth, Progress, Source, SourceEvent, SourceInput, Start, Timestamp};

#[tokio::test]
async fn a_member_reads_everything_in_order_and_is_idle_then() {
    let kafka = begin!("a_member_reads_everything_in_order_and_is_idle_then");
    let topic = kafka.topic("orders", 2).await;
    kafka.count(&topic, 0, 0..300).await;
    let binder = kafka.binder(&[]);
    let mut member = Member::join(&binder, spec(Some(&kafka.name("billing")), &[&topic])).await;
    assert_eq!(member.drain().await, numbers(0..300));
    kafka.publish(&topic, 1, "later").await;
    assert_eq!(member.drain().await, ["later"]);
    member.close().await;
    clean(&kafka).await;
}

#[tokio::test]
async fn a_group_begins_where_it_is_told_and_only_once() {
    let kafka = begin!("a_group_begins_where_it_is_told_and_only_once");
    let topic = kafka.topic("orders", 1).await;
    for number in 0..10 {
        kafka
            .publish_full(
                &topic,
                None,
                Some(number.to_string().as_bytes()),
                1_000 * (number + 1),
                &[],
            )
            .await;
    }
    let binder = kafka.binder(&[]);
    for (group, start, first) in [
        ("earliest", Start::Earliest, 0),
        ("latest", Start::Latest, 10),
        ("offset", Start::Offset(7), 7),
        ("beyond", Start::Offset(99), 10),
        ("time", Start::Time(Timestamp::from_millis(4_001)), 4),
        ("future", Start::Time(Timestamp::from_millis(99_000)), 10),
    ] {
        let group = kafka.name(group);
        let mut wanted = spec(Some(&group), &[&topic]);
        wanted.start = start;
        let mut member = Member::join(&binder, wanted.clone()).await;
        let lane = member.assigned(1).await.remove(0);
        assert_eq!((lane.next, lane.end), (first, 10), "{group}");
        assert_eq!(member.drain().await, numbers(first..10), "{group}");
        // It reports nothing: where it began is stored all the same.
        member.store().await;
        member.close().await;
        wanted.start = Start::Earliest;
        let mut member = Member::join(&binder, wanted).await;
        assert_eq!(member.assigned(1).await[0].next, first, "{group}");
        member.close().await;
    }
    clean(&kafka).await;
}

#[tokio::test]
async fn what_a_message_carries_arrives_as_it_was() {
    let kafka = begin!("what_a_message_carries_arrives_as_it_was");
    let topic = kafka.topic("orders", 1).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let headers: &[(&str, Option<&[u8]>)] =
        &[("name", Some(&every_byte)), ("empty", Some(b"")), ("null", None)];
    kafka
        .publish_full(
            &topic,
            Some(&every_byte),
            Some(&every_byte),
            1_234_567_890_123,
            headers,
        )
        .await;
    kafka.publish_full(&topic, Some(b"gone"), None, 7, &[]).await;
    kafka.publish_full(&topic, None, Some(b""), 8, &[]).await;
    let binder = kafka.binder(&[]);
    let mut member = Member::join(&binder, spec(None, &[&topic])).await;
    let mut messages = Vec::new();
    while messages.len() < 3 {
        if let SourceEvent::Batch(batch) = member.next().await {
            messages.extend(batch.records().iter().map(|record| batch.message(record)));
        }
    }
    assert_eq!(messages[0].key().map(|key| &key[..]), Some(&every_byte[..]));
    assert_eq!(
        messages[0].payload().map(|payload| &payload[..]),
        Some(&every_byte[..])
    );
    assert_eq!(
        messages[0].timestamp(),
        Some(Timestamp::from_millis(1_234_567_890_123))
    );
    let read: Vec<_> = messages[0].headers().iter().collect();
    assert_eq!(read, [("name", &every_byte[..]), ("empty", b""), ("null", b"")]);
    assert_eq!(
        (messages[1].payload(), messages[1].key().map(|key| &key[..])),
        (None, Some(&b"gone"[..]))
    );
    assert_eq!(
        (
            messages[2].payload().map(|payload| payload.len()),
            messages[2].key()
        ),
        (Some(0), None)
    );
    clean(&kafka).await;
}

#[tokio::test]
async fn without_a_group_every_reader_sees_everything_and_nothing_is_stored() {
    let kafka = begin!("without_a_group_every_reader_sees_everything_and_nothing_is_stored");
    let topic = kafka.topic("orders", 3).await;
    for partition in 0..3 {
        kafka.count(&topic, partition, 0..5).await;
    }
    let binder = kafka.binder(&[]);
    for _ in 0..2 {
        let mut one = Member::join(&binder, spec(None, &[&topic])).await;
        let mut other = Member::join(&binder, spec(None, &[&topic])).await;
        assert_eq!(one.drain().await.len(), 15);
        assert_eq!(other.drain().await.len(), 15);
        for lane in one.assigned(3).await {
            one.done(lane.lane, lane.epoch, 5);
        }
        one.store().await;
        one.close().await;
    }
    clean(&kafka).await;
}

#[tokio::test]
async fn a_paused_lane_gives_nothing_and_goes_on_without_a_gap_however_much_waits() {
    let kafka = begin!("a_paused_lane_gives_nothing_and_goes_on_without_a_gap_however_much_waits");
    let topic = kafka.topic("orders", 2).await;
    let binder = kafka.binder(&[]);
    let mut wanted = spec(Some(&kafka.name("billing")), &[&topic]);
    // So little that the lane is soon held in librdkafka too.
    wanted.max_batch_bytes = 256;
    let mut member = Member::join(&binder, wanted).await;
    let lanes = member.assigned(2).await;
    member.drain().await;
    let mut seen = Vec::new();
    for round in 0..5u64 {
        member.source.pause(&[lanes[0].lane]);
        kafka.count(&topic, 0, round * 300..round * 300 + 300).await;
        kafka.publish(&topic, 1, "other").await;
        assert_eq!(member.drain().await, ["other"], "the other lane goes on");
        assert!(member.next_within(Duration::from_millis(100)).await.is_none());
        member.source.resume(&[lanes[0].lane]);
        seen.extend(member.drain().await);
        assert_eq!(seen, numbers(0..round * 300 + 300), "round {round}");
    }
    member.close().await;
    clean(&kafka).await;
}

#[tokio::test]
async fn lanes_that_are_paused_and_resumed_at_any_moment_give_everything_once_and_none_stands_still() {
    const EACH: u64 = 1_500;
    let kafka =
        begin!("lanes_that_are_paused_and_resumed_at_any_moment_give_everything_once_and_none_stands_still");
    let topic = kafka.topic("orders", 3).await;
    tokio::join!(
        kafka.count(&topic, 0, 0..EACH),
        kafka.count(&topic, 1, 0..EACH),
        kafka.count(&topic, 2, 0..EACH)
    );
    let binder = kafka.binder(&[]);
    for seed in 0..6 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut wanted = spec(Some(&kafka.name(&format!("billing-{seed}"))), &[&topic]);
        // A lane that is paused is held in librdkafka after two or three batches; with less it is so after each.
        wanted.max_batch_bytes = if seed % 2 == 0 { 256 } else { 16 };
        let mut member = Member::join(&binder, wanted).await;
        let lanes: Vec<_> = member.assigned(3).await.iter().map(|one| one.lane).collect();
        let mut given: BTreeMap<_, _> = lanes.iter().map(|lane| (*lane, Vec::new())).collect();
        let mut note = |event: &SourceEvent| {
            if let SourceEvent::Batch(batch) = event {
                given.get_mut(&batch.lane()).unwrap().extend(texts(batch));
            }
        };
        for _ in 0..300 {
            let lane = lanes[random.usize(..lanes.len())];
            match random.u8(..4) {
                0 => member.source.pause(&[lane]),
                1 => member.source.resume(&[lane]),
                2 => member.source.resume(&lanes),
                _ => member.source.pause(&lanes),
            }
            let wait = Duration::from_millis(random.u64(..8));
            for _ in 0..random.u8(..4) {
                let Some(event) = member.next_within(wait).await else {
                    break;
                };
                note(&event);
            }
        }
        member.source.resume(&lanes);
        loop {
            let event = member.next().await;
            note(&event);
            if matches!(event, SourceEvent::Idle) {
                break;
            }
        }
        for (lane, payloads) in given {
            assert!(
                payloads == numbers(0..EACH),
                "seed {seed}, {lane:?}: {payloads:?}"
            );
        }
        member.close().await;
    }
    clean(&kafka).await;
}

#[tokio::test]
async fn a_lane_that_seeks_goes_on_at_the_other_offset_also_while_it_is_paused() {
    let kafka = begin!("a_lane_that_seeks_goes_on_at_the_other_offset_also_while_it_is_paused");
    let topic = kafka.topic("orders", 1).await;
    kafka.count(&topic, 0, 0..200).await;
    let binder = kafka.binder(&[]);
    let mut wanted = spec(Some(&kafka.name("billing")), &[&topic]);
    wanted.max_batch_bytes = 64;
    let mut member = Member::join(&binder, wanted).await;
    let lane = member.assigned(1).await.remove(0);
    assert_eq!(member.drain().await, numbers(0..200));
    for (offset, paused) in [(150, false), (3, false), (190, true), (0, true), (199, false)] {
        if paused {
            member.source.pause(&[lane.lane]);
            assert!(
                member
                    .next_within(Duration::from_millis(50))
                    .await
                    .is_none_or(|event| matches!(event, SourceEvent::Idle))
            );
        }
        member.next.insert(lane.lane, offset);
        member.source.seek(lane.lane, offset);
        if paused {
            member.source.resume(&[lane.lane]);
        }
        assert_eq!(
            member.drain().await,
            numbers(offset..200),
            "from {offset}, paused: {paused}"
        );
    }
    member.close().await;
    clean(&kafka).await;
}

#[tokio::test]
async fn a_batch_keeps_its_size_and_a_larger_message_comes_alone() {
    let kafka = begin!("a_batch_keeps_its_size_and_a_larger_message_comes_alone");
    let topic = kafka.topic("orders", 1).await;
    for payload in ["a", "b", &"x".repeat(20_000), "c"] {
        kafka.publish(&topic, 0, payload).await;
    }
    for _ in 0..100 {
        kafka.publish(&topic, 0, &"y".repeat(500)).await;
    }
    let binder = kafka.binder(&[]);
    let mut wanted = spec(Some(&kafka.name("billing")), &[&topic]);
    wanted.max_batch_bytes = 4_096;
    let mut member = Member::join(&binder, wanted).await;
    let (mut next, mut batches) = (0, 0);
    while next < 104 {
        let SourceEvent::Batch(batch) = member.next().await else {
            continue;
        };
        assert_eq!(batch.records()[0].offset, next);
        next = batch.next();
        let bytes: usize = texts(&batch).iter().map(String::len).sum();
        assert!(
            bytes <= 4_096 || batch.len() == 1,
            "{} records of {bytes} bytes",
            batch.len()
        );
        batches += 1;
    }
    assert!(batches < 40, "{batches}");
    member.close().await;
    clean(&kafka).await;
}

/// Lets go of what is no longer read.
async fn let_go(member: &mut Member) {
    loop {
        match member.next().await {
            SourceEvent::Revoking { lanes, .. } => {
                member.source.release(&lanes);
                member.forget(&lanes);
                return;
            }
            SourceEvent::Lost(_) => return,
            _ => {}
        }
    }
}

fn inputs(topics: &[&str]) -> Vec<SourceInput> {
    let input = |topic: &&str| SourceInput {
        destination: (*topic).into(),
        retry: None,
    };
    topics.iter().map(input).collect()
}

#[tokio::test]
async fn a_topic_that_is_deleted_stops_no_other_and_one_made_anew_is_read_from_its_first_message() {
    let kafka =
        begin!("a_topic_that_is_deleted_stops_no_other_and_one_made_anew_is_read_from_its_first_message");
    for group in [Some(kafka.name("billing")), None] {
        let name = |place: &str| format!("{place}-{}", group.is_some());
        let eu = kafka.topic(&name("orders.eu"), 1).await;
        let us = kafka.topic(&name("orders.us"), 1).await;
        let binder = kafka.binder(&[]);
        let mut member = Member::join(&binder, spec(group.as_deref(), &[&eu, &us])).await;
        member.assigned(2).await;
        for topic in [&eu, &us] {
            kafka.publish(topic, 0, "before").await;
        }
        assert_eq!(member.take(2).await.len(), 2);
        kafka.delete(&us).await;
        member.source.change_inputs(&inputs(&[&eu])).unwrap();
        let_go(&mut member).await;
        for payload in ["1", "2"] {
            kafka.publish(&eu, 0, payload).await;
            assert_eq!(member.take(1).await, [payload]);
        }
        let (id, lane) = member
            .own
            .iter()
            .find(|(_, lane)| *lane.destination == *eu)
            .unwrap();
        let (id, epoch) = (*id, lane.epoch);
        member.done(id, epoch, 3);
        member
            .source
            .commit()
            .await
            .expect("what is gone keeps nothing from being stored");
        let again = kafka.topic(&name("orders.us"), 1).await;
        assert_eq!(again, us);
        kafka.publish(&us, 0, "anew").await;
        member.source.change_inputs(&inputs(&[&eu, &us])).unwrap();
        assert_eq!(member.take(1).await, ["anew"]);
        member.close().await;
    }
    clean(&kafka).await;
}

#[tokio::test]
async fn what_was_aborted_is_never_read_and_the_marks_of_transactions_hold_up_nobody() {
    let kafka = begin!("what_was_aborted_is_never_read_and_the_marks_of_transactions_hold_up_nobody");
    let topic = kafka.topic("orders", 1).await;
    let group = kafka.name("billing");
    let mut config = kafka.config();
    let producer: rdkafka::producer::BaseProducer = config
        .set("transactional.id", kafka.name("transactions"))
        .create()
        .unwrap();
    let patience = Duration::from_secs(30);
    producer.init_transactions(patience).unwrap();
    for (payload, commits) in [("a", true), ("no", false), ("b", true), ("never", false)] {
        producer.begin_transaction().unwrap();
        producer
            .send(BaseRecord::<(), str>::to(&topic).payload(payload))
            .unwrap();
        producer.flush(patience).unwrap();
        match commits {
            true => producer.commit_transaction(patience).unwrap(),
            false => producer.abort_transaction(patience).unwrap(),
        }
    }
    let binder = kafka.binder(&[]);
    let mut member = Member::join(&binder, spec(Some(&group), &[&topic])).await;
    let lane = member.assigned(1).await.remove(0);
    assert_eq!(lane.end, 8);
    let mut seen = Vec::new();
    loop {
        match member.next().await {
            SourceEvent::Batch(batch) => {
                seen.extend(texts(&batch));
                member.done(batch.lane(), batch.epoch(), batch.next());
            }
            SourceEvent::Idle => break,
            _ => {}
        }
    }
    assert_eq!(seen, ["a", "b"]);
    assert_eq!(member.next[&lane.lane], 8, "it is known that nothing is left");
    member.store().await;
    member.close().await;
    let at = crate::members::stored(&kafka, &group, &topic, 0).map(|at| at.0);
    assert_eq!(at, Some(8), "so no lag is left either");
    clean(&kafka).await;
}

#[tokio::test]
async fn a_position_in_the_middle_of_an_open_transaction_is_no_loss_of_records() {
    let kafka = begin!("a_position_in_the_middle_of_an_open_transaction_is_no_loss_of_records");
    let topic = kafka.topic("orders", 1).await;
    let group = kafka.name("billing");
    let mut config = kafka.config();
    let producer: rdkafka::producer::BaseProducer = config
        .set("transactional.id", kafka.name("transactions"))
        .create()
        .unwrap();
    let patience = Duration::from_secs(30);
    producer.init_transactions(patience).unwrap();
    producer.begin_transaction().unwrap();
    producer
        .send(BaseRecord::<(), str>::to(&topic).payload("skipped"))
        .unwrap();
    producer.flush(patience).unwrap();
    let binder = kafka.binder(&[]);
    // Somebody wants what is new only, and a member begins before the transaction is decided.
    let end = binder.positions(&topic, None).await.unwrap()[0].end;
    let progress = Progress {
        watermark: end,
        ..Progress::default()
    };
    binder.store_progress(&topic, 0, &group, progress).await.unwrap();
    let mut member = Member::join(&binder, spec(Some(&group), &[&topic])).await;
    let lane = member.assigned(1).await.remove(0);
    assert_eq!((lane.next, end), (1, 1));
    kafka.publish(&topic, 0, "new").await;
    producer.commit_transaction(patience).unwrap();
    assert_eq!(member.take(1).await, ["new"]);
    member.close().await;
    clean(&kafka).await;
}

#[tokio::test]
async fn a_chosen_partition_that_is_not_there_is_named_by_health_until_it_is() {
    let kafka = begin!("a_chosen_partition_that_is_not_there_is_named_by_health_until_it_is");
    let topic = kafka.topic("orders", 2).await;
    let binder = kafka.binder(&[]);
    let mut wanted = spec(None, &[&topic]);
    wanted.partitions = Some([0, 3].into());
    let mut member = Member::join(&binder, wanted).await;
    member.assigned(1).await;
    match binder.health() {
        BinderHealth::Down(said) => assert!(said.contains("no partitions [3]"), "{said}"),
        BinderHealth::Up => panic!("nobody says that partition 3 is not there"),
    }
    kafka.grow(&topic, 4).await;
    kafka.publish(&topic, 3, "there").await;
    assert_eq!(member.take(1).await, ["there"]);
    assert_eq!(binder.health(), BinderHealth::Up);
    member.close().await;
    clean(&kafka).await;
}

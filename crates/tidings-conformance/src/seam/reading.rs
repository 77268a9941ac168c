//! Where reading begins, how it is steered, and that batches are what was published.

use crate::features::Feature;
use crate::member::partitions;
use crate::stage::{Stage, Verdict, numbers, spec, texts, to};
use std::time::Duration;
use tidings_core::{Assignment, BinderError, Message, SourceEvent, SourceSpec, Start, Timestamp};

pub(crate) async fn a_named_group_begins_where_it_is_told_and_only_once(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Replay, Feature::StoredPositions])?;
    let broker = stage.open().await;
    broker.has("orders", 1).await;
    for number in 0..10u64 {
        let mut outgoing = to("orders", 0, &number.to_string());
        // From 1,000 on: librdkafka takes 0 for "now".
        let time = Timestamp::from_millis(1_000 * i64::try_from(number + 1).expect("small"));
        outgoing.message = outgoing.message.with_timestamp(time);
        broker.send(outgoing).await.expect("it is kept");
    }
    for (group, start, first) in [
        ("earliest", Start::Earliest, 0),
        ("latest", Start::Latest, 10),
        ("offset", Start::Offset(7), 7),
        ("beyond", Start::Offset(99), 10),
        ("time", Start::Time(Timestamp::from_millis(4_001)), 4),
        ("exactly", Start::Time(Timestamp::from_millis(4_000)), 3),
        ("future", Start::Time(Timestamp::from_millis(99_000)), 10),
    ] {
        let mut wanted = spec(Some(group), "orders");
        wanted.start = start;
        let mut member = broker.member(wanted.clone()).await;
        let lane = member.assigned(1).await.remove(0);
        assert_eq!((lane.next, lane.end), (first, 10), "{group}");
        assert_eq!(member.drain().await, numbers(first..10), "{group}");
        member.done(lane.lane, lane.epoch, 10);
        member.close().await;
        // Its position is stored now: where to begin is no question any more.
        wanted.start = Start::Earliest;
        let mut member = broker.member(wanted).await;
        assert_eq!(member.assigned(1).await[0].next, 10, "{group}");
    }
    Ok(())
}

pub(crate) async fn a_group_that_began_at_the_latest_misses_nothing_after_a_restart(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let broker = stage.open().await;
    broker.has("orders", 1).await;
    broker.publish("orders", 0, "before").await.expect("it is kept");
    let mut wanted = spec(Some("billing"), "orders");
    wanted.start = Start::Latest;
    let mut member = broker.member(wanted.clone()).await;
    member.assigned(1).await;
    // It saw nothing and reported nothing; still it has begun.
    member.close().await;
    broker
        .publish("orders", 0, "while it was away")
        .await
        .expect("it is kept");
    let mut member = broker.member(wanted).await;
    assert_eq!(member.take(1).await, ["while it was away"]);
    Ok(())
}

pub(crate) async fn a_reader_without_a_group_sees_all_partitions_and_stores_nothing(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Partitions, Feature::Replay])?;
    let broker = stage.open().await;
    broker.has_counted("orders", 3, 5).await;
    for _ in 0..2 {
        let mut one = broker.member(spec(None, "orders")).await;
        let mut other = broker.member(spec(None, "orders")).await;
        let lanes = one.assigned(3).await;
        assert_eq!(partitions(&lanes), [0, 1, 2]);
        assert_eq!(one.drain().await.len(), 15);
        assert_eq!(other.drain().await.len(), 15, "they share nothing");
        for lane in lanes {
            one.done(lane.lane, lane.epoch, 5);
        }
        one.commit().await;
        one.close().await;
    }
    Ok(())
}

pub(crate) async fn a_reader_without_a_group_may_choose_its_partitions(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Partitions, Feature::Replay])?;
    let broker = stage.open().await;
    broker.has_counted("orders", 4, 5).await;
    let chosen = SourceSpec {
        partitions: Some([1, 3].into()),
        ..spec(None, "orders")
    };
    let mut member = broker.member(chosen).await;
    assert_eq!(partitions(&member.assigned(2).await), [1, 3]);
    assert_eq!(member.drain().await.len(), 10);
    broker
        .publish("orders", 0, "for others")
        .await
        .expect("it is kept");
    broker.publish("orders", 3, "for it").await.expect("it is kept");
    assert_eq!(member.take(1).await, ["for it"]);
    member.close().await;
    Ok(())
}

pub(crate) async fn idle_is_told_once_each_time_everything_was_read(stage: Stage) -> Verdict {
    stage.needs(&[Feature::VirtualTime])?;
    let broker = stage.open().await;
    broker.has("orders", 2).await;
    let mut member = broker.join("billing", "orders").await;
    assert!(
        member.drain().await.is_empty(),
        "an empty destination is read at once"
    );
    assert!(member.next_within(Duration::from_secs(3_600)).await.is_none());
    for round in 0..3 {
        broker
            .publish("orders", round % 2, "x")
            .await
            .expect("it is kept");
        assert_eq!(member.drain().await, ["x"]);
        assert!(
            member.next_within(Duration::from_secs(3_600)).await.is_none(),
            "once is enough"
        );
    }
    Ok(())
}

pub(crate) async fn a_paused_lane_gives_nothing_and_goes_on_where_it_was(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Partitions])?;
    let broker = stage.open().await;
    broker.has("orders", 2).await;
    let mut member = broker.join("billing", "orders").await;
    let lanes = member.assigned(2).await;
    member.drain().await;
    let paused = &lanes[0];
    member.0.pause(&[paused.lane]);
    broker.count_up("orders", 0, 10).await;
    broker.publish("orders", 1, "other").await.expect("it is kept");
    assert_eq!(member.drain().await, ["other"], "the other lane goes on");
    broker.publish("orders", 0, "10").await.expect("it is kept");
    assert!(member.next_within(Duration::from_secs(2)).await.is_none());
    member.0.resume(&[paused.lane]);
    assert_eq!(member.take(11).await, numbers(0..11));
    Ok(())
}

pub(crate) async fn a_lane_that_seeks_goes_on_at_the_other_offset(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Replay])?;
    let broker = stage.open().await;
    broker.has("orders", 1).await;
    broker.count_up("orders", 0, 20).await;
    let mut member = broker.join("billing", "orders").await;
    let lane = member.assigned(1).await.remove(0);
    assert_eq!(member.drain().await, numbers(0..20));
    member.0.seek(lane.lane, 15);
    assert_eq!(member.take(5).await, numbers(15..20));
    member.0.seek(lane.lane, 3);
    let batch = member.batch().await;
    assert_eq!(batch.records()[0].offset, 3);
    Ok(())
}

pub(crate) async fn a_batch_keeps_its_size_and_a_larger_message_comes_alone(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    broker.has("orders", 1).await;
    broker.knows("orders", &["billing"]).await;
    let large = "x".repeat(20_000);
    for payload in ["a", "b", &large, "c"] {
        broker.publish("orders", 0, payload).await.expect("it is kept");
    }
    // One by one: what is published together may be kept together.
    for _ in 0..200 {
        broker
            .publish("orders", 0, &"y".repeat(500))
            .await
            .expect("it is kept");
    }
    let mut wanted = spec(Some("billing"), "orders");
    wanted.max_batch_bytes = 4_096;
    let mut member = broker.member(wanted).await;
    let mut sizes = Vec::new();
    let mut next = 0;
    while next < 204 {
        let batch = member.batch().await;
        assert_eq!(batch.records()[0].offset, next, "nothing is left out");
        next = batch.next();
        let payloads: usize = texts(&batch).iter().map(String::len).sum();
        assert!(
            payloads <= 4_096 || batch.len() == 1,
            "{} records of {payloads} bytes",
            batch.len()
        );
        sizes.push(batch.len());
    }
    // Messages that are pushed one by one make batches of what has come.
    let few = stage.needs(&[Feature::Replay]).is_ok();
    assert!(
        !few || sizes.len() < 100,
        "a batch is more than a message: {sizes:?}"
    );
    Ok(())
}

/// What a lane has is told from what has not reached this machine yet by rounds: a lane that always gives all it has
/// before the other gives anything starves it.
pub(crate) async fn lanes_take_turns(stage: Stage) -> Verdict {
    const ROUNDS: usize = 10;
    stage.needs(&[Feature::Partitions])?;
    let broker = stage.open().await;
    broker.has("orders", 2).await;
    let mut wanted = spec(Some("billing"), "orders");
    wanted.max_batch_bytes = 4_096;
    let mut member = broker.member(wanted).await;
    let lanes = member.assigned(2).await;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        for partition in 0..2 {
            for _ in 0..200 {
                let kept = broker.publish("orders", partition, &"y".repeat(500)).await;
                kept.expect("it is kept");
            }
        }
        let (mut given, mut messages) = (Vec::new(), 0);
        while messages < 400 {
            let batch = member.batch().await;
            messages += batch.len();
            given.push(batch.lane());
        }
        let first = |lane: &Assignment| {
            given
                .iter()
                .position(|other| *other == lane.lane)
                .unwrap_or(given.len())
        };
        let both = lanes.iter().map(first).max().unwrap_or(given.len());
        let left = |lane: &Assignment| given[both..].iter().filter(|other| **other == lane.lane).count();
        if lanes.iter().all(|lane| left(lane) >= 6) {
            for lane in &lanes {
                let turns = given[both..]
                    .iter()
                    .take(10)
                    .filter(|other| **other == lane.lane)
                    .count();
                assert!(turns >= 3, "a lane with a backlog starves the other: {given:?}");
            }
            return Ok(());
        }
        rounds.push(given);
    }
    panic!("one lane gives all it has before the other gives anything: {rounds:?}");
}

pub(crate) async fn a_batch_keeps_its_memory_while_others_come(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    broker.has("orders", 1).await;
    let mut member = broker.join("billing", "orders").await;
    member.assigned(1).await;
    let mut kept = Vec::new();
    for number in 0..50 {
        broker
            .publish("orders", 0, &format!("{number}").repeat(100))
            .await
            .expect("it is kept");
        kept.push(member.batch().await);
    }
    for (number, batch) in kept.iter().enumerate() {
        assert_eq!(texts(batch), [format!("{number}").repeat(100)]);
    }
    Ok(())
}

pub(crate) async fn anybody_can_read_without_a_group(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Partitions, Feature::Replay])?;
    let broker = stage.open().await;
    broker.has("orders", 2).await;
    broker.count_up("orders", 1, 30).await;
    let batch = broker
        .read("orders", 1, 10, 1 << 20)
        .await
        .expect("it can be read");
    assert_eq!(texts(&batch), numbers(10..30));
    let at_end = broker
        .read("orders", 1, 30, 1 << 20)
        .await
        .expect("the end can be read");
    assert!(at_end.is_empty() && at_end.next() == 30);
    assert!(
        broker
            .read("orders", 0, 0, 1 << 20)
            .await
            .expect("it is empty")
            .is_empty()
    );
    let refused = broker.read("nowhere", 0, 0, 1 << 20).await;
    assert!(
        matches!(refused, Err(BinderError::UnknownDestination { .. })),
        "{refused:?}"
    );
    assert!(
        broker.read("orders", 2, 0, 1 << 20).await.is_err(),
        "there is no such partition"
    );
    Ok(())
}

pub(crate) async fn positions_say_what_is_there(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Partitions, Feature::Replay, Feature::StoredPositions])?;
    let broker = stage.open().await;
    broker.has("orders", 2).await;
    broker.count_up("orders", 1, 4).await;
    let ends: Vec<_> = broker
        .at("orders", Some("nobody"))
        .await
        .iter()
        .map(|at| (at.partition, at.first, at.end, at.progress.clone()))
        .collect();
    assert_eq!(ends, [(0, 0, 0, None), (1, 0, 4, None)]);
    let refused = broker.positions("nowhere", None).await;
    assert!(
        matches!(refused, Err(BinderError::UnknownDestination { .. })),
        "{refused:?}"
    );
    let refused = broker.subscribe(spec(Some("billing"), "nowhere")).await;
    assert!(refused.is_err(), "what is not there cannot be read");
    Ok(())
}

pub(crate) async fn several_destinations_are_read_by_one_member(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    let mut wanted = spec(Some("billing"), "orders");
    for name in ["orders", "payments", "refunds"] {
        broker.has(name, 1).await;
        broker.knows(name, &["billing"]).await;
        broker
            .send(tidings_core::Outgoing::new(name, Message::new(name)))
            .await
            .expect("it is kept");
    }
    for name in ["payments", "refunds"] {
        let mut more = wanted.inputs[0].clone();
        more.destination = name.into();
        wanted.inputs.push(more);
    }
    let mut member = broker.member(wanted).await;
    let mut seen = Vec::new();
    let mut lanes = Vec::new();
    while seen.len() < 3 {
        match member.next().await.expect("a healthy broker delivers") {
            SourceEvent::Assigned(more) => lanes.extend(more),
            SourceEvent::Batch(batch) => {
                let lane = lanes
                    .iter()
                    .find(|one| one.lane == batch.lane())
                    .expect("it was assigned");
                assert_eq!(texts(&batch), [lane.destination.to_string()]);
                seen.push(lane.destination.clone());
            }
            _ => {}
        }
    }
    Ok(())
}

pub(crate) async fn a_time_leads_to_the_first_message_of_that_time(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Replay])?;
    let broker = stage.open().await;
    broker.has("orders", 1).await;
    for time in [1_000, 2_000, 2_000, 5_000] {
        let mut outgoing = to("orders", 0, &time.to_string());
        outgoing.message = outgoing.message.with_timestamp(Timestamp::from_millis(time));
        broker.send(outgoing).await.expect("it is kept");
    }
    for (time, offset) in [(0, 0), (1_000, 0), (1_001, 1), (2_000, 1), (2_001, 3), (5_001, 4)] {
        let found = broker.offset_at("orders", 0, Timestamp::from_millis(time)).await;
        assert_eq!(found.expect("times lead to offsets"), offset, "{time}");
    }
    let nowhere = Timestamp::from_millis(0);
    assert!(broker.offset_at("orders", 7, nowhere).await.is_err());
    assert!(broker.offset_at("nowhere", 0, nowhere).await.is_err());
    Ok(())
}

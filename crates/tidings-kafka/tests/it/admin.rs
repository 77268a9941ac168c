//! Topics, offsets and groups of a real Kafka.

use crate::support::{open, options, spec, to, topic, unique};
use brokers::kafka_or_skip;
use std::time::Duration;
use tidings_core::{
    BinderError, BinderHealth, Cleanup, Create, Message, Outgoing, Progress, Sink, Timestamp,
};
use tidings_kafka::{Existing, KafkaAdmin};

fn progress(watermark: u64) -> Progress {
    Progress {
        watermark,
        ..Progress::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_made_once_and_never_changed() {
    let Some(servers) = kafka_or_skip("a_topic_is_made_once_and_never_changed") else {
        return;
    };
    let kafka = open(servers);
    let name = unique("topic");
    let mut never = spec(&name, 2);
    never.create = Create::Never;
    let refused = kafka.prepare(never.clone()).await;
    assert!(
        matches!(refused, Err(BinderError::UnknownDestination { .. })),
        "{refused:?}"
    );
    assert_eq!(kafka.prepare(spec(&name, 3)).await.expect("made").partitions, 3);
    assert_eq!(kafka.prepare(spec(&name, 7)).await.expect("there").partitions, 3);
    assert_eq!(kafka.prepare(never).await.expect("there").partitions, 3);
    let all = kafka.destinations().await.expect("topics");
    assert!(all.iter().any(|info| info.name == name && info.partitions == 3));
    assert!(
        all.iter().all(|info| !info.name.starts_with("__")),
        "Kafka's own are not shown"
    );
    assert!(all.is_sorted_by_key(|info| info.name.clone()));
    for bad in ["", "a/b", ".."] {
        let refused = kafka.prepare(spec(&bad.into(), 1)).await;
        assert!(
            matches!(refused, Err(BinderError::InvalidName { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(kafka.health(), BinderHealth::Up);
    kafka.close().await.expect("closed");
    assert!(matches!(kafka.destinations().await, Err(BinderError::Closed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_many_make_at_once_is_made_once() {
    let Some(servers) = kafka_or_skip("a_topic_that_many_make_at_once_is_made_once") else {
        return;
    };
    let kafka = open(servers);
    let name = unique("topic");
    let all = (0..8).map(|_| {
        let (kafka, name) = (kafka.clone(), name.clone());
        tokio::spawn(async move { kafka.prepare(spec(&name, 4)).await })
    });
    for one in all.collect::<Vec<_>>() {
        assert_eq!(one.await.expect("no panic").expect("it is there").partitions, 4);
    }
    kafka.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_as_asked_for_is_refused_with_both_sides_where_that_is_checked() {
    let Some(servers) =
        kafka_or_skip("a_topic_that_is_not_as_asked_for_is_refused_with_both_sides_where_that_is_checked")
    else {
        return;
    };
    let strict = KafkaAdmin::open(options(servers).with_existing(Existing::Validate)).expect("clients");
    let mut wanted = spec(&unique("topic"), 2);
    wanted.retention_time = Some(Duration::from_secs(3_600));
    wanted.cleanup = Some(Cleanup::Compact {
        tombstone_retention: Some(Duration::from_secs(60)),
    });
    strict.prepare(wanted.clone()).await.expect("made");
    strict
        .prepare(wanted.clone())
        .await
        .expect("it is as it is asked for");
    let mut other = wanted.clone();
    other.partitions = 5;
    other.retention_time = Some(Duration::from_secs(60));
    let error = strict
        .prepare(other.clone())
        .await
        .expect_err("it differs")
        .to_string();
    for words in [
        &*wanted.name,
        "it has 2 partitions, 5 are asked for",
        "its retention.ms is 3600000, 60000 is asked for",
    ] {
        assert!(error.contains(words), "{error}");
    }
    let lenient = open(servers);
    assert_eq!(
        lenient.prepare(other).await.expect("taken as it is").partitions,
        2
    );
    lenient.close().await.expect("closed");
    strict.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_refuses_to_make_is_an_error_in_its_words() {
    let Some(servers) = kafka_or_skip("what_the_broker_refuses_to_make_is_an_error_in_its_words") else {
        return;
    };
    let greedy = KafkaAdmin::open(options(servers).with_replication(99)).expect("clients");
    let error = greedy
        .prepare(spec(&unique("topic"), 1))
        .await
        .expect_err("so many brokers there are not");
    assert!(
        error.to_string().to_lowercase().contains("replication factor"),
        "{error}"
    );
    let wrong =
        KafkaAdmin::open(options(servers).with_topic_setting("max.message.bites", "1")).expect("clients");
    let error = wrong
        .prepare(spec(&unique("topic"), 1))
        .await
        .expect_err("there is no such setting");
    assert!(error.to_string().contains("max.message.bites"), "{error}");
    greedy.close().await.expect("closed");
    wrong.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_show_both_ends_and_what_a_group_has_stored_with_what_is_finished_above() {
    let Some(servers) =
        kafka_or_skip("positions_show_both_ends_and_what_a_group_has_stored_with_what_is_finished_above")
    else {
        return;
    };
    let kafka = open(servers);
    let orders = topic(&kafka, "orders", 3).await;
    for number in 0..20u32 {
        kafka
            .sink()
            .publish(to(&orders, 1, number.to_string()))
            .await
            .expect("it is kept");
    }
    let group = unique("group");
    let stored = Progress {
        watermark: 5,
        finished: vec![7..9, 12..13],
        attempts: vec![(6, 2)],
    };
    kafka
        .store_progress(&orders, 1, &group, stored.clone())
        .await
        .expect("nobody reads");
    let rows = kafka.positions(&orders, Some(&group)).await.expect("offsets");
    let shown: Vec<_> = rows
        .iter()
        .map(|row| (row.partition, row.first, row.end))
        .collect();
    assert_eq!(shown, [(0, 0, 0), (1, 0, 20), (2, 0, 0)]);
    assert_eq!(rows[1].progress, Some(stored));
    assert_eq!((&rows[0].progress, &rows[2].progress), (&None, &None));
    let beyond = kafka.store_progress(&orders, 1, &group, progress(21)).await;
    assert!(beyond.is_err_and(|error| error.to_string().contains("21 is beyond the end 20")));
    let nowhere = kafka.store_progress(&orders, 7, &group, progress(0)).await;
    assert!(nowhere.is_err_and(|error| error.to_string().contains("there are 3 partitions")));
    let missing = kafka.positions(&unique("missing"), None).await;
    assert!(
        matches!(missing, Err(BinderError::UnknownDestination { .. })),
        "{missing:?}"
    );
    kafka.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_groups_positions_are_listed_and_deleted() {
    let Some(servers) = kafka_or_skip("a_groups_positions_are_listed_and_deleted") else {
        return;
    };
    let kafka = open(servers);
    let (orders, audits) = (topic(&kafka, "orders", 2).await, topic(&kafka, "audits", 1).await);
    kafka
        .sink()
        .publish(to(&orders, 1, "x"))
        .await
        .expect("it is kept");
    let group = unique("group");
    kafka
        .store_progress(&orders, 1, &group, progress(1))
        .await
        .expect("nobody reads");
    kafka
        .store_progress(&audits, 0, &group, progress(0))
        .await
        .expect("nobody reads");
    let groups = kafka.groups().await.expect("groups");
    let found = groups
        .iter()
        .find(|info| info.name == group)
        .expect("it is listed");
    let rows = |info: &tidings_core::GroupInfo| -> Vec<_> {
        let row = |at: &tidings_core::GroupPosition| {
            (
                at.destination.clone(),
                at.partition,
                at.progress.clone().map(|progress| progress.watermark),
            )
        };
        info.positions.iter().map(row).collect()
    };
    assert_eq!(
        rows(found),
        [(audits.clone(), 0, Some(0)), (orders.clone(), 1, Some(1))]
    );
    kafka
        .delete_progress(&orders, &group)
        .await
        .expect("nobody reads");
    let after = kafka.positions(&orders, Some(&group)).await.expect("offsets");
    assert!(after.iter().all(|row| row.progress.is_none()));
    let groups = kafka.groups().await.expect("groups");
    let found = groups
        .iter()
        .find(|info| info.name == group)
        .expect("it is listed");
    assert_eq!(rows(found), [(audits, 0, Some(0))], "the other topic's stay");
    kafka
        .delete_progress(&orders, &unique("nobody"))
        .await
        .expect("there is nothing to delete");
    let missing = kafka.delete_progress(&unique("missing"), &group).await;
    assert!(
        matches!(missing, Err(BinderError::UnknownDestination { .. })),
        "{missing:?}"
    );
    kafka.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_is_found_by_time() {
    let Some(servers) = kafka_or_skip("an_offset_is_found_by_time") else {
        return;
    };
    let kafka = open(servers);
    let orders = topic(&kafka, "orders", 1).await;
    let start = 1_700_000_000_000i64;
    for number in 0..10i64 {
        let message = Message::new("x").with_timestamp(Timestamp::from_millis(start + number * 1_000));
        kafka
            .sink()
            .publish(Outgoing::new(orders.clone(), message))
            .await
            .expect("it is kept");
    }
    for (time, offset) in [
        (0, 0),
        (start + 3_000, 3),
        (start + 3_001, 4),
        (start + 99_000, 10),
        (-5, 0),
    ] {
        let found = kafka.offset_at(&orders, 0, Timestamp::from_millis(time)).await;
        assert_eq!(found.expect("an offset"), offset, "{time}");
    }
    kafka.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_goes_on_where_it_ended_and_a_large_message_comes_alone() {
    let Some(servers) = kafka_or_skip("reading_goes_on_where_it_ended_and_a_large_message_comes_alone")
    else {
        return;
    };
    let kafka = open(servers);
    let orders = topic(&kafka, "orders", 2).await;
    for number in 0..10usize {
        let size = if number == 5 { 5_000 } else { 100 };
        kafka
            .sink()
            .publish(to(&orders, 0, "x".repeat(size + number)))
            .await
            .expect("it is kept");
    }
    let (mut sizes, mut from) = (Vec::new(), 0);
    while from < 10 {
        let batch = kafka.read(&orders, 0, from, 350).await.expect("it is read");
        assert_eq!(batch.records()[0].offset, from);
        sizes.push(batch.len());
        from = batch.next();
    }
    assert_eq!(sizes, [3, 2, 1, 3, 1]);
    let back = kafka.read(&orders, 0, 2, 1 << 20).await.expect("it is read");
    assert_eq!((back.records()[0].offset, back.len(), back.next()), (2, 8, 10));
    let end = kafka.read(&orders, 0, 10, 1 << 20).await.expect("it is read");
    assert!(end.is_empty());
    let other = kafka.read(&orders, 1, 0, 1 << 20).await.expect("it is read");
    assert!(other.is_empty());
    kafka
        .sink()
        .publish(to(&orders, 0, "later"))
        .await
        .expect("it is kept");
    let later = kafka.read(&orders, 0, 10, 1 << 20).await.expect("it is read");
    assert_eq!((later.len(), later.next()), (1, 11));
    let missing = kafka.read(&unique("missing"), 0, 0, 1).await;
    assert!(
        matches!(missing, Err(BinderError::UnknownDestination { .. })),
        "{missing:?}"
    );
    kafka.close().await.expect("closed");
}

//! Topics that are deleted, and made again, under those who read them.

use crate::lost::{Warnings, admin, member_of, publish};
use crate::own::{binder, topic};
use crate::shapes::{PATIENCE, Reader, shared};
use rdkafka::TopicPartitionList;
use rdkafka::admin::AdminOptions;
use rdkafka::consumer::{CommitMode, Consumer};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidings_core::{Binder, BinderHealth, DestinationSpec, Source, SourceError, SourceInput};
use tidings_kafka::KafkaBinder;

/// Waits until the broker knows nothing of the topic any more.
async fn delete(servers: &str, kafka: &KafkaBinder, topic: &str) {
    let deleted = admin(servers).delete_topics(&[topic], &AdminOptions::new()).await;
    deleted.unwrap().remove(0).unwrap();
    let began = Instant::now();
    while kafka.positions(topic, None).await.is_ok() {
        assert!(began.elapsed() < PATIENCE, "it is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn make(kafka: &KafkaBinder, topic: &Arc<str>) {
    let spec = DestinationSpec::new(topic.clone(), 1);
    kafka.prepare(spec).await.unwrap();
}

/// Until the binder's health is as wanted; what it says then.
async fn health(kafka: &KafkaBinder, reader: &mut Reader, wanted: impl Fn(&BinderHealth) -> bool) {
    let began = Instant::now();
    while !wanted(&kafka.health()) {
        assert!(began.elapsed() < PATIENCE, "{:?}", kafka.health());
        reader.next_within(Duration::from_millis(50)).await;
    }
}

async fn let_go_of_and_read_again(test: &str, servers: &str, protocol: &[(&str, &str)]) {
    let kafka = binder(servers, protocol);
    let orders = topic(&kafka, "orders", 1).await;
    let other = topic(&kafka, "other", 1).await;
    publish(&kafka, &orders, 0, 10).await;
    let mut spec = Reader::spec(Some(&brokers::unique("billing")), &orders);
    spec.inputs.push(SourceInput {
        destination: other.clone(),
        retry: None,
    });
    let mut reader = Reader::join(&kafka, spec).await;
    assert_eq!(reader.take(10).await.len(), 10, "{test}");
    delete(servers, &kafka, &orders).await;
    let mut said = Vec::new();
    while reader.own.values().any(|one| one.destination == orders) {
        said.extend(reader.next().await.err());
    }
    // The other topic goes on meanwhile.
    publish(&kafka, &other, 0, 3).await;
    assert_eq!(reader.take(3).await.len(), 3);
    // It is said which one is gone, and what to do; not only as long as nothing else is read.
    let names = |reason: &str| reason.contains(&*orders) && reason.contains("create it again");
    let is_told = |health: &BinderHealth| matches!(health, BinderHealth::Down(reason) if names(reason));
    health(&kafka, &mut reader, is_told).await;
    publish(&kafka, &other, 0, 3).await;
    assert_eq!(reader.take(3).await.len(), 3);
    health(&kafka, &mut reader, is_told).await;
    said.append(&mut reader.said);
    let is_of_it =
        |error: &SourceError| matches!(error, SourceError::Unavailable { reason } if names(reason));
    assert_eq!(said.iter().filter(|error| is_of_it(error)).count(), 1, "{said:?}");
    // It is found without the five minutes of topic.metadata.refresh.interval.ms.
    make(&kafka, &orders).await;
    publish(&kafka, &orders, 0, 4).await;
    let read = reader.take(4).await;
    let offsets: Vec<_> = read.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3]);
    health(&kafka, &mut reader, |health| *health == BinderHealth::Up).await;
    reader.source.close().await.unwrap();
    let _ = kafka.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_deleted_is_let_go_of_and_read_from_its_start_when_it_is_made_again() {
    let test = "a_topic_that_is_deleted_is_let_go_of_and_read_from_its_start_when_it_is_made_again";
    let Some(servers) = shared(test).await else { return };
    for protocol in [
        ("partition.assignment.strategy", "cooperative-sticky"),
        ("partition.assignment.strategy", "range"),
        ("group.protocol", "consumer"),
    ] {
        let_go_of_and_read_again(test, servers, &[protocol]).await;
    }
}

/// On one thread, so that the warnings of the source are seen.
#[tokio::test]
async fn a_commit_that_comes_after_its_topic_was_made_again_skips_nothing_of_the_new_one() {
    let test = "a_commit_that_comes_after_its_topic_was_made_again_skips_nothing_of_the_new_one";
    let Some(servers) = shared(test).await else { return };
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let kafka = binder(servers, &[]);
    let orders = topic(&kafka, "orders", 1).await;
    publish(&kafka, &orders, 0, 10).await;
    let group = brokers::unique("billing");
    let spec = Reader::spec(Some(&group), &orders);
    let mut reader = Reader::join(&kafka, spec.clone()).await;
    assert_eq!(reader.take(10).await.len(), 10);
    reader.source.close().await.unwrap();
    // What a commit of the member holds, as one under way would.
    let outside = member_of(servers, &group);
    let mut late = TopicPartitionList::new();
    late.add_partition(&orders, 0);
    let late = outside.committed_offsets(late, PATIENCE).unwrap();
    assert_eq!(late.elements()[0].offset().to_raw(), Some(10));
    delete(servers, &kafka, &orders).await;
    make(&kafka, &orders).await;
    publish(&kafka, &orders, 0, 20).await;
    outside.commit(&late, CommitMode::Sync).unwrap();
    let mut reader = Reader::join(&kafka, spec.clone()).await;
    let read = reader.take(20).await;
    let offsets: Vec<_> = read.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, (0..20).collect::<Vec<_>>());
    assert!(
        warnings.have(&["made again", &orders, "position=10"]),
        "{warnings:?}"
    );
    reader.source.close().await.unwrap();
    // What it stores itself is its own again.
    let mut reader = Reader::join(&kafka, spec).await;
    reader.assigned(1).await;
    assert_eq!(reader.own.values().next().unwrap().next, 20);
    reader.source.close().await.unwrap();
    let _ = kafka.close().await;
}

//! What a group should read next is not there: nothing is skipped without a word.

use crate::own::{binder, topic};
use crate::shapes::{Reader, shared, to};
use rdkafka::ClientConfig;
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::Offset;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tidings_core::{Binder, Source, SourceError, SourceEvent};
use tidings_kafka::KafkaBinder;
use tokio::time::timeout;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Keeps what is warned of in this thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct Warnings(Arc<Mutex<Vec<String>>>);

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = String::new();
        event.record(&mut Line(&mut line));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Warnings {
    pub(crate) fn have(&self, words: &[&str]) -> bool {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines
            .iter()
            .any(|line| words.iter().all(|word| line.contains(word)))
    }
}

fn config(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    config
}

pub(crate) fn admin(servers: &str) -> AdminClient<DefaultClientContext> {
    config(servers).create().unwrap()
}

pub(crate) async fn publish(kafka: &KafkaBinder, topic: &Arc<str>, partition: u32, count: u64) {
    let all = (0..count).map(|number| to(topic, partition, number.to_string()));
    for receipt in kafka.sink().publish_all(all.collect()) {
        receipt.await.unwrap();
    }
}

async fn delete_below(servers: &str, topic: &str, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset))
        .unwrap();
    let deleted = admin(servers).delete_records(&list, &AdminOptions::new()).await;
    deleted.unwrap();
}

/// On one thread, so that the warnings of the source are seen.
#[tokio::test]
async fn retention_that_overtakes_a_paused_partition_is_said_with_how_much_was_lost() {
    let test = "retention_that_overtakes_a_paused_partition_is_said_with_how_much_was_lost";
    let Some(servers) = shared(test).await else { return };
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let kafka = binder(servers, &[]);
    let orders = topic(&kafka, "orders", 1).await;
    let mut spec = Reader::spec(Some(&brokers::unique("billing")), &orders);
    spec.max_batch_bytes = 1_000;
    let mut reader = Reader::join(&kafka, spec.clone()).await;
    reader.assigned(1).await;
    publish(&kafka, &orders, 0, 10).await;
    assert_eq!(reader.take(10).await.len(), 10);
    let lane = *reader.own.keys().next().unwrap();
    let mut end = 10;
    let first = loop {
        reader.source.pause(&[lane]);
        publish(&kafka, &orders, 0, 20_000).await;
        // It keeps a few batches and lets the rest wait in the broker.
        let event = timeout(Duration::from_secs(1), reader.source.next()).await;
        assert!(
            event.is_err() || matches!(event, Ok(Ok(SourceEvent::Idle))),
            "{event:?}"
        );
        let first = end + 15_000;
        delete_below(servers, &orders, i64::try_from(first).unwrap()).await;
        reader.source.resume(&[lane]);
        end += 20_000;
        let mut offsets = Vec::new();
        while offsets.last().is_none_or(|last| last + 1 < end) {
            let read = reader.take(1).await;
            offsets.extend(read.into_iter().map(|(offset, _)| offset));
        }
        assert!(offsets.is_sorted());
        assert!(offsets.contains(&first), "it goes on at the first that is left");
        let kept = offsets.iter().filter(|offset| **offset < first).count();
        if kept < 10_000 {
            break first;
        }
        // A busy machine may have fetched all of them before it stood still.
        assert!(end < 200_000, "{kept} were kept: the lane was not overtaken");
    };
    let words = ["retention has deleted", &format!("first={first}"), "lost="];
    assert!(warnings.have(&words), "{warnings:?}");
    reader.source.close().await.unwrap();

    // The same while nobody reads.
    publish(&kafka, &orders, 0, 100).await;
    let first = end + 40;
    delete_below(servers, &orders, i64::try_from(first).unwrap()).await;
    let mut reader = Reader::join(&kafka, spec).await;
    reader.assigned(1).await;
    assert_eq!(reader.own.values().next().unwrap().next, first);
    let words = ["retention has deleted", &format!("first={first}"), "lost="];
    assert!(warnings.have(&words), "{warnings:?}");
    reader.source.close().await.unwrap();
    let _ = kafka.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_beyond_the_end_stops_its_partition_says_so_and_waits_for_somebody_to_decide() {
    let test = "a_position_beyond_the_end_stops_its_partition_says_so_and_waits_for_somebody_to_decide";
    let Some(servers) = shared(test).await else { return };
    let kafka = binder(servers, &[]);
    let orders = topic(&kafka, "orders", 2).await;
    let group = brokers::unique("billing");
    for partition in 0..2 {
        publish(&kafka, &orders, partition, 5).await;
    }
    commit(servers, &group, &orders, 1_000);
    let spec = Reader::spec(Some(&group), &orders);
    let mut reader = Reader::join(&kafka, spec.clone()).await;
    let mut said = None;
    let mut read = Vec::new();
    while said.is_none() || read.len() < 5 {
        match reader.next().await {
            Err(error) => said = Some(error),
            Ok(SourceEvent::Batch(batch)) => {
                assert_eq!(reader.own[&batch.lane()].partition, 1, "the other goes on");
                read.extend(batch.records().iter().map(|record| record.offset));
            }
            Ok(_) => {}
        }
    }
    let Some(SourceError::Corrupt {
        partition, reason, ..
    }) = said
    else {
        panic!("{said:?}")
    };
    assert_eq!(partition, 0);
    assert!(
        reason.contains("1000") && reason.contains("set the group's position"),
        "{reason}"
    );
    // What comes there later is not skipped either: nothing is read, and the position stays.
    publish(&kafka, &orders, 0, 5).await;
    while let Ok(event) = timeout(Duration::from_millis(500), reader.source.next()).await {
        assert!(!matches!(event, Ok(SourceEvent::Batch(_))), "{event:?}");
    }
    reader.source.close().await.unwrap();
    let at = kafka.positions(&orders, Some(&group)).await.unwrap().remove(0);
    assert_eq!(at.progress.unwrap().watermark, 1_000, "nobody has decided");
    // Somebody decides.
    commit(servers, &group, &orders, 5);
    let mut reader = Reader::join(&kafka, spec).await;
    reader.assigned(2).await;
    // The other one's are there again too, since nobody has finished them, before these or after.
    let mut offsets = Vec::new();
    while offsets.len() < 5 {
        if let SourceEvent::Batch(batch) = reader.next().await.unwrap()
            && reader.own[&batch.lane()].partition == 0
        {
            offsets.extend(batch.records().iter().map(|record| record.offset));
        }
    }
    assert_eq!(offsets, (5..10).collect::<Vec<_>>());
    reader.source.close().await.unwrap();
    let _ = kafka.close().await;
}

fn commit(servers: &str, group: &str, topic: &str, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset))
        .unwrap();
    member_of(servers, group).commit(&list, CommitMode::Sync).unwrap();
}

pub(crate) fn member_of(servers: &str, group: &str) -> BaseConsumer {
    config(servers).set("group.id", group).create().unwrap()
}

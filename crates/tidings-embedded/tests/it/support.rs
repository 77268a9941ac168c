//! Short words for the tests.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{
    Assignment, Binder, DestinationSpec, Epoch, Guarantee, LaneId, Message, Outgoing, Position, Progress,
    PublishError, Receipt, RecordBatch, Source, SourceError, SourceEvent, SourceInput, SourceSpec, Start,
};
use tidings_embedded::{EmbeddedBroker, EmbeddedOptions, EmbeddedSource, Fsync};

pub(crate) fn memory() -> EmbeddedBroker {
    EmbeddedBroker::open(EmbeddedOptions::from_url("memory:").unwrap()).unwrap()
}

pub(crate) fn options(directory: &Path) -> EmbeddedOptions {
    EmbeddedOptions::from_url(&format!("embedded:{}", directory.display())).unwrap()
}

pub(crate) fn disk(directory: &Path, fsync: Fsync) -> EmbeddedBroker {
    EmbeddedBroker::open(options(directory).fsync(fsync)).unwrap()
}

pub(crate) fn destination(name: &str, partitions: u32) -> DestinationSpec {
    DestinationSpec::new(name, partitions)
}

pub(crate) async fn prepare(broker: &EmbeddedBroker, name: &str, partitions: u32) {
    assert_eq!(
        broker
            .prepare(destination(name, partitions))
            .await
            .unwrap()
            .partitions,
        partitions
    );
}

pub(crate) fn to(name: &str, partition: u32, payload: impl Into<Vec<u8>>) -> Outgoing {
    let mut outgoing = Outgoing::new(name, Message::new(payload.into()));
    outgoing.partition = Some(partition);
    outgoing
}

pub(crate) fn send(
    broker: &EmbeddedBroker,
    name: &str,
    partition: u32,
    payload: impl Into<Vec<u8>>,
) -> Receipt {
    broker.sink().publish(to(name, partition, payload))
}

pub(crate) async fn publish(
    broker: &EmbeddedBroker,
    name: &str,
    partition: u32,
    payload: impl Into<Vec<u8>>,
) -> Result<Position, PublishError> {
    send(broker, name, partition, payload).await
}

pub(crate) fn spec(group: Option<&str>, name: &str) -> SourceSpec {
    SourceSpec {
        partitions: None,
        subscription: "test".into(),
        group: group.map(Arc::from),
        inputs: vec![SourceInput {
            destination: name.into(),
            retry: None,
        }],
        start: Start::Earliest,
        max_batch_bytes: 64 << 10,
        commit_interval: Duration::from_millis(100),
        commit_every: 10_000,
        revoke_timeout: Duration::from_secs(5),
        guarantee: Guarantee::AtLeastOnce,
    }
}

pub(crate) async fn join(broker: &EmbeddedBroker, group: &str, name: &str) -> EmbeddedSource {
    broker.subscribe(spec(Some(group), name)).await.unwrap()
}

/// The next event; a test that waits for ever fails instead.
pub(crate) async fn next(source: &mut EmbeddedSource) -> Result<SourceEvent, SourceError> {
    let waited = tokio::time::timeout(Duration::from_secs(30), source.next()).await;
    waited.expect("an event within 30 s")
}

pub(crate) async fn assigned(source: &mut EmbeddedSource) -> Vec<Assignment> {
    loop {
        match next(source).await.unwrap() {
            SourceEvent::Assigned(assignments) => return assignments,
            SourceEvent::Idle => {}
            other => panic!("{other:?} instead of an assignment"),
        }
    }
}

pub(crate) async fn batch(source: &mut EmbeddedSource) -> RecordBatch {
    loop {
        match next(source).await.unwrap() {
            SourceEvent::Batch(batch) => return batch,
            SourceEvent::Idle | SourceEvent::Assigned(_) => {}
            other => panic!("{other:?} instead of a batch"),
        }
    }
}

/// Payloads until the source is idle, as text.
pub(crate) async fn drain(source: &mut EmbeddedSource) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        match next(source).await.unwrap() {
            SourceEvent::Batch(batch) => all.extend(texts(&batch)),
            SourceEvent::Idle => return all,
            _ => {}
        }
    }
}

pub(crate) fn texts(batch: &RecordBatch) -> Vec<String> {
    let text = |record| String::from_utf8(batch.payload(record).unwrap_or_default().to_vec()).unwrap();
    batch.records().iter().map(text).collect()
}

pub(crate) fn done(source: &mut EmbeddedSource, lane: LaneId, epoch: Epoch, watermark: u64) {
    let progress = Progress {
        watermark,
        ..Progress::default()
    };
    source.progress(lane, epoch, progress);
}

pub(crate) async fn stored(broker: &EmbeddedBroker, name: &str, group: &str) -> Vec<Option<u64>> {
    let positions = broker.positions(name, Some(group)).await.unwrap();
    positions
        .into_iter()
        .map(|one| one.progress.map(|progress| progress.watermark))
        .collect()
}

pub(crate) async fn count(broker: &EmbeddedBroker, name: &str) -> u64 {
    let positions = broker.positions(name, None).await.unwrap();
    positions.iter().map(|one| one.end - one.first).sum()
}

/// What a crash of the process leaves: a copy of the files, made while they are open.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

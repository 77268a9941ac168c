//! Partitions that cannot be opened, for a moment or for good.

use crate::support::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{Binder, BinderHealth, LaneRole, Source, SourceEvent, SourceSpec, Start};
use tidings_embedded::{EmbeddedBroker, EmbeddedOptions, EmbeddedSource, Fsync};
use tidings_log::MemoryFiles;
use tidings_log::faults::{EIO, Fault, FaultyFiles, Operation};

fn on(files: &Arc<FaultyFiles>) -> EmbeddedBroker {
    let options = EmbeddedOptions::from_url("memory:").unwrap();
    EmbeddedBroker::open(options.fsync(Fsync::default()).files(files.clone())).unwrap()
}

/// A broker whose destination was not opened since it was started, and has one message in each partition.
async fn started_again(partitions: u32) -> (Arc<FaultyFiles>, EmbeddedBroker) {
    let files = Arc::new(FaultyFiles::new(Arc::new(MemoryFiles::new())));
    let broker = on(&files);
    prepare(&broker, "orders", partitions).await;
    for partition in 0..partitions {
        publish(&broker, "orders", partition, "first").await.unwrap();
    }
    broker.close().await.unwrap();
    drop(broker);
    let broker = on(&files);
    (files, broker)
}

fn unreadable() -> Fault {
    Fault::fail(Operation::Read, EIO).on_names_ending("log").forever()
}

/// Payloads until there are so many, whatever errors are told meanwhile.
async fn read(source: &mut EmbeddedSource, count: usize) -> Vec<String> {
    let mut read = Vec::new();
    while read.len() < count {
        if let Ok(SourceEvent::Batch(batch)) = next(source).await {
            read.extend(texts(&batch));
        }
    }
    read
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_could_not_be_opened_for_a_moment_is_read_afterwards() {
    for group in [Some("billing"), None] {
        let (files, broker) = started_again(1).await;
        files.inject(unreadable());
        let mut source = broker.subscribe(spec(group, "orders")).await.unwrap();
        let told = next(&mut source).await.unwrap_err();
        assert!(told.is_transient(), "{told}");
        assert!(matches!(broker.health(), BinderHealth::Down(_)));
        let waited = tokio::time::timeout(Duration::from_secs(2), async {
            loop {
                assert!(
                    source.next().await.unwrap_err().is_transient(),
                    "it is not idle, and nothing is assigned"
                );
            }
        });
        waited.await.unwrap_err();
        files.heal();
        assert_eq!(assigned_at_last(&mut source).await, 1);
        assert_eq!(broker.health(), BinderHealth::Up);
        publish(&broker, "orders", 0, "second").await.unwrap();
        assert_eq!(read(&mut source, 2).await, ["first", "second"]);
    }
}

async fn assigned_at_last(source: &mut EmbeddedSource) -> usize {
    loop {
        match next(source).await {
            Ok(SourceEvent::Assigned(lanes)) => return lanes.len(),
            Ok(other) => panic!("{other:?} instead of an assignment"),
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_cannot_be_opened_does_not_stop_the_others() {
    let (files, broker) = started_again(2).await;
    // One partition is opened before the others cannot be any more.
    publish(&broker, "orders", 1, "second").await.unwrap();
    files.inject(unreadable());
    let mut source = join(&broker, "billing", "orders").await;
    let lanes = assigned(&mut source).await;
    assert_eq!(lanes.iter().map(|lane| lane.partition).collect::<Vec<_>>(), [1]);
    files.heal();
    assert_eq!(read(&mut source, 3).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_cannot_be_opened_moves_to_a_new_member_without_waiting_for_the_deadline() {
    let (files, broker) = started_again(2).await;
    files.inject(unreadable());
    let mut one = join(&broker, "billing", "orders").await;
    next(&mut one).await.unwrap_err();
    let mut two = join(&broker, "billing", "orders").await;
    let begun = tokio::time::Instant::now();
    // It follows what the group decided.
    drop(tokio::time::timeout(Duration::from_millis(1), one.next()).await);
    files.heal();
    assert_eq!(read(&mut two, 1).await, ["first"]);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(read(&mut one, 1).await, ["first"]);
}

#[tokio::test]
async fn a_latest_group_does_not_begin_at_the_start_of_a_partition_whose_end_is_not_known() {
    for group in [Some("billing"), None] {
        let (files, broker) = started_again(1).await;
        files.inject(unreadable());
        let mut latest = spec(group, "orders");
        latest.start = Start::Latest;
        let refused = broker.subscribe(latest.clone()).await.unwrap_err().to_string();
        assert!(refused.contains("orders/0"), "{refused}");
        files.heal();
        let mut source = broker.subscribe(latest).await.unwrap();
        publish(&broker, "orders", 0, "second").await.unwrap();
        assert_eq!(drain(&mut source).await, ["second"]);
    }
}

fn segment_of(directory: &Path) -> PathBuf {
    let mut entries = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .find(|path| path.extension().is_some_and(|end| end == "log"))
        .unwrap()
}

#[tokio::test]
async fn a_damaged_retry_lane_never_counts_as_read_to_its_end() {
    let root = tempfile::tempdir().unwrap();
    let broker = disk(root.path(), Fsync::Always);
    let retry = "orders.billing.retry";
    for name in ["orders", retry] {
        prepare(&broker, name, 1).await;
        publish(&broker, name, 0, "tea").await.unwrap();
    }
    broker.close().await.unwrap();
    drop(broker);
    let segment = segment_of(&root.path().join("topics").join(retry).join("0"));
    std::fs::File::options()
        .write(true)
        .open(segment)
        .unwrap()
        .set_len(70)
        .unwrap();

    let broker = disk(root.path(), Fsync::Always);
    let mut both: SourceSpec = spec(Some("billing"), "orders");
    both.inputs[0].retry = Some(retry.into());
    let mut source = broker.subscribe(both).await.unwrap();
    let lanes = assigned(&mut source).await;
    let lane = lanes.iter().find(|lane| lane.role == LaneRole::Retry).unwrap();
    assert!(lane.end > lane.next, "{lane:?}");
}

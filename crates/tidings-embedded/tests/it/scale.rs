//! Much of everything, and most of it idle: what is opened, listed and synced is counted, not timed.

use crate::support::*;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{Binder, Clock, Outgoing, Progress, Source, Timestamp};
use tidings_embedded::{EmbeddedBroker, EmbeddedOptions, Fsync};
use tidings_log::faults::{FaultyFiles, Loss, Operation};
use tidings_log::{DiskFiles, Files, MemoryFiles, PooledFiles};

/// Files that count; the directory on the disk holds the lock only.
fn counting(root: &Path) -> Arc<FaultyFiles> {
    let memory = MemoryFiles::new();
    memory.create_dir_all(root).unwrap();
    Arc::new(FaultyFiles::new(Arc::new(memory)))
}

fn at(root: &Path, files: &Arc<FaultyFiles>) -> EmbeddedOptions {
    options(root).fsync(Fsync::default()).files(files.clone())
}

fn touched(files: &FaultyFiles) -> u64 {
    let all = [
        Operation::List,
        Operation::Open,
        Operation::Create,
        Operation::Read,
        Operation::Write,
        Operation::Sync,
        Operation::SyncDirectory,
    ];
    all.into_iter().map(|operation| files.count(operation)).sum()
}

#[tokio::test(start_paused = true)]
async fn opening_touches_no_partition_and_an_idle_broker_touches_nothing() {
    let root = tempfile::tempdir().unwrap();
    let files = counting(root.path());
    let broker = EmbeddedBroker::open(at(root.path(), &files)).unwrap();
    for number in 0..500 {
        prepare(&broker, &format!("topic-{number}"), 4).await;
    }
    publish(&broker, "topic-7", 1, "tea").await.unwrap();
    broker.close().await.unwrap();
    drop(broker);

    let logs = files.count_of(Operation::Open, "log");
    let (lists, opens) = (files.count(Operation::List), files.count(Operation::Open));
    let options = at(root.path(), &files).retention_time(Some(Duration::from_secs(3_600)));
    let broker = EmbeddedBroker::open(options).unwrap();
    assert_eq!(files.count_of(Operation::Open, "log"), logs, "no segment");
    assert_eq!(files.count(Operation::List), lists + 1, "the catalog only");
    assert!(
        files.count(Operation::Open) <= opens + 501,
        "one file a topic, and the state"
    );

    publish(&broker, "topic-7", 1, "more tea").await.unwrap();
    // The first turn of retention looks at directories, once. Later ones touch nothing, and nothing else does.
    tokio::time::sleep(Duration::from_secs(120)).await;
    let before = touched(&files);
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    assert_eq!(touched(&files), before);
}

#[tokio::test(start_paused = true)]
async fn retention_opens_what_it_may_delete_from_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let files = counting(root.path());
    let small = || {
        at(root.path(), &files)
            .segment_bytes(4096)
            .retention_bytes(Some(8192))
    };
    let broker = EmbeddedBroker::open(small()).unwrap();
    prepare(&broker, "orders", 20).await;
    let mut source = join(&broker, "billing", "orders").await;
    let lanes = assigned(&mut source).await;
    for number in 0..40 {
        publish(&broker, "orders", 3, vec![number; 1_000]).await.unwrap();
        if number < 2 {
            publish(&broker, "orders", u32::from(number) + 5, "small")
                .await
                .unwrap();
        }
    }
    let long = lanes.iter().find(|lane| lane.partition == 3).unwrap();
    done(&mut source, long.lane, long.epoch, 40);
    source.close().await.unwrap();
    broker.close().await.unwrap();
    drop(broker);

    let broker = EmbeddedBroker::open(small()).unwrap();
    let before = files.count_of(Operation::Open, "log");
    broker.retain().await.unwrap();
    assert_eq!(
        files.count_of(Operation::Open, "log"),
        before + 1,
        "its last segment"
    );
    assert!(broker.positions("orders", None).await.unwrap()[3].first > 25);
}

#[tokio::test]
async fn a_thousand_partitions_are_opened_after_a_crash_and_none_has_lost_anything() {
    let root = tempfile::tempdir().unwrap();
    let files = counting(root.path());
    let broker = EmbeddedBroker::open(at(root.path(), &files)).unwrap();
    prepare(&broker, "orders", 1_000).await;
    for partition in 0..1_000 {
        publish(&broker, "orders", partition, partition.to_string())
            .await
            .unwrap();
    }
    files.crash(Loss::Nothing).unwrap();
    drop(broker);
    let broker = EmbeddedBroker::open(at(root.path(), &files)).unwrap();
    let mut source = join(&broker, "billing", "orders").await;
    assert_eq!(assigned(&mut source).await.len(), 1_000);
    let mut found = drain(&mut source).await;
    found.sort_by_key(|text| text.parse::<u32>().unwrap());
    let expected: Vec<_> = (0..1_000).map(|partition: u32| partition.to_string()).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn four_hundred_partitions_are_written_and_read_with_thirty_two_open_files() {
    let root = tempfile::tempdir().unwrap();
    let pool = Arc::new(PooledFiles::new(counting(root.path()), 32));
    let options = options(root.path()).fsync(Fsync::Os).files(pool.clone());
    let broker = EmbeddedBroker::open(options).unwrap();
    for topic in 0..100 {
        prepare(&broker, &format!("topic-{topic}"), 4).await;
    }
    for round in 0..3 {
        for number in 0..400 {
            let topic = format!("topic-{}", number / 4);
            publish(&broker, &topic, number % 4, format!("{round}"))
                .await
                .unwrap();
            assert!(pool.open_files() <= 34, "{}", pool.open_files());
        }
    }
    for topic in 0..100 {
        let mut source = broker
            .subscribe(spec(None, &format!("topic-{topic}")))
            .await
            .unwrap();
        assert_eq!(drain(&mut source).await.len(), 12);
    }
    assert!(pool.open_files() <= 34);
}

#[tokio::test]
async fn the_default_limit_of_open_files_is_kept_on_a_real_disk() {
    let root = tempfile::tempdir().unwrap();
    let broker = EmbeddedBroker::open(options(root.path()).fsync(Fsync::Os).max_open_files(20)).unwrap();
    prepare(&broker, "orders", 200).await;
    for partition in 0..200 {
        publish(&broker, "orders", partition, "tea").await.unwrap();
    }
    let below = std::fs::canonicalize(root.path()).unwrap().join("topics");
    let open = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter(|path| path.starts_with(&below))
        .count();
    assert!(open <= 20, "{open}");
    assert_eq!(count(&broker, "orders").await, 200);
}

#[tokio::test(start_paused = true)]
async fn of_many_messages_for_later_only_those_that_are_due_are_read() {
    let root = tempfile::tempdir().unwrap();
    let files = counting(root.path());
    let clock = Clock::virtual_from_now();
    let broker = EmbeddedBroker::open(at(root.path(), &files).clock(clock)).unwrap();
    prepare(&broker, "orders", 1).await;
    let outgoing = (0..20_000u64).map(|number| {
        let mut outgoing: Outgoing = to("orders", 0, vec![b'x'; 500]);
        outgoing.due = Some(clock.now().plus(Duration::from_secs(10 + number * 60)));
        outgoing
    });
    for receipt in broker.sink().publish_all(outgoing.collect()) {
        receipt.await.unwrap();
    }
    broker.close().await.unwrap();
    drop(broker);
    let before = files.count_of(Operation::Read, "redb");
    let broker = EmbeddedBroker::open(at(root.path(), &files).clock(clock)).unwrap();
    let opening = files.count_of(Operation::Read, "redb") - before;
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(count(&broker, "orders").await, 2);
    let reads = files.count_of(Operation::Read, "redb") - before - opening;
    assert!(reads < 300, "{reads} reads for two messages of 20,000");
}

#[tokio::test(start_paused = true)]
async fn opening_after_a_crash_does_not_walk_the_messages_for_later_whatever_was_stored_last() {
    let root = tempfile::tempdir().unwrap();
    let broker = EmbeddedBroker::open(options(root.path())).unwrap();
    prepare(&broker, "orders", 1).await;
    publish(&broker, "orders", 0, "one").await.unwrap();
    let far = Timestamp::now().plus(Duration::from_secs(1_000_000));
    let outgoing = (0..40_000).map(|_| {
        let mut outgoing: Outgoing = to("orders", 0, vec![b'x'; 500]);
        outgoing.due = Some(far);
        outgoing
    });
    for receipt in broker.sink().publish_all(outgoing.collect()) {
        receipt.await.unwrap();
    }
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    copy(root.path(), first.path());
    let progress = Progress {
        watermark: 1,
        ..Progress::default()
    };
    broker
        .store_progress("orders", 0, "billing", progress)
        .await
        .unwrap();
    copy(root.path(), second.path());
    let reads = |root: &Path| {
        let files = Arc::new(FaultyFiles::new(Arc::new(DiskFiles)));
        drop(EmbeddedBroker::open(at(root, &files)).unwrap());
        files.count_of(Operation::Read, "redb")
    };
    let (first, second) = (reads(first.path()), reads(second.path()));
    assert!(
        second < first + 100,
        "{first} reads after messages for later, {second} after a position"
    );
}

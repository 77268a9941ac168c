//! Snapshots of a broker that works meanwhile.

use crate::support::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tidings_core::{Binder, BinderError, Cleanup, Message, Outgoing, Source, SourceEvent, Timestamp};
use tidings_embedded::{
    Access, EmbeddedBroker, EmbeddedOptions, Fsync, Sealed, SnapshotOptions, verify_directory,
};

fn small(root: &Path) -> EmbeddedOptions {
    options(root)
        .segment_bytes(4_096)
        .fsync(Fsync::Interval(Duration::from_millis(2)))
}

/// What was acknowledged until now.
#[derive(Default)]
struct Acked {
    orders: [AtomicU64; 2],
    later: AtomicU64,
    over: AtomicBool,
}

async fn publish_orders(broker: EmbeddedBroker, acked: Arc<Acked>, partition: u32) {
    for number in 0.. {
        if acked.over.load(Ordering::Acquire) {
            return;
        }
        publish(&broker, "orders", partition, format!("{number}"))
            .await
            .unwrap();
        acked.orders[partition as usize].store(number + 1, Ordering::Release);
        if number % 16 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn publish_later(broker: EmbeddedBroker, acked: Arc<Acked>) {
    for number in 0.. {
        if acked.over.load(Ordering::Acquire) {
            return;
        }
        let mut later = Outgoing::new("later", Message::new(format!("{number}")));
        later.partition = Some(0);
        let due = Timestamp::now().as_millis() + [0, 5, 20, 3_600_000][number as usize % 4];
        later.due = Some(Timestamp::from_millis(due));
        broker.sink().publish(later).await.unwrap();
        acked.later.store(number + 1, Ordering::Release);
    }
}

/// Copies orders to `out`, as a handler does that publishes before its message counts as finished.
async fn handle(broker: EmbeddedBroker, acked: Arc<Acked>) {
    let mut source = join(&broker, "billing", "orders").await;
    let mut lanes = BTreeMap::new();
    while !acked.over.load(Ordering::Acquire) {
        let event = tokio::time::timeout(Duration::from_millis(20), source.next()).await;
        match event {
            Ok(Ok(SourceEvent::Assigned(assignments))) => {
                lanes.extend(
                    assignments
                        .into_iter()
                        .map(|one| (one.lane.0, (one.partition, one.epoch))),
                );
            }
            Ok(Ok(SourceEvent::Batch(batch))) => {
                let (partition, epoch) = lanes[&batch.lane().0];
                for text in texts(&batch) {
                    publish(&broker, "out", partition, text).await.unwrap();
                }
                done(&mut source, batch.lane(), epoch, batch.next());
                source.commit().await.unwrap();
            }
            _ => {}
        }
    }
}

async fn read_all(broker: &EmbeddedBroker, name: &str, partition: u32) -> Vec<String> {
    let (mut all, mut next) = (Vec::new(), 0);
    loop {
        let batch = broker.read(name, partition, next, 1 << 20).await.unwrap();
        if batch.next() <= next {
            return all;
        }
        all.extend(texts(&batch));
        next = batch.next();
    }
}

/// A copy holds what it promises, and an app goes on from it.
async fn assert_whole(target: &Path, orders: [u64; 2], later: u64) {
    let report = verify_directory(target, &mut |_| {}).unwrap();
    assert_eq!(
        report.all_problems().collect::<Vec<_>>(),
        Vec::<&tidings_embedded::Problem>::new()
    );
    let broker = EmbeddedBroker::open(small(target)).unwrap();
    let positions = broker.positions("orders", Some("billing")).await.unwrap();
    for position in &positions {
        let all = read_all(&broker, "orders", position.partition).await;
        let expected: Vec<_> = (0..all.len()).map(|number| number.to_string()).collect();
        assert_eq!(all, expected, "in order, without a gap");
        assert!(all.len() as u64 >= orders[position.partition as usize]);
        let finished = position
            .progress
            .as_ref()
            .map_or(0, |progress| progress.watermark);
        assert!(finished <= position.end);
        let out = read_all(&broker, "out", position.partition).await;
        assert!(
            out.len() as u64 >= finished,
            "what was made of finished messages is there too"
        );
    }
    // Three of four are due; none comes twice, because the copy has each either stored or appended.
    let due = (0..later).filter(|number| number % 4 != 3).count() as u64;
    let waited = async {
        while (read_all(&broker, "later", 0).await.len() as u64) < due {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waited)
        .await
        .expect("all that are due come");
    let mut seen = read_all(&broker, "later", 0).await;
    seen.sort();
    let count = seen.len();
    seen.dedup();
    assert_eq!(seen.len(), count, "a delayed message comes once");
    let mut source = join(&broker, "billing", "orders").await;
    let from: u64 = assigned(&mut source)
        .await
        .iter()
        .map(|lane| lane.end - lane.next)
        .sum();
    assert_eq!(drain(&mut source).await.len() as u64, from);
    publish(&broker, "orders", 0, "new").await.unwrap();
    assert_eq!(drain(&mut source).await, ["new"]);
    drop(source);
    broker.close().await.unwrap();
    let report = verify_directory(target, &mut |_| {}).unwrap();
    assert_eq!(report.all_problems().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_under_load_hold_all_that_was_acknowledged_and_no_group_is_ahead() {
    let root = tempfile::tempdir().unwrap();
    let live = root.path().join("live");
    let broker = EmbeddedBroker::open(small(&live)).unwrap();
    for name in ["orders", "out", "later"] {
        prepare(&broker, name, 2).await;
    }
    let mut table = destination("table", 1);
    table.cleanup = Some(Cleanup::Compact {
        tombstone_retention: None,
    });
    broker.prepare(table).await.unwrap();
    let acked = Arc::new(Acked::default());
    let tasks = [
        tokio::spawn(publish_orders(broker.clone(), acked.clone(), 0)),
        tokio::spawn(publish_orders(broker.clone(), acked.clone(), 1)),
        tokio::spawn(publish_later(broker.clone(), acked.clone())),
        tokio::spawn(handle(broker.clone(), acked.clone())),
    ];
    for round in 0..4 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        for number in 0..100 {
            let message = Message::new("x".repeat(100)).with_key(format!("{}", number % 3));
            broker
                .sink()
                .publish(Outgoing::new("table", message))
                .await
                .unwrap();
        }
        let orders = [0, 1].map(|partition: usize| acked.orders[partition].load(Ordering::Acquire));
        let later = acked.later.load(Ordering::Acquire);
        let target = root.path().join(format!("copy {round}"));
        let sealed = if round % 2 == 0 {
            Sealed::Linked
        } else {
            Sealed::Copied
        };
        let compacting = tokio::spawn({
            let broker = broker.clone();
            async move { broker.compact().await }
        });
        let (told, hear) = std::sync::mpsc::channel();
        let options = SnapshotOptions::new().sealed(sealed);
        let report = broker
            .snapshot_with(&target, options, move |progress| {
                let _ = told.send(progress);
            })
            .await;
        let report = report.unwrap();
        compacting.await.unwrap().unwrap();
        assert_eq!((report.destinations, report.partitions), (4, 7));
        assert_eq!(report.linked > 0, sealed == Sealed::Linked, "{report:?}");
        let last = hear.iter().last().unwrap();
        assert!(last.bytes_done > 0, "{last:?}");
        assert_whole(&target, orders, later).await;
    }
    acked.over.store(true, Ordering::Release);
    for task in tasks {
        task.await.unwrap();
    }
    // The copies have not changed what they were made of.
    broker.close().await.unwrap();
    let report = verify_directory(&live, &mut |_| {}).unwrap();
    assert_eq!(
        report.all_problems().count(),
        0,
        "{:?}",
        report.all_problems().collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_copy_that_was_not_finished_is_no_broker() {
    let root = tempfile::tempdir().unwrap();
    let (live, target) = (root.path().join("live"), root.path().join("copy"));
    let broker = disk(&live, Fsync::Os);
    prepare(&broker, "orders", 1).await;
    broker.snapshot(&target).await.unwrap();
    std::fs::remove_file(target.join("format")).unwrap();
    for access in [Access::ReadWrite, Access::ReadOnly] {
        let refused = EmbeddedBroker::open(options(&target).access(access))
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("format") || refused.contains("holds no broker"),
            "{refused}"
        );
    }
    assert!(!verify_directory(&target, &mut |_| {}).unwrap().is_sound());
    let refused = broker.snapshot(&target).await.unwrap_err().to_string();
    assert!(refused.contains("not empty"), "{refused}");
}

#[tokio::test]
async fn a_read_only_broker_and_a_damaged_one_refuse_with_the_cure() {
    let root = tempfile::tempdir().unwrap();
    let (live, target) = (root.path().join("live"), root.path().join("copy"));
    let broker = disk(&live, Fsync::Os);
    prepare(&broker, "orders", 1).await;
    publish(&broker, "orders", 0, "tea").await.unwrap();
    let reader = EmbeddedBroker::open(options(&live).access(Access::ReadOnly)).unwrap();
    let refused = reader.snapshot(&target).await.unwrap_err();
    assert!(matches!(refused, BinderError::Unsupported { .. }), "{refused}");
    assert!(refused.to_string().contains("ask the process"), "{refused}");
    broker.close().await.unwrap();
    drop(broker);
    let segment = live.join("topics/orders/0/00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    std::fs::write(segment.with_extension("index"), b"").unwrap();
    std::fs::write(live.join("topics/orders/0/00000000000000000001.log"), b"").unwrap();
    let broker = disk(&live, Fsync::Os);
    publish(&broker, "orders", 0, "tea").await.unwrap();
    let report = verify_directory(&live, &mut |_| {}).unwrap();
    assert!(report.owner.is_some() && !report.is_sound(), "{report:?}");
}

#[tokio::test]
async fn a_broker_in_memory_can_be_kept_on_a_disk() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("copy");
    let broker = memory();
    prepare(&broker, "orders", 1).await;
    publish(&broker, "orders", 0, "tea").await.unwrap();
    let report = broker.snapshot(&target).await.unwrap();
    assert_eq!((report.segments, report.linked), (1, 0));
    let copy = disk(&target, Fsync::Os);
    assert_eq!(read_all(&copy, "orders", 0).await, ["tea"]);
}

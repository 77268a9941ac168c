//! Compaction of destinations.

use crate::support::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidings_core::{Binder, Cleanup, Clock, DestinationSpec, Message, Outgoing, Source};
use tidings_embedded::{EmbeddedBroker, EmbeddedOptions, verify_directory};
use tidings_log::DiskFiles;
use tidings_log::faults::FaultyFiles;

fn compacted(name: &str) -> DestinationSpec {
    DestinationSpec {
        cleanup: Some(Cleanup::Compact {
            tombstone_retention: None,
        }),
        ..destination(name, 1)
    }
}

async fn put(broker: &EmbeddedBroker, name: &str, key: &str, value: Option<String>) {
    let message = Message::default()
        .with_optional_key(Some(key.to_owned().into()))
        .with_payload(value.map(Into::into));
    broker.sink().publish(Outgoing::new(name, message)).await.unwrap();
}

async fn fill(broker: &EmbeddedBroker, name: &str, from: usize, count: usize) {
    for number in from..from + count {
        let value = format!("{number}:{}", "x".repeat(500));
        put(broker, name, &format!("key {}", number % 10), Some(value)).await;
    }
}

/// The last value of each key, as somebody sees it who reads everything; and how many messages there are.
async fn table(broker: &EmbeddedBroker, name: &str) -> (BTreeMap<String, String>, usize) {
    let mut last = BTreeMap::new();
    let (mut next, mut count) = (0, 0);
    loop {
        let batch = broker.read(name, 0, next, 1 << 20).await.unwrap();
        if batch.next() <= next {
            return (last, count);
        }
        for record in batch.records() {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let key = text(batch.key(record).unwrap());
            match batch.payload(record) {
                Some(value) => last.insert(key, text(value)),
                None => last.remove(&key),
            };
            count += 1;
        }
        next = batch.next();
    }
}

fn small() -> EmbeddedOptions {
    EmbeddedOptions::from_url("memory:").unwrap().segment_bytes(4_096)
}

#[tokio::test]
async fn superseded_messages_go_and_a_group_reads_on_over_the_gaps() {
    let root = tempfile::tempdir().unwrap();
    let options = options(root.path())
        .segment_bytes(4_096)
        .compaction_bytes_per_second(None);
    let broker = EmbeddedBroker::open(options.clone()).unwrap();
    broker.prepare(compacted("orders")).await.unwrap();
    prepare(&broker, "other", 1).await;
    let mut source = join(&broker, "billing", "orders").await;
    let lane = assigned(&mut source).await.remove(0);
    fill(&broker, "orders", 0, 200).await;
    fill(&broker, "other", 0, 200).await;
    let (before, _) = table(&broker, "orders").await;
    done(&mut source, lane.lane, lane.epoch, 5);
    source.commit().await.unwrap();
    broker.compact().await.unwrap();
    let (after, left) = table(&broker, "orders").await;
    assert_eq!(after, before);
    assert!(left < 40, "{left}");
    assert_eq!(
        table(&broker, "other").await.1,
        200,
        "only what asks for it is compacted"
    );
    let seen = drain(&mut source).await;
    assert!(
        seen.len() < 60 && seen.last().unwrap().starts_with("199:"),
        "{}",
        seen.len()
    );
    done(&mut source, lane.lane, lane.epoch, 200);
    source.commit().await.unwrap();
    drop(source);
    broker.close().await.unwrap();
    let report = verify_directory(root.path(), &mut |_| {}).unwrap();
    assert_eq!(report.all_problems().count(), 0, "{report:?}");
    assert!(report.partitions[0].log.rewritten > 5);

    let broker = EmbeddedBroker::open(options).unwrap();
    broker.prepare(destination("orders", 1)).await.unwrap();
    assert_eq!(table(&broker, "orders").await, (before, left));
    assert_eq!(stored(&broker, "orders", "billing").await, [Some(200)]);
    fill(&broker, "orders", 200, 1).await;
    let mut source = join(&broker, "billing", "orders").await;
    assert!(drain(&mut source).await[0].starts_with("200:"));
}

#[tokio::test(start_paused = true)]
async fn it_happens_by_itself_and_tombstones_go_when_their_time_is_over() {
    let clock = Clock::virtual_from_now();
    let broker = EmbeddedBroker::open(small().clock(clock)).unwrap();
    broker.prepare(compacted("orders")).await.unwrap();
    fill(&broker, "orders", 0, 50).await;
    for key in 0..10 {
        put(&broker, "orders", &format!("key {key}"), None).await;
    }
    for number in 0..20 {
        put(
            &broker,
            "orders",
            "last",
            Some(format!("{number}{}", "y".repeat(500))),
        )
        .await;
    }
    tokio::time::sleep(Duration::from_secs(100)).await;
    let (now, left) = table(&broker, "orders").await;
    assert_eq!(now.len(), 1);
    assert!((11..30).contains(&left), "ten tombstones stay: {left}");
    tokio::time::sleep(Duration::from_secs(25 * 3_600)).await;
    let (now, fewer) = table(&broker, "orders").await;
    assert_eq!((now.len(), fewer), (1, left - 10));
}

#[tokio::test]
async fn the_brokers_age_and_size_are_not_for_what_is_compacted() {
    let broker = EmbeddedBroker::open(small().retention_bytes(Some(8_192))).unwrap();
    broker.prepare(compacted("orders")).await.unwrap();
    let mut source = join(&broker, "billing", "orders").await;
    let lane = assigned(&mut source).await.remove(0);
    fill(&broker, "orders", 0, 60).await;
    done(&mut source, lane.lane, lane.epoch, 60);
    source.commit().await.unwrap();
    broker.retain().await.unwrap();
    assert_eq!(broker.positions("orders", None).await.unwrap()[0].first, 0);
    let mut own = compacted("orders");
    own.retention_bytes = Some(8_192);
    broker.prepare(own).await.unwrap();
    broker.retain().await.unwrap();
    assert!(broker.positions("orders", None).await.unwrap()[0].first > 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_does_not_wait_for_a_slow_compaction_and_leaves_the_directory_whole() {
    let root = tempfile::tempdir().unwrap();
    // As slow as to take minutes.
    let options = options(root.path())
        .segment_bytes(4_096)
        .compaction_bytes_per_second(Some(1_000));
    let broker = EmbeddedBroker::open(options.clone()).unwrap();
    broker.prepare(compacted("orders")).await.unwrap();
    fill(&broker, "orders", 0, 200).await;
    let before = table(&broker, "orders").await.0;
    let compacting = tokio::spawn({
        let broker = broker.clone();
        async move { broker.compact().await }
    });
    tokio::task::yield_now().await;
    let closed = tokio::time::timeout(Duration::from_secs(20), broker.close()).await;
    closed.expect("it ends soon").unwrap();
    let _ = compacting.await.unwrap();
    drop(broker);
    let broker = EmbeddedBroker::open(options).unwrap();
    assert_eq!(table(&broker, "orders").await.0, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_can_own_the_directory_while_a_segment_is_written_again() {
    let root = tempfile::tempdir().unwrap();
    let files = Arc::new(FaultyFiles::new(Arc::new(DiskFiles)));
    let options = options(root.path())
        .segment_bytes(4_096)
        .compaction_bytes_per_second(None)
        .files(files.clone());
    let broker = EmbeddedBroker::open(options).unwrap();
    broker.prepare(compacted("orders")).await.unwrap();
    fill(&broker, "orders", 0, 100).await;
    let writing = Arc::new(AtomicBool::new(false));
    let (entered, wait) = std::sync::mpsc::channel();
    let inside = writing.clone();
    files.before_sync(move |path| {
        if path.to_string_lossy().ends_with(".log.new") {
            inside.store(true, Ordering::SeqCst);
            let _ = entered.send(());
            // A slow disk. Closing that does not wait for it is over long before.
            std::thread::sleep(Duration::from_millis(300));
            inside.store(false, Ordering::SeqCst);
        }
    });
    let compacting = tokio::spawn({
        let broker = broker.clone();
        async move { broker.compact().await }
    });
    tokio::task::spawn_blocking(move || wait.recv().unwrap())
        .await
        .unwrap();
    broker.close().await.unwrap();
    assert!(!writing.load(Ordering::SeqCst));
    let _ = compacting.await.unwrap();
}

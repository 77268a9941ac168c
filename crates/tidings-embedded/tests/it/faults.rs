use crate::support::*;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings_core::{Binder, BinderHealth, PublishError, Receipt, Source};
use tidings_embedded::{EmbeddedBroker, EmbeddedOptions, Fsync};
use tidings_log::MemoryFiles;
use tidings_log::faults::{EIO, ENOSPC, Fault, FaultyFiles, Loss, Operation};

fn faulty() -> Arc<FaultyFiles> {
    Arc::new(FaultyFiles::new(Arc::new(MemoryFiles::new())))
}

fn on(files: &Arc<FaultyFiles>, fsync: Fsync) -> EmbeddedBroker {
    let options = EmbeddedOptions::from_url("memory:")
        .unwrap()
        .fsync(fsync)
        .files(files.clone());
    EmbeddedBroker::open(options).unwrap()
}

/// Stops each sync of a log until it is let go. Gives what tells of one, and what lets it go.
fn gate(files: &FaultyFiles) -> (Receiver<()>, Sender<()>) {
    let (arrived, arrivals) = channel();
    let (go, gone) = channel();
    let gone = Mutex::new(gone);
    files.before_sync(move |path: &Path| {
        if path.extension().is_some_and(|end| end == "log") {
            let _ = arrived.send(());
            // Once the test has dropped its end every sync goes on.
            let _ = gone.lock().unwrap().recv();
        }
    });
    (arrivals, go)
}

fn is_pending(receipt: &mut Receipt) -> bool {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    std::pin::Pin::new(receipt).poll(&mut context).is_pending()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_fsync_always_nothing_is_acknowledged_or_read_before_its_sync() {
    let files = faulty();
    let broker = on(&files, Fsync::Always);
    prepare(&broker, "orders", 1).await;
    publish(&broker, "orders", 0, "first").await.unwrap();
    let (arrivals, go) = gate(&files);
    let mut receipt = send(&broker, "orders", 0, "second");
    arrivals.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(is_pending(&mut receipt));
    assert_eq!(count(&broker, "orders").await, 1);
    let mut source = broker.subscribe(spec(None, "orders")).await.unwrap();
    assert_eq!(drain(&mut source).await, ["first"]);
    drop(go);
    assert_eq!(receipt.await.unwrap().offset(), 1);
    assert_eq!(texts(&batch(&mut source).await), ["second"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_wait_at_the_same_time_share_one_sync() {
    let files = faulty();
    let broker = on(&files, Fsync::Always);
    prepare(&broker, "orders", 1).await;
    let (arrivals, go) = gate(&files);
    let first = send(&broker, "orders", 0, "first");
    arrivals.recv_timeout(Duration::from_secs(10)).unwrap();
    let before = files.count(Operation::Sync);
    let others: Vec<_> = (0..500)
        .map(|number| send(&broker, "orders", 0, number.to_string()))
        .collect();
    drop(go);
    first.await.unwrap();
    for (offset, receipt) in (1..).zip(others) {
        assert_eq!(receipt.await.unwrap().offset(), offset);
    }
    assert!(
        files.count(Operation::Sync) - before <= 3,
        "{before} then {}",
        files.count(Operation::Sync)
    );
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_acknowledged_there_and_health_says_why() {
    let files = faulty();
    let broker = on(&files, Fsync::Always);
    prepare(&broker, "orders", 2).await;
    publish(&broker, "orders", 0, "kept").await.unwrap();
    publish(&broker, "orders", 1, "kept").await.unwrap();
    assert_eq!(broker.health(), BinderHealth::Up);
    files.inject(
        Fault::fail(Operation::Sync, EIO)
            .on_names_ending("orders/0/00000000000000000000.log")
            .forever(),
    );
    let refused = publish(&broker, "orders", 0, "doubtful").await.unwrap_err();
    assert!(matches!(refused, PublishError::Unavailable { .. }), "{refused}");
    for _ in 0..3 {
        let refused = publish(&broker, "orders", 0, "more").await.unwrap_err();
        assert!(matches!(refused, PublishError::Unavailable { .. }), "{refused}");
    }
    let BinderHealth::Down(reason) = broker.health() else {
        panic!("it is up");
    };
    assert!(
        reason.contains("orders/0") && reason.contains("repair"),
        "{reason}"
    );
    publish(&broker, "orders", 1, "the other partition goes on")
        .await
        .unwrap();
    let mut source = broker.subscribe(spec(None, "orders")).await.unwrap();
    assert_eq!(
        drain(&mut source).await,
        ["kept", "kept", "the other partition goes on"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_sync_at_the_interval_stops_the_partition_too() {
    let files = faulty();
    let broker = on(&files, Fsync::Interval(Duration::from_millis(10)));
    prepare(&broker, "orders", 1).await;
    publish(&broker, "orders", 0, "acknowledged before")
        .await
        .unwrap();
    files.inject(Fault::fail(Operation::Sync, EIO));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(matches!(broker.health(), BinderHealth::Down(_)));
    assert!(publish(&broker, "orders", 0, "more").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_was_appended_is_synced_within_the_interval_and_then_nothing_happens() {
    let files = faulty();
    let broker = on(&files, Fsync::Interval(Duration::from_millis(10)));
    prepare(&broker, "orders", 1).await;
    for round in 0..3 {
        publish(&broker, "orders", 0, "tea").await.unwrap();
        tokio::time::sleep(Duration::from_millis(25)).await;
        let synced = files.count(Operation::Sync);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(files.count(Operation::Sync), synced, "idle in round {round}");
    }
    drop(broker);
    files.crash(Loss::Unsynced).unwrap();
    let broker = on(&files, Fsync::Os);
    assert_eq!(count(&broker, "orders").await, 3);
}

#[tokio::test]
async fn a_full_disk_refuses_clearly_and_goes_on_when_there_is_room() {
    for fsync in [Fsync::Os, Fsync::Always] {
        let files = faulty();
        let broker = on(&files, fsync);
        prepare(&broker, "orders", 1).await;
        publish(&broker, "orders", 0, "before").await.unwrap();
        files.inject(Fault::fail(Operation::Write, ENOSPC).forever());
        for _ in 0..3 {
            let refused = publish(&broker, "orders", 0, "refused").await.unwrap_err();
            assert!(
                matches!(&refused, PublishError::Unavailable { reason, .. } if reason.contains("room")),
                "{refused}"
            );
        }
        assert!(matches!(broker.health(), BinderHealth::Down(_)));
        files.heal();
        assert_eq!(publish(&broker, "orders", 0, "after").await.unwrap().offset(), 1);
        assert_eq!(broker.health(), BinderHealth::Up);
        let mut source = broker.subscribe(spec(None, "orders")).await.unwrap();
        assert_eq!(drain(&mut source).await, ["before", "after"]);
    }
}

#[tokio::test]
async fn a_crash_of_the_machine_loses_nothing_that_fsync_always_acknowledged() {
    for seed in 0..20 {
        let files = faulty();
        let broker = on(&files, Fsync::Always);
        prepare(&broker, "orders", 2).await;
        let mut receipts = Vec::new();
        for number in 0..50u32 {
            receipts.push(send(&broker, "orders", number % 2, number.to_string()));
        }
        let mut acknowledged = vec![Vec::new(); 2];
        for (number, receipt) in receipts.into_iter().enumerate().take(30) {
            acknowledged[number % 2].push(receipt.await.unwrap().offset());
        }
        files.crash(Loss::Some { seed }).unwrap();
        let broker = on(&files, Fsync::Always);
        for (partition, offsets) in (0..).zip(acknowledged) {
            let batch = broker.read("orders", partition, 0, 1 << 20).await.unwrap();
            let kept: Vec<_> = batch.records().iter().map(|record| record.offset).collect();
            assert!(
                offsets.iter().all(|offset| kept.contains(offset)),
                "seed {seed}: {offsets:?} of {kept:?}"
            );
            let expected: Vec<_> = kept
                .iter()
                .map(|offset| (offset * 2 + u64::from(partition)).to_string())
                .collect();
            assert_eq!(texts(&batch), expected, "seed {seed}");
        }
    }
}

#[tokio::test]
async fn progress_is_stored_only_after_what_it_covers_is_on_the_disk() {
    let files = faulty();
    let broker = on(&files, Fsync::Os);
    prepare(&broker, "orders", 1).await;
    let mut source = join(&broker, "billing", "orders").await;
    let lane = assigned(&mut source).await.remove(0);
    publish(&broker, "orders", 0, "tea").await.unwrap();
    done(&mut source, lane.lane, lane.epoch, 1);
    files.inject(Fault::fail(Operation::Sync, EIO));
    assert!(source.commit().await.unwrap_err().is_transient());
    assert_ne!(stored(&broker, "orders", "billing").await, [Some(1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_the_limit_a_message_waits_at_its_receipts_expense() {
    let files = faulty();
    let options = EmbeddedOptions::from_url("memory:")
        .unwrap()
        .fsync(Fsync::Always)
        .files(files.clone());
    let broker = EmbeddedBroker::open(options.max_pending_bytes(10_000)).unwrap();
    prepare(&broker, "orders", 1).await;
    let (arrivals, go) = gate(&files);
    let first = send(&broker, "orders", 0, "first");
    arrivals.recv_timeout(Duration::from_secs(10)).unwrap();
    // Five fit, the others belong to their receipts.
    let mut waiting: Vec<_> = (0..20)
        .map(|number| send(&broker, "orders", 0, format!("{number:0>1500}")))
        .collect();
    assert!(waiting.iter_mut().all(is_pending));
    let kept = waiting.split_off(18);
    drop(waiting);
    let last = send(&broker, "orders", 0, "last");
    drop(go);
    first.await.unwrap();
    let mut offsets = Vec::new();
    for receipt in kept {
        offsets.push(receipt.await.unwrap().offset());
    }
    offsets.push(last.await.unwrap().offset());
    let mut source = broker.subscribe(spec(None, "orders")).await.unwrap();
    let all = drain(&mut source).await;
    assert!(
        (5..12).contains(&all.len()),
        "the withdrawn are gone: {}",
        all.len()
    );
    let tail: Vec<_> = all[all.len() - 3..]
        .iter()
        .map(|text| text.trim_start_matches('0'))
        .collect();
    assert_eq!(tail, ["18", "19", "last"]);
    assert_eq!(offsets.last(), Some(&(all.len() as u64 - 1)));
}

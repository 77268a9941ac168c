//! A disk that fails for a while and then works again.

use crate::support::*;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{Binder, BinderHealth, Progress, Source};
use tidings_embedded::{EmbeddedBroker, Fsync};
use tidings_log::DiskFiles;
use tidings_log::faults::{EIO, Fault, FaultyFiles, Loss, Operation};

fn at(root: &Path, files: &Arc<FaultyFiles>, fsync: Fsync) -> EmbeddedBroker {
    EmbeddedBroker::open(options(root).fsync(fsync).files(files.clone())).unwrap()
}

fn sync_fails(times: u64) -> Fault {
    let fault = Fault::fail(Operation::Sync, EIO).on_names_ending(".log");
    fault.times(times)
}

#[tokio::test(start_paused = true)]
async fn after_a_failed_fsync_publishing_and_positions_go_on_once_the_disk_has_what_was_in_doubt() {
    for fsync in [
        Fsync::Always,
        Fsync::Interval(Duration::from_millis(10)),
        Fsync::Os,
    ] {
        let root = tempfile::tempdir().unwrap();
        let files = Arc::new(FaultyFiles::new(Arc::new(DiskFiles)));
        let broker = at(root.path(), &files, fsync);
        prepare(&broker, "orders", 2).await;
        publish(&broker, "orders", 0, "first").await.unwrap();
        let mut source = join(&broker, "billing", "orders").await;
        let lanes = assigned(&mut source).await;
        let (lane, epoch) = (lanes[0].lane, lanes[0].epoch);
        source.commit().await.unwrap();

        // The first sync fails, and so do two tries to write again.
        files.inject(sync_fails(3));
        let doubtful = publish(&broker, "orders", 0, "doubtful").await;
        assert_eq!(doubtful.is_ok(), fsync != Fsync::Always);
        done(&mut source, lane, epoch, 1);
        let committed = source.commit().await;
        assert_eq!(
            committed.is_ok(),
            fsync == Fsync::Always,
            "{fsync:?}: {committed:?}"
        );
        assert!(publish(&broker, "orders", 0, "more").await.is_err());
        assert!(matches!(broker.health(), BinderHealth::Down(_)));

        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(broker.health(), BinderHealth::Up, "{fsync:?}");
        assert_eq!(
            stored(&broker, "orders", "billing").await[0],
            Some(1),
            "{fsync:?}"
        );
        publish(&broker, "orders", 0, "after").await.unwrap();
        done(&mut source, lane, epoch, 2);
        source.commit().await.unwrap();
        // What the failed sync left with the system only is on the disk now.
        files.crash(Loss::Unsynced).unwrap();
        drop((source, broker));
        let broker = at(root.path(), &files, fsync);
        let batch = broker.read("orders", 0, 0, 1 << 20).await.unwrap();
        let kept = texts(&batch);
        assert_eq!(kept[..2], ["first", "doubtful"], "{fsync:?}");
        assert_eq!(stored(&broker, "orders", "billing").await[0], Some(2));
    }
}

#[tokio::test(start_paused = true)]
async fn while_syncs_fail_nothing_is_acknowledged_and_tries_become_rare() {
    let root = tempfile::tempdir().unwrap();
    let files = Arc::new(FaultyFiles::new(Arc::new(DiskFiles)));
    let broker = at(root.path(), &files, Fsync::Always);
    prepare(&broker, "orders", 1).await;
    publish(&broker, "orders", 0, "first").await.unwrap();
    files.inject(sync_fails(u64::MAX));
    for _ in 0..100 {
        publish(&broker, "orders", 0, "refused").await.unwrap_err();
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    let tried = files.count_of(Operation::Sync, "log");
    assert!(tried < 30, "{tried} syncs in five minutes");
    assert_eq!(count(&broker, "orders").await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_broker_whose_disk_works_syncs_nothing_again() {
    let root = tempfile::tempdir().unwrap();
    let files = Arc::new(FaultyFiles::new(Arc::new(DiskFiles)));
    let broker = at(root.path(), &files, Fsync::default());
    prepare(&broker, "orders", 1).await;
    publish(&broker, "orders", 0, "tea").await.unwrap();
    files.inject(sync_fails(1));
    publish(&broker, "orders", 0, "more tea").await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(broker.health(), BinderHealth::Up);
    let before = files.count(Operation::Sync);
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(files.count(Operation::Sync), before);
}

#[tokio::test(start_paused = true)]
async fn one_partition_that_cannot_be_synced_holds_up_only_what_may_depend_on_it() {
    for fsync in [Fsync::Interval(Duration::from_millis(10)), Fsync::Os] {
        let root = tempfile::tempdir().unwrap();
        let files = Arc::new(FaultyFiles::new(Arc::new(DiskFiles)));
        let broker = at(root.path(), &files, fsync);
        for topic in ["orders", "bad"] {
            prepare(&broker, topic, 1).await;
        }
        publish(&broker, "orders", 0, "0").await.unwrap();
        publish(&broker, "bad", 0, "good").await.unwrap();
        let mut source = join(&broker, "billing", "orders").await;
        let lanes = assigned(&mut source).await;
        let (lane, epoch) = (lanes[0].lane, lanes[0].epoch);
        assert_eq!(drain(&mut source).await, ["0"]);
        done(&mut source, lane, epoch, 1);
        source.commit().await.unwrap();
        // Handed out while what it may lead to is acknowledged.
        publish(&broker, "orders", 0, "1").await.unwrap();
        assert_eq!(drain(&mut source).await, ["1"]);
        let first = "bad/0/00000000000000000000.log";
        files.inject(
            Fault::fail(Operation::Sync, EIO)
                .on_names_ending(first)
                .times(u64::MAX),
        );
        publish(&broker, "bad", 0, "in doubt").await.unwrap();
        done(&mut source, lane, epoch, 2);
        source.commit().await.unwrap_err();
        assert_eq!(
            stored(&broker, "orders", "billing").await[0],
            Some(1),
            "{fsync:?}"
        );

        // A group that has nothing in doubt goes on.
        let mut other = join(&broker, "shipping", "orders").await;
        let its = assigned(&mut other).await;
        assert_eq!(drain(&mut other).await, ["0", "1"]);
        done(&mut other, its[0].lane, its[0].epoch, 2);
        other.commit().await.unwrap();
        assert_eq!(
            stored(&broker, "orders", "shipping").await[0],
            Some(2),
            "{fsync:?}"
        );
        publish(&broker, "orders", 0, "2").await.unwrap();
        assert_eq!(drain(&mut other).await, ["2"]);
        done(&mut other, its[0].lane, its[0].epoch, 3);
        other.commit().await.unwrap();
        // Who has an earlier message in doubt keeps the later ones behind it, for they may have the same key.
        assert_eq!(drain(&mut source).await, ["2"]);
        done(&mut source, lane, epoch, 3);
        source.commit().await.unwrap_err();
        let of = async |group| stored(&broker, "orders", group).await[0];
        assert_eq!(
            (of("billing").await, of("shipping").await),
            (Some(1), Some(3)),
            "{fsync:?}"
        );

        // The power is cut: what is gone elsewhere can be made again from what comes again.
        files.heal();
        files.crash(Loss::Unsynced).unwrap();
        drop((source, other, broker));
        let broker = at(root.path(), &files, fsync);
        assert_eq!(count(&broker, "bad").await, 1, "{fsync:?}");
        let mut source = join(&broker, "billing", "orders").await;
        assert_eq!(drain(&mut source).await, ["1", "2"], "{fsync:?}");
        let mut other = join(&broker, "shipping", "orders").await;
        assert_eq!(drain(&mut other).await, [""; 0], "{fsync:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_that_somebody_sets_waits_until_nothing_is_in_doubt() {
    let root = tempfile::tempdir().unwrap();
    let files = Arc::new(FaultyFiles::new(Arc::new(DiskFiles)));
    let broker = at(root.path(), &files, Fsync::Os);
    for topic in ["orders", "bad"] {
        prepare(&broker, topic, 1).await;
        publish(&broker, topic, 0, "tea").await.unwrap();
    }
    let set = |watermark| Progress {
        watermark,
        ..Progress::default()
    };
    broker.store_progress("orders", 0, "audit", set(0)).await.unwrap();
    // A program may read without a group, publish what it read, and only then set the position of one.
    let first = "bad/0/00000000000000000000.log";
    files.inject(Fault::fail(Operation::Sync, EIO).on_names_ending(first).times(3));
    publish(&broker, "bad", 0, "a copy").await.unwrap();
    let refused = broker.store_progress("orders", 0, "audit", set(1)).await;
    refused.unwrap_err();
    assert_eq!(stored(&broker, "orders", "audit").await, [Some(0)]);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(stored(&broker, "orders", "audit").await, [Some(1)]);
}

//! What a crash of the machine, or a killed process, may and may not take away.

use crate::support::*;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{Binder, Progress, Source, SourceSpec, Start};
use tidings_embedded::{EmbeddedBroker, Fsync};
use tidings_log::DiskFiles;
use tidings_log::faults::{EIO, Fault, FaultyFiles, Loss, Operation};

/// An hour stands for "the crash comes before the next interval".
const LATER: Fsync = Fsync::Interval(Duration::from_secs(3_600));

fn on_disk() -> Arc<FaultyFiles> {
    Arc::new(FaultyFiles::new(Arc::new(DiskFiles)))
}

fn at(root: &Path, files: &Arc<FaultyFiles>, fsync: Fsync) -> EmbeddedBroker {
    EmbeddedBroker::open(options(root).fsync(fsync).files(files.clone())).unwrap()
}

/// Message 0 is finished, and on the disk. Then ten more come: 1 waits for its next attempt, 2 to 10 are handled, and all
/// that is stored.
async fn handle_all_but_one(broker: &EmbeddedBroker) {
    let mut source = join(broker, "billing", "orders").await;
    let lane = assigned(&mut source).await.remove(0);
    done(&mut source, lane.lane, lane.epoch, 1);
    source.commit().await.unwrap();
    for number in count(broker, "orders").await..=10 {
        publish(broker, "orders", 0, format!("old {number}"))
            .await
            .unwrap();
    }
    let progress = Progress {
        watermark: 1,
        finished: vec![2..11],
        attempts: vec![(1, 2), (9, 1)],
    };
    source.progress(lane.lane, lane.epoch, progress);
    source.commit().await.unwrap();
}

#[tokio::test]
async fn messages_published_after_a_crash_are_not_taken_for_finished() {
    for fsync in [Fsync::Os, LATER] {
        let root = tempfile::tempdir().unwrap();
        let files = on_disk();
        let broker = at(root.path(), &files, fsync);
        prepare(&broker, "orders", 1).await;
        publish(&broker, "orders", 0, "old 0").await.unwrap();
        handle_all_but_one(&broker).await;
        files.crash(Loss::Unsynced).unwrap();
        drop(broker);

        let broker = at(root.path(), &files, fsync);
        let first = publish(&broker, "orders", 0, "new 1").await.unwrap();
        publish(&broker, "orders", 0, "new 2").await.unwrap();
        let mut source = join(&broker, "billing", "orders").await;
        let lane = assigned(&mut source).await.remove(0);
        assert_eq!(
            first.offset(),
            11,
            "what the progress speaks of was on the disk before it"
        );
        assert_eq!((lane.next, &*lane.finished), (1, [2..11].as_slice()));
        assert_eq!(lane.attempts, [(1, 2), (9, 1)]);
    }
}

#[tokio::test]
async fn a_log_that_lost_its_end_gives_its_offsets_to_messages_that_nobody_has_finished() {
    let root = tempfile::tempdir().unwrap();
    let (orders, older) = (root.path().join("topics/orders"), root.path().join("older"));
    let broker = disk(root.path(), Fsync::Os);
    prepare(&broker, "orders", 1).await;
    for number in 0..3 {
        publish(&broker, "orders", 0, format!("old {number}"))
            .await
            .unwrap();
    }
    copy(&orders, &older);
    handle_all_but_one(&broker).await;
    broker.close().await.unwrap();
    drop(broker);
    std::fs::remove_dir_all(&orders).unwrap();
    copy(&older, &orders);

    let broker = disk(root.path(), Fsync::Os);
    for number in 3..8 {
        let position = publish(&broker, "orders", 0, "new").await.unwrap();
        assert_eq!(position.offset(), number);
    }
    // Also when the group comes back only after another start.
    broker.close().await.unwrap();
    drop(broker);
    let broker = disk(root.path(), Fsync::Os);
    let mut source = join(&broker, "billing", "orders").await;
    let lane = assigned(&mut source).await.remove(0);
    assert_eq!(
        (&*lane.finished, &*lane.attempts),
        ([2..3].as_slice(), [(1, 2)].as_slice())
    );
}

#[tokio::test]
async fn a_message_that_was_durable_is_not_lost_when_its_dead_letter_was_not_synced_yet() {
    for fsync in [LATER, Fsync::Os] {
        let root = tempfile::tempdir().unwrap();
        let files = on_disk();
        let broker = at(root.path(), &files, fsync);
        prepare(&broker, "orders", 1).await;
        prepare(&broker, "orders.dead", 1).await;
        publish(&broker, "orders", 0, "tea").await.unwrap();
        let mut source = join(&broker, "billing", "orders").await;
        let lane = assigned(&mut source).await.remove(0);
        assert_eq!(texts(&batch(&mut source).await), ["tea"]);
        // As the engine does: the dead letter is acknowledged, then the position is finished and committed.
        publish(&broker, "orders.dead", 0, "tea").await.unwrap();
        done(&mut source, lane.lane, lane.epoch, 1);
        source.commit().await.unwrap();
        files.crash(Loss::Unsynced).unwrap();
        drop((source, broker));

        let broker = at(root.path(), &files, fsync);
        assert_eq!(stored(&broker, "orders", "billing").await, [Some(1)]);
        assert_eq!(count(&broker, "orders.dead").await, 1);
    }
}

#[tokio::test]
async fn a_position_is_not_stored_when_a_dead_letter_before_it_cannot_be_synced() {
    let root = tempfile::tempdir().unwrap();
    let files = on_disk();
    let broker = at(root.path(), &files, Fsync::Os);
    prepare(&broker, "orders", 1).await;
    prepare(&broker, "orders.dead", 1).await;
    publish(&broker, "orders", 0, "tea").await.unwrap();
    let mut source = join(&broker, "billing", "orders").await;
    let lane = assigned(&mut source).await.remove(0);
    publish(&broker, "orders.dead", 0, "tea").await.unwrap();
    done(&mut source, lane.lane, lane.epoch, 1);
    files.inject(
        Fault::fail(Operation::Sync, EIO)
            .on_names_ending("orders.dead/0/00000000000000000000.log")
            .forever(),
    );
    for _ in 0..3 {
        assert!(source.commit().await.unwrap_err().is_transient());
    }
    assert_eq!(stored(&broker, "orders", "billing").await, [Some(0)]);
}

#[tokio::test]
async fn storing_positions_syncs_only_what_was_appended_to_since() {
    let files = on_disk();
    let root = tempfile::tempdir().unwrap();
    let broker = at(root.path(), &files, Fsync::Os);
    prepare(&broker, "orders", 3).await;
    for partition in 0..3 {
        publish(&broker, "orders", partition, "tea").await.unwrap();
    }
    let mut source = join(&broker, "billing", "orders").await;
    let lanes = assigned(&mut source).await;
    let [first, second, _] = lanes.as_slice() else {
        panic!("{lanes:?}")
    };
    publish(&broker, "orders", 2, "more").await.unwrap();
    let before = files.count_of(Operation::Sync, "log");
    done(&mut source, first.lane, first.epoch, 1);
    source.commit().await.unwrap();
    assert_eq!(files.count_of(Operation::Sync, "log"), before + 1);
    done(&mut source, second.lane, second.epoch, 1);
    source.commit().await.unwrap();
    assert_eq!(
        files.count_of(Operation::Sync, "log"),
        before + 1,
        "nothing was appended"
    );
}

fn latest() -> SourceSpec {
    let mut spec = spec(Some("billing"), "orders");
    spec.start = Start::Latest;
    spec
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_after_a_latest_group_has_joined_survives_a_kill() {
    for _ in 0..10 {
        let root = tempfile::tempdir().unwrap();
        let (live, killed) = (root.path().join("live"), root.path().join("killed"));
        let broker = disk(&live, Fsync::default());
        prepare(&broker, "orders", 1).await;
        publish(&broker, "orders", 0, "before").await.unwrap();
        let source = broker.subscribe(latest()).await.unwrap();
        publish(&broker, "orders", 0, "after").await.unwrap();
        copy(&live, &killed);
        drop(source);
        let again = disk(&killed, Fsync::default());
        let mut source = again.subscribe(latest()).await.unwrap();
        assert_eq!(drain(&mut source).await, ["after"]);
    }
}

#[tokio::test]
async fn what_was_stored_outlives_a_power_cut_that_the_small_state_suffers_too() {
    for seed in 0..12 {
        let root = tempfile::tempdir().unwrap();
        let files = on_disk();
        let open = || {
            let options = options(root.path()).fsync(Fsync::Always);
            EmbeddedBroker::open(options.files(files.clone())).unwrap()
        };
        let broker = open();
        prepare(&broker, "orders", 1).await;
        for number in 0..11 {
            publish(&broker, "orders", 0, format!("old {number}"))
                .await
                .unwrap();
        }
        handle_all_but_one(&broker).await;
        files.crash(Loss::Some { seed }).unwrap();
        drop(broker);

        let broker = open();
        let mut source = join(&broker, "billing", "orders").await;
        let lane = assigned(&mut source).await.remove(0);
        assert_eq!(
            (lane.next, &*lane.finished),
            (1, [2..11].as_slice()),
            "seed {seed}"
        );
        assert!(files.count(Operation::Sync) > 0);
    }
}

#[tokio::test]
async fn a_first_start_that_a_crash_ended_anywhere_is_followed_by_a_second() {
    let faults = [
        (Operation::Write, 8),
        (Operation::Sync, 4),
        (Operation::Rename, 1),
    ];
    let all = faults.map(|(operation, calls)| (0..calls).map(move |call| (operation, call)));
    for loss in [Loss::Nothing, Loss::Unsynced, Loss::Some { seed: 5 }] {
        let mut failed = 0;
        for (operation, calls) in all.clone().into_iter().flatten() {
            let root = tempfile::tempdir().unwrap();
            let files = on_disk();
            let open = || {
                let options = options(root.path()).files(files.clone());
                EmbeddedBroker::open(options)
            };
            files.inject(Fault::fail(operation, EIO).after(calls).forever());
            failed += u32::from(open().is_err());
            files.heal();
            files.crash(loss).unwrap();
            let broker = open().unwrap();
            prepare(&broker, "orders", 1).await;
            publish(&broker, "orders", 0, "tea").await.unwrap();
        }
        assert!(failed > 4, "the faults came too late");
    }
}

//! The runtime goes before the broker, as when a program panics: nobody may wait for what will never run.

use crate::support::*;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;
use tidings_core::{Binder, Timestamp};
use tidings_embedded::{EmbeddedBroker, Fsync};
use tidings_log::DiskFiles;
use tidings_log::faults::{EIO, Fault, FaultyFiles, Operation};
use tokio::runtime::{Builder, Runtime};

/// What is done without a runtime, in order.
const STEPS: [&str; 4] = [
    "publishing",
    "publishing for later",
    "leaving the group",
    "letting go of the directory",
];

/// Says after each step that it has ended.
fn use_without_runtime(fsync: Fsync, ended: &Sender<()>) {
    let root = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (broker, source) = runtime.block_on(async {
        let broker = disk(root.path(), fsync);
        prepare(&broker, "orders", 1).await;
        publish(&broker, "orders", 0, "tea").await.unwrap();
        let mut spec = spec(Some("billing"), "orders");
        spec.commit_interval = Duration::from_secs(3_600);
        let mut source = broker.subscribe(spec).await.unwrap();
        let lane = assigned(&mut source).await.remove(0);
        batch(&mut source).await;
        done(&mut source, lane.lane, lane.epoch, 1);
        (broker, source)
    });
    runtime.shutdown_timeout(Duration::from_secs(30));
    drop(send(&broker, "orders", 0, "milk"));
    ended.send(()).unwrap();
    let mut later = to("orders", 0, "later");
    later.due = Some(Timestamp::now().plus(Duration::from_secs(3_600)));
    drop(broker.sink().publish(later));
    ended.send(()).unwrap();
    drop(source);
    ended.send(()).unwrap();
    drop(broker);
    ended.send(()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let again = runtime.block_on(async { stored(&disk(root.path(), fsync), "orders", "billing").await });
    assert_eq!(again, [Some(1)], "what was reported is stored all the same");
}

#[test]
fn whoever_uses_a_broker_after_its_runtime_has_gone_is_not_kept_for_ever() {
    for fsync in [Fsync::Always, Fsync::default()] {
        let (ended, heard) = channel();
        // A thread that hangs must not take the test with it.
        let using = std::thread::spawn(move || use_without_runtime(fsync, &ended));
        for step in STEPS {
            let heard = heard.recv_timeout(Duration::from_secs(60));
            assert!(heard.is_ok(), "{step} does not end, with {fsync:?}");
        }
        using.join().unwrap();
    }
}

fn single_threaded(is_paused: bool) -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(is_paused).build().unwrap()
}

/// Does that on a runtime that goes away before it has polled what was spawned there.
fn elsewhere<T>(work: impl Future<Output = T>) -> T {
    single_threaded(false).block_on(work)
}

fn counting(root: &Path, fsync: Fsync) -> (Arc<FaultyFiles>, EmbeddedBroker) {
    let files = Arc::new(FaultyFiles::new(Arc::new(DiskFiles)));
    let options = options(root).fsync(fsync).files(files.clone());
    (files, EmbeddedBroker::open(options).unwrap())
}

#[test]
fn the_sync_at_an_interval_goes_on_after_a_runtime_that_went_before_its_task_began() {
    let root = tempfile::tempdir().unwrap();
    let runtime = single_threaded(true);
    let second = Duration::from_secs(1);
    let (files, broker) = runtime.block_on(async {
        let (files, broker) = counting(root.path(), Fsync::Interval(Duration::from_millis(10)));
        prepare(&broker, "orders", 1).await;
        publish(&broker, "orders", 0, "tea").await.unwrap();
        tokio::time::sleep(second).await;
        (files, broker)
    });
    let before = files.count_of(Operation::Sync, "log");
    elsewhere(async { publish(&broker, "orders", 0, "milk").await.unwrap() });
    assert_eq!(files.count_of(Operation::Sync, "log"), before);
    runtime.block_on(async {
        publish(&broker, "orders", 0, "sugar").await.unwrap();
        tokio::time::sleep(second).await;
    });
    assert_eq!(files.count_of(Operation::Sync, "log"), before + 1);
}

#[test]
fn a_failed_disk_is_tried_again_after_a_runtime_that_went_before_its_task_began() {
    let root = tempfile::tempdir().unwrap();
    let runtime = single_threaded(true);
    let (files, broker) = runtime.block_on(async {
        let (files, broker) = counting(root.path(), Fsync::Interval(Duration::from_secs(3_600)));
        prepare(&broker, "orders", 1).await;
        publish(&broker, "orders", 0, "tea").await.unwrap();
        (files, broker)
    });
    files.inject(Fault::fail(Operation::Sync, EIO).on_names_ending(".log"));
    elsewhere(async {
        publish(&broker, "orders", 0, "milk").await.unwrap();
        broker.sink().flush().await.unwrap_err();
        publish(&broker, "orders", 0, "refused").await.unwrap_err();
    });
    runtime.block_on(async {
        publish(&broker, "orders", 0, "sugar").await.unwrap_err();
        tokio::time::sleep(Duration::from_secs(10)).await;
        publish(&broker, "orders", 0, "bread").await.unwrap();
    });
}

#[test]
fn messages_for_later_come_after_a_runtime_that_went_before_its_task_began() {
    let root = tempfile::tempdir().unwrap();
    let runtime = single_threaded(false);
    let broker = runtime.block_on(async {
        let broker = disk(root.path(), Fsync::default());
        prepare(&broker, "orders", 1).await;
        broker
    });
    let soon = |text: &str| {
        let mut later = to("orders", 0, text);
        later.due = Some(Timestamp::now().plus(Duration::from_millis(100)));
        later
    };
    elsewhere(async { broker.sink().publish(soon("tea")).await.unwrap() });
    runtime.block_on(async {
        broker.sink().publish(soon("milk")).await.unwrap();
        let both = async {
            while count(&broker, "orders").await < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), both)
            .await
            .expect("both are appended when they are due");
    });
}

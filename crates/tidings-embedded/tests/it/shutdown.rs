//! The runtime goes before the broker, as when a program panics: nobody may wait for what will never run.

use crate::support::*;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;
use tidings_core::{Binder, Timestamp};
use tidings_embedded::Fsync;

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

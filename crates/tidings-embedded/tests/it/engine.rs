//! The engine on this broker.

use crate::support::{destination, disk, options, to};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings_core::{
    Binder, Clock, Failure, FailureKind, HandlerContext, Policy, Publisher, Raw, Retry, Routes, Subscription,
    on,
};
use tidings_embedded::{EmbeddedBroker, Fsync};
use tidings_log::DiskFiles;
use tidings_log::faults::{EIO, Fault, FaultyFiles, Operation};
use tidings_runtime::{DeadLetterTarget, Input, SubscriptionSpec, start};
use tokio::time::{Instant, sleep};

pub(crate) const NAMES: [&str; 3] = ["orders", "orders.billing.retry", "orders.DLT"];

pub(crate) fn engine(broker: &EmbeddedBroker, subscription: Subscription<()>) -> SubscriptionSpec {
    let [orders, retry, letters] = NAMES;
    let parts = subscription.into_parts();
    let mut policy = Policy::default();
    parts.changes.apply(&mut policy);
    let clock = Clock::System;
    SubscriptionSpec {
        context: Arc::new(HandlerContext {
            app: "test".into(),
            subscription: "bill".into(),
            group: Some("billing".into()),
            publisher: Publisher::new(Arc::new(Routes::default()), clock),
            clock,
        }),
        handler: parts.bind(Arc::new(()), &[]),
        policy,
        filter: None,
        output: None,
        binder: Arc::new(broker.clone()),
        discovery: tidings_runtime::Discovery::default(),
        inputs: vec![Input {
            destination: orders.into(),
            retry: Some(retry.into()),
            dead_letter: Some(DeadLetterTarget {
                destination: letters.into(),
                partitions: 1,
            }),
        }],
        revoke_timeout: Duration::from_secs(20),
        publish_timeout: Duration::from_secs(30),
    }
}

async fn publish(broker: &EmbeddedBroker, payload: &str) {
    let mut outgoing = to("orders", 0, payload);
    outgoing.message = outgoing.message.with_key("ada");
    broker.sink().publish(outgoing).await.unwrap();
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} takes too long");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Handles everything, but the first attempt of what begins with "first" fails and asks for a second later.
fn parking(handled: &Arc<Mutex<Vec<String>>>, failed: &Arc<AtomicBool>) -> Subscription<()> {
    let (handled, failed) = (handled.clone(), failed.clone());
    let handler = move |Raw(payload): Raw| {
        let (handled, failed) = (handled.clone(), failed.clone());
        async move {
            if payload.starts_with(b"first") && !failed.swap(true, Ordering::SeqCst) {
                let kind = FailureKind::RetryAfter(Duration::from_secs(1));
                return Err(Failure::transient("wait").with_kind(kind));
            }
            handled
                .lock()
                .unwrap()
                .push(String::from_utf8(payload.to_vec()).unwrap());
            Ok(())
        }
    };
    let retry = Retry::fixed(5, Duration::from_millis(10)).durable_after(Duration::from_millis(100));
    on("orders", handler).concurrency(4).retry(retry)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_do_not_overtake_parked_ones_when_the_retry_lane_cannot_be_opened_for_a_moment() {
    let root = tempfile::tempdir().unwrap();
    let (handled, failed) = (Arc::default(), Arc::default());
    let broker = disk(root.path(), Fsync::Always);
    for name in NAMES {
        broker.prepare(destination(name, 1)).await.unwrap();
    }
    publish(&broker, "first").await;
    let handle = start(engine(&broker, parking(&handled, &failed)));
    until("parking", || handle.status().parked > 0).await;
    handle.drain(Instant::now() + Duration::from_secs(5)).await;
    broker.close().await.unwrap();
    drop(broker);

    let files = FaultyFiles::new(Arc::new(DiskFiles));
    let unreadable = Fault::fail(Operation::Read, EIO).on_names_ending("retry/0/00000000000000000000.log");
    files.inject(unreadable.forever());
    let options = options(root.path()).fsync(Fsync::Always);
    let broker = EmbeddedBroker::open(options.files(Arc::new(files.clone()))).unwrap();
    publish(&broker, "second").await;
    let handle = start(engine(&broker, parking(&handled, &failed)));
    until("the trouble", || handle.status().obstacle.is_some()).await;
    // Enough for the second message to be handled, if anything let it.
    sleep(Duration::from_millis(200)).await;
    assert_eq!(*handled.lock().unwrap(), [""; 0]);
    files.heal();
    until("handling", || handled.lock().unwrap().len() == 2).await;
    assert_eq!(*handled.lock().unwrap(), ["first", "second"]);
    handle.drain(Instant::now() + Duration::from_secs(5)).await;
}

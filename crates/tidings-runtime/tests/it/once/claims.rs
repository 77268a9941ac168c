//! Exactly once, with payloads that are put aside: the reference is in the transaction, or nothing is.

use super::broker::TxBroker;
use super::world::*;
use crate::world::message;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering as Atomic};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings_core::*;
use tidings_runtime::*;
use tokio::time::sleep;

const LARGE: usize = 200;

/// A store that takes its time, and is away for the first payloads.
#[derive(Debug, Clone, Default)]
struct Slow {
    refuses: Arc<AtomicUsize>,
    kept: Arc<AtomicUsize>,
}

impl ClaimStore for Slow {
    fn id(&self) -> &str {
        "slow"
    }

    fn place(&self) -> String {
        "nowhere".to_owned()
    }

    fn put<'a>(&'a self, _: &'a Claim, _: Bytes) -> BoxFuture<'a, Result<(), ClaimError>> {
        Box::pin(async {
            // Longer than a span.
            sleep(Duration::from_millis(170)).await;
            let less = |left: usize| left.checked_sub(1);
            if self
                .refuses
                .fetch_update(Atomic::Relaxed, Atomic::Relaxed, less)
                .is_ok()
            {
                let (store, reason) = ("slow".to_owned(), "away".to_owned());
                return Err(ClaimError::Unavailable { store, reason });
            }
            self.kept.fetch_add(1, Atomic::Relaxed);
            Ok(())
        })
    }

    fn get<'a>(&'a self, _: &'a Claim) -> BoxFuture<'a, Result<Bytes, ClaimError>> {
        Box::pin(std::future::pending())
    }
}

fn claimed(broker: Arc<dyn DynBinder>, store: &Slow) -> Arc<dyn DynBinder> {
    let rule = ClaimRule {
        above_bytes: 100,
        max_bytes: 1_000_000,
        store: Arc::new(store.clone()),
    };
    let rules = HashMap::from([("outputs".into(), rule)]);
    Arc::new(Layered(ClaimLayer::new(broker, rules)))
}

/// Each message is published with as large a payload, by the handler itself, which does not wait for it.
fn leaving() -> Subscription<()> {
    let handler = |Raw(payload): Raw, publisher: Publisher| async move {
        let id = String::from_utf8(payload.to_vec()).unwrap();
        let large = Message::new(format!("{id:>LARGE$}"))
            .with_header("n", id)
            .unwrap();
        drop(publisher.send("outputs", large.with_key("k")));
        Ok::<_, Failure>(())
    };
    on("orders", handler).to("outputs").exactly_once()
}

fn returning() -> Subscription<()> {
    let handler = |Raw(payload): Raw| async move {
        let id = String::from_utf8(payload.to_vec()).unwrap();
        let large = Message::new(format!("{id:>LARGE$}"))
            .with_header("n", id)
            .unwrap();
        Ok::<_, Failure>(Output::message(large.with_key("k")))
    };
    on("orders", handler).to("outputs").exactly_once()
}

async fn all_are_there_once(subscription: Subscription<()>, refuses: usize) {
    let (broker, store) = (TxBroker::new(1), Slow::default());
    store.refuses.store(refuses, Atomic::Relaxed);
    for id in 0..12 {
        broker.put("orders", 0, message(id, Some("k")));
    }
    let mut spec = spec(&broker, subscription.commit(Duration::from_millis(100), 10_000));
    spec.binder = claimed(Arc::new(broker.clone()), &store);
    let handle = start(spec);
    sleep(Duration::from_secs(60)).await;
    let committed = broker.committed("outputs");
    let numbers: Vec<_> = committed
        .iter()
        .map(|one| one.headers().get_str("n").unwrap().to_owned())
        .collect();
    let all: Vec<_> = (0..12).map(|id| id.to_string()).collect();
    assert_eq!(numbers, all, "{:?}", handle.status().obstacle);
    assert!(
        committed
            .iter()
            .all(|one| one.headers().get_str(names::CLAIM).is_some())
    );
    assert!(store.kept.load(Atomic::Relaxed) >= 12);
    let aborts = broker.lock().aborts;
    assert_eq!(aborts > 0, refuses > 0, "{aborts}");
    assert_eq!(broker.count("outside.outputs"), 0, "past the transaction");
}

#[tokio::test(start_paused = true)]
async fn a_commit_waits_for_payloads_that_are_on_their_way_into_the_store_though_nobody_else_does() {
    all_are_there_once(leaving(), 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_cannot_be_put_aside_for_now_takes_the_transaction_with_it() {
    all_are_there_once(leaving(), 3).await;
    all_are_there_once(returning(), 3).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_returns_is_put_aside_and_its_reference_published_in_the_transaction() {
    all_are_there_once(returning(), 0).await;
}

/// A broker that one publishes to at a time, and transactions that keep what was published until they are committed.
#[derive(Debug, Clone)]
struct Alone {
    broker: TxBroker,
    open: Arc<Mutex<Vec<Outgoing>>>,
}

impl Sink for Alone {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        let receipt = Receipt::ready(Ok(Position::new(outgoing.destination.clone(), 0, 0)));
        self.open.lock().unwrap().push(outgoing);
        receipt
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        Box::pin(async { Ok(()) })
    }

    fn can_be_sole(&self) -> bool {
        true
    }

    fn sole(&self, _name: &str) -> BoxFuture<'static, Result<Box<dyn SoleSink>, PublishError>> {
        let this = self.clone();
        Box::pin(async { Ok(Box::new(this) as Box<dyn SoleSink>) })
    }
}

impl SoleSink for Alone {
    fn begin(&mut self) -> Result<Box<dyn SinkTransaction>, PublishError> {
        Ok(Box::new(self.clone()))
    }
}

impl SinkTransaction for Alone {
    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(self.clone())
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), PublishError>> {
        for outgoing in self.open.lock().unwrap().drain(..) {
            self.broker.put(&outgoing.destination, 0, outgoing.message);
        }
        Box::pin(async { Ok(()) })
    }
}

impl BinderLayer for Alone {
    fn inner(&self) -> &Arc<dyn DynBinder> {
        unreachable!("only its sink is asked for")
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(self.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn who_publishes_as_the_only_one_has_large_payloads_put_aside_too() {
    let (broker, store) = (TxBroker::new(1), Slow::default());
    let alone = Alone {
        broker: broker.clone(),
        open: Arc::default(),
    };
    let sink = claimed(Arc::new(Layered(alone)), &store).sink();
    assert!(sink.can_be_sole());
    let mut sole = sink.sole("name").await.unwrap();
    let transaction = sole.begin().unwrap();
    let large = Outgoing::new("outputs", Message::new("x".repeat(LARGE)));
    // Not awaited: it is part of it all the same.
    drop(transaction.sink().publish(large));
    transaction.commit().await.unwrap();
    let committed = broker.committed("outputs");
    assert_eq!((committed.len(), store.kept.load(Atomic::Relaxed)), (1, 1));
    assert!(committed[0].headers().get_str(names::CLAIM).is_some());

    // What is refused by its own fault is told to whoever published it, and the others are committed.
    let transaction = sole.begin().unwrap();
    let too_large = Outgoing::new("outputs", Message::new("x".repeat(1_000_001)));
    let refused = transaction.sink().publish(too_large).await;
    assert!(
        matches!(refused, Err(PublishError::TooLarge { .. })),
        "{refused:?}"
    );
    let small = Outgoing::new("outputs", Message::new("small"));
    transaction.sink().publish(small).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(broker.committed("outputs").len(), 2);
}

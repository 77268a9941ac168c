//! Instances and destinations that share what there is.

use crate::world::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings::{Delivery, on};
use tidings_core::{Binder, Message, Outgoing};

#[tokio::test]
async fn a_slow_instance_hoards_nothing() {
    let Some(api) = brokers::rabbit_or_skip("a_slow_instance_hoards_nothing") else {
        return;
    };
    const PREFETCH: u16 = 10;
    let (host, slow, quick) = (host(api), World::default(), World::default());
    let binder = || {
        binder(&host, |options| {
            options.with_single_active_consumer(false).with_prefetch(PREFETCH)
        })
    };
    let (one, other) = (binder(), binder());
    // Longer than the others take for all of them.
    slow.takes(Duration::from_secs(3_600));
    let stuck = start(&one, slow.subscription(1)).await;
    let running = start(&other, quick.subscription(2)).await;
    has_consumers(&host, "orders.billing", 2).await;
    publish(&other, 0..500, 50).await;
    let rest = 500 - usize::from(PREFETCH);
    quick.until_succeeded(rest).await;
    assert_eq!(
        quick.seen().len(),
        rest,
        "it has what was handed to it, and no more"
    );
    drop(stuck.drain().await);
    quick.until_succeeded(500).await;
    assert!(running.drain().await.finished_in_time);
}

#[tokio::test]
async fn a_backlog_of_one_destination_does_not_starve_another() {
    let test = "a_backlog_of_one_destination_does_not_starve_another";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    const BACKLOG: u64 = 3_000;
    let host = host(api);
    let binder = binder(&host, |options| options);
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let noting = seen.clone();
    let handler = move |delivery: Delivery| {
        let seen = noting.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            seen.lock()
                .unwrap()
                .push(delivery.position().destination().to_owned());
        }
    };
    let subscription = on(["orders", "payments"], handler)
        .group("billing")
        .name("charge")
        .concurrency(2);
    let running = start(&binder, subscription).await;
    has_consumers(&host, "orders.billing", 1).await;
    has_consumers(&host, "payments.billing", 1).await;
    publish(&binder, 0..BACKLOG, BACKLOG).await;
    let sink = Binder::sink(&*binder);
    let payment = Outgoing::new("payments", Message::new("1").with_key("payment"));
    sink.publish(payment).await.unwrap();
    until("the payment is handled", || {
        seen.lock().unwrap().iter().any(|from| from == "payments")
    })
    .await;
    let before = seen.lock().unwrap().len() as u64;
    assert!(before < BACKLOG / 3, "after {before} of the backlog");
    until("all are handled", || {
        seen.lock().unwrap().len() as u64 == BACKLOG + 1
    })
    .await;
    assert!(running.drain().await.finished_in_time);
}

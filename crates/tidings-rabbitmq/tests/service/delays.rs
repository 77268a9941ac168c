//! Messages that are published for later.

use crate::world::*;
use std::time::Duration;
use tidings::{Raw, Retry, on};
use tidings_core::{Binder, Clock, Message, Outgoing, PublishError};
use tidings_rabbitmq::{DestinationOptions, ExchangeType};
use tokio::time::Instant;

fn later(payload: &str, delay: Duration) -> Outgoing {
    let message = Message::new(payload.to_owned())
        .with_header("type", "order.late")
        .unwrap();
    Outgoing {
        due: Some(Clock::System.now().plus(delay)),
        ..Outgoing::new("orders", message)
    }
}

#[tokio::test]
async fn messages_for_later_come_when_they_are_due_and_never_earlier() {
    let test = "messages_for_later_come_when_they_are_due_and_never_earlier";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let host = host(api);
    let bound = DestinationOptions::new(ExchangeType::Topic).binding("order.#");
    let binder = binder(&host, |options| options.with_destination("orders", bound));
    let (seen, mut came) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |delivery: tidings::Delivery, Raw(payload): Raw| {
        let headers: Vec<_> = delivery.headers().map(|(name, _)| name.to_owned()).collect();
        seen.send((payload, Instant::now(), headers)).unwrap();
        async {}
    };
    let subscription = on("orders", handler)
        .group("billing")
        .name("charge")
        .retry(Retry::none());
    let running = start(&binder, subscription).await;
    has_consumers(&host, "orders.billing", 1).await;
    let (sink, began) = (Binder::sink(&*binder), Instant::now());
    // The first makes the queues; nobody waits for the receipt of the second.
    let delays = [("c", 2_300), ("a", 300), ("b", 1_100), ("now", 0)];
    let mut receipts = Vec::new();
    for (payload, millis) in delays {
        let receipt = sink.publish(later(payload, Duration::from_millis(millis)));
        receipts.extend((payload != "a").then_some(receipt));
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
    sink.flush().await.unwrap();
    for (expected, millis) in [("now", 0), ("a", 300), ("b", 1_100), ("c", 2_300)] {
        let (payload, at, headers) = tokio::time::timeout(PATIENCE, came.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(payload, expected);
        assert!(
            at >= began + Duration::from_millis(millis),
            "{expected} after {:?}",
            at - began
        );
        assert_eq!(headers, ["type"], "nothing of its way is left");
    }
    assert!(running.drain().await.finished_in_time);
}

/// The service that publishes is gone long before they are due, and nobody reads yet.
#[tokio::test]
async fn messages_for_later_outlive_their_publisher() {
    let test = "messages_for_later_outlive_their_publisher";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let (host, world) = (host(api), World::default());
    let publisher = binder(&host, |options| options);
    // The group's queue is there from now on.
    let once = start(&publisher, world.subscription(1)).await;
    has_consumers(&host, "orders.billing", 1).await;
    assert!(once.drain().await.finished_in_time);
    let sink = Binder::sink(&*publisher);
    for id in 0..50 {
        sink.publish(later(&id.to_string(), Duration::from_millis(700)))
            .await
            .unwrap();
    }
    let far = sink
        .publish(later("x", Duration::from_secs(100 * 86_400)))
        .await
        .unwrap_err();
    assert!(matches!(far, PublishError::Unsupported { .. }), "{far}");
    Binder::close(&*publisher).await.unwrap();
    drop(publisher);
    until("all are due", || {
        let queue = host.queue("orders.billing").unwrap();
        queue.and_then(|queue| queue.ready) == Some(50)
    })
    .await;
    let binder = binder(&host, |options| options);
    let running = start(&binder, world.subscription(1)).await;
    world.until_succeeded(50).await;
    assert!(running.drain().await.finished_in_time);
    assert_eq!(world.seen().len(), 50, "each once");
}

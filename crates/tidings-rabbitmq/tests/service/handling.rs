//! What is published is handled, in order, and acknowledged.

use crate::world::*;
use serde_json::json;
use tidings::{Failure, on};
use tidings_core::{Message, Output, Retry};

#[tokio::test]
async fn every_message_is_handled_once_in_the_order_of_its_key_and_leaves_the_queue() {
    let test = "every_message_is_handled_once_in_the_order_of_its_key_and_leaves_the_queue";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let (host, world) = (host(api), World::default());
    let binder = binder(&host, |options| options.with_prefetch(100));
    world.fails(7, 2, None);
    let running = start(&binder, world.subscription(1)).await;
    has_consumers(&host, "orders.billing", 1).await;
    publish(&binder, 0..1_000, 10).await;
    world.until_succeeded(1_000).await;
    assert!(running.drain().await.finished_in_time);
    assert_eq!(
        world.seen().len(),
        1_002,
        "one failed twice, and nothing came again"
    );
    let attempts: Vec<_> = world.of(7).iter().map(|one| one.attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
    for key in 0..10 {
        let of_key: Vec<_> = world
            .succeeded()
            .into_iter()
            .filter(|id| id % 10 == key)
            .collect();
        assert!(of_key.is_sorted(), "key {key}: {of_key:?}");
    }
    let again = start(
        &crate::world::binder(&host, |options| options),
        world.subscription(2),
    )
    .await;
    has_consumers(&host, "orders.billing", 1).await;
    until("the queue is empty", || {
        let queue = host.queue("orders.billing").unwrap();
        queue.is_some_and(|queue| (queue.ready, queue.unacknowledged) == (Some(0), Some(0)))
    })
    .await;
    assert!(again.drain().await.finished_in_time);
    assert_eq!(world.seen().len(), 1_002, "everything was acknowledged");
}

#[tokio::test]
async fn what_is_given_up_is_a_dead_letter_with_its_diagnosis() {
    let test = "what_is_given_up_is_a_dead_letter_with_its_diagnosis";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let (host, world) = (host(api), World::default());
    let binder = binder(&host, |options| options);
    world.fails(1, 100, None);
    let running = start(&binder, world.subscription(1)).await;
    has_consumers(&host, "orders.billing", 1).await;
    publish(&binder, 0..3, 1).await;
    world.until_succeeded(2).await;
    until("the dead letter", || {
        host.queue("orders.billing.dlq")
            .unwrap()
            .is_some_and(|queue| queue.ready == Some(1))
    })
    .await;
    assert!(running.drain().await.finished_in_time);
    let letters = host.peek("orders.billing.dlq", 10).unwrap();
    let [letter] = letters.as_slice() else {
        panic!("{letters:?}")
    };
    assert_eq!(letter.payload, b"1");
    let header = |name: &str| {
        letter
            .properties
            .pointer(&format!("/headers/{name}"))
            .and_then(|value| value.as_str())
            .map(str::to_owned)
    };
    assert_eq!(
        header("tidings-reason").as_deref(),
        Some("exhausted"),
        "{letter:?}"
    );
    assert_eq!(header("tidings-attempts").as_deref(), Some("3"));
    assert_eq!(header("tidings-group").as_deref(), Some("billing"));
}

#[tokio::test]
async fn one_instance_at_a_time_reads_a_queue_and_the_next_takes_over() {
    let test = "one_instance_at_a_time_reads_a_queue_and_the_next_takes_over";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let (host, world) = (host(api), World::default());
    let (first, second) = (binder(&host, |options| options), binder(&host, |options| options));
    let one = start(&first, world.subscription(1)).await;
    has_consumers(&host, "orders.billing", 1).await;
    let other = start(&second, world.subscription(2)).await;
    has_consumers(&host, "orders.billing", 2).await;
    publish(&second, 0..100, 10).await;
    world.until_succeeded(100).await;
    assert!(world.seen().iter().all(|one| one.member == 1));
    assert!(one.drain().await.finished_in_time);
    tidings_core::Binder::close(&*first).await.unwrap();
    publish(&second, 100..200, 10).await;
    world.until_succeeded(200).await;
    assert_eq!(world.seen().len(), 200);
    assert!(world.seen().iter().skip(100).all(|one| one.member == 2));
    assert!(other.drain().await.finished_in_time);
}

#[tokio::test]
async fn a_queue_that_is_made_otherwise_is_told_with_both_sides_and_read_when_it_is_right() {
    let test = "a_queue_that_is_made_otherwise_is_told_with_both_sides_and_read_when_it_is_right";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let (host, world) = (host(api), World::default());
    let classic = json!({
        "x-queue-type": "classic",
        "x-single-active-consumer": true,
        "x-dead-letter-exchange": "orders.DLT",
        "x-dead-letter-routing-key": "billing",
    });
    host.declare("orders.billing", &classic).unwrap();
    let binder = binder(&host, |options| options);
    let running = start(&binder, world.subscription(1)).await;
    until("it is told", || {
        let said = format!("{:?}", running.health());
        said.contains("x-queue-type") && said.contains("quorum") && said.contains("classic")
    })
    .await;
    host.api().delete(&host.path("queues", "orders.billing")).unwrap();
    has_consumers(&host, "orders.billing", 1).await;
    publish(&binder, 0..10, 1).await;
    world.until_succeeded(10).await;
    assert!(running.drain().await.finished_in_time);
}

#[tokio::test]
async fn a_backlog_is_drained() {
    let Some(api) = brokers::rabbit_or_skip("a_backlog_is_drained") else {
        return;
    };
    const COUNT: u64 = 100_000;
    let (host, world) = (host(api), World::default());
    let binder = binder(&host, |options| options);
    // The group's queue is there, and nobody reads it.
    let gone = start(&binder, world.subscription(1).retry(Retry::none())).await;
    has_consumers(&host, "orders.billing", 1).await;
    assert!(gone.drain().await.finished_in_time);
    publish(&binder, 0..COUNT, 100).await;
    let running = start(&binder, world.subscription(2)).await;
    world.until_succeeded(COUNT as usize).await;
    assert!(running.drain().await.finished_in_time);
    assert_eq!(world.seen().len() as u64, COUNT);
}

/// An exchange without a queue drops what it gets. Services are deployed one after the other, so the queue may come yet.
#[tokio::test]
async fn what_a_handler_returns_waits_until_there_is_a_queue_for_it() {
    let test = "what_a_handler_returns_waits_until_there_is_a_queue_for_it";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let host = host(api);
    let binder = binder(&host, |options| options);
    let handler = |tidings::Raw(payload): tidings::Raw| async move {
        Ok::<_, Failure>(Output::message(Message::new(payload)))
    };
    let running = start(
        &binder,
        on("orders", handler).group("billing").name("charge").to("stock"),
    )
    .await;
    has_consumers(&host, "orders.billing", 1).await;
    publish(&binder, 0..3, 1).await;
    until("it is told that nobody takes it", || {
        format!("{:?}", running.health()).contains("stock")
    })
    .await;
    host.declare("stock.warehouse", &json!({})).unwrap();
    let segment = brokers::RabbitApi::segment;
    let path = format!("bindings/{}/e/stock/q/stock.warehouse", segment(host.name()));
    host.api().post(&path, &json!({ "routing_key": "#" })).unwrap();
    until("all three are there", || {
        host.queue("stock.warehouse")
            .unwrap()
            .is_some_and(|queue| queue.ready == Some(3))
    })
    .await;
    let payloads: Vec<_> = host
        .peek("stock.warehouse", 10)
        .unwrap()
        .into_iter()
        .map(|one| one.payload)
        .collect();
    assert_eq!(payloads, [b"0", b"1", b"2"], "in order, and once");
    assert!(running.drain().await.finished_in_time);
}

//! Connections and queues that go away under a service.

use crate::world::*;
use std::time::Duration;
use tokio::time::sleep;

#[tokio::test]
async fn connections_that_are_closed_under_load_lose_nothing() {
    let Some(api) = brokers::rabbit_or_skip("connections_that_are_closed_under_load_lose_nothing") else {
        return;
    };
    let (host, world) = (host(api), World::default());
    let binder = binder(&host, |options| options);
    world.takes(Duration::from_millis(1));
    let running = start(&binder, world.subscription(1)).await;
    has_consumers(&host, "orders.billing", 1).await;
    let publishing = {
        let binder = binder.clone();
        tokio::spawn(async move {
            for round in 0..40_u64 {
                publish(&binder, round * 100..(round + 1) * 100, 20).await;
                sleep(Duration::from_millis(50)).await;
            }
        })
    };
    for _ in 0..3 {
        sleep(Duration::from_millis(600)).await;
        for connection in host.connections().unwrap() {
            // It may be gone already.
            let _ = host.close_connection(&connection);
        }
    }
    publishing.await.unwrap();
    world.until_succeeded(4_000).await;
    until("both connections are back", || is_up(&binder)).await;
    for key in 0..20 {
        let of_key: Vec<_> = world
            .succeeded()
            .into_iter()
            .filter(|id| id % 20 == key)
            .collect();
        assert!(of_key.is_sorted(), "key {key}: {of_key:?}");
    }
    assert!(running.drain().await.finished_in_time);
}

#[tokio::test]
async fn a_queue_that_is_deleted_under_its_consumer_is_made_again() {
    let Some(api) = brokers::rabbit_or_skip("a_queue_that_is_deleted_under_its_consumer_is_made_again")
    else {
        return;
    };
    let (host, world) = (host(api), World::default());
    let binder = binder(&host, |options| options);
    let running = start(&binder, world.subscription(1)).await;
    has_consumers(&host, "orders.billing", 1).await;
    publish(&binder, 0..10, 1).await;
    world.until_succeeded(10).await;
    host.api().delete(&host.path("queues", "orders.billing")).unwrap();
    has_consumers(&host, "orders.billing", 1).await;
    publish(&binder, 10..20, 1).await;
    world.until_succeeded(20).await;
    assert!(running.drain().await.finished_in_time);
}

#[test]
fn what_was_not_finished_when_a_service_dies_comes_again() {
    let test = "what_was_not_finished_when_a_service_dies_comes_again";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let (host, world) = (host(api), World::default());
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    };
    let dying = runtime();
    world.takes(Duration::from_secs(3_600));
    dying.block_on(async {
        let binder = binder(&host, |options| options);
        let running = start(&binder, world.subscription(1)).await;
        has_consumers(&host, "orders.billing", 1).await;
        publish(&binder, 0..20, 5).await;
        until("all are handed out", || {
            let queue = host.queue("orders.billing").unwrap();
            queue.is_some_and(|queue| queue.unacknowledged == Some(20))
        })
        .await;
        // Nobody drains it.
        std::mem::forget(running);
    });
    dying.shutdown_background();
    world.takes(Duration::ZERO);
    runtime().block_on(async {
        let running = start(&binder(&host, |options| options), world.subscription(2)).await;
        world.until_succeeded(20).await;
        assert_eq!(world.succeeded().len(), world.seen().len());
        assert!(running.drain().await.finished_in_time);
    });
}

//! Messages that wait for their next attempt.

use crate::world::*;
use std::time::Duration;
use tidings_core::{Binder, DestinationRole, GroupQueue, RetryOrder};
use tidings_rabbitmq::RabbitBinder;

#[tokio::test]
async fn a_wait_that_may_be_held_keeps_the_order_of_its_key() {
    let Some(api) = brokers::rabbit_or_skip("a_wait_that_may_be_held_keeps_the_order_of_its_key") else {
        return;
    };
    let (host, world) = (host(api), World::default());
    let binder = binder(&host, |options| options);
    world.fails(0, 1, Some(Duration::from_secs(3)));
    let running = start(&binder, world.subscription(1)).await;
    has_consumers(&host, "orders.billing", 1).await;
    publish(&binder, 0..5, 1).await;
    world.until_succeeded(5).await;
    assert_eq!(world.succeeded(), [0, 1, 2, 3, 4]);
    assert!(running.drain().await.finished_in_time);
}

/// Whether one message lies in a queue that the group has for its retries.
async fn waits_in(binder: &RabbitBinder, name: &str) -> bool {
    let queues = Binder::group_queues(binder, "orders", "billing").await.unwrap();
    let holds = |queue: &GroupQueue| queue.role == DestinationRole::Retry && queue.waiting == 1;
    queues
        .unwrap()
        .iter()
        .any(|queue| &*queue.name == name && holds(queue))
}

#[tokio::test]
async fn where_order_does_not_count_a_wait_is_spent_in_a_queue_and_outlives_the_service() {
    let test = "where_order_does_not_count_a_wait_is_spent_in_a_queue_and_outlives_the_service";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let (host, world) = (host(api), World::default());
    let binder = binder(&host, |options| options);
    let wait = Duration::from_secs(7);
    world.fails(0, 1, Some(wait));
    let relaxed = |member| world.subscription(member).retry_order(RetryOrder::Relaxed);
    let running = start(&binder, relaxed(1)).await;
    has_consumers(&host, "orders.billing", 1).await;
    publish(&binder, 0..5, 1).await;
    world.until_succeeded(4).await;
    assert_eq!(world.succeeded(), [1, 2, 3, 4], "it is overtaken");
    until("it waits in its queue", || {
        host.queue("orders.billing.retry.5s").unwrap().is_some()
    })
    .await;
    let counted = tokio::time::timeout(Duration::from_secs(4), async {
        while !waits_in(&binder, "orders.billing.retry.5s").await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(counted.await.is_ok(), "it is among what its group has to do");
    assert!(running.drain().await.finished_in_time, "nobody waits for it");
    let running = start(&crate::world::binder(&host, |options| options), relaxed(2)).await;
    world.until_succeeded(5).await;
    let of_it = world.of(0);
    assert_eq!(
        of_it
            .iter()
            .map(|one| (one.attempt, one.member))
            .collect::<Vec<_>>(),
        [(1, 1), (2, 2)]
    );
    let waited = of_it[1].at - of_it[0].at;
    assert!(waited >= wait, "{waited:?}");
    assert!(running.drain().await.finished_in_time);
}

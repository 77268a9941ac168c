//! A cluster whose nodes go, one after the other, under a service that is at work.

use crate::world::*;
use brokers::{Rabbit, RabbitApi, RabbitOptions, VirtualHost, or_skip};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidings_core::{Binder, Message, Outgoing};
use tidings_rabbitmq::{ClientOptions, RabbitBinder};
use tokio::time::sleep;

const KEYS: u64 = 20;

fn binder(host: &VirtualHost) -> Arc<RabbitBinder> {
    let urls = host.urls();
    let nodes = urls
        .iter()
        .filter_map(|url| url.rsplit_once('@')?.1.split('/').next());
    let nodes: Vec<_> = nodes.collect();
    let name = RabbitApi::segment(host.name());
    let url = format!("amqp://guest:guest@{}/{name}", nodes.join(","));
    Arc::new(RabbitBinder::open(ClientOptions::from_url(&url).unwrap()).unwrap())
}

/// Publishes until it is told to stop; the numbers that were confirmed.
async fn publish_until(binder: Arc<RabbitBinder>, stop: Arc<AtomicBool>) -> Vec<u64> {
    let (sink, mut confirmed, mut next) = (Binder::sink(&*binder), Vec::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        let ids = next..next + 50;
        next += 50;
        let outgoing = ids.clone().map(|id| {
            let message = Message::new(id.to_string()).with_key((id % KEYS).to_string());
            Outgoing::new("orders", message)
        });
        for (id, receipt) in ids.zip(sink.publish_all(outgoing.collect())) {
            if receipt.await.is_ok() {
                confirmed.push(id);
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
    confirmed
}

async fn on_server(rabbit: &Arc<Rabbit>, work: impl FnOnce(&Rabbit) + Send + 'static) {
    let rabbit = rabbit.clone();
    tokio::task::spawn_blocking(move || work(&rabbit)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_stop_and_die_in_turn_cost_no_confirmed_message_and_no_order() {
    let test = "nodes_that_stop_and_die_in_turn_cost_no_confirmed_message_and_no_order";
    let started = tokio::task::spawn_blocking(|| Rabbit::start(RabbitOptions::cluster()));
    let Some(rabbit) = or_skip(test, started.await.unwrap()).map(Arc::new) else {
        return;
    };
    let (host, world) = (host(rabbit.api()), World::default());
    // So that something is always at work.
    world.takes(Duration::from_millis(5));
    let reading = binder(&host);
    let running = start(&reading, world.subscription(1)).await;
    has_consumers(&host, "orders.billing", 1).await;
    let leader = || {
        let queue = host.queue("orders.billing").unwrap();
        queue.and_then(|queue| queue.leader).unwrap_or(1)
    };
    let stop = Arc::new(AtomicBool::new(false));
    let publishing = tokio::spawn(publish_until(binder(&host), stop.clone()));
    let more = async || {
        let before = world.succeeded().len();
        world.until_succeeded(before + 300).await;
    };
    more().await;
    let first = leader();
    on_server(&rabbit, move |rabbit| rabbit.kill(first).unwrap()).await;
    more().await;
    on_server(&rabbit, move |rabbit| rabbit.start_node(first).unwrap()).await;
    let second = first % 3 + 1;
    on_server(&rabbit, move |rabbit| rabbit.stop_node(second).unwrap()).await;
    more().await;
    on_server(&rabbit, move |rabbit| rabbit.start_node(second).unwrap()).await;
    stop.store(true, Ordering::Relaxed);
    let confirmed = publishing.await.unwrap();
    until("all that was confirmed is handled", || {
        let handled: std::collections::HashSet<_> = world.succeeded().into_iter().collect();
        confirmed.iter().all(|id| handled.contains(id))
    })
    .await;
    for key in 0..KEYS {
        let succeeded = world.succeeded();
        let of_key: Vec<_> = succeeded.iter().filter(|id| **id % KEYS == key).collect();
        assert!(of_key.is_sorted(), "key {key}: {of_key:?}");
    }
    assert!(running.drain().await.finished_in_time);
}

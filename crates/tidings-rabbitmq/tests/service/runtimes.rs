//! The program's own runtime waits for the socket: what becomes of a connection when it is kept busy, or ends.

use crate::world::*;
use std::time::Duration;
use tidings::{Delivery, on};
use tidings_core::{Binder, DestinationSpec};
use tidings_rabbitmq::RabbitBinder;
use tokio::runtime::{Builder, Runtime};

/// The server gives up a connection that it hears nothing from for two or three of these, and so do we.
const HEARTBEAT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_handler_that_blocks_its_only_thread_keeps_its_connection() {
    let test = "a_handler_that_blocks_its_only_thread_keeps_its_connection";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let (host, world) = (host(api), World::default());
    let binder = binder(&host, |client| client.with_heartbeat(HEARTBEAT));
    let blocking = {
        let world = world.clone();
        on("orders", move |delivery: Delivery| {
            let world = world.clone();
            async move {
                if delivery.payload() == Some(b"0") {
                    std::thread::sleep(HEARTBEAT * 6);
                }
                world.handled(1, delivery).await
            }
        })
        .group("billing")
    };
    let running = start(&binder, blocking).await;
    has_consumers(&host, "orders.billing", 1).await;
    publish(&binder, 0..20, 20).await;
    world.until_succeeded(20).await;
    publish(&binder, 20..21, 1).await;
    world.until_succeeded(21).await;
    assert_eq!(
        world.seen().len(),
        21,
        "what is delivered again had lost its connection"
    );
    assert!(running.drain().await.finished_in_time);
}

#[test]
fn a_runtime_that_ends_takes_no_connection_along_for_good() {
    let test = "a_runtime_that_ends_takes_no_connection_along_for_good";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let (host, world) = (host(api), World::default());
    let opening = runtime();
    let binder = opening.block_on(async {
        let binder = binder(&host, |client| client);
        RabbitBinder::connected(&binder).await.unwrap();
        binder
    });
    drop(opening);
    runtime().block_on(async {
        // What is asked of the connection that ends just now is refused; an answer is one of the next connection.
        let asking = async {
            while let Err(error) = Binder::prepare(&*binder, DestinationSpec::new("orders", 1)).await {
                assert!(error.to_string().contains("is away"), "{error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asking).await.unwrap();
        let running = start(&binder, world.subscription(1)).await;
        has_consumers(&host, "orders.billing", 1).await;
        publish(&binder, 0..5, 1).await;
        world.until_succeeded(5).await;
        assert!(running.drain().await.finished_in_time);
    });
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

//! A service whose messages and dead letters the program looks at.

use crate::world::{PATIENCE, World};
use tidings::prelude::*;
use tidings::{Running, Section};

/// Bills orders: those with a bad card become dead letters, those that are slow are tried again.
pub(crate) fn shop() -> App {
    App::new("shop")
        .add(
            on("orders", charge)
                .group("billing")
                .to("payments")
                .retry(Retry::exponential(2, millis(1), 1.0)),
        )
        .add(on("orders", record).group("analytics"))
        .add(on("payments", ship).group("shipping"))
}

async fn charge(Text(order): Text) -> Result<Output, Failure> {
    if order.contains("bad card") || order.contains("not a card") {
        return Err(Failure::permanent("the card is not valid: bad card"));
    }
    if order.contains("bank down") {
        return Err(Failure::transient("the bank does not answer"));
    }
    Ok(Output::message(Message::new(order)))
}

async fn record(Text(_order): Text) {}

async fn ship(Text(_payment): Text) {}

/// The configuration of a service in that world.
pub(crate) fn config(world: &World) -> Config {
    let data = world.data().display().to_string();
    let text = format!("[binder.main]\nurl = \"embedded:{data}\"\ncommit_interval = \"5ms\"\n");
    let config = Config::from_toml(&text, "tidings.toml").unwrap();
    assert_eq!(config.names(Section::Binder).len(), 1);
    config
}

/// Starts the shop on the directory of a world.
pub(crate) async fn start(world: &World) -> Running {
    shop().start(config(world)).await.unwrap()
}

/// Publishes orders as pairs of key and payload.
pub(crate) async fn order(running: &Running, orders: &[(&str, &str)]) {
    for (key, payload) in orders {
        let message = Message::new((*payload).to_owned()).with_key((*key).to_owned());
        running.publisher().send("orders", message).await.unwrap();
    }
}

/// Waits until that many orders are dead letters and everything else is handled.
pub(crate) async fn settle(running: &Running, letters: usize) {
    let settled = async {
        loop {
            let found = running.dead_letters("orders").await.unwrap().len();
            if found == letters && is_at_rest(running).await {
                return;
            }
            tokio::time::sleep(millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, settled)
        .await
        .expect("the shop settles");
}

/// Whether everything is handled, as far as it is stored.
pub(crate) async fn is_at_rest(running: &Running) -> bool {
    let status = running.status();
    let idle = status
        .subscriptions
        .values()
        .all(|one| one.running + one.waiting + one.queued == 0);
    idle && is_read(running).await
}

async fn is_read(running: &Running) -> bool {
    let (binder, _) = running.channel("orders").unwrap();
    for (topic, group) in [
        ("orders", "billing"),
        ("orders.billing.retry", "billing"),
        ("orders", "analytics"),
        ("payments", "shipping"),
    ] {
        let positions = binder.positions(topic, Some(group)).await.unwrap();
        let read =
            |at: &tidings::PartitionPosition| at.progress.as_ref().map_or(0, |progress| progress.watermark);
        if positions.iter().any(|at| read(at) < at.end) {
            return false;
        }
    }
    true
}

/// A directory that the shop has left, with these orders handled and that many dead letters.
pub(crate) async fn left_behind(orders: &[(&str, &str)], letters: usize) -> World {
    let world = World::new();
    let running = start(&world).await;
    order(&running, orders).await;
    settle(&running, letters).await;
    running.drain().await;
    world
}

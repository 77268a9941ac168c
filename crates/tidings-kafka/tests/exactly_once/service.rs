//! The service under test: each input has one output, some fail first, some for good: [`start`].

use crate::support::number_of;
use bytes::Bytes;
use std::sync::Arc;
use tidings::{App, Clock, Config, Delivery, DynBinder, Failure, Message, Output, Publisher, Running, on};
use tidings_kafka::KafkaBinder;

/// Where messages come from and go.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) orders: Arc<str>,
    pub(crate) priced: Arc<str>,
    pub(crate) extras: Arc<str>,
    pub(crate) group: String,
}

pub(crate) const PARTITIONS: u32 = 4;
/// How many keys there are.
const KEYS: u64 = 40;

/// It fails for good.
pub(crate) fn is_poison(number: u64) -> bool {
    number % 1_001 == 7
}

/// Its handler publishes by itself, too.
pub(crate) fn has_extra(number: u64) -> bool {
    number.is_multiple_of(10) && !is_poison(number)
}

/// It publishes and fails then, the first time: that is to be taken back.
fn is_taken_back(number: u64) -> bool {
    number % 2_000 == 1_010
}

/// How often it fails. The first wait is in memory, the second in the retry lane.
fn failures(number: u64) -> u32 {
    match number {
        _ if number % 301 == 9 => 2,
        _ if number % 211 == 5 || is_taken_back(number) => 1,
        _ => 0,
    }
}

pub(crate) fn key_of(number: u64) -> Bytes {
    Bytes::from(format!("key {}", number % KEYS))
}

fn message(number: u64) -> Message {
    Message::new(number.to_string()).with_key(key_of(number))
}

async fn handle(delivery: Delivery, publisher: Publisher) -> Result<Output, Failure> {
    let number = number_of(delivery.payload().unwrap_or_default());
    let fails = delivery.attempt() <= failures(number);
    if is_poison(number) {
        return Err(Failure::permanent("poison"));
    }
    if has_extra(number) && (!fails || is_taken_back(number)) {
        // Not awaited: the transaction waits for it.
        drop(publisher.send("extras", message(number)));
    }
    if fails {
        return Err(Failure::transient(
            "it fails, and what it has published is to be taken back",
        ));
    }
    Ok(Output::message(message(number)))
}

/// Starts the service.
pub(crate) async fn start(binder: KafkaBinder, places: &Places) -> Running {
    let names = places.clone();
    let app = App::new("shop")
        .channel("orders", |channel| {
            channel
                .destination(places.orders.to_string())
                .partitions(PARTITIONS)
        })
        .channel("priced", |channel| {
            channel
                .destination(names.priced.to_string())
                .partitions(PARTITIONS)
        })
        .channel("extras", |channel| {
            channel
                .destination(names.extras.to_string())
                .partitions(PARTITIONS)
        })
        .publishes("extras")
        .add(
            on("orders", handle)
                .to("priced")
                .group(places.group.clone())
                .name("price")
                .concurrency(32)
                .exactly_once(),
        );
    let binder: Arc<dyn DynBinder> = Arc::new(binder);
    let config = Config::from_toml(
        "[app]\ndrain_timeout = \"8s\"\n[subscription.price.retry]\nattempts = 4\ninitial = \"50ms\"\nmultiplier = 5\ndurable_after = \"100ms\"\n",
        "once.toml",
    );
    app.with_state(())
        .start_on(config.unwrap(), binder, Clock::System)
        .await
        .unwrap()
}

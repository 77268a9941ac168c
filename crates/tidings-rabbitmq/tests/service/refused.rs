//! What an app asks for and a queue broker has not is refused at start, with the place, the cause and the cure.

use crate::world::*;
use std::sync::Arc;
use tidings::{App, Config, Delivery, Subscription, on};
use tidings_core::{Clock, DynBinder, Start, Timestamp};
use tidings_rabbitmq::{ClientOptions, RabbitBinder};

async fn ignore(_: Delivery) {}

fn subscription() -> Subscription<()> {
    on("orders", ignore).group("billing")
}

/// Why an app does not start. Nobody has to listen: a mistake is found before anything is asked.
async fn said(app: App, toml: &str) -> String {
    let options = ClientOptions::from_url("amqp://127.0.0.1:9").unwrap();
    let binder: Arc<dyn DynBinder> = Arc::new(RabbitBinder::open(options).unwrap());
    let config = Config::from_toml(toml, "tidings.toml").unwrap();
    let started = app.with_state(()).start_on(config, binder, Clock::System).await;
    started.unwrap_err().to_string()
}

#[tokio::test]
async fn what_a_queue_broker_lacks_is_refused_at_start_with_place_cause_and_cure() {
    let reading = [
        (subscription().start(Start::Offset(7)), "an offset or a time"),
        (
            subscription().start(Start::Time(Timestamp::from_millis(0))),
            "an offset or a time",
        ),
        (subscription().start(Start::Earliest), "the earliest message"),
        (
            on("orders", ignore).name("some").partitions([0]),
            "chooses partitions",
        ),
        (subscription().exactly_once(), "takes transactions"),
    ];
    for (subscription, lacking) in reading {
        let said = said(App::new("shop").add(subscription), "").await;
        for part in [file!(), lacking, "rabbitmq has none of that", "remove "] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    for (toml, lacking) in [
        (
            "[subscription.billing]\nstart = \"earliest\"",
            "the earliest message",
        ),
        ("[channel.orders]\npartitions = 3", "several partitions"),
        ("[channel.orders]\nretention_time = \"1h\"", "for a time"),
        ("[channel.orders]\nretention_bytes = \"1MiB\"", "so many bytes"),
        ("[channel.orders]\ncleanup = \"compact\"", "what goes"),
        (
            "[channel.orders]\ndestination = '^orders\\..*'",
            "a pattern of destinations",
        ),
    ] {
        let said = said(App::new("shop").add(subscription()), toml).await;
        for part in [lacking, "rabbitmq has none of that", "Kafka, embedded"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    let said = said(
        App::new("shop").add(subscription()),
        "[channel.orders]\npartitions = 3",
    );
    assert!(said.await.contains("tidings.toml:2"), "the place in the file");
}

#[tokio::test]
async fn what_a_running_service_is_asked_for_in_vain_is_named_with_its_cure() {
    let test = "what_a_running_service_is_asked_for_in_vain_is_named_with_its_cure";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let (host, world) = (host(api), World::default());
    let binder = binder(&host, |options| options);
    let running = start(&binder, world.subscription(1)).await;
    has_consumers(&host, "orders.billing", 1).await;
    let error = running.seek("charge", Start::Earliest).await.unwrap_err();
    assert!(
        error.to_string().contains("messages that can be read again"),
        "{error}"
    );
    assert!(world.seen().is_empty());
    assert!(running.drain().await.finished_in_time);
}

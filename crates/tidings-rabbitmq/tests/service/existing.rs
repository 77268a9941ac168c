//! Exchanges and queues that others have made, used where nothing may be made.

use crate::world::*;
use brokers::{RabbitApi, VirtualHost};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use serde_json::json;

use std::sync::Arc;
use std::time::Duration;
use tidings::{App, Config, Running, Selection, Subscription};
use tidings_core::{Clock, DynBinder, Retry, RetryOrder, names};
use tidings_rabbitmq::RabbitBinder;

const LETTERS: &str = "orders.billing.dlq";

const RETRY: &str = "orders.billing.retry";

/// A queue that gets something of an exchange, which is made for it.
fn bound(host: &VirtualHost, exchange: &str, key: &str, queue: &str) {
    let (api, segment) = (host.api(), RabbitApi::segment);
    let topic = json!({"type": "topic", "durable": true});
    api.put(&host.path("exchanges", exchange), &topic).unwrap();
    host.declare(queue, &json!({})).unwrap();
    let from = format!("bindings/{}/e/{exchange}/q/{queue}", segment(host.name()));
    api.post(&from, &json!({ "routing_key": key })).unwrap();
}

async fn start_never(binder: &Arc<RabbitBinder>, subscription: Subscription<()>) -> Running {
    let config = "[app]\ndrain_timeout = \"5s\"\n[channel.orders]\ncreate = \"never\"";
    let config = Config::from_toml(config, "service.toml").unwrap();
    let service = App::new("service").add(subscription).with_state(());
    let binder: Arc<dyn DynBinder> = binder.clone();
    service.start_on(config, binder, Clock::System).await.unwrap()
}

fn queues(host: &VirtualHost) -> Vec<String> {
    let path = format!("queues/{}", RabbitApi::segment(host.name()));
    let queues = host.api().get(&path).unwrap();
    let names = queues.as_array().unwrap().iter();
    names
        .map(|queue| queue["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn where_nothing_may_be_made_a_group_needs_no_retry_queue_and_says_what_it_lacks() {
    let test = "where_nothing_may_be_made_a_group_needs_no_retry_queue_and_says_what_it_lacks";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let (host, world) = (host(api), World::default());
    let hold = Duration::from_millis(300);
    let binder = binder(&host, |options| options.with_longest_hold(hold));
    bound(&host, "orders", "#", "orders.billing");
    let topic = json!({"type": "topic", "durable": true});
    api.put(&host.path("exchanges", "orders.DLT"), &topic).unwrap();
    world.fails(0, 1, Some(Duration::from_secs(3_600)));
    world.fails(1, 3, None);
    let running = start_never(&binder, world.subscription(1)).await;
    until("the place of the dead letters is missed", || {
        let said = format!("{:?}", running.health());
        said.contains("no queue 'orders.billing.dlq'") && said.contains("create = \\\"if-missing\\\"")
    })
    .await;
    bound(&host, "orders.DLT", "billing", LETTERS);
    has_consumers(&host, "orders.billing", 1).await;
    publish(&binder, 0..3, 3).await;
    world.until_succeeded(2).await;
    let of_it = world.of(0);
    let attempts: Vec<_> = of_it.iter().map(|one| one.attempt).collect();
    assert_eq!(attempts, [1, 2], "a long wait is cut, and is no new beginning");
    assert!(of_it[1].at - of_it[0].at >= hold, "{of_it:?}");
    until("one is dead", || host.peek(LETTERS, 9).unwrap().len() == 1).await;
    let sent_back = running.redrive("billing", Selection::All).await.unwrap();
    assert_eq!((sent_back.redriven, sent_back.refused), (0, 1));
    assert_eq!(host.peek(LETTERS, 9).unwrap().len(), 1, "it is where it was");
    assert!(running.drain().await.finished_in_time);
    assert_eq!(queues(&host), ["orders.billing", LETTERS], "nothing was made");
}

/// Takes what comes to a queue to another one, without its attempts.
async fn forgetting(host: &VirtualHost, from: &str, to: &str) -> Connection {
    use futures_util::StreamExt as _;
    let connection = Connection::connect(&host.url(), ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let consuming = channel.basic_consume(
        from.into(),
        "".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let (mut consumer, to) = (consuming.await.unwrap(), to.to_owned());
    tokio::spawn(async move {
        while let Some(Ok(delivery)) = consumer.next().await {
            let headers = delivery.properties.headers().iter().flatten();
            let kept = headers.filter(|(name, _)| name.as_str() != names::ATTEMPTS);
            let kept: std::collections::BTreeMap<_, _> =
                kept.map(|(name, value)| (name.clone(), value.clone())).collect();
            let properties = delivery.properties.clone().with_headers(FieldTable::from(kept));
            let options = BasicPublishOptions::default();
            let sent = channel.basic_publish("".into(), (&*to).into(), options, &delivery.data, properties);
            sent.await.unwrap();
            delivery.ack(BasicAckOptions::default()).await.unwrap();
        }
    });
    connection
}

/// Something between the queue in which a message waits and the retry queue takes our headers away.
#[tokio::test]
async fn a_message_whose_attempts_are_taken_away_in_each_round_is_dead_after_as_many() {
    let test = "a_message_whose_attempts_are_taken_away_in_each_round_is_dead_after_as_many";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let (host, world) = (host(api), World::default());
    let binder = binder(&host, |options| options);
    bound(&host, "orders", "#", "orders.billing");
    bound(&host, "orders.DLT", "billing", LETTERS);
    let back =
        json!({"x-message-ttl": 1_000, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "between"});
    for (queue, arguments) in [
        (RETRY, json!({})),
        ("between", json!({})),
        ("orders.billing.retry.1s", back),
    ] {
        host.declare(queue, &arguments).unwrap();
    }
    let _between = forgetting(&host, "between", RETRY).await;
    world.fails(0, 100, None);
    let retry = Retry::fixed(3, Duration::from_millis(1_100)).durable_after(Duration::ZERO);
    let relaxed = world
        .subscription(1)
        .retry(retry)
        .retry_order(RetryOrder::Relaxed);
    let running = start_never(&binder, relaxed).await;
    has_consumers(&host, "orders.billing", 1).await;
    publish(&binder, 0..1, 1).await;
    until("it is dead", || host.peek(LETTERS, 9).unwrap().len() == 1).await;
    let attempts: Vec<_> = world.of(0).iter().map(|one| one.attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
    let sent_back = running.redrive("billing", Selection::All).await.unwrap();
    assert_eq!(sent_back.redriven, 1);
    until("it is tried again", || world.of(0).len() > 3).await;
    assert_eq!(world.of(0)[3].attempt, 1, "it begins anew");
    assert!(running.drain().await.finished_in_time);
}

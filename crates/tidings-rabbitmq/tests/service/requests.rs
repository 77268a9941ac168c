//! Requests and replies by direct reply-to.

use crate::world::*;
use brokers::{RabbitApi, RabbitMessage, VirtualHost};
use bytes::Bytes;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tidings::{
    App, Codec, CodecError, Config, Decode, Encode, Event, Failure, Payload, PublishError, Publisher, Reply,
    RequestError, Running, on,
};
use tidings_core::{Binder, Clock, DynBinder};
use tidings_rabbitmq::{QueueType, RabbitBinder};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// A number, written in decimals.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Number(u64);

struct Decimals;

impl Event for Number {
    const NAME: &'static str = "number";
    type Codec = Decimals;
}

impl Codec for Decimals {
    const CONTENT_TYPE: &'static str = "text/plain";
}

impl Encode<Number> for Decimals {
    fn encode(value: &Number) -> Result<Bytes, CodecError> {
        Ok(value.0.to_string().into())
    }
}

impl Decode<Number> for Decimals {
    fn decode(payload: &[u8]) -> Result<Number, CodecError> {
        let text = std::str::from_utf8(payload).unwrap_or_default();
        text.parse().map(Number).map_err(|_| CodecError::Decode {
            expected: "a number",
            reason: "it is none".to_owned(),
        })
    }
}

async fn begin(binder: &Arc<RabbitBinder>, app: App) -> Running {
    let config = Config::from_toml("[app]\ndrain_timeout = \"5s\"", "service.toml").unwrap();
    let app = app.publishes("orders").publishes("nobody");
    let binder: Arc<dyn DynBinder> = binder.clone();
    app.with_state(())
        .start_on(config, binder, Clock::System)
        .await
        .unwrap()
}

/// Answers with the next number, once the gate lets it pass.
async fn answering(host: &VirtualHost, gate: &Arc<Semaphore>) -> Running {
    let gate = gate.clone();
    let handler = move |Payload(asked): Payload<Number>| {
        let gate = gate.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            match asked.0 {
                13 => Err(Failure::permanent("not that one")),
                number => Ok(Reply(Number(number + 1))),
            }
        }
    };
    let part = on("orders", handler)
        .group("billing")
        .name("answer")
        .concurrency(64);
    let classic = binder(host, |options| options.with_queue_type(QueueType::Classic));
    let running = begin(&classic, App::new("answering").add(part)).await;
    has_consumers(host, "orders.billing", 1).await;
    running
}

fn open() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(Semaphore::MAX_PERMITS / 2))
}

async fn ask(publisher: Publisher, channel: &str, number: u64) -> Result<Number, RequestError> {
    publisher.request(channel, &Number(number), PATIENCE).await
}

#[tokio::test]
async fn each_of_many_requests_gets_its_own_reply_and_what_reaches_no_queue_fails_at_once() {
    let test = "each_of_many_requests_gets_its_own_reply_and_what_reaches_no_queue_fails_at_once";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let host = host(api);
    let running = answering(&host, &open()).await;
    let asking = begin(&binder(&host, |options| options), App::new("asking")).await;
    let begun = Instant::now();
    // Such are confirmed at once, many by one answer of the server, and what comes back is among them.
    let asked = (100..1_100).map(|number| {
        let publisher = asking.publisher().clone();
        let channel = if number % 2 == 0 { "orders" } else { "nobody" };
        tokio::spawn(async move {
            let asked = publisher.to(channel).header("amqp-delivery-mode", "1");
            (number, asked.request::<Number>(&Number(number), PATIENCE).await)
        })
    });
    for asked in asked.collect::<Vec<_>>() {
        let (number, reply) = asked.await.unwrap();
        match reply {
            Ok(reply) => assert_eq!((reply.0, number % 2), (number + 1, 0)),
            Err(RequestError::NotPublished(error @ PublishError::Unroutable { .. })) => {
                assert_eq!(number % 2, 1, "{number}: {error}");
                let told = error.to_string();
                assert!(
                    told.contains("exchange \"nobody\"") && told.contains("key \"number\""),
                    "{told}"
                );
            }
            Err(error) => panic!("{number}: {error}"),
        }
    }
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    let refused = ask(asking.publisher().clone(), "orders", 13).await;
    assert!(matches!(refused, Err(RequestError::Failed { error, .. }) if error.contains("not that one")));
    let requests = &asking.status().requests["main"];
    assert_eq!((requests.open, requests.answered, requests.late), (0, 501, 0));
    let sent = || running.status().subscriptions["answer"].replies.sent;
    until("all are confirmed", || sent() == 501).await;
    assert!(asking.drain().await.finished_in_time && running.drain().await.finished_in_time);
}

#[tokio::test]
async fn requests_whose_connection_is_cut_fail_at_once_and_later_ones_are_answered() {
    let test = "requests_whose_connection_is_cut_fail_at_once_and_later_ones_are_answered";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let (host, gate) = (host(api), Arc::new(Semaphore::new(0)));
    let running = answering(&host, &gate).await;
    let asking = begin(&binder(&host, |options| options), App::new("asking")).await;
    let asked: Vec<_> = (0..5)
        .map(|number| tokio::spawn(ask_owned(asking.publisher().clone(), number)))
        .collect();
    until("all are handed out", || {
        let queue = host.queue("orders.billing").unwrap();
        queue.is_some_and(|queue| queue.unacknowledged == Some(5))
    })
    .await;
    let mut cut = 0;
    until("the connection is cut", || {
        cut += close_connections(&host, "asking");
        cut > 0
    })
    .await;
    let begun = Instant::now();
    for asked in asked {
        let lost = asked.await.unwrap();
        assert!(matches!(lost, Err(RequestError::Lost { .. })), "{lost:?}");
    }
    assert!(begun.elapsed() < PATIENCE / 2);
    // Their addresses are gone, and nobody waits for that.
    gate.add_permits(6);
    assert_eq!(ask(asking.publisher().clone(), "orders", 7).await.unwrap().0, 8);
    let replies = || running.status().subscriptions["answer"].replies;
    until("five are orphans", || {
        (replies().orphaned, replies().sent) == (5, 1)
    })
    .await;
    assert_eq!(replies().not_taken, 0);
    assert!(asking.drain().await.finished_in_time && running.drain().await.finished_in_time);
}

async fn ask_owned(publisher: Publisher, number: u64) -> Result<Number, RequestError> {
    ask(publisher, "orders", number).await
}

#[tokio::test]
async fn a_reply_is_late_or_an_orphan_when_nobody_waits_and_the_responder_goes_on() {
    let test = "a_reply_is_late_or_an_orphan_when_nobody_waits_and_the_responder_goes_on";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let (host, gate) = (host(api), Arc::new(Semaphore::new(0)));
    let running = answering(&host, &gate).await;
    let (staying, leaving) = (binder(&host, |options| options), binder(&host, |options| options));
    let (asking, dying) = (
        begin(&staying, App::new("asking")).await,
        begin(&leaving, App::new("asking")).await,
    );
    let short = Duration::from_millis(500);
    for running in [&asking, &dying] {
        let asked = running
            .publisher()
            .request::<Number>("orders", &Number(1), short)
            .await;
        assert!(matches!(asked, Err(RequestError::TimedOut { .. })), "{asked:?}");
    }
    dying.drain().await;
    Binder::close(&*leaving).await.unwrap();
    gate.add_permits(3);
    let requests = || asking.status().requests["main"].clone();
    until("the late one", || requests().late == 1).await;
    let replies = || running.status().subscriptions["answer"].replies;
    until("the orphan", || replies().orphaned == 1).await;
    assert_eq!(ask(asking.publisher().clone(), "orders", 1).await.unwrap().0, 2);
    assert_eq!((requests().answered, requests().unanswered), (1, 1));
    assert!(asking.drain().await.finished_in_time && running.drain().await.finished_in_time);
}

/// As Spring AMQP does it: a `RabbitTemplate` asks us with a queue of its own, and a listener answers us.
#[tokio::test]
async fn other_clients_are_answered_and_answer_by_the_properties_of_amqp() {
    let test = "other_clients_are_answered_and_answer_by_the_properties_of_amqp";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let host = host(api);
    let running = answering(&host, &open()).await;
    for (queue, arrives) in [("template.replies", true), ("payments", false)] {
        host.declare(queue, &json!({})).unwrap();
        let mut request = RabbitMessage::to_queue("any", "41");
        request.exchange = "orders".to_owned();
        request.properties = json!({ "reply_to": queue, "correlation_id": "c-7" });
        assert!(host.publish(&request).unwrap());
        let replies = || running.status().subscriptions["answer"].replies;
        until("it is handled", || {
            let replies = replies();
            if arrives {
                replies.sent == 1
            } else {
                replies.refused == 1
            }
        })
        .await;
        let found = host.peek(queue, 10).unwrap();
        assert_eq!(found.len(), usize::from(arrives), "{queue}");
        if let Some(reply) = found.first() {
            assert_eq!(reply.payload, b"42");
            assert_eq!(reply.properties["correlation_id"], "c-7");
        }
    }
    assert!(running.drain().await.finished_in_time);

    let asking = begin(&binder(&host, |options| options), App::new("asking")).await;
    host.declare("listener", &json!({})).unwrap();
    let path = format!("bindings/{}/e/nobody/q/listener", RabbitApi::segment(host.name()));
    host.api().post(&path, &json!({ "routing_key": "#" })).unwrap();
    let publisher = asking.publisher().clone();
    let asked = tokio::spawn(async move { ask(publisher, "nobody", 1).await });
    let mut request = None;
    until("the request", || {
        request = host.get("listener", 1).unwrap().pop();
        request.is_some()
    })
    .await;
    let request = request.unwrap().properties;
    let address = request["reply_to"].as_str().unwrap();
    assert!(address.starts_with("amq.rabbitmq.reply-to."), "{address}");
    let mut answer = RabbitMessage::to_queue(address, "77");
    answer.properties = json!({ "correlation_id": request["correlation_id"] });
    host.publish(&answer).unwrap();
    assert_eq!(asked.await.unwrap().unwrap(), Number(77));
    assert!(asking.drain().await.finished_in_time);
}

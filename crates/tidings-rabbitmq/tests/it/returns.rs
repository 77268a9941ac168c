//! Messages that no queue wants come back, and only they.

use crate::support::{World, answer, to};
use std::io::Write;
use std::sync::{Arc, Mutex};
use tidings_core::{Message, Outgoing, PublishError, Sink};
use tidings_rabbitmq::{RabbitSink, Route, RoutingKey};

/// Publishes good and unroutable messages mixed at random, and checks the answer of each against what is in the queue.
async fn mixed(world: &World, sink: &RabbitSink, count: usize) {
    world.exchange("mixed", "direct");
    world.bind("mixed", "orders", "good");
    for (destination, key) in [("good", "good"), ("bad", "bad")] {
        let route = Route::NamedExchange {
            exchange: "mixed".to_owned(),
            routing_key: Some(RoutingKey::fixed(key)),
        };
        sink.route(destination, route);
    }
    let mut sent = Vec::with_capacity(count);
    for number in 0..count {
        let destination = if fastrand::u8(..4) == 0 { "bad" } else { "good" };
        // All have the same id: who tells them apart by it tells nothing.
        let message = Message::new(number.to_string())
            .with_header("message-id", "same")
            .expect("a header");
        let receipt = sink.publish(Outgoing::new(destination, message));
        sent.push((number, destination, receipt));
    }
    let mut good = Vec::new();
    for (number, destination, receipt) in sent {
        match (destination, answer(receipt).await) {
            ("good", Ok(_)) => good.push(number.to_string()),
            ("bad", Err(PublishError::Unroutable { reason, .. })) => {
                assert!(
                    reason.contains("\"mixed\"") && reason.contains("\"bad\""),
                    "{reason}"
                );
            }
            (_, other) => panic!("{number} to {destination}: {other:?}"),
        }
    }
    assert_eq!(world.payloads("orders").await, good);
}

#[tokio::test]
async fn good_messages_and_unroutable_ones_at_full_speed_get_each_their_own_answer() {
    let test = "good_messages_and_unroutable_ones_at_full_speed_get_each_their_own_answer";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let world = World::new(api);
    mixed(&world, &world.sink(), 20_000).await;
}

#[tokio::test]
async fn so_they_do_with_a_queue_that_confirms_late() {
    let Some(api) = brokers::rabbit_or_skip("so_they_do_with_a_queue_that_confirms_late") else {
        return;
    };
    let world = World::new(api);
    let delete = world.host.path("queues", "orders");
    world.host.api().delete(&delete).expect("it is deleted");
    world.queue("orders", &serde_json::json!({ "x-queue-type": "quorum" }));
    mixed(&world, &world.sink(), 5_000).await;
}

#[tokio::test]
async fn without_mandatory_what_nobody_wants_is_dropped() {
    let Some(api) = brokers::rabbit_or_skip("without_mandatory_what_nobody_wants_is_dropped") else {
        return;
    };
    let world = World::new(api);
    world.exchange("empty", "fanout");
    let sink = RabbitSink::open(world.options().with_mandatory(false)).expect("a sink");
    answer(sink.publish(to("empty", "x")))
        .await
        .expect("it is confirmed");
    let sink = world.sink();
    let error = answer(sink.publish(to("empty", "x")))
        .await
        .expect_err("nobody wants it");
    assert!(
        !error.is_permanent() && error.to_string().contains("\"empty\""),
        "{error}"
    );
    sink.route("no-queue", Route::Queue);
    let error = answer(sink.publish(to("no-queue", "x")))
        .await
        .expect_err("it is not there");
    assert!(
        matches!(error, PublishError::UnknownDestination { .. }),
        "{error}"
    );
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_message_that_comes_back_is_not_logged() {
    let Some(api) = brokers::rabbit_or_skip("a_message_that_comes_back_is_not_logged") else {
        return;
    };
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // For the whole process: the message is read on a thread of the client. Nobody else sets one here.
    tracing::subscriber::set_global_default(subscriber).expect("the first one");
    let world = World::new(api);
    world.exchange("empty", "fanout");
    let sink = world.sink();
    let secret = Message::new("the-payload").with_key("the-key");
    answer(sink.publish(Outgoing::new("empty", secret)))
        .await
        .expect_err("nobody wants it");
    sink.close().await.expect("closed");
    let said = String::from_utf8_lossy(&log.0.lock().expect("no panic")).into_owned();
    // Bytes are logged as numbers.
    for secret in ["the-payload", "the-key", "116, 104, 101, 45"] {
        assert!(!said.contains(secret), "{secret}");
    }
    assert!(
        said.contains("connected to RabbitMQ"),
        "nothing is logged: the test shows nothing"
    );
}

//! What is published arrives as it was, where it should.

use crate::support::{World, answer, kept, name, to};
use lapin::types::AMQPValue;
use std::time::Duration;
use tidings_core::{Message, Outgoing, PublishError, Sink, Timestamp};
use tidings_rabbitmq::{Route, RoutingKey, WhenFull};

#[tokio::test]
async fn a_message_arrives_with_what_other_clients_understand() {
    let Some(api) = brokers::rabbit_or_skip("a_message_arrives_with_what_other_clients_understand") else {
        return;
    };
    let world = World::new(api);
    let sink = world.sink();
    let message = Message::new("{}")
        .with_key("acme")
        .with_header("message-id", "7")
        .and_then(|message| message.with_header("type", "order.placed"))
        .and_then(|message| message.with_header("tenant", "acme"))
        .expect("headers")
        .with_timestamp(Timestamp::from_millis(1_700_000_000_123));
    kept(&sink, Outgoing::new("orders", message)).await;
    let all = world.drain("orders").await;
    let [only] = all.as_slice() else {
        panic!("{} messages", all.len());
    };
    assert_eq!(
        (only.data.as_slice(), only.routing_key.as_str()),
        (&b"{}"[..], "order.placed")
    );
    let properties = &only.properties;
    assert_eq!(properties.message_id().as_ref().map(|id| id.as_str()), Some("7"));
    assert_eq!(
        (*properties.delivery_mode(), *properties.timestamp()),
        (Some(2), Some(1_700_000_000))
    );
    let headers = properties.headers().as_ref().expect("headers").inner();
    assert_eq!(headers.get("tenant"), Some(&AMQPValue::LongString("acme".into())));
    assert_eq!(
        headers.get("tidings-key"),
        Some(&AMQPValue::LongString("acme".into()))
    );
}

#[tokio::test]
async fn a_destination_is_an_exchange_or_a_queue_as_it_is_told() {
    let Some(api) = brokers::rabbit_or_skip("a_destination_is_an_exchange_or_a_queue_as_it_is_told") else {
        return;
    };
    let world = World::new(api);
    world.exchange("direct", "direct");
    for queue in ["named", "by-type", "by-key", "plain"] {
        world.queue(queue, &serde_json::json!({}));
    }
    for (queue, key) in [("named", "dir"), ("by-type", "order.placed"), ("by-key", "fixed")] {
        world.bind("direct", queue, key);
    }
    let sink = world.sink();
    let exchange = |routing_key: Option<&str>| Route::NamedExchange {
        exchange: "direct".to_owned(),
        routing_key: routing_key.map(RoutingKey::fixed),
    };
    sink.route("dir", exchange(None));
    sink.route("other", exchange(Some("fixed")));
    sink.route("plain", Route::Queue);
    kept(&sink, to("dir", "one")).await;
    let typed = Message::new("two")
        .with_header("type", "order.placed")
        .expect("a header");
    kept(&sink, Outgoing::new("dir", typed)).await;
    kept(&sink, to("other", "three")).await;
    kept(&sink, to("plain", "four")).await;
    for (queue, payload) in [
        ("named", "one"),
        ("by-type", "two"),
        ("by-key", "three"),
        ("plain", "four"),
    ] {
        assert_eq!(world.payloads(queue).await, [payload], "{queue}");
    }
}

#[tokio::test]
async fn what_cannot_be_published_is_refused_before_anything_is_sent() {
    let Some(api) = brokers::rabbit_or_skip("what_cannot_be_published_is_refused_before_anything_is_sent")
    else {
        return;
    };
    let world = World::new(api);
    let sink =
        tidings_rabbitmq::RabbitSink::open(world.options().with_max_message_bytes(1000)).expect("a sink");
    let too_large = answer(sink.publish(to("orders", "x".repeat(1001)))).await;
    assert!(
        matches!(
            too_large,
            Err(PublishError::TooLarge {
                size: 1001,
                limit: 1000,
                ..
            })
        ),
        "{too_large:?}"
    );
    let mut later = to("orders", "x");
    later.due = Some(Timestamp::now().plus(Duration::from_secs(60)));
    let later = answer(sink.publish(later)).await;
    assert!(
        matches!(later, Err(PublishError::Unsupported { .. })),
        "{later:?}"
    );
    let mut partition = to("orders", "x");
    partition.partition = Some(1);
    let partition = answer(sink.publish(partition)).await;
    assert!(
        matches!(partition, Err(PublishError::UnknownPartition { .. })),
        "{partition:?}"
    );
    // The key goes into one frame with the headers.
    let sink = world.sink();
    let key = Message::new("x").with_key("k".repeat(140_000));
    let key = answer(sink.publish(Outgoing::new("orders", key))).await;
    assert!(matches!(key, Err(PublishError::TooLarge { .. })), "{key:?}");
    kept(&sink, to("orders", "good")).await;
    assert_eq!(world.payloads("orders").await, ["good"]);
}

#[tokio::test]
async fn a_key_and_headers_that_just_fit_are_published() {
    let Some(api) = brokers::rabbit_or_skip("a_key_and_headers_that_just_fit_are_published") else {
        return;
    };
    let world = World::new(api);
    let sink = world.sink();
    let mut largest = 0;
    for bytes in (125_000..131_072).step_by(500) {
        let message = Message::new("x").with_key("k".repeat(bytes));
        match answer(sink.publish(Outgoing::new("orders", message))).await {
            Ok(_) => largest = bytes,
            Err(error) => assert!(matches!(error, PublishError::TooLarge { .. }), "{bytes}: {error}"),
        }
    }
    assert!(largest > 130_000, "{largest}");
}

#[tokio::test]
async fn beyond_what_may_be_on_its_way_messages_are_refused_or_wait() {
    let Some(api) = brokers::rabbit_or_skip("beyond_what_may_be_on_its_way_messages_are_refused_or_wait")
    else {
        return;
    };
    let world = World::new(api);
    let refusing = world
        .options()
        .with_max_in_flight(3, 1 << 20)
        .with_when_full(WhenFull::Refuse);
    let sink = tidings_rabbitmq::RabbitSink::open(refusing).expect("a sink");
    // The first connection takes longer than the calls.
    let receipts: Vec<_> = (0..5)
        .map(|number| sink.publish(to("orders", number.to_string())))
        .collect();
    let mut answers = Vec::new();
    for receipt in receipts {
        answers.push(answer(receipt).await);
    }
    assert!(answers[..3].iter().all(Result::is_ok), "{answers:?}");
    for refused in &answers[3..] {
        let Err(error) = refused else {
            panic!("{answers:?}");
        };
        assert!(
            !error.is_permanent() && error.to_string().contains("max_in_flight"),
            "{error}"
        );
    }
    let waiting = world.options().with_max_in_flight(3, 1 << 20);
    let sink = tidings_rabbitmq::RabbitSink::open(waiting).expect("a sink");
    let receipts = sink.publish_all((0..50).map(|number| to("orders", format!("w{number}"))).collect());
    for receipt in receipts {
        answer(receipt).await.expect("it is kept");
    }
    let all = world.payloads("orders").await;
    let expected: Vec<_> = (0..50).map(|number| format!("w{number}")).collect();
    assert_eq!(all[3..], expected);
}

#[tokio::test]
async fn flush_and_close_wait_for_everything_before_and_tell_of_refusals() {
    let Some(api) =
        brokers::rabbit_or_skip("flush_and_close_wait_for_everything_before_and_tell_of_refusals")
    else {
        return;
    };
    let world = World::new(api);
    let sink = world.sink();
    let receipts = sink.publish_all((0..500).map(|number| to("orders", number.to_string())).collect());
    sink.flush().await.expect("all is kept");
    assert_eq!(world.drain("orders").await.len(), 500);
    drop(receipts);
    let refused = sink.publish(to("nowhere", "x"));
    assert!(matches!(
        sink.flush().await,
        Err(PublishError::UnknownDestination { .. })
    ));
    assert!(answer(refused).await.is_err());
    let last = sink.publish(to("orders", "last"));
    sink.close().await.expect("all is kept");
    answer(last).await.expect("it is kept");
    let after = answer(sink.publish(to("orders", "late"))).await;
    assert!(matches!(after, Err(PublishError::Closed)), "{after:?}");
    assert_eq!(world.payloads("orders").await, ["last"]);
}

/// What is accepted in the moment in which the writer has just found nothing to do is no less accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_accepted_right_before_a_close_is_kept() {
    let Some(api) = brokers::rabbit_or_skip("what_is_accepted_right_before_a_close_is_kept") else {
        return;
    };
    let world = World::new(api);
    for round in 0..60 {
        let sink = world.sink();
        let before = sink.publish(to("orders", "before"));
        answer(before).await.expect("it is kept");
        let last = sink.publish(to("orders", "last"));
        sink.close()
            .await
            .unwrap_or_else(|error| panic!("round {round}: {error}"));
        answer(last).await.expect("it is kept");
    }
    assert_eq!(world.payloads("orders").await.len(), 120);
}

#[tokio::test]
async fn a_sink_that_is_dropped_leaves_no_receipt_without_an_answer() {
    let options = tidings_rabbitmq::ClientOptions::from_url("amqp://127.0.0.1:1").expect("an address");
    let sink = tidings_rabbitmq::RabbitSink::open(options).expect("a sink");
    let receipts = sink.publish_all((0..100).map(|number| to("orders", number.to_string())).collect());
    drop(sink);
    for receipt in receipts {
        let answer = answer(receipt).await;
        assert!(matches!(answer, Err(PublishError::Closed)), "{answer:?}");
    }
}

#[test]
fn publishing_needs_no_runtime_of_the_caller() {
    let Some(api) = brokers::rabbit_or_skip("publishing_needs_no_runtime_of_the_caller") else {
        return;
    };
    let world = World::new(api);
    let sink = world.sink();
    let receipt = sink.publish(to("orders", "x"));
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
    };
    runtime().block_on(answer(receipt)).expect("it is kept");
    // The one that waited is gone, and nothing with it.
    runtime().block_on(kept(&sink, to("orders", "y")));
    let destination = name("orders");
    runtime().block_on(kept(&sink, Outgoing::new(destination, Message::new("z"))));
    assert_eq!(runtime().block_on(world.drain("orders")).len(), 3);
}

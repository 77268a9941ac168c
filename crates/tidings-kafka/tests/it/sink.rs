//! Publishing to a real Kafka.

use crate::support::{open, options, payloads, spec, to, topic, unique};
use brokers::kafka_or_skip;
use std::time::{Duration, Instant};
use tidings_core::{BinderHealth, Message, Outgoing, PublishError, Sink, Timestamp, partition_for_key};
use tidings_kafka::{KafkaAdmin, WhenFull};

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_resolves_to_where_the_message_is() {
    let Some(servers) = kafka_or_skip("a_receipt_resolves_to_where_the_message_is") else {
        return;
    };
    let kafka = open(servers);
    let orders = topic(&kafka, "orders", 3).await;
    for number in 0..10u64 {
        let position = kafka
            .sink()
            .publish(to(&orders, 1, number.to_string()))
            .await
            .expect("it is kept");
        assert_eq!(
            (position.destination(), position.partition(), position.offset()),
            (&*orders, 1, number)
        );
    }
    let expected: Vec<_> = (0..10).map(|number: u64| number.to_string()).collect();
    assert_eq!(payloads(&kafka, &orders, 1).await, expected);
    assert!(payloads(&kafka, &orders, 0).await.is_empty());
    kafka.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_keeps_the_order_of_the_calls_and_every_message_is_there_once() {
    let Some(servers) =
        kafka_or_skip("a_partition_keeps_the_order_of_the_calls_and_every_message_is_there_once")
    else {
        return;
    };
    let kafka = open(servers);
    let orders = topic(&kafka, "orders", 3).await;
    let sink = kafka.sink();
    let messages = (0..30_000u32).map(|number| to(&orders, number % 3, number.to_string()));
    let mut receipts = sink.publish_all(messages.collect());
    receipts
        .extend((30_000..30_300u32).map(|number| sink.publish(to(&orders, number % 3, number.to_string()))));
    for (number, receipt) in receipts.into_iter().enumerate() {
        let position = receipt.await.expect("it is kept");
        assert_eq!(
            (position.partition() as usize, position.offset() as usize),
            (number % 3, number / 3)
        );
    }
    for partition in 0..3 {
        let expected: Vec<_> = (0..30_300u32)
            .filter(|number| number % 3 == partition)
            .map(|number| number.to_string())
            .collect();
        assert_eq!(payloads(&kafka, &orders, partition).await, expected);
    }
    kafka.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_the_partition_of_kafkas_java_client() {
    let Some(servers) = kafka_or_skip("a_key_has_the_partition_of_kafkas_java_client") else {
        return;
    };
    let kafka = open(servers);
    let orders = topic(&kafka, "orders", 7).await;
    // What org.apache.kafka.common.utils.Utils.murmur2 gives, of Kafka's own tests.
    let pinned: [(&str, i32); 6] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ];
    for (key, hash) in pinned {
        let message = Message::new("x").with_key(key);
        let position = kafka.sink().publish(Outgoing::new(orders.clone(), message)).await;
        let partition = position.expect("it is kept").partition();
        assert_eq!(i64::from(partition), i64::from(hash & 0x7fff_ffff) % 7, "{key}");
    }
    let keys: Vec<Vec<u8>> = (0..200u32)
        .map(|number| {
            number
                .to_be_bytes()
                .iter()
                .copied()
                .cycle()
                .take(number as usize % 9)
                .collect()
        })
        .collect();
    let keyed = keys
        .iter()
        .map(|key| Outgoing::new(orders.clone(), Message::new("x").with_key(key.clone())));
    let receipts = kafka.sink().publish_all(keyed.collect());
    for (key, receipt) in keys.iter().zip(receipts) {
        let partition = receipt.await.expect("it is kept").partition();
        assert_eq!(partition, partition_for_key(key, 7), "{key:?}");
    }
    kafka.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_without_a_key_are_spread_over_the_partitions() {
    let Some(servers) = kafka_or_skip("messages_without_a_key_are_spread_over_the_partitions") else {
        return;
    };
    let kafka = open(servers);
    let orders = topic(&kafka, "orders", 3).await;
    let messages = (0..1_000).map(|_| Outgoing::new(orders.clone(), Message::new("x")));
    for receipt in kafka.sink().publish_all(messages.collect()) {
        receipt.await.expect("it is kept");
    }
    let rows = kafka.positions(&orders, None).await.expect("offsets");
    let held: Vec<_> = rows.iter().map(|row| row.end - row.first).collect();
    assert_eq!(held.iter().sum::<u64>(), 1_000);
    assert!(held.iter().all(|count| *count > 200), "{held:?}");
    kafka.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_message_carries_arrives_as_it_was() {
    let Some(servers) = kafka_or_skip("what_a_message_carries_arrives_as_it_was") else {
        return;
    };
    let kafka = open(servers);
    let orders = topic(&kafka, "orders", 1).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let mut full = Message::new(every_byte.clone())
        .with_key(every_byte.clone())
        .with_timestamp(Timestamp::from_millis(1_700_000_000_123));
    full = full.with_header("größe", &every_byte).expect("it fits");
    full = full.with_header("empty", b"").expect("it fits");
    for number in 0..40 {
        full = full
            .with_header(&format!("h{number}"), vec![b'x'; number])
            .expect("it fits");
    }
    let messages = [
        full,
        Message::tombstone("gone").with_timestamp(Timestamp::from_millis(1_700_000_000_124)),
        Message::new("")
            .with_key("")
            .with_timestamp(Timestamp::from_millis(1_700_000_000_125)),
    ];
    for message in &messages {
        let published = kafka
            .sink()
            .publish(Outgoing::new(orders.clone(), message.clone()));
        published.await.expect("it is kept");
    }
    let batch = kafka.read(&orders, 0, 0, 1 << 20).await.expect("it is read");
    let read: Vec<_> = batch
        .records()
        .iter()
        .map(|record| batch.message(record))
        .collect();
    assert_eq!(read, messages);
    kafka.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_a_message_is_refused_before_it_is_sent_with_size_and_limit() {
    let Some(servers) = kafka_or_skip("too_large_a_message_is_refused_before_it_is_sent_with_size_and_limit")
    else {
        return;
    };
    let kafka = open(servers);
    let orders = topic(&kafka, "orders", 1).await;
    let large = Message::new(vec![0u8; 1_000_001]);
    let refused = kafka.sink().publish(Outgoing::new(orders.clone(), large)).await;
    assert!(
        matches!(
            &refused,
            Err(PublishError::TooLarge {
                size: 1_000_001,
                limit: 1_000_000,
                ..
            })
        ),
        "{refused:?}"
    );
    let fits = Message::new(vec![0u8; 1_000_000]);
    let fits = kafka.sink().publish(Outgoing::new(orders.clone(), fits)).await;
    fits.expect("just as large as the limit");
    let narrow = unique("narrow");
    let own =
        KafkaAdmin::open(options(servers).with_topic_setting("max.message.bytes", "5000")).expect("clients");
    own.prepare(spec(&narrow, 1)).await.expect("it is made");
    let refused = own.sink().publish(to(&narrow, 0, "x".repeat(6_000))).await;
    assert!(
        matches!(
            &refused,
            Err(PublishError::TooLarge {
                size: 6_000,
                limit: 5_000,
                ..
            })
        ),
        "the topic's own limit: {refused:?}"
    );
    own.close().await.expect("closed");
    kafka.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_too_large_for_a_topic_is_not_the_fault_of_its_messages() {
    let Some(servers) =
        kafka_or_skip("a_batch_that_is_too_large_for_a_topic_is_not_the_fault_of_its_messages")
    else {
        return;
    };
    let narrow = unique("narrow");
    let wide =
        KafkaAdmin::open(options(servers).with_topic_setting("max.message.bytes", "5000")).expect("clients");
    wide.prepare(spec(&narrow, 1)).await.expect("it is made");
    let all = || (0..100).map(|_| to(&narrow, 0, "x".repeat(1_000))).collect();
    let mut refused = 0;
    for receipt in wide.sink().publish_all(all()) {
        if let Err(error) = receipt.await {
            assert!(
                !error.is_permanent() && error.to_string().contains("producer.batch.size"),
                "{error}"
            );
            refused += 1;
        }
    }
    assert!(refused > 0, "the batches were larger than the topic takes");
    wide.close().await.expect("closed");
    let small = options(servers)
        .with_properties([("producer.batch.size", "4000")])
        .expect("a property");
    let small = KafkaAdmin::open(small).expect("clients");
    for receipt in small.sink().publish_all(all()) {
        receipt.await.expect("such batches are taken");
    }
    small.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_or_a_partition_that_is_missing_is_an_error_and_is_not_made() {
    let Some(servers) = kafka_or_skip("a_topic_or_a_partition_that_is_missing_is_an_error_and_is_not_made")
    else {
        return;
    };
    let fast = options(servers)
        .with_properties([("topic.metadata.propagation.max.ms", "500")])
        .expect("a property");
    let kafka = KafkaAdmin::open(fast).expect("clients");
    let missing = unique("missing");
    let refused = kafka.sink().publish(to(&missing, 0, "x")).await;
    assert!(
        matches!(&refused, Err(PublishError::UnknownDestination { .. })),
        "{refused:?}"
    );
    let all = kafka.destinations().await.expect("topics");
    assert!(all.iter().all(|info| info.name != missing));
    let orders = topic(&kafka, "orders", 3).await;
    kafka
        .sink()
        .publish(to(&orders, 0, "x"))
        .await
        .expect("it is kept");
    let known = kafka.sink().publish(to(&orders, 9, "x")).await;
    let other = KafkaAdmin::open(options(servers)).expect("clients");
    other
        .sink()
        .publish(to(&orders, 0, "x"))
        .await
        .expect("it is kept");
    let unknown = other.sink().publish(to(&orders, 9, "x")).await;
    for refused in [known, unknown] {
        assert!(
            matches!(
                &refused,
                Err(PublishError::UnknownPartition {
                    partition: 9,
                    partitions: 3,
                    ..
                })
            ),
            "{refused:?}"
        );
    }
    let bad = kafka.sink().publish(to(&"a/b".into(), 0, "x")).await;
    assert!(bad.is_err_and(|error| error.is_permanent()));
    other.close().await.expect("closed");
    kafka.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_for_later_is_refused_with_the_cure() {
    let Some(servers) = kafka_or_skip("a_message_for_later_is_refused_with_the_cure") else {
        return;
    };
    let kafka = open(servers);
    let orders = topic(&kafka, "orders", 1).await;
    let mut later = to(&orders, 0, "x");
    later.due = Some(Timestamp::now().plus(Duration::from_secs(60)));
    let refused = kafka.sink().publish(later).await;
    assert!(
        matches!(&refused, Err(PublishError::Unsupported { broker: "kafka", .. })),
        "{refused:?}"
    );
    let mut past = to(&orders, 0, "x");
    past.due = Some(Timestamp::from_millis(1));
    kafka.sink().publish(past).await.expect("that is now");
    kafka.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_messages_than_the_buffer_holds_wait_for_room_in_order() {
    let Some(servers) = kafka_or_skip("more_messages_than_the_buffer_holds_wait_for_room_in_order") else {
        return;
    };
    let small = options(servers)
        // Room comes again and again while messages are published: who finds it must not be one that came later.
        .with_properties([("queue.buffering.max.messages", "2"), ("linger.ms", "0")])
        .expect("properties");
    let kafka = KafkaAdmin::open(small).expect("clients");
    let orders = topic(&kafka, "orders", 1).await;
    let mut receipts = Vec::new();
    for number in 0..5_000u32 {
        receipts.push(kafka.sink().publish(to(&orders, 0, number.to_string())));
        // So that answers come in between.
        let pause = Instant::now();
        while pause.elapsed() < Duration::from_micros(20) {
            std::hint::spin_loop();
        }
    }
    kafka.sink().flush().await.expect("all are kept");
    for (number, receipt) in receipts.into_iter().enumerate() {
        assert_eq!(receipt.await.expect("it is kept").offset(), number as u64);
    }
    let expected: Vec<_> = (0..5_000u32).map(|number| number.to_string()).collect();
    assert_eq!(payloads(&kafka, &orders, 0).await, expected);
    kafka.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_full_buffer_publishing_is_refused_where_that_is_chosen() {
    let Some(servers) = kafka_or_skip("with_a_full_buffer_publishing_is_refused_where_that_is_chosen") else {
        return;
    };
    let small = options(servers)
        .with_properties([("queue.buffering.max.messages", "100"), ("linger.ms", "1000")])
        .expect("properties")
        .with_when_full(WhenFull::Refuse);
    let kafka = KafkaAdmin::open(small).expect("clients");
    let orders = topic(&kafka, "orders", 1).await;
    let messages = (0..150u32).map(|number| to(&orders, 0, number.to_string()));
    let (mut kept, mut refused) = (0, 0);
    for receipt in kafka.sink().publish_all(messages.collect()) {
        match receipt.await {
            Ok(_) => kept += 1,
            Err(error) => {
                assert!(
                    !error.is_permanent() && error.to_string().contains("buffer is full"),
                    "{error}"
                );
                refused += 1;
            }
        }
    }
    assert_eq!((kept, refused), (100, 50));
    kafka.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_is_an_error_with_the_cause_and_what_was_not_sent_is_said_so() {
    // Nobody listens on the port of a listener that was closed.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let port = port.expect("a port").port();
    let away = options(&format!("127.0.0.1:{port}"))
        .with_properties([("message.timeout.ms", "1500"), ("linger.ms", "0")])
        .expect("properties")
        .with_request_timeout(Duration::from_secs(1));
    let kafka = KafkaAdmin::open(away).expect("a broker that is away is no error yet");
    let refused = kafka
        .sink()
        .publish(to(&"orders".into(), 0, "x"))
        .await
        .expect_err("nobody takes it");
    assert!(
        matches!(&refused, PublishError::Unavailable { reason, .. } if reason.contains("refused: start the broker")),
        "{refused}"
    );
    let asked = kafka
        .prepare(spec(&"orders".into(), 1))
        .await
        .expect_err("nobody answers");
    assert!(
        asked.to_string().contains("does not answer") && asked.to_string().contains("start the broker"),
        "{asked}"
    );
    let health = format!("{:?}", kafka.health());
    assert!(
        health.contains("Down") && health.contains(&port.to_string()),
        "{health}"
    );
    kafka.close().await.expect("everything was decided");
    let closed = kafka.sink().publish(to(&"orders".into(), 0, "x")).await;
    assert!(matches!(closed, Err(PublishError::Closed)), "{closed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_comes_later_is_found_and_what_waited_for_it_is_sent() {
    let Some(servers) = kafka_or_skip("a_broker_that_comes_later_is_found_and_what_waited_for_it_is_sent")
    else {
        return;
    };
    let other = open(servers);
    let orders = topic(&other, "orders", 1).await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let address = port.expect("a port");
    let kafka = open(&address.to_string());
    let waiting = kafka.sink().publish(to(&orders, 0, "waited"));
    until(|| matches!(kafka.health(), BinderHealth::Down(_))).await;
    let idle = open(&address.to_string());
    until(|| matches!(idle.health(), BinderHealth::Down(_))).await;
    // The way to the broker opens; from there on the client knows the broker's own address.
    let door = tokio::net::TcpListener::bind(address)
        .await
        .expect("the port is free again");
    let behind = servers;
    let door = tokio::spawn(async move {
        while let Ok((mut from, _)) = door.accept().await {
            tokio::spawn(async move {
                if let Ok(mut to) = tokio::net::TcpStream::connect(&behind).await {
                    let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                }
            });
        }
    });
    assert_eq!(waiting.await.expect("it is kept").offset(), 0);
    assert_eq!(kafka.health(), BinderHealth::Up);
    // A client that has nothing to do finds it out too.
    until(|| idle.health() == BinderHealth::Up).await;
    door.abort();
    idle.close().await.expect("closed");
    kafka.close().await.expect("closed");
    other.close().await.expect("closed");
}

/// Looks again and again, for twenty seconds.
async fn until(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "it never comes to hold");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

//! Publishing to a topic in the moment in which it comes to be.
//!
//! A broker is named as the leader of a new partition before it knows of that. It refuses what comes until then and takes
//! what comes a moment later, of which a part may have been under way behind the refused one.

use crate::lost::admin;
use crate::own::{binder, topic};
use crate::shapes::shared;
use bytes::Bytes;
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{Binder, Message, Outgoing, PublishError};
use tidings_kafka::KafkaBinder;

const PARTITIONS: u32 = 8;
const KEYS: u32 = 20;
const ROUNDS: u32 = 20;

/// How many topics: a few in every run, as many as wanted on demand.
fn topics() -> usize {
    let given = std::env::var("TIDINGS_FRESH_TOPICS").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(3)
}

/// Publishes small batches, several of them under way at a time, and checks what was acknowledged. What was refused.
async fn publish(kafka: &KafkaBinder, topic: &Arc<str>) -> Vec<PublishError> {
    let sink = kafka.sink();
    let mut receipts = Vec::new();
    for round in 0..ROUNDS {
        for key in 0..KEYS {
            let message = Message::new(format!("{key}:{round}")).with_key(Bytes::from(format!("key {key}")));
            receipts.push((key, round, sink.publish(Outgoing::new(topic.clone(), message))));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut places = BTreeMap::new();
    let mut refused = Vec::new();
    for (key, round, receipt) in receipts {
        match receipt.await {
            Ok(at) => {
                let other = places.insert((at.partition(), at.offset()), (key, round));
                assert_eq!(
                    other, None,
                    "two messages have the place of {key}:{round}, {at:?}"
                );
            }
            Err(error) => refused.push(error),
        }
    }
    for row in kafka.positions(topic, None).await.unwrap() {
        let own = places.range((row.partition, 0)..(row.partition + 1, 0));
        assert!(
            own.last().is_none_or(|((_, offset), _)| *offset < row.end),
            "partition {} ends at {}, before what was acknowledged",
            row.partition,
            row.end
        );
    }
    refused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_prepared_takes_all_that_is_published_at_once() {
    let test = "a_topic_that_was_prepared_takes_all_that_is_published_at_once";
    let Some(servers) = shared(test).await else { return };
    for _ in 0..topics() {
        // Another one each time: what the broker knows of a producer counts.
        let kafka = binder(servers, &[]);
        let orders = topic(&kafka, "orders", PARTITIONS).await;
        let refused = publish(&kafka, &orders).await;
        assert!(refused.is_empty(), "{refused:?}");
        let _ = kafka.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_broker_passed_over_while_it_became_the_leader_is_refused_and_not_acknowledged() {
    let test = "what_a_broker_passed_over_while_it_became_the_leader_is_refused_and_not_acknowledged";
    let Some(servers) = shared(test).await else { return };
    let admin = admin(servers);
    for _ in 0..topics() {
        let kafka = binder(servers, &[]);
        let orders: Arc<str> = brokers::unique("orders").into();
        // By somebody who does not wait until it can be used.
        let partitions = PARTITIONS.cast_signed();
        let made = NewTopic::new(&orders, partitions, TopicReplication::Fixed(1));
        let made = admin.create_topics([&made], &AdminOptions::new()).await;
        made.unwrap().remove(0).unwrap();
        for error in publish(&kafka, &orders).await {
            assert!(!error.is_permanent(), "{error}");
            assert!(error.to_string().contains("may be missing"), "{error}");
        }
        let _ = kafka.close().await;
    }
}

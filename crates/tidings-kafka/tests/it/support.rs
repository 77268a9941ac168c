//! A Kafka for tests, and names that no other test has.

use std::sync::Arc;
use tidings_core::{DestinationSpec, Message, Outgoing};
use tidings_kafka::{ClientOptions, KafkaAdmin};

pub(crate) fn options(servers: &str) -> ClientOptions {
    ClientOptions::from_url(&format!("kafka://{servers}")).expect("an address")
}

pub(crate) fn open(servers: &str) -> KafkaAdmin {
    KafkaAdmin::open(options(servers)).expect("clients")
}

/// A name that nobody else has.
pub(crate) fn unique(name: &str) -> Arc<str> {
    format!("test-{name}-{:016x}", fastrand::u64(..)).into()
}

pub(crate) fn spec(name: &Arc<str>, partitions: u32) -> DestinationSpec {
    DestinationSpec::new(name.clone(), partitions)
}

/// A new topic.
pub(crate) async fn topic(kafka: &KafkaAdmin, name: &str, partitions: u32) -> Arc<str> {
    let name = unique(name);
    let info = kafka.prepare(spec(&name, partitions)).await.expect("it is made");
    assert_eq!(info.partitions, partitions);
    name
}

pub(crate) fn to(topic: &Arc<str>, partition: u32, payload: impl Into<String>) -> Outgoing {
    let mut outgoing = Outgoing::new(topic.clone(), Message::new(payload.into()));
    outgoing.partition = Some(partition);
    outgoing
}

/// The payloads of a partition, from its first offset on.
pub(crate) async fn payloads(kafka: &KafkaAdmin, topic: &str, partition: u32) -> Vec<String> {
    let (mut all, mut from) = (Vec::new(), 0);
    loop {
        let batch = kafka
            .read(topic, partition, from, 1 << 20)
            .await
            .expect("it is read");
        if batch.is_empty() {
            return all;
        }
        for record in batch.records() {
            let payload = batch.payload(record).unwrap_or_default();
            all.push(String::from_utf8_lossy(payload).into_owned());
        }
        from = batch.next();
    }
}

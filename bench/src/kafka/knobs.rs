//! Settings that the arms by hand and ours have in common.

use std::ffi::CString;
use std::sync::Arc;

use rdkafka::ClientConfig;
use tidings_kafka::{ClientOptions, KafkaBinder};

use crate::apart::job::Job;
use crate::error::BenchError;

/// In words, for the table.
pub(crate) const CONDITIONS: &str = "Apache Kafka 4.1, one broker; acks=all, idempotent, linger 5 ms except where another is said, 50,000 deliveries open except where fewer are said, 1 MB a batch, 32 MB of buffer, no compression except where lz4 is said; \
    fetch 1 MB a partition, 16 MB of queue, CRC checked, fetch.queue.backoff.ms=10; broker and client on a core each";

/// A consumer by hand. Its offsets are stored in the background every 5 s.
pub(super) fn consumer(job: &Job) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in [
        ("auto.offset.reset", "earliest"),
        ("enable.auto.offset.store", "false"),
        ("enable.auto.commit", "true"),
        ("auto.commit.interval.ms", "5000"),
        ("check.crcs", "true"),
        ("fetch.min.bytes", "1"),
        ("max.partition.fetch.bytes", "1048576"),
        ("fetch.max.bytes", "52428800"),
        ("queued.max.messages.kbytes", "16384"),
        ("fetch.queue.backoff.ms", "10"),
    ] {
        config.set(name, value);
    }
    config.set("bootstrap.servers", &job.servers);
    config.set("group.id", &job.group);
    config
}

/// A producer by hand.
pub(super) fn producer(job: &Job) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in [
        ("acks", "all"),
        ("enable.idempotence", "true"),
        ("batch.size", "1000000"),
        ("batch.num.messages", "100000"),
        ("queue.buffering.max.messages", "100000"),
        ("queue.buffering.max.kbytes", "32768"),
        // Ours puts keys where Java's clients would; so does this, or the arms would write different partitions.
        ("partitioner", "murmur2_random"),
    ] {
        config.set(name, value);
    }
    config.set("linger.ms", job.linger_ms.to_string());
    config.set("compression.type", job.packing.codec());
    config.set("bootstrap.servers", &job.servers);
    config
}

/// Our driver with its own settings, which are the same where it matters.
pub(super) fn binder(job: &Job) -> Result<Arc<KafkaBinder>, BenchError> {
    let options = ClientOptions::from_url(&format!("kafka://{}", job.servers));
    let options = options.map_err(BenchError::part("the broker's address"))?;
    let linger = job.linger_ms.to_string();
    let options = options.with_properties([
        ("compression.type", job.packing.codec()),
        ("linger.ms", linger.as_str()),
    ]);
    let options = options.map_err(BenchError::part("the settings of the producer"))?;
    let binder = KafkaBinder::open(options).map_err(BenchError::part("opening the driver"))?;
    Ok(Arc::new(binder))
}

/// For the calls into C.
pub(super) fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

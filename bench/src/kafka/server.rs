//! The broker of all rows, and the topics on it.

use std::sync::{Mutex, OnceLock, PoisonError};

use brokers::{Kafka, Options};
use tidings_core::DestinationSpec;
use tidings_kafka::{ClientOptions, KafkaAdmin};

use crate::apart::cores;
use crate::apart::job::{Arm, Job, Packing, Work};
use crate::arms::topic;
use crate::error::BenchError;

/// Partitions of a topic, unless the row says otherwise.
pub(crate) const PARTITIONS: u32 = 6;

/// A broker that lives as long as this program.
#[derive(Debug)]
pub(crate) struct Server {
    kafka: Kafka,
    /// Topics that are filled, with what all orders in them add up to.
    filled: Mutex<Vec<(String, u64)>>,
}

/// The broker: started by the first row that needs one, on a core of its own.
///
/// # Errors
/// Java or Maven is missing, or it does not start; then each row on Kafka says so.
pub(crate) fn server() -> Result<&'static Server, BenchError> {
    static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
    SERVER
        .get_or_init(|| Server::start().map_err(|error| error.to_string()))
        .as_ref()
        .map_err(BenchError::part("a Kafka to measure on"))
}

/// A name that no other topic or group of this broker has.
pub(crate) fn unique(name: &str) -> String {
    brokers::unique(name)
}

impl Server {
    fn start() -> Result<Self, BenchError> {
        let options = Options::plain()
            .for_measuring()
            .heap_mb(1024)
            // What is produced is cut off soon, so that no arm writes into a growing log.
            .property("log.retention.check.interval.ms", "5000")
            .property("log.segment.delete.delay.ms", "1000");
        let kafka = Kafka::start(options).map_err(BenchError::part("starting it"))?;
        for node in kafka.nodes() {
            if let Ok(Some(process)) = kafka.pid(node) {
                cores::to_the_brokers(process)?;
            }
        }
        Ok(Self {
            kafka,
            filled: Mutex::default(),
        })
    }

    pub(crate) fn servers(&self) -> String {
        self.kafka.bootstrap()
    }

    /// A job on a topic.
    pub(crate) fn job(&self, arm: Arm, topic: &str, total: u64) -> Job {
        Job {
            arm,
            work: Work::Order,
            packing: Packing::Plain,
            servers: self.servers(),
            topic: topic.to_owned(),
            out: String::new(),
            partitions: PARTITIONS,
            group: unique("group"),
            warm: total / 10,
            total,
            keys: 0,
            slots: 0,
            per_second: 0,
            linger_ms: 5,
            confirm_ms: 0,
            open: 50_000,
        }
    }

    /// Makes a topic. What has to be thrown away soon is kept to 64 MB a partition.
    pub(crate) fn topic(&self, name: &str, partitions: u32, thrown_away: bool) -> Result<(), BenchError> {
        let options = ClientOptions::from_url(&format!("kafka://{}", self.servers()));
        let options = options.map_err(BenchError::part("the broker's address"))?;
        let options = if thrown_away {
            options.with_topic_setting("segment.bytes", "33554432")
        } else {
            options
        };
        let spec = DestinationSpec {
            retention_bytes: thrown_away.then_some(64 << 20),
            ..DestinationSpec::new(name, partitions)
        };
        topic::runtime()?.block_on(async {
            let admin = KafkaAdmin::open(options).map_err(BenchError::part("asking the broker"))?;
            admin
                .prepare(spec)
                .await
                .map_err(BenchError::part("making a topic"))?;
            admin
                .close()
                .await
                .map_err(BenchError::part("leaving the broker"))
        })
    }

    /// A topic with so many orders under as many keys, written once for all rows; and what they add up to.
    pub(crate) fn orders(&self, total: u64, keys: u64, partitions: u32) -> Result<(String, u64), BenchError> {
        self.packed_orders(total, keys, partitions, Packing::Plain)
    }

    pub(crate) fn packed_orders(
        &self,
        total: u64,
        keys: u64,
        partitions: u32,
        packing: Packing,
    ) -> Result<(String, u64), BenchError> {
        let name = format!("orders-{total}-{keys}-{partitions}-{}", packing.codec());
        let mut filled = self.filled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = filled.iter().find(|(filled, _)| *filled == name) {
            return Ok(found.clone());
        }
        self.topic(&name, partitions, false)?;
        let outcome = Job {
            keys,
            packing,
            warm: 0,
            ..self.job(Arm::Fill, &name, total)
        }
        .run()?;
        let found = (name, outcome.checksum);
        filled.push(found.clone());
        Ok(found)
    }
}

//! A Kafka of a test's own: [`Own`].

use brokers::{Kafka, Options, or_skip};
use std::sync::Arc;
use tidings_core::{Binder, DestinationSpec};
use tidings_kafka::{ClientOptions, KafkaBinder};
use tokio::sync::{Mutex, MutexGuard};

/// One at a time: each takes half a gigabyte, and faults should meet a machine that has time for them.
static TURN: Mutex<()> = Mutex::const_new(());

/// A Kafka that this test may break.
pub(crate) struct Own {
    pub(crate) kafka: Arc<Kafka>,
    // Dropped after the servers.
    _turn: MutexGuard<'static, ()>,
}

/// Starts one; none after having said that Java is missing.
pub(crate) async fn own(test: &str, options: Options) -> Option<Own> {
    let turn = TURN.lock().await;
    let kafka = or_skip(test, blocking(|| Kafka::start(options)).await)?;
    Some(Own {
        kafka: Arc::new(kafka),
        _turn: turn,
    })
}

/// Runs what blocks, a kill or a tool, beside the tasks of the test.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

impl Own {
    pub(crate) fn binder(&self, properties: &[(&str, &str)]) -> KafkaBinder {
        binder(&self.kafka.bootstrap(), properties)
    }
}

/// A binder whose members and retries are quicker than in production, so that a test need not wait for them.
pub(crate) fn binder(servers: &str, properties: &[(&str, &str)]) -> KafkaBinder {
    let quick = [("heartbeat.interval.ms", "300"), ("linger.ms", "1")];
    // With the newer protocol the broker says how often a member reports.
    let is_new = properties.contains(&("group.protocol", "consumer"));
    let quick = quick
        .iter()
        .filter(|(name, _)| !(is_new && *name == "heartbeat.interval.ms"));
    let options = ClientOptions::from_url(&format!("kafka://{servers}")).unwrap();
    let options = options.with_properties(quick.chain(properties).copied()).unwrap();
    KafkaBinder::open(options).unwrap()
}

/// A new topic.
pub(crate) async fn topic(binder: &KafkaBinder, name: &str, partitions: u32) -> Arc<str> {
    let name: Arc<str> = brokers::unique(name).into();
    let spec = DestinationSpec::new(name.clone(), partitions);
    binder.prepare(spec).await.unwrap();
    name
}

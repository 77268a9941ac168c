//! A Kafka of a test's own, topics, and members used without the engine.

use brokers::{BrokersError, Kafka, Options, or_skip};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tidings_core::{
    Assignment, Binder, DestinationSpec, Guarantee, LaneId, Message, Outgoing, Progress, Receipt, Sink,
    Source, SourceError, SourceEvent, SourceInput, SourceSpec, Start,
};
use tidings_kafka::{ClientOptions, KafkaBinder, KafkaSource};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, timeout};
use tracing_subscriber::filter::LevelFilter;

/// Longer than nothing at all comes about on a busy machine. Not how long anything takes in all: that is the machine's.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// One at a time: each takes half a gigabyte, and faults should meet a machine that has time for them.
static TURN: Mutex<()> = Mutex::const_new(());

/// A Kafka that this test may break.
pub(crate) struct Own {
    pub(crate) kafka: Arc<Kafka>,
    // Dropped after the servers.
    _turn: MutexGuard<'static, ()>,
}

/// A Kafka that takes members for dead, and transactions for over, sooner than usual.
fn quick(options: Options) -> Result<Kafka, BrokersError> {
    Kafka::start(options.property("group.min.session.timeout.ms", "1000").property(
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        "500",
    ))
}

/// One that tests share which don't break it. Its end is that of the process.
pub(crate) async fn shared(test: &str) -> Option<&'static str> {
    static SHARED: OnceLock<Result<(Kafka, String), BrokersError>> = OnceLock::new();
    say();
    let started = || {
        quick(Options::plain())
            .map(|kafka| (kafka.bootstrap(), kafka))
            .map(|(servers, kafka)| (kafka, servers))
    };
    let shared = blocking(move || SHARED.get_or_init(started)).await;
    let (_, servers) = or_skip(test, shared.as_ref())?;
    Some(servers)
}

/// Log lines, where they are asked for.
pub(crate) fn say() {
    say_to(LevelFilter::OFF);
}

/// Log lines: all where they are asked for, else down to that level.
pub(crate) fn say_to(usual: LevelFilter) {
    let level = match std::env::var_os("RUST_LOG") {
        Some(_) => LevelFilter::DEBUG,
        None => usual,
    };
    if level != LevelFilter::OFF {
        let _ = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_writer(std::io::stderr)
            .try_init();
    }
}

/// Starts one.
pub(crate) async fn own(test: &str) -> Option<Own> {
    own_of(test, Options::plain()).await
}

/// Starts one of that kind.
pub(crate) async fn own_of(test: &str, options: Options) -> Option<Own> {
    say();
    let turn = TURN.lock().await;
    let kafka = or_skip(test, blocking(move || quick(options)).await)?;
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

/// A binder whose members and retries are quicker than in production.
pub(crate) fn binder(servers: &str, properties: &[(&str, &str)]) -> KafkaBinder {
    let mut quick = vec![("linger.ms", "1")];
    // By the newer protocol the broker says it.
    if !properties.contains(&("group.protocol", "consumer")) {
        quick.push(("heartbeat.interval.ms", "300"));
    }
    let options = ClientOptions::from_url(&format!("kafka://{servers}")).unwrap();
    let options = options
        .with_properties(quick.iter().chain(properties).copied())
        .unwrap();
    KafkaBinder::open(options).unwrap()
}

/// A new topic.
pub(crate) async fn topic(binder: &KafkaBinder, name: &str, partitions: u32) -> Arc<str> {
    let name: Arc<str> = brokers::unique(name).into();
    prepare(binder, &name, partitions).await;
    name
}

pub(crate) async fn prepare(binder: &KafkaBinder, name: &Arc<str>, partitions: u32) {
    let spec = DestinationSpec::new(name.clone(), partitions);
    binder.prepare(spec).await.unwrap();
}

/// A message of a number.
pub(crate) fn to(topic: &Arc<str>, partition: u32, number: u64) -> Outgoing {
    let mut outgoing = Outgoing::new(topic.clone(), Message::new(number.to_string()));
    outgoing.partition = Some(partition);
    outgoing
}

/// Publishes numbers without a transaction.
pub(crate) async fn fill(binder: &KafkaBinder, topic: &Arc<str>, numbers: std::ops::Range<u64>) {
    let all = numbers.map(|number| to(topic, 0, number));
    for receipt in binder.sink().publish_all(all.collect()) {
        receipt.await.unwrap();
    }
}

/// A member of a group used without the engine, as an exactly-once subscription.
pub(crate) struct Member {
    pub(crate) source: KafkaSource,
    pub(crate) own: BTreeMap<LaneId, Assignment>,
}

pub(crate) fn spec(group: &str, topic: &Arc<str>) -> SourceSpec {
    SourceSpec {
        partitions: None,
        subscription: "price".into(),
        group: Some(group.into()),
        inputs: vec![SourceInput {
            destination: topic.clone(),
            retry: None,
        }],
        start: Start::Earliest,
        max_batch_bytes: 512 << 10,
        commit_interval: Duration::from_millis(100),
        commit_every: 10_000,
        revoke_timeout: Duration::from_secs(5),
        guarantee: Guarantee::ExactlyOnce,
    }
}

impl Member {
    pub(crate) async fn join(binder: &KafkaBinder, spec: SourceSpec) -> Self {
        let mut member = Self {
            source: binder.subscribe(spec).await.unwrap(),
            own: BTreeMap::new(),
        };
        member.assigned().await;
        member
    }

    pub(crate) async fn next(&mut self) -> Result<SourceEvent, SourceError> {
        let event = timeout(PATIENCE, self.source.next())
            .await
            .expect("an event comes in time");
        let event = event?;
        match &event {
            SourceEvent::Assigned(lanes) => self.own.extend(lanes.iter().map(|one| (one.lane, one.clone()))),
            SourceEvent::Lost(lanes) => lanes.iter().for_each(|lane| drop(self.own.remove(lane))),
            _ => {}
        }
        Ok(event)
    }

    /// Waits for the next assignment.
    pub(crate) async fn assigned(&mut self) -> Vec<Assignment> {
        loop {
            if let Ok(SourceEvent::Assigned(lanes)) = self.next().await {
                return lanes;
            }
        }
    }

    /// So many numbers.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<u64> {
        let mut all = Vec::new();
        while all.len() < count {
            if let Ok(SourceEvent::Batch(batch)) = self.next().await {
                let texts = batch.records().iter().map(|record| batch.message(record));
                all.extend(texts.map(|message| number_of(message.payload().unwrap())));
            }
        }
        all
    }

    /// Says that everything below is finished in the first lane.
    pub(crate) fn finished(&mut self, watermark: u64) {
        let (lane, assignment) = self.own.first_key_value().unwrap();
        let progress = Progress {
            watermark,
            ..Progress::default()
        };
        self.source.progress(*lane, assignment.epoch, progress);
    }

    pub(crate) fn publish(&self, outgoing: Outgoing) -> Receipt {
        self.source.transaction().unwrap().sink.publish(outgoing)
    }

    /// Commits, asking again as long as it is not known.
    pub(crate) async fn commit(&mut self) -> Result<(), SourceError> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.source.commit().await {
                Err(error) if error.is_transient() && Instant::now() < until => {}
                known => return known,
            }
        }
    }
}

pub(crate) fn number_of(payload: &[u8]) -> u64 {
    std::str::from_utf8(payload).unwrap().parse().unwrap()
}

/// How far a group is in partition 0.
pub(crate) async fn stored(binder: &KafkaBinder, topic: &Arc<str>, group: &str) -> Option<u64> {
    stored_progress(binder, topic, group)
        .await
        .map(|progress| progress.watermark)
}

/// The same, with what is stored beside it.
pub(crate) async fn stored_progress(binder: &KafkaBinder, topic: &Arc<str>, group: &str) -> Option<Progress> {
    let rows = binder.positions(topic, Some(group)).await.unwrap();
    rows.into_iter().next()?.progress
}

pub(crate) fn sink(binder: &KafkaBinder) -> Arc<dyn Sink> {
    Binder::sink(binder)
}

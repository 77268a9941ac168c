//! Topics, messages and members for tests.

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tidings_core::{
    Assignment, Binder, Epoch, LaneId, Progress, RecordBatch, Source, SourceEvent, SourceInput, SourceSpec,
    Start,
};
use tidings_kafka::{ClientOptions, KafkaBinder, KafkaSource};
use tokio::time::{Instant, timeout_at};

/// Nothing takes longer that comes at all, also on a machine that has little time for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A Kafka for tests, with names that no other test has.
pub(crate) struct Kafka {
    pub(crate) servers: String,
    prefix: String,
    admin: AdminClient<DefaultClientContext>,
    producer: FutureProducer,
    topics: std::sync::Mutex<Vec<String>>,
}

/// The Kafka that all tests share; none after having said what is missing.
pub(crate) fn kafka(test: &str) -> Option<Kafka> {
    let servers = brokers::kafka_or_skip(test)?;
    static TESTS: AtomicU32 = AtomicU32::new(0);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    let random = fastrand::Rng::new().u32(..);
    Some(Kafka {
        prefix: format!("it-{random:08x}-{}", TESTS.fetch_add(1, Ordering::Relaxed)),
        admin: config.create().unwrap(),
        producer: config.set("linger.ms", "0").create().unwrap(),
        topics: std::sync::Mutex::default(),
        servers: servers.into(),
    })
}

/// Begins a test, or ends it where there is no Kafka.
macro_rules! begin {
    ($test:literal) => {
        match crate::members::kafka($test) {
            Some(kafka) => kafka,
            None => return,
        }
    };
}
pub(crate) use begin;

impl Kafka {
    /// A name of this test's own.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    pub(crate) async fn topic(&self, name: &str, partitions: i32) -> String {
        self.topic_with(name, partitions, &[]).await
    }

    pub(crate) async fn topic_with(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
        let name = self.name(name);
        let mut topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let made = self
            .admin
            .create_topics([&topic], &AdminOptions::new())
            .await
            .unwrap();
        made.into_iter().for_each(|one| drop(one.unwrap()));
        // Made is not yet known to everybody.
        for _ in 0..100 {
            let client = self.producer.client();
            let found = client.fetch_metadata(Some(&name), PATIENCE).unwrap();
            let found = found.topics().iter().map(|topic| topic.partitions()).next();
            if found
                .is_some_and(|all| all.len() as i32 == partitions && all.iter().all(|one| one.leader() >= 0))
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.topics.lock().unwrap().push(name.clone());
        name
    }

    /// Deletes a topic, until the broker knows it no more.
    pub(crate) async fn delete(&self, topic: &str) {
        let deleted = self.admin.delete_topics(&[topic], &AdminOptions::new()).await;
        deleted.unwrap().into_iter().for_each(|one| drop(one.unwrap()));
        // It may be made again, and rust-rdkafka crashes when it is asked to delete one topic twice at once.
        self.topics.lock().unwrap().retain(|known| known != topic);
        for _ in 0..200 {
            let client = self.producer.client();
            let found = client.fetch_metadata(None, PATIENCE).unwrap();
            if found.topics().iter().all(|found| found.name() != topic) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Gives a topic more partitions.
    pub(crate) async fn grow(&self, topic: &str, partitions: usize) {
        let more = NewPartitions::new(topic, partitions);
        let grown = self.admin.create_partitions([&more], &AdminOptions::new()).await;
        grown.unwrap().into_iter().for_each(|one| drop(one.unwrap()));
        for _ in 0..100 {
            let client = self.producer.client();
            let found = client.fetch_metadata(Some(topic), PATIENCE).unwrap();
            let all = found.topics().iter().flat_map(|topic| topic.partitions());
            if all.filter(|one| one.leader() >= 0).count() == partitions {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn publish(&self, topic: &str, partition: i32, payload: &str) {
        let record = FutureRecord::<(), str>::to(topic)
            .partition(partition)
            .payload(payload);
        self.producer.send(record, PATIENCE).await.unwrap();
    }

    /// Publishes numbers.
    pub(crate) async fn count(&self, topic: &str, partition: i32, numbers: std::ops::Range<u64>) {
        let sent = numbers.map(|number| {
            let payload = number.to_string();
            async move {
                let record = FutureRecord::<(), str>::to(topic)
                    .partition(partition)
                    .payload(&payload);
                self.producer.send(record, PATIENCE).await.unwrap();
            }
        });
        for one in sent {
            one.await;
        }
    }

    pub(crate) async fn publish_full(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
        time: i64,
        headers: &[(&str, Option<&[u8]>)],
    ) {
        let mut owned = OwnedHeaders::new();
        for (key, value) in headers {
            owned = owned.insert(Header { key, value: *value });
        }
        let mut record = FutureRecord::<[u8], [u8]>::to(topic)
            .partition(0)
            .timestamp(time)
            .headers(owned);
        record.key = key;
        record.payload = payload;
        self.producer.send(record, PATIENCE).await.unwrap();
    }

    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.servers);
        config
    }

    pub(crate) fn binder(&self, properties: &[(&str, &str)]) -> KafkaBinder {
        let quick = [
            ("heartbeat.interval.ms", "200"),
            ("topic.metadata.refresh.interval.ms", "1000"),
        ];
        let is_new = properties.contains(&("group.protocol", "consumer"));
        let quick = quick
            .iter()
            .filter(|(name, _)| !(is_new && *name == "heartbeat.interval.ms"));
        let options = ClientOptions::from_url(&format!("kafka://{}", self.servers)).unwrap();
        let options = options.with_properties(quick.chain(properties).copied()).unwrap();
        KafkaBinder::open(options).unwrap()
    }
}

/// Topics go with their test.
pub(crate) async fn clean(kafka: &Kafka) {
    let topics = kafka.topics.lock().unwrap().clone();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let _ = kafka.admin.delete_topics(&topics, &AdminOptions::new()).await;
}

pub(crate) fn spec(group: Option<&str>, topics: &[&str]) -> SourceSpec {
    SourceSpec {
        partitions: None,
        subscription: "it".into(),
        group: group.map(Arc::from),
        inputs: topics
            .iter()
            .map(|topic| SourceInput {
                destination: Arc::from(*topic),
                retry: None,
            })
            .collect(),
        start: Start::Earliest,
        max_batch_bytes: 64 << 10,
        commit_interval: Duration::from_millis(100),
        commit_every: 10_000,
        revoke_timeout: Duration::from_secs(5),
        guarantee: tidings_core::Guarantee::AtLeastOnce,
    }
}

/// A member that keeps what it is assigned in mind.
pub(crate) struct Member {
    pub(crate) source: KafkaSource,
    pub(crate) own: BTreeMap<LaneId, Assignment>,
    /// Where each lane goes on.
    pub(crate) next: BTreeMap<LaneId, u64>,
}

impl Member {
    pub(crate) async fn join(binder: &KafkaBinder, spec: SourceSpec) -> Self {
        Self {
            source: binder.subscribe(spec).await.unwrap(),
            own: BTreeMap::new(),
            next: BTreeMap::new(),
        }
    }

    pub(crate) async fn next(&mut self) -> SourceEvent {
        let event = self.next_within(PATIENCE).await;
        event.expect("an event comes in time")
    }

    /// What passes by itself, as a broker that is busy for seconds, is not what the tests are about.
    #[allow(clippy::print_stdout, reason = "why a test took so long")]
    pub(crate) async fn next_within(&mut self, wait: Duration) -> Option<SourceEvent> {
        let until = Instant::now() + wait;
        loop {
            match timeout_at(until, self.source.next()).await.ok()? {
                Ok(event) => {
                    self.note(&event);
                    return Some(event);
                }
                Err(error) => {
                    assert!(error.is_transient(), "{error}");
                    println!("a member goes on after: {error}");
                }
            }
        }
    }

    fn note(&mut self, event: &SourceEvent) {
        match event {
            SourceEvent::Assigned(lanes) => {
                for one in lanes {
                    self.own.insert(one.lane, one.clone());
                    self.next.insert(one.lane, one.next);
                }
            }
            SourceEvent::Lost(lanes) => self.forget(lanes),
            SourceEvent::Batch(batch) => {
                let one = self
                    .own
                    .get(&batch.lane())
                    .expect("a batch is of a lane of the member");
                assert_eq!(batch.epoch(), one.epoch, "a batch is of its lane's assignment");
                let next = self.next.insert(batch.lane(), batch.next()).unwrap();
                let first = batch
                    .records()
                    .first()
                    .map_or(batch.next(), |record| record.offset);
                assert!(first >= next, "offset {first} comes again: {next} was next");
            }
            _ => {}
        }
    }

    pub(crate) fn forget(&mut self, lanes: &[LaneId]) {
        for lane in lanes {
            self.own.remove(lane);
            self.next.remove(lane);
        }
    }

    pub(crate) async fn assigned(&mut self, lanes: usize) -> Vec<Assignment> {
        while self.own.len() < lanes {
            match self.next().await {
                SourceEvent::Assigned(_) | SourceEvent::Idle => {}
                other => panic!("{other:?} instead of an assignment"),
            }
        }
        let mut all: Vec<_> = self.own.values().cloned().collect();
        all.sort_by_key(|one| (one.destination.clone(), one.partition));
        all
    }

    /// Payloads until everything was read.
    pub(crate) async fn drain(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            match self.next().await {
                SourceEvent::Batch(batch) => all.extend(texts(&batch)),
                SourceEvent::Idle => return all,
                _ => {}
            }
        }
    }

    pub(crate) async fn take(&mut self, count: usize) -> Vec<String> {
        let mut all = Vec::new();
        while all.len() < count {
            if let SourceEvent::Batch(batch) = self.next().await {
                all.extend(texts(&batch));
            }
        }
        all
    }

    /// Payloads of a batch, if that is what comes within this time.
    pub(crate) async fn batch_within(&mut self, wait: Duration) -> Vec<String> {
        match self.next_within(wait).await {
            Some(SourceEvent::Batch(batch)) => texts(&batch),
            _ => Vec::new(),
        }
    }

    pub(crate) async fn revoking(&mut self) -> Vec<LaneId> {
        loop {
            if let SourceEvent::Revoking { lanes, .. } = self.next().await {
                return lanes;
            }
        }
    }

    pub(crate) fn done(&mut self, lane: LaneId, epoch: Epoch, watermark: u64) {
        self.source.progress(
            lane,
            epoch,
            Progress {
                watermark,
                ..Progress::default()
            },
        );
    }

    /// Handles what comes in that time and gives back what is asked for: destination, partition, offset.
    pub(crate) async fn work(&mut self, wait: Duration) -> Vec<(String, u32, u64)> {
        let mut handled = Vec::new();
        while let Some(event) = self.next_within(wait).await {
            match event {
                SourceEvent::Revoking { lanes, .. } => {
                    self.store().await;
                    self.source.release(&lanes);
                    self.forget(&lanes);
                }
                SourceEvent::Batch(batch) => {
                    let one = &self.own[&batch.lane()];
                    let records = batch.records().iter();
                    handled.extend(
                        records.map(|record| (one.destination.to_string(), one.partition, record.offset)),
                    );
                    self.done(batch.lane(), batch.epoch(), batch.next());
                }
                _ => {}
            }
        }
        handled
    }

    /// Stores what is not stored, asking again as long as the broker is busy.
    pub(crate) async fn store(&mut self) {
        let until = Instant::now() + PATIENCE;
        while let Err(error) = self.source.commit().await {
            assert!(error.is_transient() && Instant::now() < until, "{error}");
        }
    }

    /// Leaves. That its last progress is stored is [`store`](Self::store)'s to say.
    #[allow(clippy::print_stdout, reason = "why a test took so long")]
    pub(crate) async fn close(mut self) {
        if let Err(error) = self.source.close().await {
            assert!(error.is_transient(), "{error}");
            println!("a member leaves in spite of: {error}");
        }
    }
}

pub(crate) fn texts(batch: &RecordBatch) -> Vec<String> {
    let text = |record| String::from_utf8_lossy(batch.payload(record).unwrap_or_default()).into_owned();
    batch.records().iter().map(text).collect()
}

pub(crate) fn numbers(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// What the group has stored in a partition, as another client sees it: offset and metadata.
pub(crate) fn stored(kafka: &Kafka, group: &str, topic: &str, partition: i32) -> Option<(i64, String)> {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    let consumer: BaseConsumer = kafka.config().set("group.id", group).create().unwrap();
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition(topic, partition);
    let found = consumer.committed_offsets(list, PATIENCE).unwrap();
    let found = found.find_partition(topic, partition).unwrap();
    Some((found.offset().to_raw()?, found.metadata().to_owned())).filter(|(offset, _)| *offset >= 0)
}

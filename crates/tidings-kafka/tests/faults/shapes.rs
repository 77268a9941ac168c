//! Messages and topics of unusual shapes: nothing, far too much, and a thousand partitions.

use crate::own::{binder, topic};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidings_core::{
    Assignment, Binder, LaneId, Message, Outgoing, Progress, PublishError, RecordBatch, Source, SourceError,
    SourceEvent, SourceInput, SourceSpec, Start,
};
use tidings_kafka::{KafkaBinder, KafkaSource};
use tokio::time::timeout;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn to(topic: &Arc<str>, partition: u32, payload: impl Into<String>) -> Outgoing {
    let mut outgoing = Outgoing::new(topic.clone(), Message::new(payload.into()));
    outgoing.partition = Some(partition);
    outgoing
}

/// The Kafka that all tests share; none after having said that it is missing.
pub(crate) async fn shared(test: &'static str) -> Option<&'static str> {
    let given = tokio::task::spawn_blocking(move || brokers::kafka_or_skip(test)).await;
    given.unwrap()
}

/// A member used without the engine.
pub(crate) struct Reader {
    pub(crate) source: KafkaSource,
    pub(crate) own: BTreeMap<LaneId, Assignment>,
    /// Errors that came while something else was waited for.
    pub(crate) said: Vec<SourceError>,
}

impl Reader {
    pub(crate) fn spec(group: Option<&str>, topic: &Arc<str>) -> SourceSpec {
        SourceSpec {
            partitions: None,
            subscription: "faults".into(),
            group: group.map(Arc::from),
            inputs: vec![SourceInput {
                destination: topic.clone(),
                retry: None,
            }],
            start: Start::Earliest,
            max_batch_bytes: 512 << 10,
            commit_interval: Duration::from_millis(100),
            commit_every: 10_000,
            revoke_timeout: Duration::from_secs(5),
            guarantee: tidings_core::Guarantee::AtLeastOnce,
        }
    }

    pub(crate) async fn join(binder: &KafkaBinder, spec: SourceSpec) -> Self {
        Self {
            source: binder.subscribe(spec).await.unwrap(),
            own: BTreeMap::new(),
            said: Vec::new(),
        }
    }

    /// The next event or error; what is revoked is given back at once.
    pub(crate) async fn next(&mut self) -> Result<SourceEvent, SourceError> {
        let event = timeout(PATIENCE, self.source.next()).await;
        // Why nothing comes was told before.
        let event = event.unwrap_or_else(|_| panic!("no event comes in time; it said {:?}", self.said))?;
        self.follow(&event).await;
        Ok(event)
    }

    /// The same if one comes within a time.
    pub(crate) async fn next_within(&mut self, time: Duration) {
        match timeout(time, self.source.next()).await {
            Ok(Ok(event)) => self.follow(&event).await,
            Ok(Err(error)) => self.said.push(error),
            Err(_) => {}
        }
    }

    async fn follow(&mut self, event: &SourceEvent) {
        match event {
            SourceEvent::Assigned(lanes) => self.own.extend(lanes.iter().map(|one| (one.lane, one.clone()))),
            SourceEvent::Revoking { lanes, .. } => {
                let _ = self.source.commit().await;
                self.source.release(lanes);
                lanes.iter().for_each(|lane| drop(self.own.remove(lane)));
            }
            SourceEvent::Lost(lanes) => lanes.iter().for_each(|lane| drop(self.own.remove(lane))),
            _ => {}
        }
    }

    pub(crate) async fn assigned(&mut self, lanes: usize) {
        while self.own.len() < lanes {
            let error = self.next().await.err();
            self.said.extend(error);
        }
    }

    pub(crate) async fn batch(&mut self) -> RecordBatch {
        loop {
            match self.next().await {
                Ok(SourceEvent::Batch(batch)) if !batch.is_empty() => return batch,
                Ok(_) => {}
                Err(error) => self.said.push(error),
            }
        }
    }

    /// So many messages, which are finished then.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<(u64, Message)> {
        let mut all = Vec::new();
        while all.len() < count {
            let batch = self.batch().await;
            let records = batch.records().iter();
            all.extend(records.map(|record| (record.offset, batch.message(record))));
            let done = Progress {
                watermark: batch.next(),
                ..Progress::default()
            };
            self.source.progress(batch.lane(), batch.epoch(), done);
        }
        all
    }
}

type KeyAndPayload<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_and_far_too_much_are_read_in_their_turn() {
    let Some(servers) = shared("nothing_and_far_too_much_are_read_in_their_turn").await else {
        return;
    };
    let kafka = binder(servers, &[]);
    let orders = topic(&kafka, "orders", 1).await;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let larger = AlterConfig::new(ResourceSpecifier::Topic(&orders)).set("max.message.bytes", "20000000");
    for one in admin
        .alter_configs([&larger], &AdminOptions::new())
        .await
        .unwrap()
    {
        one.unwrap();
    }
    // Another system, which may write more than a fetch or a batch of ours holds.
    let producer: FutureProducer = config.set("message.max.bytes", "20000000").create().unwrap();
    let large = vec![b'x'; 12 << 20];
    let empty: &[u8] = b"";
    let records: [KeyAndPayload<'_>; 7] = [
        (None, None),
        (Some(empty), Some(empty)),
        (Some(b"k"), None),
        (None, Some(empty)),
        (Some(b"\xff\xfe"), Some(b"\0\0\0")),
        (Some(b"large"), Some(&large)),
        (Some(b"k"), Some(b"after")),
    ];
    for (key, payload) in records {
        let since = Instant::now();
        loop {
            let mut record = FutureRecord::<[u8], [u8]>::to(&orders).partition(0);
            (record.key, record.payload) = (key, payload);
            match producer.send(record, PATIENCE).await {
                Ok(_) => break,
                // The broker has taken the new limit and may not go by it yet.
                Err((error, _)) => assert!(
                    error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge)
                        && since.elapsed() < PATIENCE,
                    "{error}"
                ),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let mut reader = Reader::join(&kafka, Reader::spec(Some(&brokers::unique("billing")), &orders)).await;
    let read = reader.take(records.len()).await;
    for ((key, payload), (_, message)) in records.iter().zip(&read) {
        assert_eq!(message.key().map(|key| &key[..]), *key);
        // Not compared as a whole: a failure would print it.
        assert_eq!(
            message.payload().map(|payload| payload.len()),
            payload.map(<[u8]>::len)
        );
        assert!(message.payload().map(|payload| &payload[..]) == *payload);
    }
    reader.source.close().await.unwrap();
    // What is too large to be published is an error that names both sizes, before anything is sent.
    let refused = kafka.sink().publish(to(&orders, 0, "x".repeat(2 << 20))).await;
    let error = refused.expect_err("it is beyond this client's limit");
    assert!(matches!(error, PublishError::TooLarge { .. }), "{error}");
    let _ = kafka.close().await;
}

/// Resident memory and processor time of this process.
fn used() -> (u64, Duration) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let time = Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32);
    (kib >> 10, time)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::print_stdout, reason = "it reports its figures")]
async fn a_topic_of_a_thousand_partitions_is_read_whole() {
    let Some(servers) = shared("a_topic_of_a_thousand_partitions_is_read_whole").await else {
        return;
    };
    let kafka = binder(servers, &[]);
    let orders = topic(&kafka, "orders", 1_000).await;
    let group = brokers::unique("billing");
    let (before, _) = used();
    let began = Instant::now();
    let mut reader = Reader::join(&kafka, Reader::spec(Some(&group), &orders)).await;
    reader.assigned(1_000).await;
    let assigned = began.elapsed();
    while !matches!(reader.next().await, Ok(SourceEvent::Idle)) {}
    let read = began.elapsed();
    let (opened, cpu) = used();
    let idle = Instant::now();
    while timeout(Duration::from_secs(3), reader.source.next())
        .await
        .is_ok()
    {}
    let idle_cpu = used().1 - cpu;
    println!(
        "1,000 partitions: assigned after {assigned:?}, all looked at after {read:?}, {} MiB more, idle for {:?} took {idle_cpu:?} of processor time",
        opened.saturating_sub(before),
        idle.elapsed()
    );
    let receipts = kafka.sink().publish_all(
        (0..1_000)
            .map(|partition| to(&orders, partition, partition.to_string()))
            .collect(),
    );
    for receipt in receipts {
        receipt.await.unwrap();
    }
    let mut read: Vec<u32> = reader
        .take(1_000)
        .await
        .iter()
        .map(|(_, message)| {
            std::str::from_utf8(message.payload().unwrap())
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    read.sort_unstable();
    assert_eq!(read, (0..1_000).collect::<Vec<_>>());
    reader.source.close().await.unwrap();
    let positions = kafka.positions(&orders, Some(&group)).await.unwrap();
    let stored = positions.iter().filter(|at| {
        at.progress
            .as_ref()
            .is_some_and(|progress| progress.watermark == 1)
    });
    assert_eq!(stored.count(), 1_000, "each has its position");
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .create()
        .unwrap();
    drop(admin.delete_topics(&[&*orders], &AdminOptions::new()).await);
    let _ = kafka.close().await;
}

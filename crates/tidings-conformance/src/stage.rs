//! What a case gets: [`Stage`], a fresh broker and words to use it.

use crate::apps::PARTITIONS;
use crate::features::Feature;
use crate::harness::{Harness, Opening};
use crate::member::Member;
use crate::witness::{Book, Witness};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{
    Clock, DestinationInfo, DestinationSpec, DynBinder, Guarantee, Message, Outgoing, PartitionPosition,
    Position, Progress, PublishError, Receipt, RecordBatch, SourceInput, SourceSpec, Start,
};

/// What a case comes to: done, or not possible with this broker.
pub(crate) type Verdict = Result<(), Lacking>;

/// The broker lacks what the case needs.
#[derive(Debug)]
pub(crate) struct Lacking(pub(crate) Feature);

/// Makes a fresh place.
pub(crate) type Fresh = Arc<dyn Fn() -> Box<dyn Harness>>;

/// So much shorter are the minutes and the seconds of a case where time is real.
const MINUTES_SHORTENED: u32 = 200;
const SECONDS_SHORTENED: u32 = 10;
/// What a real broker, a busy machine and a rebalance may take beside the waits of a case.
const SLACK: Duration = Duration::from_secs(3);

/// A place for a broker under test.
pub(crate) struct Stage {
    fresh: Fresh,
    pub(crate) harness: Arc<dyn Harness>,
    pub(crate) clock: Clock,
    /// What is known of its messages where the broker forgets them.
    book: Arc<Book>,
}

impl Stage {
    pub(crate) fn new(fresh: Fresh) -> Self {
        let harness: Arc<dyn Harness> = fresh().into();
        let clock = match harness.features().has(Feature::VirtualTime) {
            true => Clock::virtual_from_now(),
            false => Clock::System,
        };
        Self {
            fresh,
            harness,
            clock,
            book: Arc::default(),
        }
    }

    /// Another place with nothing in it, for the next round of a case.
    pub(crate) fn anew(&self) -> Self {
        Self {
            fresh: self.fresh.clone(),
            harness: (self.fresh)().into(),
            clock: self.clock,
            book: Arc::default(),
        }
    }

    /// As many partitions as a channel of the case has.
    pub(crate) fn partitions(&self) -> u32 {
        self.needs(&[Feature::Partitions]).map_or(1, |()| PARTITIONS)
    }

    /// Whether a message is said to be where its receipt has put it. Without offsets that is its destination: a receipt
    /// counts what was sent, a reader counts what it got.
    pub(crate) fn is_there(&self, found: &Position, sent: &Position) -> bool {
        match self.needs(&[Feature::Offsets]) {
            Ok(()) => found == sent,
            Err(_) => found.destination() == sent.destination(),
        }
    }

    /// Ends the case unless the broker can do this.
    pub(crate) fn needs(&self, features: &[Feature]) -> Verdict {
        let can = self.harness.features();
        match features.iter().find(|feature| !can.has(**feature)) {
            Some(lacking) => Err(Lacking(*lacking)),
            None => Ok(()),
        }
    }

    fn has_virtual_time(&self) -> bool {
        self.harness.features().has(Feature::VirtualTime)
    }

    fn shortened(&self, time: Duration, by: u32) -> Duration {
        if self.has_virtual_time() { time } else { time / by }
    }

    /// So many minutes; where time is real, a 200th of that: what a case means by a long wait.
    pub(crate) fn minutes(&self, minutes: u32) -> Duration {
        self.shortened(Duration::from_secs(60) * minutes, MINUTES_SHORTENED)
    }

    /// So many seconds; where time is real, a tenth of that: what a case means by a short wait.
    pub(crate) fn seconds(&self, seconds: f64) -> Duration {
        self.shortened(Duration::from_secs_f64(seconds), SECONDS_SHORTENED)
    }

    /// How much later something may come than a case asks for: nothing where time is virtual.
    pub(crate) fn slack(&self) -> Duration {
        if self.has_virtual_time() {
            Duration::ZERO
        } else {
            SLACK
        }
    }

    pub(crate) async fn open(&self) -> Broker {
        self.open_with(|_| {}).await
    }

    pub(crate) async fn open_with(&self, change: impl FnOnce(&mut Opening)) -> Broker {
        let mut opening = Opening::new(self.clock);
        change(&mut opening);
        let opened = self.harness.open(opening).await;
        let opened = opened.expect("the broker under test can be opened");
        Broker(match self.harness.features().has(Feature::Replay) {
            true => opened,
            false => Witness::over(opened, self.harness.clone(), self.book.clone()),
        })
    }

    pub(crate) async fn read_only(&self) -> Broker {
        let opened = self.harness.open_read_only(self.clock).await;
        Broker(opened.expect("the broker under test can be opened for reading"))
    }

    /// The broker dies, and is opened again.
    pub(crate) async fn crash(&self, broker: Broker) -> Broker {
        self.harness.crash(broker.0).await;
        self.open().await
    }
}

/// The broker under test, with short words.
#[derive(Debug, Clone)]
pub(crate) struct Broker(pub(crate) Arc<dyn DynBinder>);

impl std::ops::Deref for Broker {
    type Target = dyn DynBinder;
    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

pub(crate) fn destination(name: &str, partitions: u32) -> DestinationSpec {
    DestinationSpec::new(name, partitions)
}

/// A message for one partition.
pub(crate) fn to(name: &str, partition: u32, payload: &str) -> Outgoing {
    let mut outgoing = Outgoing::new(name, Message::new(payload.to_owned()));
    outgoing.partition = Some(partition);
    outgoing
}

pub(crate) fn spec(group: Option<&str>, name: &str) -> SourceSpec {
    SourceSpec {
        partitions: None,
        subscription: "case".into(),
        group: group.map(Arc::from),
        inputs: vec![SourceInput {
            destination: name.into(),
            retry: None,
        }],
        start: Start::Earliest,
        max_batch_bytes: 64 << 10,
        commit_interval: Duration::from_millis(100),
        commit_every: 10_000,
        revoke_timeout: Duration::from_secs(5),
        guarantee: Guarantee::AtLeastOnce,
    }
}

impl Broker {
    pub(crate) async fn has(&self, name: &str, partitions: u32) -> DestinationInfo {
        let info = self.prepare(destination(name, partitions)).await;
        info.expect("a destination can be prepared")
    }

    pub(crate) fn send(&self, outgoing: Outgoing) -> Receipt {
        self.sink().publish(outgoing)
    }

    pub(crate) async fn publish(
        &self,
        name: &str,
        partition: u32,
        payload: &str,
    ) -> Result<Position, PublishError> {
        self.send(to(name, partition, payload)).await
    }

    /// Publishes the numbers from 0 on.
    pub(crate) async fn count_up(&self, name: &str, partition: u32, numbers: u64) {
        for number in 0..numbers {
            let kept = self.publish(name, partition, &number.to_string()).await;
            kept.expect("a healthy broker takes a message");
        }
    }

    /// Has a destination with the numbers from 0 on in each partition.
    pub(crate) async fn has_counted(&self, name: &str, partitions: u32, numbers: u64) {
        self.has(name, partitions).await;
        for partition in 0..partitions {
            self.count_up(name, partition, numbers).await;
        }
    }

    /// Publishes one number to the first partition of `orders`.
    pub(crate) async fn count_one(&self, number: u64) {
        let kept = self.publish("orders", 0, &number.to_string()).await;
        kept.expect("a healthy broker takes a message");
    }

    /// Lets groups begin on a destination: a broker without a history keeps nothing for those that it has never seen.
    pub(crate) async fn knows(&self, name: &str, groups: &[&str]) {
        if self.capabilities().replay {
            return;
        }
        for group in groups {
            self.join(group, name).await.close().await;
        }
    }

    pub(crate) async fn join(&self, group: &str, name: &str) -> Member {
        self.member(spec(Some(group), name)).await
    }

    pub(crate) async fn member(&self, spec: SourceSpec) -> Member {
        let source = self.subscribe(spec).await;
        Member(source.expect("a member can join"))
    }

    pub(crate) async fn at(&self, name: &str, group: Option<&str>) -> Vec<PartitionPosition> {
        let positions = self.positions(name, group).await;
        positions.expect("positions can be asked for")
    }

    /// The group's stored watermarks by partition.
    pub(crate) async fn stored(&self, name: &str, group: &str) -> Vec<Option<u64>> {
        let watermark = |at: PartitionPosition| at.progress.map(|progress| progress.watermark);
        self.at(name, Some(group))
            .await
            .into_iter()
            .map(watermark)
            .collect()
    }

    /// How many messages a destination holds.
    pub(crate) async fn size(&self, name: &str) -> u64 {
        let positions = self.at(name, None).await;
        positions.iter().map(|at| at.end - at.first).sum()
    }

    /// The messages of a partition with their offsets.
    pub(crate) async fn messages(&self, name: &str, partition: u32) -> Vec<(u64, Message)> {
        let mut all = Vec::new();
        let mut from = 0;
        loop {
            let batch = self.read(name, partition, from, 64 << 10).await;
            let batch = batch.expect("what was published can be read");
            if batch.is_empty() && batch.next() <= from {
                return all;
            }
            all.extend(
                batch
                    .records()
                    .iter()
                    .map(|record| (record.offset, batch.message(record))),
            );
            from = batch.next();
        }
    }

    /// The payloads of a partition.
    pub(crate) async fn payloads(&self, name: &str, partition: u32) -> Vec<String> {
        let messages = self.messages(name, partition).await;
        messages.iter().map(|(_, message)| text_of(message)).collect()
    }
}

pub(crate) fn text_of(message: &Message) -> String {
    String::from_utf8_lossy(message.payload().map_or(&[], |payload| &payload[..])).into_owned()
}

pub(crate) fn texts(batch: &RecordBatch) -> Vec<String> {
    let records = batch.records().iter();
    records.map(|record| text_of(&batch.message(record))).collect()
}

pub(crate) fn watermark(watermark: u64) -> Progress {
    Progress {
        watermark,
        ..Progress::default()
    }
}

pub(crate) fn numbers(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

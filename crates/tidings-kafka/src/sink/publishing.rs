//! What the calls of publishing share, under one lock: topics, the block of receipts, messages that wait for room.

use super::gate::Gate;
use super::native::{Producer, Topic};
use super::table::{Table, number};
use crate::client::{TopicFacts, Topics};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidings_core::{Message, RECEIPTS_PER_BLOCK, Receipt, ReceiptBlock};

/// So many messages without a key go to one partition before the next has its turn: batches stay large.
const RUN: u32 = 64;
/// A run ends after this time too, so that few messages are spread as well.
const RUN_TIME: Duration = Duration::from_millis(5);

pub(super) struct Publishing {
    pub(super) producer: Arc<Producer>,
    targets: Vec<Target>,
    by_name: HashMap<Arc<str>, usize, foldhash::fast::RandomState>,
    /// The target of the message before: the next is mostly for the same.
    last: usize,
    block: Option<(usize, Arc<ReceiptBlock>)>,
    /// The next place in the block.
    place: usize,
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) waiting_bytes: usize,
    /// Messages for a partition that a topic does not have, until it is known how many it has.
    pub(super) wondering: Vec<Wondering>,
    pub(super) gate: Gate,
    /// Counts how often the gate was opened after it was shut: a sink of an earlier turn publishes nothing more.
    pub(super) turn: u64,
    /// A transaction was begun, and neither committed nor given up.
    pub(super) begun: bool,
}

/// A topic that is published to.
pub(super) struct Target {
    name: Arc<str>,
    pub(super) topic: Topic,
    pub(super) facts: Arc<TopicFacts>,
    run: Run,
}

/// Where messages without a key go now.
#[derive(Default)]
struct Run {
    partition: u32,
    left: u32,
    since: Option<Instant>,
}

/// A message that waits for room in librdkafka's buffer.
pub(super) struct Waiting {
    pub(super) destination: Arc<str>,
    pub(super) partition: Option<u32>,
    pub(super) message: Message,
    pub(super) number: usize,
}

/// A message for a partition that there is not.
pub(super) struct Wondering {
    pub(super) destination: Arc<str>,
    pub(super) partition: u32,
    pub(super) number: usize,
}

impl Publishing {
    pub(super) fn new(producer: Arc<Producer>, gate: Gate) -> Self {
        Self {
            producer,
            targets: Vec::new(),
            by_name: HashMap::default(),
            last: 0,
            block: None,
            place: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            wondering: Vec::new(),
            gate,
            turn: 0,
            begun: false,
        }
    }

    /// The topic, looked up at librdkafka once; none for a name that cannot be one.
    pub(super) fn target(&mut self, destination: &Arc<str>, known: &Topics) -> Option<&mut Target> {
        let same = |target: &Target| Arc::ptr_eq(&target.name, destination);
        if !self.targets.get(self.last).is_some_and(same) {
            self.last = match self.by_name.get(destination) {
                Some(place) => *place,
                None => self.add_target(destination, known)?,
            };
        }
        self.targets.get_mut(self.last)
    }

    fn add_target(&mut self, destination: &Arc<str>, known: &Topics) -> Option<usize> {
        let place = self.targets.len();
        self.targets.push(Target {
            name: destination.clone(),
            topic: Topic::new(&self.producer, destination)?,
            facts: known.of(destination),
            run: Run::default(),
        });
        self.by_name.insert(destination.clone(), place);
        Some(place)
    }

    /// The number of the next message. It is taken once [`receipt`](Self::receipt) is called.
    pub(super) fn number(&mut self, table: &Table) -> usize {
        if self.place >= RECEIPTS_PER_BLOCK {
            self.block = None;
        }
        let (index, _) = self.block.get_or_insert_with(|| {
            self.place = 0;
            table.add()
        });
        number(*index, self.place)
    }

    /// The receipt of the message that has the number of before.
    pub(super) fn receipt(&mut self, destination: Arc<str>) -> Receipt {
        let Some((_, block)) = &self.block else {
            return Receipt::failed(tidings_core::PublishError::Closed);
        };
        let receipt = block.receipt(self.place, destination);
        self.place += 1;
        receipt
    }

    /// Ends the block: later messages have another.
    pub(super) fn end_block(&mut self) -> Option<(usize, Arc<ReceiptBlock>)> {
        let (index, block) = self.block.take()?;
        block.end_at(self.place);
        Some((index, block))
    }

    /// Goes on with another producer; the topics belong to the one before.
    pub(super) fn replace(&mut self, producer: Arc<Producer>) {
        self.targets.clear();
        self.by_name.clear();
        self.begun = false;
        self.producer = producer;
    }
}

impl Target {
    /// The partition for librdkafka: as asked for, none where the key decides, the run's for messages without a key.
    pub(super) fn partition(&mut self, asked: Option<u32>, has_key: bool) -> Option<i32> {
        if let Some(partition) = asked {
            // A number that Kafka does not have is one that no topic has.
            return Some(i32::try_from(partition).unwrap_or(i32::MAX));
        }
        if has_key {
            return None;
        }
        let count = self.facts.partitions()?;
        i32::try_from(self.run.next(count, Instant::now())).ok()
    }
}

impl Run {
    fn next(&mut self, partitions: u32, now: Instant) -> u32 {
        let over = self
            .since
            .is_none_or(|since| now.duration_since(since) > RUN_TIME);
        if self.left == 0 || over || self.partition >= partitions {
            self.partition = match self.since {
                None => fastrand::u32(0..partitions),
                Some(_) => (self.partition + 1) % partitions,
            };
            self.left = RUN;
            self.since = Some(now);
        }
        self.left -= 1;
        self.partition
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_without_a_key_go_to_the_partitions_in_runs() {
        let mut run = Run::default();
        let start = Instant::now();
        let first: Vec<_> = (0..64 * 6).map(|_| run.next(3, start)).collect();
        let runs: Vec<_> = first.chunks(64).map(|chunk| chunk[0]).collect();
        assert!(
            first
                .chunks(64)
                .all(|chunk| chunk.iter().all(|one| *one == chunk[0]))
        );
        assert!(runs.windows(2).all(|two| two[1] == (two[0] + 1) % 3), "{runs:?}");
        let before = run.next(3, start);
        let later = run.next(3, start + RUN_TIME * 2);
        assert_eq!(later, (before + 1) % 3, "a run ends with time too");
        assert!(run.next(1, start) == 0, "a topic may have become smaller");
    }
}

//! What came out, as a reader of what is committed sees it, and the judge of it: [`Ledger`].

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::Offset;
use rdkafka::{ClientConfig, Message, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often each number came.
pub(crate) type Counts = BTreeMap<u64, u32>;

/// Where partitions end, for readers of everything and of what is committed, and where the group is: for a campaign that
/// failed.
pub(crate) fn state(servers: &str, topics: &[(&Arc<str>, u32)], group: &str) -> String {
    const WAIT: Duration = Duration::from_secs(10);
    let consumer = |isolation: &str| -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", servers)
            .set("group.id", group)
            .set("isolation.level", isolation)
            .create()
            .unwrap()
    };
    let (all, committed) = (consumer("read_uncommitted"), consumer("read_committed"));
    let mut text = String::new();
    for (topic, partitions) in topics {
        for partition in 0..i32::try_from(*partitions).unwrap() {
            let end = |consumer: &BaseConsumer| match consumer.fetch_watermarks(topic, partition, WAIT) {
                Ok((_, end)) => end.to_string(),
                Err(error) => error.to_string(),
            };
            let mut list = TopicPartitionList::new();
            list.add_partition(topic, partition);
            let stored = all.committed_offsets(list, WAIT);
            let stored = stored.map(|list| list.elements()[0].offset());
            text.push_str(&format!(
                "{topic}/{partition}: ends at {}, committed up to {}, the group is at {stored:?}\n",
                end(&all),
                end(&committed),
            ));
        }
    }
    text
}

/// Reads topics from their beginning, only what is committed. Not a client of ours: it must not share our mistakes.
pub(crate) struct Ledger {
    consumer: BaseConsumer,
    pub(crate) seen: BTreeMap<String, Counts>,
    /// Numbers that may be there or not: nobody knows whether they were published.
    pub(crate) unsure: BTreeSet<u64>,
    /// Partitions that were read to the end.
    ended: BTreeMap<(String, i32), bool>,
}

impl Ledger {
    pub(crate) fn open(servers: &str, topics: &[(&Arc<str>, u32)]) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", servers)
            .set("group.id", "the-judge")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("reconnect.backoff.max.ms", "500")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        let (mut seen, mut ended) = (BTreeMap::new(), BTreeMap::new());
        for (topic, partitions) in topics {
            seen.insert(topic.to_string(), Counts::new());
            for partition in 0..i32::try_from(*partitions).unwrap() {
                list.add_partition_offset(topic, partition, Offset::Beginning)
                    .unwrap();
                ended.insert((topic.to_string(), partition), false);
            }
        }
        consumer.assign(&list).unwrap();
        Self {
            consumer,
            seen,
            unsure: BTreeSet::new(),
            ended,
        }
    }

    /// Reads what is there until that holds, or nothing has come for so long.
    pub(crate) fn read_until(&mut self, patience: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let mut until = Instant::now() + patience;
        while Instant::now() < until {
            let Some(polled) = self.consumer.poll(Duration::from_millis(100)) else {
                if holds(self) {
                    return true;
                }
                continue;
            };
            match polled {
                Ok(message) => {
                    until = until.max(Instant::now() + patience);
                    let number = crate::support::number_of(message.payload().unwrap());
                    self.ended
                        .insert((message.topic().to_owned(), message.partition()), false);
                    *self
                        .seen
                        .entry(message.topic().to_owned())
                        .or_default()
                        .entry(number)
                        .or_default() += 1;
                }
                Err(rdkafka::error::KafkaError::PartitionEOF(partition)) => {
                    for ((_, number), ended) in &mut self.ended {
                        *ended |= *number == partition;
                    }
                    if holds(self) {
                        return true;
                    }
                }
                // The broker may be away at the moment.
                Err(_) => {}
            }
        }
        holds(self)
    }

    /// Reads for so long, whatever comes.
    pub(crate) fn read_for(&mut self, time: Duration) {
        let until = Instant::now() + time;
        self.read_until(time, |_| Instant::now() >= until);
    }

    pub(crate) fn of(&self, topic: &str) -> &Counts {
        &self.seen[topic]
    }

    /// Every number of these is there.
    pub(crate) fn has_all(&self, topic: &str, mut expected: impl Iterator<Item = u64>) -> bool {
        let seen = self.of(topic);
        expected.all(|number| seen.contains_key(&number) || self.unsure.contains(&number))
    }

    /// Each number is there once, and no other.
    #[allow(clippy::print_stdout, reason = "a campaign reports its figures")]
    pub(crate) fn judge(&self, what: &str, topic: &str, expected: impl Iterator<Item = u64>) {
        let mut seen = self.of(topic).clone();
        seen.retain(|number, _| !self.unsure.contains(number));
        let expected: Vec<u64> = expected.filter(|number| !self.unsure.contains(number)).collect();
        let lost: Vec<_> = expected.iter().filter(|one| !seen.contains_key(one)).collect();
        let twice: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
        let phantom = seen
            .keys()
            .filter(|one| expected.binary_search(one).is_err())
            .count();
        println!(
            "{what}: {} expected, {} seen, {} lost, {} duplicates, {phantom} phantoms, {} of which nobody knows",
            expected.len(),
            seen.len(),
            lost.len(),
            twice.len(),
            self.unsure.len()
        );
        assert!(
            lost.is_empty(),
            "{what}: lost {} of {}, the first {:?}",
            lost.len(),
            expected.len(),
            &lost[..lost.len().min(20)]
        );
        assert!(
            twice.is_empty(),
            "{what}: {} twice, the first {:?}",
            twice.len(),
            twice.first()
        );
        assert_eq!(phantom, 0, "{what}: phantoms");
    }
}

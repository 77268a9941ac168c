//! Where partitions begin and end, and how far groups are.

use super::native::{Asking, At, END, FIRST, Messages, OfGroups, Outcome};
use super::reading::{Wanted, nothing};
use super::{Asked, KafkaAdmin, Trouble};
use crate::progress;
use crate::sink::Producer;
use crate::trouble::Fault;
use rdkafka::error::RDKafkaErrorCode as Code;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidings_core::{
    BinderError, GroupInfo, GroupPosition, PartitionPosition, Progress, RecordBatch, Timestamp,
};

const STOP_IT: &str = "a member of the group reads: stop the group first";

/// A partition and up to where it was trimmed.
pub(crate) type Trimmed = BTreeMap<(String, u32), i64>;

/// Where partitions end, behind everything that is there, also what no transaction has decided about. Waits for the
/// brokers.
pub(crate) fn ends_of(
    producer: &Producer,
    places: &[(String, u32)],
    timeout: Duration,
) -> Result<HashMap<(String, u32), u64>, Fault> {
    let wanted = places
        .iter()
        .map(|(topic, partition)| At::new(topic, *partition, END));
    let found = Asking { producer, timeout }.offsets(&wanted.collect::<Vec<_>>(), Messages::All)?;
    let ends = found.into_iter().filter_map(|at| {
        let end = u64::try_from(at.offset).ok()?;
        Some(((at.topic, at.partition), end))
    });
    Ok(ends.collect())
}

impl KafkaAdmin {
    /// How many partitions a topic has that must be there.
    pub(crate) async fn partitions(&self, topic: &Arc<str>) -> Result<u32, BinderError> {
        let wanted = topic.clone();
        let asked = self.ask(format!("looking for the topic \"{topic}\""), move |asking| {
            let count = asking.producer.partitions(&wanted, asking.timeout)?;
            count.ok_or(Trouble::UnknownTopic(wanted))
        });
        let count = asked.await?;
        self.topics.of(topic).has_partitions(count);
        Ok(count)
    }

    /// What each partition holds, and how far the group is.
    ///
    /// # Errors
    /// [`BinderError::UnknownDestination`], or that the broker refuses or is away.
    pub async fn positions(
        &self,
        destination: &str,
        group: Option<&str>,
    ) -> Result<Vec<PartitionPosition>, BinderError> {
        let (topic, group) = (destination.to_owned(), group.map(str::to_owned));
        let asked = self.ask_of_groups(
            format!("asking for the offsets of \"{destination}\""),
            move |asking, groups| {
                let count = asking.producer.partitions(&topic, asking.timeout)?;
                let count = count.ok_or(Trouble::UnknownTopic(topic.as_str().into()))?;
                let of = |offset| {
                    (0..count)
                        .map(|partition| At::new(&topic, partition, offset))
                        .collect::<Vec<_>>()
                };
                let first = asking.offsets(&of(FIRST), Messages::All)?;
                let end = asking.offsets(&of(END), Messages::All)?;
                let stored = match &group {
                    Some(group) => groups.settled(|groups| groups.stored(group))?,
                    None => Vec::new(),
                };
                Ok(in_rows(&topic, count, &first, &end, &stored))
            },
        );
        let rows = asked.await?;
        self.topics.of(destination).has_partitions(rows.len() as u32);
        Ok(rows)
    }

    /// Stores a group's progress in one partition.
    ///
    /// # Errors
    /// A member of the group reads; the partition is none or ends before; the broker refuses or is away.
    pub async fn store_progress(
        &self,
        destination: &str,
        partition: u32,
        group: &str,
        mut progress: Progress,
    ) -> Result<(), BinderError> {
        let doing = format!("storing the position of the group \"{group}\" in {destination}/{partition}");
        let rows = self.positions(destination, None).await?;
        let failed = |reason: String| BinderError::Failed {
            doing: doing.clone(),
            reason,
        };
        let row = rows.iter().find(|row| row.partition == partition);
        let end = row
            .ok_or_else(|| failed(format!("there are {} partitions", rows.len())))?
            .end;
        if progress.watermark > end {
            return Err(failed(format!("{} is beyond the end {end}", progress.watermark)));
        }
        clip(&mut progress, end);
        let (topic, group) = (destination.to_owned(), group.to_owned());
        self.ask_of_groups(doing.clone(), move |_, groups| {
            let offset = i64::try_from(progress.watermark).unwrap_or(i64::MAX);
            let mut at = At::new(&topic, partition, offset);
            at.metadata = progress::encode(&progress).into_bytes();
            let at = [at];
            let stored = groups.settled(|groups| groups.store(&group, &at));
            Ok(stored.map_err(of_a_group_that_reads)?)
        })
        .await
    }

    /// Forgets how far a group is in a topic.
    ///
    /// # Errors
    /// A member of the group reads; [`BinderError::UnknownDestination`]; the broker refuses or is away.
    pub async fn delete_progress(&self, destination: &str, group: &str) -> Result<(), BinderError> {
        let (topic, group) = (destination.to_owned(), group.to_owned());
        let doing = format!("deleting the positions of the group \"{group}\" in \"{topic}\"");
        self.ask_of_groups(doing, move |asking, groups| {
            if asking.producer.partitions(&topic, asking.timeout)?.is_none() {
                return Err(Trouble::UnknownTopic(topic.into()));
            }
            let mut stored = groups.settled(|groups| groups.stored(&group))?;
            stored.retain(|at| at.topic == topic && at.offset >= 0);
            if stored.is_empty() {
                return Ok(());
            }
            let forgotten = groups.settled(|groups| groups.forget(&group, &stored));
            match forgotten.map_err(of_a_group_that_reads) {
                Err(fault) if fault.code == Code::GroupIdNotFound => Ok(()),
                other => Ok(other?),
            }
        })
        .await
    }

    /// Deletes what the group has finished of these topics, where that is not what was deleted before.
    ///
    /// # Errors
    /// That the broker refuses or is away.
    pub(crate) async fn trim(
        &self,
        group: &str,
        topics: BTreeSet<Arc<str>>,
        trimmed: Trimmed,
    ) -> Result<Vec<Outcome>, BinderError> {
        let group = group.to_owned();
        let doing = format!("deleting what the group \"{group}\" has finished of its retry topics");
        self.ask_of_groups(doing, move |asking, groups| {
            let mut finished = groups.settled(|groups| groups.stored(&group))?;
            finished.retain(|at| {
                let before = trimmed.get(&(at.topic.clone(), at.partition)).copied();
                // Less than before: the topic was made again.
                topics.contains(&*at.topic) && at.offset > 0 && before != Some(at.offset)
            });
            if finished.is_empty() {
                return Ok(Vec::new());
            }
            Ok(asking.delete_records(&finished)?)
        })
        .await
    }

    /// The first offset with a message of that time or later; the end if there is none.
    ///
    /// # Errors
    /// [`BinderError::UnknownDestination`], or that the broker refuses or is away.
    pub async fn offset_at(
        &self,
        destination: &str,
        partition: u32,
        time: Timestamp,
    ) -> Result<u64, BinderError> {
        let topic = destination.to_owned();
        let doing = format!("asking for an offset of {destination}/{partition} by time");
        self.ask(doing, move |asking| {
            // Times before 1970 would be other questions.
            let wanted = At::new(&topic, partition, time.as_millis().max(0));
            let found = one_offset(asking, wanted, Messages::All)?;
            match found {
                Some(offset) => Ok(offset),
                None => {
                    let end = one_offset(asking, At::new(&topic, partition, END), Messages::All)?;
                    Ok(end.unwrap_or(0))
                }
            }
        })
        .await
    }

    /// Records from an offset on, without a group; an empty batch at the end.
    ///
    /// # Errors
    /// [`BinderError::UnknownDestination`], or that the broker refuses or is away.
    pub async fn read(
        &self,
        destination: &str,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<RecordBatch, BinderError> {
        let (topic, reader) = (destination.to_owned(), self.reader.clone());
        self.ask(format!("reading {destination}/{partition}"), move |asking| {
            let deadline = Instant::now() + asking.timeout;
            loop {
                let first = one_offset(asking, At::new(&topic, partition, FIRST), Messages::All)?;
                let end = one_offset(asking, At::new(&topic, partition, END), Messages::Decided)?;
                let (first, end) = (first.unwrap_or(0), end.unwrap_or(0));
                let from = from.max(first);
                if from >= end {
                    return Ok(nothing(from));
                }
                let read = reader.read(&Wanted {
                    topic: &topic,
                    partition,
                    from,
                    end,
                    max_bytes,
                    deadline,
                });
                match read {
                    // What was first has been deleted since.
                    Err(fault) if fault.is_out_of_range() && Instant::now() < deadline => {}
                    read => return Ok(read?),
                }
            }
        })
        .await
    }

    /// The groups that have stored progress or members, sorted by name.
    ///
    /// # Errors
    /// That the broker refuses or is away.
    pub async fn groups(&self) -> Result<Vec<GroupInfo>, BinderError> {
        self.ask_of_groups("listing the groups".to_owned(), |_, groups| {
            let mut names = groups.settled(OfGroups::groups)?;
            names.sort();
            if names.is_empty() {
                return Ok(Vec::new());
            }
            let members = groups.settled(|groups| groups.members(&names))?;
            let mut infos = Vec::new();
            for name in names {
                let mut rows: BTreeMap<(String, u32), GroupPosition> = BTreeMap::new();
                let stored = groups.settled(|groups| groups.stored(&name))?;
                for at in stored.iter().filter(|at| at.offset >= 0) {
                    row(&mut rows, at).progress = Some(progress::decode(offset(at), &at.metadata));
                }
                for member in members.get(&name).into_iter().flatten() {
                    for at in &member.reads {
                        row(&mut rows, at).member = Some(member.client.as_str().into());
                    }
                }
                if !rows.is_empty() {
                    infos.push(GroupInfo {
                        name: name.into(),
                        positions: rows.into_values().collect(),
                    });
                }
            }
            Ok(infos)
        })
        .await
    }
}

/// The answer to a question for one offset; none where there is no such message. A topic or a partition that is missing
/// is told apart from one whose broker is away.
fn one_offset(asking: Asking<'_>, wanted: At, messages: Messages) -> Asked<Option<u64>> {
    let fault = match asking.offsets(std::slice::from_ref(&wanted), messages) {
        Ok(found) => return Ok(found.first().and_then(|at| u64::try_from(at.offset).ok())),
        Err(fault) => fault,
    };
    match asking.producer.partitions(&wanted.topic, asking.timeout)? {
        None => Err(Trouble::UnknownTopic(wanted.topic.into())),
        Some(count) if wanted.partition >= count => {
            let reason = format!("no partition {}, there are {count}", wanted.partition);
            Err(Fault::new(Code::UnknownPartition, reason).into())
        }
        Some(_) => Err(fault.into()),
    }
}

fn row<'a>(rows: &'a mut BTreeMap<(String, u32), GroupPosition>, at: &At) -> &'a mut GroupPosition {
    rows.entry((at.topic.clone(), at.partition))
        .or_insert_with(|| GroupPosition {
            destination: Arc::from(at.topic.as_str()),
            partition: at.partition,
            progress: None,
            member: None,
        })
}

fn in_rows(topic: &str, count: u32, first: &[At], end: &[At], stored: &[At]) -> Vec<PartitionPosition> {
    let by_partition = |all: &[At]| -> BTreeMap<u32, At> {
        let of_topic = all.iter().filter(|at| at.topic == topic && at.offset >= 0);
        of_topic.map(|at| (at.partition, at.clone())).collect()
    };
    let (first, end, stored) = (by_partition(first), by_partition(end), by_partition(stored));
    let rows = (0..count).map(|partition| PartitionPosition {
        partition,
        first: first.get(&partition).map_or(0, offset),
        end: end.get(&partition).map_or(0, offset),
        progress: stored
            .get(&partition)
            .map(|at| progress::decode(offset(at), &at.metadata)),
    });
    rows.collect()
}

fn offset(at: &At) -> u64 {
    u64::try_from(at.offset).unwrap_or(0)
}

/// What is said to be finished cannot lie beyond the end.
fn clip(progress: &mut Progress, end: u64) {
    progress.finished.retain_mut(|range| {
        range.end = range.end.min(end);
        range.start < range.end
    });
    progress.attempts.retain(|(offset, _)| *offset < end);
}

/// The broker's many words for a group whose members are there.
fn of_a_group_that_reads(fault: Fault) -> Fault {
    match fault.code {
        Code::NonEmptyGroup
        | Code::GroupSubscribedToTopic
        | Code::UnknownMemberId
        | Code::IllegalGeneration
        | Code::StaleMemberEpoch
        | Code::RebalanceInProgress => Fault::new(fault.code, STOP_IT.to_owned()),
        _ => fault,
    }
}

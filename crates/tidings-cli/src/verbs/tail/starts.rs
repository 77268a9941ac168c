//! Where each partition begins: [`Starts`].

use crate::broker::Broker;
use crate::error::CliError;
use crate::place::Place;
use crate::reading::{Merge, MessageFilter};
use std::collections::{BTreeMap, VecDeque};
use tidings_core::{DestinationInfo, PartitionPosition, Timestamp};

/// How much further back it looks each time too few were found.
const FURTHER: u64 = 8;

/// Where each partition begins.
#[derive(Debug, Default)]
pub(super) struct Starts {
    /// By partition.
    pub(super) offsets: BTreeMap<u32, u64>,
    /// How many messages that are meant are passed over from there on.
    pub(super) skip: usize,
}

/// The partitions that are read.
pub(super) async fn partitions(
    broker: &Broker,
    topic: &DestinationInfo,
    only: Option<u32>,
) -> Result<Vec<PartitionPosition>, CliError> {
    let mut positions = broker.positions(&topic.name, None).await?;
    if let Some(only) = only {
        positions.retain(|at| at.partition == only);
        if positions.is_empty() {
            return Err(CliError::missing(
                format!("no partition {only} in \"{}\"", topic.name),
                format!("it has {}, from 0 on", topic.partitions),
            ));
        }
    }
    Ok(positions)
}

/// Begins at a place.
pub(super) async fn at(
    broker: &Broker,
    topic: &str,
    partitions: &[PartitionPosition],
    place: Place,
) -> Result<Starts, CliError> {
    let mut starts = Starts::default();
    for at in partitions {
        starts
            .offsets
            .insert(at.partition, place.offset(broker, topic, at).await?);
    }
    Ok(starts)
}

/// Begins so that the last messages that are meant are seen. It looks back from the end, further each time, so that the
/// last few of a large topic do not cost reading all of it.
pub(super) async fn last(
    broker: &Broker,
    topic: &str,
    partitions: &[PartitionPosition],
    filter: &MessageFilter,
    wanted: usize,
) -> Result<Starts, CliError> {
    let mut back = wanted as u64;
    loop {
        let start = |at: &PartitionPosition| at.end.saturating_sub(back).max(at.first);
        let offsets: BTreeMap<_, _> = partitions.iter().map(|at| (at.partition, start(at))).collect();
        let cut: Vec<u32> = partitions
            .iter()
            .filter(|at| start(at) > at.first)
            .map(|at| at.partition)
            .collect();
        let seen = look_through(Merge::new(broker, topic, &offsets), filter, wanted).await?;
        if seen.is_enough(&cut, wanted) {
            let skip = seen.meant.saturating_sub(wanted);
            return Ok(Starts { offsets, skip });
        }
        back = back.saturating_mul(FURTHER).max(1);
    }
}

/// What was found from some places on.
#[derive(Debug, Default)]
struct Seen {
    /// How many are meant.
    meant: usize,
    /// The times of the last ones that are meant, as many as are wanted.
    last: VecDeque<Timestamp>,
    /// The time of the first message of each partition.
    first: BTreeMap<u32, Timestamp>,
}

impl Seen {
    /// Whether nothing that lies further back can be among the last ones: every partition that was not read from its
    /// beginning was read from before the oldest of them.
    fn is_enough(&self, cut: &[u32], wanted: usize) -> bool {
        let Some(oldest) = self.last.front().filter(|_| self.meant >= wanted) else {
            return cut.is_empty() || wanted == 0;
        };
        cut.iter()
            .all(|partition| self.first.get(partition).is_some_and(|first| first <= oldest))
    }
}

async fn look_through(mut merge: Merge<'_>, filter: &MessageFilter, wanted: usize) -> Result<Seen, CliError> {
    let mut seen = Seen::default();
    merge.look().await?;
    while let Some(found) = merge.next().await? {
        let time = found.message.timestamp().unwrap_or_default();
        seen.first.entry(found.position.partition()).or_insert(time);
        if filter.accepts(&found.message) {
            seen.meant += 1;
            seen.last.push_back(time);
            if seen.last.len() > wanted {
                seen.last.pop_front();
            }
        }
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_back_ends_when_nothing_older_can_be_among_the_last() {
        let at = Timestamp::from_millis;
        let seen = |last: &[i64], first: &[(u32, i64)]| Seen {
            meant: last.len(),
            last: last.iter().copied().map(at).collect(),
            first: first
                .iter()
                .map(|(partition, time)| (*partition, at(*time)))
                .collect(),
        };
        // Partition 1 was cut after the oldest that would be shown: an older one of it may belong there.
        assert!(!seen(&[5, 6], &[(0, 1), (1, 6)]).is_enough(&[0, 1], 2));
        assert!(seen(&[5, 6], &[(0, 1), (1, 6)]).is_enough(&[0], 2));
        assert!(seen(&[5, 6], &[(0, 1), (1, 5)]).is_enough(&[0, 1], 2));
        assert!(!seen(&[6], &[(0, 1)]).is_enough(&[0], 2));
        assert!(seen(&[6], &[(0, 1)]).is_enough(&[], 2));
        assert!(seen(&[], &[]).is_enough(&[0], 0));
    }
}

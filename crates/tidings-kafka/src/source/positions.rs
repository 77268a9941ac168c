//! Where partitions begin and end, and where the group stands in them: [`look`]. It waits for the broker, so it runs on
//! a thread of its own while the source goes on polling.

use crate::native::{Consumer, Found, List};
use crate::progress;
use crate::trouble::Fault;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{LaneRole, Progress, Start};

/// As Kafka's protocol has them: the time of the first message, and of the next one.
const FIRST: i64 = -2;
const END: i64 = -1;

/// A partition that is to be read.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: u32,
    pub(crate) role: LaneRole,
    /// Where to begin if the group has no position there.
    pub(crate) start: Start,
}

/// Where to read a partition.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    pub(crate) wanted: Wanted,
    /// What the group has finished, within what the partition holds.
    pub(crate) progress: Progress,
    /// Whether the group has stored a position.
    pub(crate) stored: bool,
    pub(crate) end: u64,
    /// Where the group's position is if it lies beyond the end.
    pub(crate) beyond: Option<u64>,
}

/// In the order in which they were asked for.
pub(crate) type Positions = Vec<Position>;

/// Whether there are positions of a group to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    Group,
    None,
}

/// Finds out where to read partitions.
pub(crate) fn look(
    consumer: &Consumer,
    wanted: &[Wanted],
    memory: Memory,
    timeout: Duration,
) -> Result<Positions, Fault> {
    let stored = match memory {
        Memory::Group => committed(consumer, wanted, timeout)?,
        Memory::None => HashMap::new(),
    };
    let first = times(consumer, wanted, |_| Some(FIRST), timeout)?;
    let end = times(consumer, wanted, |_| Some(END), timeout)?;
    let by_time = |one: &Wanted| match one.start {
        Start::Time(time) if !stored.contains_key(&key(one)) => Some(time.as_millis().max(0)),
        _ => None,
    };
    let of_time = times(consumer, wanted, by_time, timeout)?;
    let at = |map: &HashMap<_, Found>, one: &Wanted| {
        map.get(&key(one))
            .and_then(|found| u64::try_from(found.offset).ok())
    };
    let positions = wanted.iter().map(|one| {
        let first = at(&first, one).unwrap_or(0);
        let end = at(&end, one).unwrap_or(first).max(first);
        let begin = match one.start {
            Start::Latest => end,
            Start::Offset(offset) => offset.clamp(first, end),
            Start::Time(_) => at(&of_time, one).unwrap_or(end).clamp(first, end),
            _ => first,
        };
        position(one, stored.get(&key(one)), begin, first, end)
    });
    Ok(positions.collect())
}

type Key = (String, u32);

fn key(wanted: &Wanted) -> Key {
    (wanted.topic.to_string(), wanted.partition)
}

fn position(wanted: &Wanted, stored: Option<&Found>, begin: u64, first: u64, end: u64) -> Position {
    let committed = stored.and_then(|found| u64::try_from(found.offset).ok().map(|at| (at, found)));
    let mut progress = match committed {
        Some((at, found)) => progress::decode(at, &found.metadata),
        None => Progress {
            watermark: begin,
            ..Progress::default()
        },
    };
    if progress.watermark < first {
        tracing::warn!(
            topic = %wanted.topic,
            partition = wanted.partition,
            position = progress.watermark,
            first,
            "retention has deleted records that were not read; reading goes on at the first that is left"
        );
        progress.watermark = first;
    }
    let beyond = (progress.watermark > end).then_some(progress.watermark);
    let (from, to) = (progress.watermark, end);
    progress
        .finished
        .retain(|range| range.end > from && range.start < to);
    progress
        .attempts
        .retain(|(offset, _)| *offset >= from && *offset < to);
    Position {
        wanted: wanted.clone(),
        progress,
        stored: committed.is_some(),
        end,
        beyond,
    }
}

fn committed(
    consumer: &Consumer,
    wanted: &[Wanted],
    timeout: Duration,
) -> Result<HashMap<Key, Found>, Fault> {
    let mut list = List::new();
    for one in wanted {
        list.add(&one.topic, one.partition);
    }
    consumer.committed(&mut list, timeout)?;
    let found = by_key(list)?;
    Ok(found.into_iter().filter(|(_, found)| found.offset >= 0).collect())
}

fn times(
    consumer: &Consumer,
    wanted: &[Wanted],
    time: impl Fn(&Wanted) -> Option<i64>,
    timeout: Duration,
) -> Result<HashMap<Key, Found>, Fault> {
    let mut list = List::new();
    for one in wanted {
        if let Some(time) = time(one) {
            list.add_at(&one.topic, one.partition, time);
        }
    }
    if list.is_empty() {
        return Ok(HashMap::new());
    }
    consumer.offsets_for_times(&mut list, timeout)?;
    by_key(list)
}

fn by_key(list: List) -> Result<HashMap<Key, Found>, Fault> {
    let found = list.found().into_iter().map(|found| match &found.fault {
        Some(fault) => Err(Fault::new(
            fault.code,
            format!("{}/{}: {}", found.topic, found.partition, fault.reason),
        )),
        None => Ok(((found.topic.clone(), found.partition), found)),
    });
    found.collect()
}

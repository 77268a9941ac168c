//! Where partitions begin and end, and where the group stands in them: [`look`]. It waits for the broker, so it runs on
//! a thread of its own while the source goes on polling.

use crate::admin::ends_of;
use crate::native::{Consumer, Found, List};
use crate::progress::{self, Beginning};
use crate::sink::Producer;
use crate::trouble::Fault;
use rdkafka::error::RDKafkaErrorCode;
use std::collections::{BTreeSet, HashMap};
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
    /// The offset after the last that is decided. A group may be beyond it: while a transaction is open, somebody has
    /// set the position to the end of what there is, or has read what is not decided. Whether it is beyond all there is
    /// the broker says when that is to be read.
    pub(crate) end: u64,
    /// Where the group's position was if retention has deleted what was there.
    pub(crate) deleted: Option<u64>,
    /// The first offset that is left.
    pub(crate) first: u64,
    /// To be stored with each position.
    pub(crate) began_with: Beginning,
    /// Where the group's position was in another topic of this name, which was deleted.
    pub(crate) of_other: Option<u64>,
}

impl Position {
    /// Whether a group without a position begins elsewhere when it is asked for again later.
    pub(crate) fn begins_late(&self) -> bool {
        self.wanted.start != Start::Earliest
    }
}

/// In the order in which they were asked for.
pub(crate) type Positions = Vec<Position>;

/// Whether there are positions of a group to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    Group,
    None,
}

/// Finds out where to read partitions. With a producer, a retry partition ends behind everything that is there, decided
/// or not: what was parked in a transaction that is committed may not be marked as such yet, and must not be overlooked.
pub(crate) fn look(
    consumer: &Consumer,
    producer: Option<&Producer>,
    wanted: &[Wanted],
    memory: Memory,
    timeout: Duration,
) -> Result<Positions, Fault> {
    let ids = match memory {
        Memory::Group => topic_ids(consumer, wanted, timeout)?,
        Memory::None => HashMap::new(),
    };
    let mut stored = match memory {
        Memory::Group => committed(consumer, wanted, timeout)?,
        Memory::None => HashMap::new(),
    };
    let others = without_others(&mut stored, &ids);
    let beginnings = match memory {
        Memory::Group => beginnings(consumer, wanted, &ids, timeout)?,
        Memory::None => HashMap::new(),
    };
    let start_of = |one: &Wanted| match beginnings.get(&one.topic) {
        // The group reads the topic that this one stands for.
        _ if others.contains_key(&key(one)) => Start::Earliest,
        // A partition that came later is the group's from its first message on.
        Some(count) if one.role == LaneRole::Main && one.partition >= *count => Start::Earliest,
        _ => one.start,
    };
    let first = times(consumer, wanted, |_| Some(FIRST), timeout)?;
    let end = times(consumer, wanted, |_| Some(END), timeout)?;
    let last = match producer {
        Some(producer) => ends(producer, wanted, timeout)?,
        None => HashMap::new(),
    };
    let by_time = |one: &Wanted| match start_of(one) {
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
        let begin = match start_of(one) {
            Start::Latest => end,
            Start::Offset(offset) => offset.clamp(first, end),
            Start::Time(_) => at(&of_time, one).unwrap_or(end).clamp(first, end),
            _ => first,
        };
        let mut position = position(one, stored.get(&key(one)), begin, first, end);
        position.end = last.get(&key(one)).map_or(end, |last| end.max(*last));
        let count = beginnings.get(&one.topic).copied();
        position.began_with = Beginning {
            partitions: count.filter(|count| one.role == LaneRole::Main && *count > 0),
            topic: ids.get(&*one.topic).copied(),
        };
        position.of_other = others.get(&key(one)).copied();
        position
    });
    Ok(positions.collect())
}

type Key = (String, u32);

fn topic_ids(
    consumer: &Consumer,
    wanted: &[Wanted],
    timeout: Duration,
) -> Result<HashMap<String, u64>, Fault> {
    let names: BTreeSet<&str> = wanted.iter().map(|one| &*one.topic).collect();
    consumer.topic_ids(&names.into_iter().collect::<Vec<_>>(), timeout)
}

/// Takes out, and gives, positions in other topics of the same names. Kafka deletes positions together with a topic;
/// but a commit that is tried again meanwhile is kept as one for the topic that is made next.
fn without_others(stored: &mut HashMap<Key, Found>, ids: &HashMap<String, u64>) -> HashMap<Key, u64> {
    let is_of_other = |key: &Key, found: &mut Found| {
        progress::began_with(&found.metadata).is_of_other_than(ids.get(&key.0).copied())
    };
    let others = stored.extract_if(is_of_other);
    others
        .map(|(key, found)| (key, u64::try_from(found.offset).unwrap_or(0)))
        .collect()
}

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
    let deleted = (progress.watermark < first).then_some(progress.watermark);
    progress.watermark = progress.watermark.max(first);
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
        deleted,
        first,
        began_with: Beginning::default(),
        of_other: None,
    }
}

/// How many partitions a topic had when the group began to read it, for topics that it does not read from the first
/// message on: what comes later belongs to a group that runs, and `start` speaks of a group that begins. 0 where the
/// group has positions that don't say it: every partition without one counts as added then, so that nothing is skipped.
fn beginnings(
    consumer: &Consumer,
    wanted: &[Wanted],
    ids: &HashMap<String, u64>,
    timeout: Duration,
) -> Result<HashMap<Arc<str>, u32>, Fault> {
    let mut all = HashMap::new();
    for one in wanted {
        let decides = one.role == LaneRole::Main && one.start != Start::Earliest;
        if !decides || all.contains_key(&one.topic) {
            continue;
        }
        let count = partitions(consumer, &one.topic, timeout)?;
        let places = (0..count).map(|partition| Wanted {
            partition,
            ..one.clone()
        });
        let mut stored = committed(consumer, &places.collect::<Vec<_>>(), timeout)?;
        without_others(&mut stored, ids);
        let began = stored
            .values()
            .map(|found| progress::began_with(&found.metadata).partitions.unwrap_or(0));
        all.insert(one.topic.clone(), began.min().unwrap_or(count));
    }
    Ok(all)
}

fn partitions(consumer: &Consumer, topic: &str, timeout: Duration) -> Result<u32, Fault> {
    let found = consumer.client().fetch_metadata(Some(topic), timeout);
    let found = found.map_err(|error| {
        let code = error.rdkafka_error_code();
        Fault::new(code.unwrap_or(RDKafkaErrorCode::Unknown), error.to_string())
    })?;
    let counts = found.topics().iter().map(|topic| topic.partitions().len());
    Ok(counts
        .max()
        .map_or(0, |count| u32::try_from(count).unwrap_or(u32::MAX)))
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

/// Where retry partitions end, decided or not.
fn ends(producer: &Producer, wanted: &[Wanted], timeout: Duration) -> Result<HashMap<Key, u64>, Fault> {
    let retry = wanted.iter().filter(|one| one.role == LaneRole::Retry);
    let places: Vec<_> = retry.map(key).collect();
    match places.is_empty() {
        true => Ok(HashMap::new()),
        false => ends_of(producer, &places, timeout),
    }
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

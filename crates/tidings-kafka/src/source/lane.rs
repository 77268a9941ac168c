//! One partition that a source reads: [`Lane`], and all of them: [`Lanes`].

use crate::progress::Beginning;
use crate::source::positions::{Position, Wanted};
use crate::source::speed::Speed;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tidings_core::{Assignment, Epoch, LaneId, LaneRole, Progress, RecordBatch, Start};

/// A partition of one assignment.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: u32,
    pub(crate) role: LaneRole,
    pub(crate) epoch: Epoch,
    pub(crate) partner: Option<LaneId>,
    /// The offset after what was taken from librdkafka: what comes below it again is not given twice.
    pub(crate) next: u64,
    /// Batches that were made and not given.
    ready: VecDeque<RecordBatch>,
    ready_bytes: usize,
    /// How fast the engine takes them.
    speed: Speed,
    /// The engine wants no batches.
    pub(crate) paused: bool,
    /// librdkafka does not read it.
    pub(crate) held: bool,
    /// Everything was read.
    pub(crate) at_end: bool,
    pub(crate) standing: Standing,
    pub(crate) released: bool,
    pub(crate) reported: Option<Reported>,
    /// Stored with each position.
    pub(crate) began_with: Beginning,
    /// Where it begins while nothing is stored.
    start: Start,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Readable,
    /// It is to be handed over.
    Revoked,
    /// It cannot be read; the reason was told.
    Failed,
    /// The transaction was given up: it goes on at what is committed, and the engine does not have it.
    Suspended,
}

/// Progress that was reported.
#[derive(Debug)]
pub(crate) struct Reported {
    pub(crate) progress: Progress,
    /// Counts the reports.
    pub(crate) version: u64,
    /// Up to which report it is stored.
    pub(crate) stored: u64,
}

impl Lane {
    pub(crate) fn new(position: &Position, epoch: Epoch) -> Self {
        // Where a new group begins is stored at once: otherwise it would begin elsewhere after a restart.
        let begun = Reported {
            progress: position.progress.clone(),
            version: 1,
            stored: u64::from(position.stored),
        };
        Self {
            topic: position.wanted.topic.clone(),
            partition: position.wanted.partition,
            role: position.wanted.role,
            epoch,
            partner: None,
            next: position.progress.watermark,
            ready: VecDeque::new(),
            ready_bytes: 0,
            speed: Speed::default(),
            paused: false,
            held: false,
            at_end: false,
            standing: Standing::Readable,
            released: false,
            reported: Some(begun),
            began_with: position.began_with,
            start: position.wanted.start,
        }
    }

    pub(crate) fn assignment(&self, lane: LaneId, position: Position) -> Assignment {
        Assignment {
            lane,
            epoch: self.epoch,
            destination: self.topic.clone(),
            partition: self.partition,
            role: self.role,
            partner: self.partner,
            next: position.progress.watermark,
            end: position.end,
            finished: position.progress.finished,
            attempts: position.progress.attempts,
            deaths: Vec::new(),
            marks: None,
        }
    }

    /// As it is asked for where it goes on.
    pub(crate) fn wanted(&self) -> Wanted {
        Wanted {
            topic: self.topic.clone(),
            partition: self.partition,
            role: self.role,
            start: self.start,
        }
    }

    /// Whether batches of it may be given now.
    pub(crate) fn is_open(&self) -> bool {
        self.standing == Standing::Readable && !self.paused
    }

    pub(crate) fn push(&mut self, batch: RecordBatch) {
        self.next = batch.next();
        self.ready_bytes += batch.memory_bytes();
        self.ready.push_back(batch);
    }

    fn pop(&mut self) -> Option<RecordBatch> {
        let batch = self.ready.pop_front()?;
        self.ready_bytes -= batch.memory_bytes();
        self.speed.taken(batch.memory_bytes());
        Some(batch)
    }

    /// How many bytes of it are taken a second.
    pub(super) fn taken_a_second(&self) -> usize {
        self.speed.a_second()
    }

    pub(crate) fn ready_bytes(&self) -> usize {
        self.ready_bytes
    }

    pub(crate) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// Forgets what was not given.
    pub(crate) fn clear(&mut self) {
        self.ready.clear();
        self.ready_bytes = 0;
    }

    /// Whether nothing of it is to come at the moment, as far as is known.
    pub(crate) fn is_read(&self) -> bool {
        !self.is_open() || (self.at_end && self.ready.is_empty())
    }

    /// Takes a report of progress; how many messages are finished by it.
    pub(crate) fn report(&mut self, progress: Progress) -> Option<u64> {
        let reported = self.reported.as_mut()?;
        if reported.progress == progress {
            return None;
        }
        let finished = progress.watermark.saturating_sub(reported.progress.watermark);
        reported.progress = progress;
        reported.version += 1;
        Some(finished)
    }

    /// Nothing of it is to be stored yet.
    pub(crate) fn is_stored(&mut self) {
        if let Some(reported) = &mut self.reported {
            reported.stored = reported.version;
        }
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.reported
            .as_ref()
            .is_some_and(|reported| reported.version != reported.stored)
    }
}

/// The lanes of a source.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    places: Vec<Option<Lane>>,
    by_topic: HashMap<Arc<str>, HashMap<u32, LaneId>>,
    /// Where the round goes on.
    cursor: usize,
}

impl Lanes {
    /// Puts a lane into the lowest free place.
    pub(crate) fn add(&mut self, lane: Lane) -> LaneId {
        let free = self.places.iter().position(Option::is_none);
        let free = free.unwrap_or(self.places.len());
        let id = LaneId(u32::try_from(free).unwrap_or(u32::MAX));
        let of_topic = self.by_topic.entry(lane.topic.clone()).or_default();
        of_topic.insert(lane.partition, id);
        match self.places.get_mut(free) {
            Some(place) => *place = Some(lane),
            None => self.places.push(Some(lane)),
        }
        id
    }

    pub(crate) fn remove(&mut self, id: LaneId) -> Option<Lane> {
        let lane = self.places.get_mut(id.0 as usize)?.take()?;
        if let Some(of_topic) = self.by_topic.get_mut(&lane.topic) {
            of_topic.remove(&lane.partition);
        }
        Some(lane)
    }

    /// Whether any partition of a topic is read.
    pub(crate) fn reads(&self, topic: &str) -> bool {
        self.by_topic
            .get(topic)
            .is_some_and(|of_topic| !of_topic.is_empty())
    }

    pub(crate) fn at(&self, topic: &str, partition: u32) -> Option<LaneId> {
        self.by_topic.get(topic)?.get(&partition).copied()
    }

    pub(crate) fn get(&self, id: LaneId) -> Option<&Lane> {
        self.places.get(id.0 as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        self.places.get_mut(id.0 as usize)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (LaneId, &Lane)> {
        (0..)
            .zip(&self.places)
            .filter_map(|(id, lane)| Some((LaneId(id), lane.as_ref()?)))
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The next batch in turn of a lane that is open.
    pub(crate) fn next_batch(&mut self) -> Option<RecordBatch> {
        let count = self.places.len();
        for step in 0..count {
            let place = (self.cursor + step) % count;
            let lane = self.places.get_mut(place).and_then(Option::as_mut);
            if let Some(batch) = lane.filter(|lane| lane.is_open()).and_then(Lane::pop) {
                self.cursor = place + 1;
                return Some(batch);
            }
        }
        None
    }
}

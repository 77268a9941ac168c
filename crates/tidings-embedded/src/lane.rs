//! One partition that a source reads: [`Lane`].

use crate::deaths::is_open;
use crate::group::Unit;
use crate::lock::lock;
use crate::partition::Partition;
use crate::progress::{Entry, clip};
use crate::shared::Shared;
use crate::signal::News;
use crate::tail;
use std::sync::{Arc, Mutex};
use tidings_core::{
    Assignment, Deaths, LaneId, LaneRole, Progress, Record, RecordBatch, SourceError, Span, Timestamp,
};
use tidings_log::{Chunk, LogError, Lost, PartitionLog};

/// Farther behind the end than this a read may have to wait for the disk, so it goes to a thread for that.
const NEAR_BYTES: u64 = 4 << 20;

/// A partition of one assignment.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) unit: Unit,
    pub(crate) role: LaneRole,
    pub(crate) partner: Option<LaneId>,
    pub(crate) partition: Arc<Partition>,
    /// Where its progress is reported to; none without a group.
    pub(crate) entry: Option<Arc<Entry>>,
    pub(crate) paused: bool,
    pub(crate) released: bool,
    /// What was reported last.
    pub(crate) watermark: u64,
    /// By which others tell that there is something to look at here.
    pub(crate) news: Arc<News>,
    /// It stands in the list of those that are looked at.
    pub(crate) is_queued: bool,
    /// The last look has found the end: there is nothing until it is told.
    pub(crate) is_drained: bool,
    next: u64,
    standing: Standing,
    reading: Option<Arc<Reading>>,
    /// What was read and is more than a batch may hold.
    rest: Option<RecordBatch>,
}

#[derive(Debug)]
enum Standing {
    Readable,
    /// It is to be handed over.
    Revoked,
    /// It cannot be read; the reason is told once.
    Failed(Option<SourceError>),
}

/// A read on another thread.
type Reading = Mutex<Option<Result<Chunk, Arc<LogError>>>>;

/// What a look at a lane gives.
pub(crate) enum Look {
    Batch(RecordBatch),
    /// Everything was read.
    AtEnd,
    /// Another thread reads.
    Reading,
    /// It gives nothing now, and nobody waits for it.
    Off,
    Failed(SourceError),
}

impl Lane {
    /// A lane of a new assignment. Without progress it begins at `start`.
    pub(crate) fn new(
        unit: Unit,
        role: LaneRole,
        partition: Arc<Partition>,
        entry: Option<Arc<Entry>>,
        start: u64,
        news: Arc<News>,
    ) -> Self {
        Self {
            unit,
            role,
            partner: None,
            partition,
            entry,
            paused: false,
            released: false,
            watermark: start,
            news,
            is_queued: false,
            is_drained: false,
            next: start,
            standing: Standing::Readable,
            reading: None,
            rest: None,
        }
    }

    /// Finds out where the lane goes on and where it ends.
    pub(crate) fn assign(&mut self, shared: &Shared, lane: LaneId) -> Assignment {
        let reported = self.entry.as_ref().and_then(|entry| entry.reported());
        let mut progress = reported.unwrap_or(Progress {
            watermark: self.next,
            ..Progress::default()
        });
        self.next = progress.watermark;
        let partition = self.partition.clone();
        let end = match partition.log(shared) {
            Ok(log) => {
                let end = self.settle(shared, log);
                clip(&mut progress, end);
                end
            }
            Err(error) => {
                let error = partition.unreadable(shared, &error, self.next);
                if !error.is_transient() {
                    self.standing = Standing::Failed(Some(error));
                }
                // Nobody knows what is there. Something that was not read, so that nobody overtakes it.
                self.next.saturating_add(1)
            }
        };
        self.watermark = self.next;
        let next = self.next;
        progress.watermark = next;
        let deaths = self
            .entry
            .as_ref()
            .map(|entry| entry.deaths())
            .unwrap_or_default();
        let still_open = |deaths: &Deaths| deaths.offset < end && is_open(&progress, deaths.offset);
        let deaths = deaths.into_iter().filter(still_open).collect();
        Assignment {
            lane,
            epoch: self.unit.epoch,
            destination: partition.topic.clone(),
            partition: partition.index,
            role: self.role,
            partner: self.partner,
            next,
            end,
            finished: progress
                .finished
                .into_iter()
                .filter(|range| range.end > next)
                .collect(),
            attempts: progress
                .attempts
                .into_iter()
                .filter(|(offset, _)| *offset >= next)
                .collect(),
            deaths,
            marks: shared.marks.get().map(|marks| marks.of_lane(self.entry.as_ref())),
        }
    }

    /// Brings the position within what there is; the end.
    fn settle(&mut self, shared: &Shared, log: &PartitionLog) -> u64 {
        let (first, end) = (log.first_offset(), self.partition.end(shared, log));
        if self.next < first {
            self.skip_deleted(first);
        }
        if self.next > end {
            let reason = format!(
                "the stored position {} is beyond the end {end}: records were lost, as a crash of the machine can with fsync = \"os\" or \"interval\"; set the group's position to {end} or lower",
                self.next
            );
            shared.health.report(&self.partition.place(), &reason);
            self.standing = Standing::Failed(Some(SourceError::Corrupt {
                destination: self.partition.topic.clone(),
                partition: self.partition.index,
                offset: end,
                reason,
            }));
        }
        end
    }

    fn skip_deleted(&mut self, first: u64) {
        tracing::warn!(
            place = %self.partition.place(),
            position = self.next,
            first,
            "retention has deleted records that were not read; reading goes on at the first that is left"
        );
        self.next = first;
    }

    /// The next batch, if there is one.
    pub(crate) fn look(&mut self, shared: &Arc<Shared>, lane: LaneId, max_bytes: usize) -> Look {
        self.is_drained = false;
        match &mut self.standing {
            Standing::Failed(error) => return error.take().map_or(Look::Off, Look::Failed),
            Standing::Revoked => return Look::Off,
            Standing::Readable if self.paused => return Look::Off,
            Standing::Readable => {}
        }
        if let Some(rest) = self.rest.take() {
            return self.hand_over(shared, rest, max_bytes);
        }
        if let Some(reading) = &self.reading {
            let Some(result) = lock(reading).take() else {
                return Look::Reading;
            };
            self.reading = None;
            return self.deliver(shared, lane, result, max_bytes);
        }
        let partition = self.partition.clone();
        let log = match partition.log(shared) {
            Ok(log) => log,
            Err(error) => return self.fail(shared, &error),
        };
        let end = partition.end(shared, log);
        if self.next >= end {
            self.is_drained = true;
            return Look::AtEnd;
        }
        if !shared.is_in_memory() && is_far(shared, log, self.next) {
            self.read_elsewhere(shared, end, max_bytes);
            return Look::Reading;
        }
        let read_bytes = match shared.is_volatile() {
            true => max_bytes.min(tail::READ_BYTES),
            false => max_bytes,
        };
        let result = log.read(self.next, end, read_bytes).map_err(Arc::new);
        let look = self.deliver(shared, lane, result, max_bytes);
        self.is_drained = matches!(look, Look::Batch(_)) && self.rest.is_none() && self.next >= end;
        look
    }

    fn read_elsewhere(&mut self, shared: &Arc<Shared>, end: u64, max_bytes: usize) {
        let reading = Arc::new(Reading::default());
        self.reading = Some(reading.clone());
        let (partition, news, next) = (self.partition.clone(), self.news.clone(), self.next);
        let again = shared.clone();
        drop(shared.spawn_blocking(move || {
            let result = partition
                .log(&again)
                .and_then(|log| log.read(next, end, max_bytes).map_err(Arc::new));
            *lock(&reading) = Some(result);
            news.tell();
        }));
    }

    fn deliver(
        &mut self,
        shared: &Shared,
        lane: LaneId,
        result: Result<Chunk, Arc<LogError>>,
        max_bytes: usize,
    ) -> Look {
        let chunk = match result {
            Ok(chunk) => chunk,
            Err(error) => return self.fail(shared, &error),
        };
        let next = chunk.next_offset();
        self.tell_lost(chunk.lost());
        let batch = batch(lane, self.unit.epoch, self.next, chunk);
        if batch.is_empty() && next <= self.next {
            return Look::AtEnd;
        }
        self.hand_over(shared, batch, max_bytes)
    }

    /// A batch of at most so many bytes, or of one record: a frame may hold more. The others have their turn later.
    fn hand_over(&mut self, shared: &Shared, batch: RecordBatch, max_bytes: usize) -> Look {
        let (batch, rest) = batch.split(max_bytes);
        self.next = batch.next();
        self.rest = rest;
        if let Some(entry) = self.entry.as_ref().filter(|_| shared.syncs_later()) {
            entry.hand_out(self.next);
        }
        Look::Batch(batch)
    }

    /// Records that an operator had taken out are nobody's to handle: the position passes them. It is said, once for each
    /// reader, because this is the moment in which a message that was acknowledged is not handled.
    fn tell_lost(&self, lost: &[Lost]) {
        for lost in lost {
            tracing::error!(
                place = %self.partition.place(),
                first = lost.offsets.start,
                end = lost.offsets.end,
                reason = lost.reason,
                "records are gone since a repair; reading goes on behind them"
            );
        }
    }

    fn fail(&mut self, shared: &Shared, error: &LogError) -> Look {
        if let LogError::OutOfRange { first, .. } = error
            && self.next < *first
        {
            self.skip_deleted(*first);
            // Whoever looks again finds the first that is left.
            self.news.tell();
            return Look::Reading;
        }
        let error = self.partition.unreadable(shared, error, self.next);
        if !error.is_transient() {
            self.standing = Standing::Failed(None);
        }
        Look::Failed(error)
    }

    /// Goes on at another offset, also beyond what could not be read.
    pub(crate) fn seek(&mut self, offset: u64) {
        self.next = offset;
        self.reading = None;
        self.rest = None;
        if matches!(self.standing, Standing::Failed(_)) {
            self.standing = Standing::Readable;
        }
    }

    /// It is to be handed over: no more batches.
    pub(crate) fn revoke(&mut self) {
        self.standing = Standing::Revoked;
        self.reading = None;
        self.rest = None;
    }

    /// Whether it is to be handed over.
    pub(crate) fn is_revoked(&self) -> bool {
        matches!(self.standing, Standing::Revoked)
    }
}

/// Whether a read there is likely to wait for the disk, guessed from the mean size of a record. A reader that is a few
/// records behind is near whatever their size: most are, and asking for the size of the log takes locks.
fn is_far(shared: &Shared, log: &PartitionLog, next: u64) -> bool {
    let (first, end) = (log.first_offset(), log.next_offset());
    let records = end.saturating_sub(first).max(1);
    let behind = end.saturating_sub(next);
    if behind.saturating_mul(shared.options.max_message_bytes as u64) <= NEAR_BYTES {
        return false;
    }
    u128::from(log.bytes()) * u128::from(behind) / u128::from(records) > u128::from(NEAR_BYTES)
}

/// The records from `from` on, in the memory in which they were read.
pub(crate) fn batch(lane: LaneId, epoch: tidings_core::Epoch, from: u64, chunk: Chunk) -> RecordBatch {
    let next = chunk.next_offset();
    let (memory, views) = chunk.into_parts();
    let span = |span: tidings_log::Span| Span {
        start: span.start,
        len: span.len,
    };
    let records = views
        .into_iter()
        .filter(|view| view.offset >= from)
        .map(|view| Record {
            offset: view.offset,
            timestamp: Timestamp::from_millis(view.timestamp_ms),
            key: view.key.map(span),
            headers: span(view.headers),
            payload: view.payload.map(span),
        })
        .collect();
    RecordBatch::new(lane, epoch, memory, records, next)
}

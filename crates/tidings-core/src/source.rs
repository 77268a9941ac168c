//! The receiving side of the seam to a broker: [`Source`].

use crate::BoxFuture;
use crate::delivery::LaneRole;
use crate::marks::{Deaths, LaneMarks};
use crate::message::Timestamp;
use crate::records::{Epoch, LaneId, RecordBatch};
use crate::sink::Sink;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Where a group begins that has no stored position yet, and where a subscription without a group always begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// The oldest message that is kept.
    Earliest,
    /// Messages published from now on.
    Latest,
    /// That offset in every partition.
    Offset(u64),
    /// The first message of that time or later.
    Time(Timestamp),
}

/// What a subscription asks a broker for.
#[derive(Debug, Clone)]
pub struct SourceSpec {
    /// The name of the subscription, for logs and as the member's name.
    pub subscription: Arc<str>,
    /// The group; none reads everything by itself and stores nothing.
    pub group: Option<Arc<str>>,
    /// What to read; may be nothing where [`Source::change_inputs`] adds to it.
    pub inputs: Vec<SourceInput>,
    /// Which partitions of the destinations to read, without a group; none for all of them. One that is not there is
    /// refused, or waited for where a destination may grow.
    pub partitions: Option<Arc<[u32]>>,
    /// Where to begin without a stored position.
    pub start: Start,
    /// How many bytes a batch should have at the most; a larger message comes alone.
    pub max_batch_bytes: usize,
    /// Progress is stored at least this often.
    pub commit_interval: Duration,
    /// Progress is stored after this many finished messages.
    pub commit_every: u64,
    /// How long a revoked lane may drain before it is taken away.
    pub revoke_timeout: Duration,
    /// What holds together.
    pub guarantee: Guarantee,
}

impl SourceSpec {
    /// Whether partitions of that number are to be read.
    pub fn reads(&self, partition: u32) -> bool {
        is_chosen(self.partitions.as_deref(), partition)
    }
}

/// Whether a partition is among those that were chosen, which are all if there was no choice.
pub fn is_chosen(chosen: Option<&[u32]>, partition: u32) -> bool {
    chosen.is_none_or(|chosen| chosen.contains(&partition))
}

/// How often a message has its effects on the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Guarantee {
    /// Once or more often: progress is stored by itself, after the effects.
    #[default]
    AtLeastOnce,
    /// Once: effects and progress are one transaction, see [`Source::transaction`].
    ExactlyOnce,
}

/// Where the effects of an exactly-once subscription go, so that they are committed together with its progress.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// Takes what is published into the transaction that is open. The first publish after a commit, or after lanes were
    /// assigned, opens the next one. The engine publishes nothing from before [`Source::commit`] or
    /// [`Source::abort`] is called until that has ended.
    ///
    /// A publish that fails and is no [permanent](crate::PublishError::is_permanent) failure breaks the transaction: it is in
    /// doubt whether it is part of it. From when the source gave a transaction up by itself until it reports the lanes
    /// as [assigned](SourceEvent::Assigned) again, every publish fails so.
    ///
    /// [`PublishError::is_permanent`]: crate::PublishError::is_permanent
    pub sink: Arc<dyn Sink>,
    /// The broker gives up a transaction that is open for longer.
    pub timeout: Duration,
    /// So many ranges of [`Progress::finished`] are part of the transaction, for each lane and whatever their numbers:
    /// more are never reported. With 0, nothing above a watermark is finished when a transaction is committed, which
    /// keeps a retry lane waiting for its first message.
    pub ranges: usize,
}

/// A destination to read, and the group's retry destination that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceInput {
    /// The destination.
    pub destination: Arc<str>,
    /// The group's retry destination, with the same number of partitions. Its partition p is always assigned together
    /// with partition p of the destination.
    pub retry: Option<Arc<str>>,
}

/// A lane that now belongs to this member.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// The lane.
    pub lane: LaneId,
    /// This assignment's epoch.
    pub epoch: Epoch,
    /// The destination that the lane reads.
    pub destination: Arc<str>,
    /// The partition that the lane reads.
    pub partition: u32,
    /// What it holds.
    pub role: LaneRole,
    /// For a main lane with a retry lane, or the reverse: the other one. Both are in the same event.
    pub partner: Option<LaneId>,
    /// The first offset that is not known to be finished.
    pub next: u64,
    /// Where the lane ended when it was assigned: a retry lane is known completely once it was read to here.
    /// `u64::MAX` if that is not known yet: then it is known when the source is next [idle](SourceEvent::Idle).
    pub end: u64,
    /// Offsets above `next` that are finished already.
    pub finished: Vec<Range<u64>>,
    /// Attempts made before, by offset.
    pub attempts: Vec<(u64, u32)>,
    /// Messages that a process died of, or beside, while it handled them; each offset once.
    pub deaths: Vec<Deaths>,
    /// How what is being handled is marked, so that it is known if the process dies. None on brokers without that.
    pub marks: Option<LaneMarks>,
}

/// What is finished in a lane.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Every offset below this is finished: all that a restart may skip.
    pub watermark: u64,
    /// Ranges of finished offsets above it. A broker may store them so that a restart handles less again; correctness
    /// never depends on it.
    pub finished: Vec<Range<u64>>,
    /// Attempts made of messages that wait in a retry lane, by offset.
    pub attempts: Vec<(u64, u32)>,
}

/// What a source reports.
#[derive(Debug)]
#[non_exhaustive]
pub enum SourceEvent {
    /// These lanes belong to this member now.
    Assigned(Vec<Assignment>),
    /// These lanes are to be handed over: finish what runs, report progress, [`Source::release`] them.
    Revoking {
        /// The lanes.
        lanes: Vec<LaneId>,
        /// When they are taken away.
        deadline: Instant,
    },
    /// These lanes belong to somebody else already; what is still running for them counts for nothing.
    Lost(Vec<LaneId>),
    /// Records of one lane.
    Batch(RecordBatch),
    /// Every lane that is not paused was read to its end.
    Idle,
}

/// Why a source cannot go on.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The broker is away; asking again may help.
    #[error("the broker is away: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// The broker does not let this client in, or denies it what is read; asking again may help, once somebody has given
    /// it other credentials or rights.
    #[error("the broker denies access: {reason}")]
    Unauthorized {
        /// Why, and what to do.
        reason: String,
    },
    /// What is stored is damaged: nothing after it is delivered until somebody decides.
    #[error("{destination}/{partition} is damaged at offset {offset}: {reason}")]
    Corrupt {
        /// The destination.
        destination: Arc<str>,
        /// The partition.
        partition: u32,
        /// The first offset that cannot be read.
        offset: u64,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The broker refuses this reader for good.
    #[error("the broker refuses: {reason}")]
    Refused {
        /// Why, and what to do.
        reason: String,
    },
    /// The transaction was given up: nothing of it is seen by readers of what is committed, and its messages will be
    /// delivered again.
    #[error("the transaction was given up, its messages will be handled again: {reason}")]
    Aborted {
        /// Why.
        reason: String,
    },
    /// The broker was closed.
    #[error("the broker is closed")]
    Closed,
}

impl SourceError {
    /// Whether asking again may help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Unauthorized { .. })
    }
}

/// One member of a group: what a broker delivers to one subscription.
pub trait Source: Send {
    /// The next event.
    ///
    /// Membership in the group lives as long as this is called, and the engine always calls it. A lane that is paused
    /// gives no batch, but assignment events still come.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the event comes with the next call.
    ///
    /// # Errors
    /// [`SourceError`]; after a transient one it may be called again.
    fn next(&mut self) -> impl Future<Output = Result<SourceEvent, SourceError>> + Send;

    /// Reports what is finished. Ignored for another epoch than the lane's current one. Stored soon, see
    /// [`SourceSpec::commit_interval`].
    fn progress(&mut self, lane: LaneId, epoch: Epoch, progress: Progress);

    /// Stops batches of these lanes.
    fn pause(&mut self, lanes: &[LaneId]);

    /// Lets batches of these lanes come again.
    fn resume(&mut self, lanes: &[LaneId]);

    /// Goes on reading at another offset. What was read before is the caller's to forget.
    fn seek(&mut self, lane: LaneId, offset: u64);

    /// Reads these from now on, in place of what it was given before: what a pattern of destinations matches changes
    /// while a service runs. Lanes of what is new are [assigned](SourceEvent::Assigned) as soon as they can be, and
    /// begin at the first message where the group has no position, whatever [`SourceSpec::start`] says; lanes of what
    /// is no longer there are [handed over](SourceEvent::Revoking) or [lost](SourceEvent::Lost). What stays goes on.
    /// What is new exists, with its retry destination. There may be nothing to read.
    ///
    /// # Errors
    /// [`SourceError`]: nothing has changed then. [`SourceError::Refused`] from brokers without
    /// [`Capabilities::patterns`](crate::Capabilities::patterns), which is the default.
    fn change_inputs(&mut self, inputs: &[SourceInput]) -> Result<(), SourceError> {
        let _ = inputs;
        Err(no_changes())
    }

    /// Stores all reported progress.
    ///
    /// # Cancel safety
    /// Dropping the future ends the waiting, not the storing; called again it waits for the same.
    ///
    /// # Errors
    /// [`SourceError`]; the progress stays reported and is stored later.
    fn commit(&mut self) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// Hands revoked lanes over, after their progress was committed.
    fn release(&mut self, lanes: &[LaneId]);

    /// Where effects go with [`Guarantee::ExactlyOnce`]; none without it, which is the default. Asked whenever lanes
    /// were assigned; the sink may be another one whenever no transaction is open.
    ///
    /// Such a source stores nothing by itself: [`commit`](Self::commit) commits everything published into
    /// [`Transaction::sink`] and all progress reported since the commit before, together, or nothing of either. It
    /// waits for publishes whose receipt is open, and fails if one broke the transaction. With nothing published and
    /// nothing reported it is `Ok` and asks nobody. Its answers:
    /// - `Ok`: committed.
    /// - [transient](SourceError::is_transient): not known yet; called again it goes on with the same transaction.
    /// - any other, [`SourceError::Aborted`] above all: nothing of it is seen, or that will turn out below.
    ///
    /// A source that gives a transaction up, because it must or because of [`abort`](Self::abort), goes on in this
    /// order: it aborts; unless it is what `commit` or `abort` came to, it reports **all** its lanes as
    /// [lost](SourceEvent::Lost); with a later call of [`next`](Self::next) it reports them as
    /// [assigned](SourceEvent::Assigned), with new epochs, at what is committed. If it does not know whether its commit
    /// came through, what is committed says so.
    ///
    /// Lanes are lost singly only while no transaction is open. Before lanes are released, the transaction was
    /// committed or given up.
    fn transaction(&self) -> Option<Transaction> {
        None
    }

    /// Gives the open transaction up, see [`transaction`](Self::transaction). Progress that was reported for it is
    /// forgotten. Lanes that are released before the next event are not assigned again.
    fn abort(&mut self) {}

    /// Leaves the group.
    fn close(&mut self) -> impl Future<Output = Result<(), SourceError>> + Send;
}

/// A [`Source`] behind a pointer.
pub trait DynSource: Send {
    /// See [`Source::next`].
    fn next(&mut self) -> BoxFuture<'_, Result<SourceEvent, SourceError>>;
    /// See [`Source::progress`].
    fn progress(&mut self, lane: LaneId, epoch: Epoch, progress: Progress);
    /// See [`Source::pause`].
    fn pause(&mut self, lanes: &[LaneId]);
    /// See [`Source::resume`].
    fn resume(&mut self, lanes: &[LaneId]);
    /// See [`Source::seek`].
    fn seek(&mut self, lane: LaneId, offset: u64);
    /// See [`Source::change_inputs`].
    ///
    /// # Errors
    /// As there.
    fn change_inputs(&mut self, _inputs: &[SourceInput]) -> Result<(), SourceError> {
        Err(no_changes())
    }
    /// See [`Source::commit`].
    fn commit(&mut self) -> BoxFuture<'_, Result<(), SourceError>>;
    /// See [`Source::release`].
    fn release(&mut self, lanes: &[LaneId]);
    /// See [`Source::transaction`].
    fn transaction(&self) -> Option<Transaction> {
        None
    }
    /// See [`Source::abort`].
    fn abort(&mut self) {}
    /// See [`Source::close`].
    fn close(&mut self) -> BoxFuture<'_, Result<(), SourceError>>;
}

impl<T: Source> DynSource for T {
    fn next(&mut self) -> BoxFuture<'_, Result<SourceEvent, SourceError>> {
        Box::pin(Source::next(self))
    }

    fn progress(&mut self, lane: LaneId, epoch: Epoch, progress: Progress) {
        Source::progress(self, lane, epoch, progress);
    }

    fn pause(&mut self, lanes: &[LaneId]) {
        Source::pause(self, lanes);
    }

    fn resume(&mut self, lanes: &[LaneId]) {
        Source::resume(self, lanes);
    }

    fn seek(&mut self, lane: LaneId, offset: u64) {
        Source::seek(self, lane, offset);
    }

    fn change_inputs(&mut self, inputs: &[SourceInput]) -> Result<(), SourceError> {
        Source::change_inputs(self, inputs)
    }

    fn commit(&mut self) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(Source::commit(self))
    }

    fn release(&mut self, lanes: &[LaneId]) {
        Source::release(self, lanes);
    }

    fn transaction(&self) -> Option<Transaction> {
        Source::transaction(self)
    }

    fn abort(&mut self) {
        Source::abort(self);
    }

    fn close(&mut self) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(Source::close(self))
    }
}

fn no_changes() -> SourceError {
    SourceError::Refused {
        reason: "this broker reads only what a subscription names from the start; name the destinations instead of a pattern"
            .to_owned(),
    }
}

impl fmt::Debug for dyn DynSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

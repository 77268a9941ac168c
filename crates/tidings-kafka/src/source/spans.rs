//! Exactly once: what is published and what is finished is committed together, or nothing of either: [`Spans`].
//!
//! Whenever a transaction is given up, all lanes go on at what is committed. That is asked for only when the broker has
//! decided about the transaction, so a commit whose answer was lost is told from one that never came to be.

use super::KafkaSource;
use super::groups::{EPOCHS, FIRST_WAIT, LONGEST_WAIT};
use super::inbox::News;
use super::lane::{Lane, Reported, Standing};
use super::positions::{Positions, Wanted, look};
use super::watch::warn_of_deleted;
use crate::background::background;
use crate::progress::{self, Room};
use crate::sink::Producer;
use crate::transactions::{Offset, Offsets, Outcome, Transactor};
use crate::trouble::Fault;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tidings_core::{Epoch, LaneId, SourceError, SourceEvent, Transaction};
use tokio::time::{Instant, timeout, timeout_at};

/// No more ranges of finished offsets than these are stored beside an offset.
pub(super) const RANGES: usize = 64;
/// A commit that takes longer is told, and asked for again.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is open when a member leaves is given up within this time, or by the broker.
const LAST_TIMEOUT: Duration = Duration::from_secs(3);

/// The transactions of a source.
#[derive(Debug)]
pub(super) struct Spans {
    transactor: Transactor,
    work: Work,
    /// What became of the commit, until it is asked for.
    outcome: Option<Result<(), String>>,
    /// What the commit waits for, until it is told.
    obstacle: Option<Fault>,
    /// Lanes that go on at what is committed.
    reopening: Option<Reopening>,
    /// How much text the broker takes beside an offset.
    pub(super) room: Room,
}

/// What the producer's thread does.
#[derive(Debug)]
enum Work {
    /// Nothing: a transaction may be open.
    None,
    /// It commits.
    Commit {
        ticket: u64,
        of: Vec<Committed>,
        /// When it is told that there is no answer.
        tell_at: Instant,
    },
    /// It makes sure that nothing is open.
    Settle { ticket: u64 },
}

/// What a lane had reported when it was committed.
#[derive(Debug)]
struct Committed {
    lane: LaneId,
    epoch: Epoch,
    version: u64,
}

/// Lanes that are to go on.
#[derive(Debug)]
struct Reopening {
    /// Of the question where; none before it is asked.
    ticket: Option<u64>,
    again: Option<Instant>,
    wait: Duration,
}

/// How the engine hears that a transaction was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It is the answer to what it called.
    Already,
    /// Its lanes are lost.
    ByLoss,
}

impl Spans {
    /// The producer has to get the right to its id first.
    pub(super) fn new(mut transactor: Transactor) -> Self {
        let ticket = transactor.settle();
        Self {
            transactor,
            work: Work::Settle { ticket },
            outcome: None,
            obstacle: None,
            reopening: None,
            room: Room::default(),
        }
    }

    /// Whether nothing is open from before, so that partitions may be read.
    pub(super) fn is_settled(&self) -> bool {
        !matches!(self.work, Work::Settle { .. })
    }

    pub(super) fn is_reopening(&self) -> bool {
        self.reopening.is_some()
    }

    pub(super) fn transaction(&self) -> Transaction {
        let sink = self.transactor.sink();
        Transaction {
            sink: sink.sink(),
            timeout: sink.time_limit(),
            ranges: RANGES.min(progress::whole_ranges(self.room.bytes())),
        }
    }

    /// Lets messages in: lanes are about to be assigned.
    pub(super) fn admit(&self) {
        self.transactor.sink().admit();
    }

    /// When to ask again where lanes go on.
    pub(super) fn due(&self) -> Option<Instant> {
        self.reopening.as_ref()?.again
    }

    /// The client that publishes, for questions to the cluster.
    pub(super) fn producer(&self) -> Arc<Producer> {
        self.transactor.sink().producer()
    }
}

impl KafkaSource {
    /// Commits everything published and reported, see [`tidings_core::Source::transaction`].
    pub(super) async fn commit_span(&mut self) -> Result<(), SourceError> {
        loop {
            self.follow();
            let Some(spans) = &mut self.spans else {
                return Ok(());
            };
            let is_reopening = spans.is_reopening();
            let until = match (spans.outcome.take(), &mut spans.work) {
                (Some(Ok(())), _) => return Ok(()),
                (Some(Err(reason)), _) => {
                    self.give_up(Told::Already);
                    return Err(SourceError::Aborted { reason });
                }
                (None, Work::Settle { .. }) if is_reopening => {
                    return Err(SourceError::Aborted {
                        reason: "it was given up since; its lanes will be assigned again".to_owned(),
                    });
                }
                // Nothing is open, and nothing can be.
                (None, Work::Settle { .. }) => return Ok(()),
                (None, Work::None) => {
                    if !self.start_commit()? {
                        return Ok(());
                    }
                    continue;
                }
                (None, Work::Commit { tell_at, .. }) => tell_at,
            };
            if let Some(fault) = spans.obstacle.take() {
                return Err(fault.unavailable());
            }
            // Whoever asks may give each question little time: it counts from the begin of the commit.
            if Instant::now() >= *until {
                *until = Instant::now() + PATIENCE;
                let reason = format!("the broker has not answered for {PATIENCE:?}");
                return Err(SourceError::Unavailable { reason });
            }
            let until = *until;
            // That the time is over is found when it is looked at again.
            drop(timeout_at(until, self.consumer.inbox().rung()).await);
        }
    }

    /// False if there is nothing to commit.
    fn start_commit(&mut self) -> Result<bool, SourceError> {
        let Some(spans) = &mut self.spans else {
            return Ok(false);
        };
        let (mut list, mut of) = (Vec::new(), Vec::new());
        for (lane, found) in self.lanes.iter() {
            let Some(reported) = found.reported.as_ref().filter(|_| found.is_dirty()) else {
                continue;
            };
            list.push(Offset {
                topic: found.topic.clone(),
                partition: found.partition,
                offset: reported.progress.watermark,
                metadata: progress::encode_whole(spans.room.bytes(), &reported.progress, found.began_with),
            });
            of.push(Committed {
                lane,
                epoch: found.epoch,
                version: reported.version,
            });
        }
        if list.is_empty() && !spans.transactor.sink().is_open() {
            return Ok(false);
        }
        let offsets = match (list.is_empty(), self.consumer.membership()) {
            (true, _) => None,
            (false, Some(member)) => Some(Offsets { of: list, member }),
            (false, None) => {
                self.give_up(Told::Already);
                return Err(SourceError::Aborted {
                    reason: "this member is out of its group".to_owned(),
                });
            }
        };
        let ticket = spans.transactor.commit(offsets);
        let tell_at = Instant::now() + PATIENCE;
        spans.work = Work::Commit { ticket, of, tell_at };
        Ok(true)
    }

    /// Something came of what the producer's thread does.
    pub(super) fn on_outcome(&mut self, ticket: u64, outcome: Outcome) {
        let Some(spans) = &mut self.spans else { return };
        let current = match &spans.work {
            Work::None => return,
            Work::Commit { ticket, .. } | Work::Settle { ticket } => *ticket,
        };
        if ticket != current {
            // It was given up since.
            return;
        }
        match (outcome, std::mem::replace(&mut spans.work, Work::None)) {
            (Outcome::Committed, Work::Commit { of, .. }) => {
                spans.outcome = Some(Ok(()));
                self.note_committed(&of);
            }
            (Outcome::GivenUp(given_up), Work::Commit { .. }) => {
                if given_up.is_of_text {
                    // The next transaction holds fewer ranges.
                    spans.room.shrink();
                }
                spans.outcome = Some(Err(given_up.reason));
            }
            (Outcome::Settled, Work::Settle { .. }) => {
                self.watch.all_well();
                self.look_again();
            }
            (Outcome::Waiting(fault), work @ Work::Commit { .. }) => {
                spans.work = work;
                spans.obstacle = Some(fault);
            }
            (Outcome::Waiting(fault), work) => {
                spans.work = work;
                self.report(&fault);
            }
            // An answer to what was not asked.
            (_, work) => spans.work = work,
        }
    }

    fn note_committed(&mut self, of: &[Committed]) {
        self.watch.all_well();
        for one in of {
            let lane = self
                .lanes
                .get_mut(one.lane)
                .filter(|lane| lane.epoch == one.epoch);
            if let Some(reported) = lane.and_then(|lane| lane.reported.as_mut()) {
                reported.stored = reported.stored.max(one.version);
            }
        }
    }

    /// Whether something was published or reported that is not committed.
    pub(super) fn has_open_span(&self) -> bool {
        let Some(spans) = &self.spans else { return false };
        let at_work = matches!(spans.work, Work::Commit { .. });
        let dirty = self.lanes.iter().any(|(_, lane)| lane.is_dirty());
        at_work || dirty || spans.transactor.sink().is_open()
    }

    /// Gives the transaction up: all lanes go on at what is committed, once that is known.
    pub(super) fn give_up(&mut self, told: Told) {
        let Some(spans) = &mut self.spans else { return };
        spans.outcome = None;
        spans.obstacle = None;
        if spans.is_settled() {
            let ticket = spans.transactor.settle();
            spans.work = Work::Settle { ticket };
        }
        // Lanes whose assignment was not heard of yet are assigned again with the others.
        self.events
            .retain(|event| !matches!(event, SourceEvent::Assigned(_)));
        let (mut lost, mut suspended) = (Vec::new(), Vec::new());
        for id in self.lanes.iter().map(|(id, _)| id).collect::<Vec<_>>() {
            let Some(lane) = self.lanes.get_mut(id) else {
                continue;
            };
            lane.reported = None;
            if lane.standing == Standing::Suspended {
                continue;
            }
            lost.push(id);
            if lane.standing == Standing::Revoked {
                // Who heard that it is lost does not release it.
                lane.released |= told == Told::ByLoss;
                continue;
            }
            lane.standing = Standing::Suspended;
            lane.clear();
            suspended.push(id);
        }
        self.hold(&suspended);
        if told == Told::ByLoss && !lost.is_empty() {
            self.events.push_back(SourceEvent::Lost(lost));
        }
        if let Some(spans) = &mut self.spans {
            spans.reopening = Some(Reopening {
                ticket: None,
                again: None,
                wait: FIRST_WAIT,
            });
        }
        self.idle_told = false;
    }

    /// Asks where lanes go on, now that nothing is open.
    fn look_again(&mut self) {
        let wanted: Vec<Wanted> = self.suspended().map(|(_, lane)| lane.wanted()).collect();
        let Some(spans) = &mut self.spans else { return };
        let Some(reopening) = &mut spans.reopening else {
            return;
        };
        if wanted.is_empty() {
            spans.reopening = None;
            return;
        }
        self.tickets += 1;
        let ticket = self.tickets;
        reopening.ticket = Some(ticket);
        reopening.again = None;
        let (consumer, producer) = (self.consumer.clone(), spans.producer());
        let (memory, timeout) = (self.plan.memory(), self.plan.request_timeout);
        background("tidings-kafka-look", move || {
            let positions = look(&consumer, Some(&producer), &wanted, memory, timeout);
            consumer.inbox().tell(News::Looked { ticket, positions });
        });
    }

    /// Lanes that go on later, each main lane before its retry lane.
    fn suspended(&self) -> impl Iterator<Item = (LaneId, &Lane)> {
        let all = self.lanes.iter();
        all.filter(|(_, lane)| lane.standing == Standing::Suspended)
    }

    /// What is due by the clock.
    pub(super) fn reopen_on_time(&mut self) {
        let due = self.spans.as_ref().and_then(Spans::due);
        if due.is_some_and(|due| due <= Instant::now()) {
            self.look_again();
        }
    }

    /// Where lanes go on was found out, or not. True if it was asked for here.
    pub(super) fn on_reopened(&mut self, ticket: u64, positions: &mut Result<Positions, Fault>) -> bool {
        let reopening = self.spans.as_mut().and_then(|spans| spans.reopening.as_mut());
        let Some(reopening) = reopening.filter(|reopening| reopening.ticket == Some(ticket)) else {
            return false;
        };
        match positions {
            Ok(positions) => {
                let positions = std::mem::take(positions);
                self.reopen(positions);
            }
            Err(fault) => {
                reopening.ticket = None;
                reopening.again = Some(Instant::now() + reopening.wait);
                reopening.wait = (reopening.wait * 2).min(LONGEST_WAIT);
                let fault = fault.clone();
                self.on_fault(&fault);
            }
        }
        true
    }

    /// Reads lanes from what is committed on.
    fn reopen(&mut self, positions: Positions) {
        let epoch = Epoch(EPOCHS.fetch_add(1, Ordering::Relaxed));
        let mut assignments = Vec::with_capacity(positions.len());
        for position in positions {
            let place = (&*position.wanted.topic, position.wanted.partition);
            let id = self.lanes.at(place.0, place.1);
            let Some(id) = id.filter(|id| {
                self.lanes
                    .get(*id)
                    .is_some_and(|lane| lane.standing == Standing::Suspended)
            }) else {
                // It was given back meanwhile.
                continue;
            };
            let at = position.progress.watermark;
            if let Some(lane) = self.lanes.get_mut(id) {
                lane.standing = Standing::Readable;
                lane.epoch = epoch;
                lane.paused = false;
                lane.reported = Some(Reported {
                    progress: position.progress.clone(),
                    version: 1,
                    stored: 1,
                });
            }
            self.read_on_at(id, at);
            if let Some(deleted) = position.deleted {
                warn_of_deleted(place.0, place.1, deleted, position.first);
            }
            assignments.extend(self.lanes.get(id).map(|lane| lane.assignment(id, position)));
        }
        if let Some(spans) = &mut self.spans {
            spans.reopening = None;
            spans.admit();
        }
        if !assignments.is_empty() {
            self.events.push_back(SourceEvent::Assigned(assignments));
        }
        self.idle_told = false;
        self.watch.all_well();
    }

    /// Ends what is open before the member leaves its group: a commit is waited for, anything else is given up.
    pub(super) async fn end_spans(&mut self) -> Result<(), SourceError> {
        let Some(spans) = &self.spans else { return Ok(()) };
        let mut ended = Ok(());
        if matches!(spans.work, Work::Commit { .. }) {
            ended = match timeout(LAST_TIMEOUT, self.commit_span()).await {
                Ok(ended) => ended,
                Err(_) => Err(SourceError::Unavailable {
                    reason: format!(
                        "the transaction was not committed within {LAST_TIMEOUT:?}; the broker decides about it"
                    ),
                }),
            };
        }
        if self.has_open_span() {
            self.give_up(Told::Already);
        }
        let until = Instant::now() + LAST_TIMEOUT;
        while self.spans.as_ref().is_some_and(|spans| !spans.is_settled()) && Instant::now() < until {
            drop(timeout_at(until, self.consumer.inbox().rung()).await);
            self.follow();
        }
        self.spans = None;
        ended
    }
}

//! The transaction of an exactly-once subscription from one commit to the next: [`Span`].

use crate::tasks::TaskId;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{LaneId, Policy, Publisher, Sink, Timestamp, Transaction};
use tokio::time::Instant;

/// No more ranges than these are ever asked of a transaction.
const MOST_RANGES: usize = 128;
/// After a transaction was given up because of trouble nothing starts for so long, at first and at the most.
const FIRST_REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(5);

/// A span lasts so many times as long as nothing was started for the last commit, and at the most so many times as long
/// as was asked for.
const WORTH: u32 = 18;
const MOST_INTERVALS: u32 = 10;

/// Where a message is, whatever the epoch.
pub(crate) type Place = (Arc<str>, u32, u64);

/// What is known of a message whose handling failed, also when the transaction of that handling is given up.
#[derive(Debug, Clone)]
pub(crate) struct Memo {
    /// Attempts that failed.
    pub(crate) used: u32,
    pub(crate) first_failure: Option<Timestamp>,
    /// Not before this time.
    pub(crate) due: Option<Instant>,
    /// It is a dead letter: the reason, and what is said about it.
    pub(crate) sentence: Option<(&'static str, String)>,
}

/// Why a transaction is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A handling failed that had published: that is taken back, and no trouble.
    Handling,
    /// Something stands in the way.
    Trouble(String),
}

/// Where a span is on its way to its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Deliveries start.
    Open,
    /// Nothing starts until what runs has ended.
    Closing,
    /// Nothing more is looked at, but what waits below finished messages is finished or parked.
    Clearing,
    /// It is being committed.
    Committing,
    /// It was given up because of trouble; nothing starts before that time.
    Resting { until: Instant },
    /// It was committed, and the subscription ends.
    Ended,
}

/// What is to be done about the transaction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing.
    GoOn,
    /// There may be work again, at once.
    Work,
    /// Commit it.
    Commit,
    /// Nothing is open, and these lanes are to be handed over.
    Release(Vec<LaneId>),
    /// Give it up.
    Abort(Cause),
}

#[derive(Debug)]
pub(crate) struct Span {
    /// Where effects go; none before lanes were assigned.
    transaction: Option<Transaction>,
    /// Publishes what handlers return; none before lanes were assigned.
    publisher: Publisher,
    pub(crate) state: State,
    /// When the first delivery of the span was started.
    pub(crate) began: Option<Instant>,
    /// How many messages were finished when it began.
    pub(crate) counted: u64,
    /// It is closed after so many messages: fewer after one was given up, so that less is done again.
    limit: u64,
    most: u64,
    interval: Duration,
    broken: Option<Cause>,
    /// Lanes that are to be handed over after the commit, and by when.
    leaving: Vec<(Vec<LaneId>, Instant)>,
    /// The subscription ends after the commit.
    pub(crate) ending: bool,
    /// The last transaction was given up while the subscription ended.
    pub(crate) cut: bool,
    rest: Duration,
    /// Since when nothing starts, because it is to be committed.
    standing_since: Option<Instant>,
    /// For how long nothing started for the last commit.
    standstill: Duration,
    memory: BTreeMap<Place, Memo>,
    /// Messages of retry lanes that may not start yet: too many above the watermark would be finished.
    pub(crate) held: Vec<TaskId>,
    /// Messages that the retry lane refused for good.
    pub(crate) refused: HashSet<TaskId>,
}

impl Span {
    pub(crate) fn new(policy: &Policy, publisher: Publisher) -> Self {
        let most = policy.commit_every.max(1);
        Self {
            transaction: None,
            publisher,
            state: State::Open,
            began: None,
            counted: 0,
            limit: most,
            most,
            interval: policy.commit_interval,
            broken: None,
            leaving: Vec::new(),
            ending: false,
            cut: false,
            rest: FIRST_REST,
            standing_since: None,
            standstill: Duration::ZERO,
            memory: BTreeMap::new(),
            held: Vec::new(),
            refused: HashSet::new(),
        }
    }

    /// Effects go there from now on.
    pub(crate) fn enter(&mut self, transaction: Transaction) {
        self.publisher = self.publisher.through(transaction.sink.clone());
        self.transaction = Some(transaction);
    }

    /// Where effects go.
    pub(crate) fn sink(&self) -> Option<&Arc<dyn Sink>> {
        self.transaction.as_ref().map(|transaction| &transaction.sink)
    }

    /// Publishes what handlers return.
    pub(crate) fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// How many ranges of finished offsets above the watermark are part of the transaction.
    pub(crate) fn ranges(&self) -> usize {
        self.transaction
            .as_ref()
            .map_or(0, |transaction| transaction.ranges.min(MOST_RANGES))
    }

    fn timeout(&self) -> Duration {
        self.transaction
            .as_ref()
            .map_or(Duration::MAX, |transaction| transaction.timeout)
    }

    /// How long one handling, or one publish, may take: with the time in which deliveries start it ends in time.
    pub(crate) fn longest_handling(&self) -> Duration {
        self.timeout() / 2
    }

    /// Whether deliveries start.
    pub(crate) fn blocks(&self) -> bool {
        !matches!(self.state, State::Open | State::Clearing)
    }

    /// Whether anything is done that is not committed.
    pub(crate) fn is_open(&self) -> bool {
        self.began.is_some()
    }

    /// How many messages may be started until it is closed.
    pub(crate) fn left(&self, finished: u64) -> usize {
        let left = self.limit.saturating_sub(finished - self.counted);
        usize::try_from(left).unwrap_or(usize::MAX).max(1)
    }

    /// When it is to be closed: a quarter of the broker's limit is for deliveries to start, half of it for them to end.
    ///
    /// While what runs comes to its end and it is committed, nothing is started. Where that takes long, because the
    /// broker is far away or busy, there is more in each span: then a twentieth of the time is lost, and not half of it.
    pub(crate) fn close_at(&self) -> Option<Instant> {
        let worth_it = (self.standstill * WORTH).min(self.interval * MOST_INTERVALS);
        let length = self.interval.max(worth_it).min(self.timeout() / 4);
        self.began.map(|began| began + length)
    }

    /// Nothing more starts until it is committed.
    pub(crate) fn closes(&mut self, now: Instant) {
        self.standing_since.get_or_insert(now);
    }

    /// When it must be given up, well before the broker does.
    pub(crate) fn abort_at(&self) -> Option<Instant> {
        Some(self.began? + self.timeout().mul_f64(0.85))
    }

    /// Whether it is to be closed now.
    pub(crate) fn is_due(&self, now: Instant, finished: u64) -> bool {
        self.wants_to_close()
            || finished - self.counted >= self.limit
            || self.close_at().is_some_and(|at| now >= at)
    }

    /// Whether something waits for it to be closed.
    pub(crate) fn wants_to_close(&self) -> bool {
        self.ending || !self.leaving.is_empty()
    }

    /// These lanes are to be handed over until that time.
    pub(crate) fn leave(&mut self, lanes: Vec<LaneId>, deadline: Instant) {
        self.leaving.push((lanes, deadline));
    }

    /// The first time by which lanes are to be handed over.
    pub(crate) fn leave_by(&self) -> Option<Instant> {
        self.leaving.iter().map(|(_, deadline)| *deadline).min()
    }

    /// The lanes that are to be handed over, once.
    pub(crate) fn take_leaving(&mut self) -> Vec<LaneId> {
        let leaving = std::mem::take(&mut self.leaving);
        leaving.into_iter().flat_map(|(lanes, _)| lanes).collect()
    }

    /// These lanes are gone, and need not be handed over.
    pub(crate) fn forget_leaving(&mut self, lanes: &[LaneId]) {
        for (leaving, _) in &mut self.leaving {
            leaving.retain(|lane| !lanes.contains(lane));
        }
        self.leaving.retain(|(leaving, _)| !leaving.is_empty());
    }

    /// The transaction must be given up. The first cause that is trouble is told.
    pub(crate) fn break_off(&mut self, cause: Cause) {
        if !matches!(self.broken, Some(Cause::Trouble(_))) {
            self.broken = Some(cause);
        }
    }

    pub(crate) fn take_broken(&mut self) -> Option<Cause> {
        self.broken.take()
    }

    /// It was committed.
    pub(crate) fn committed(&mut self, now: Instant) {
        if let Some(since) = self.standing_since {
            self.standstill = now.saturating_duration_since(since);
        }
        self.rest = FIRST_REST;
        self.limit = self.limit.saturating_mul(2).min(self.most);
        self.end();
    }

    /// It was given up after so many messages, and nothing of it counts.
    pub(crate) fn aborted(&mut self, cause: &Cause, finished: u64, now: Instant) {
        self.limit = ((finished - self.counted) / 2).clamp(1, self.limit);
        self.cut |= self.ending;
        self.broken = None;
        self.held.clear();
        self.end();
        if matches!(cause, Cause::Trouble(_)) && !self.ending {
            self.state = State::Resting {
                until: now + self.rest,
            };
            self.rest = (self.rest * 2).min(LONGEST_REST);
        }
    }

    fn end(&mut self) {
        self.began = None;
        self.standing_since = None;
        self.refused.clear();
        self.state = if self.ending { State::Ended } else { State::Open };
    }

    /// What is known of a message.
    pub(crate) fn memo(&self, place: &Place) -> Option<&Memo> {
        self.memory.get(place)
    }

    /// What is known of the messages of a partition.
    pub(crate) fn memos<'a>(
        &'a self,
        destination: &'a Arc<str>,
        partition: u32,
    ) -> impl Iterator<Item = (u64, &'a Memo)> {
        let from: Place = (destination.clone(), partition, 0);
        let all = self.memory.range(from..);
        all.take_while(move |((name, number, _), _)| name == destination && *number == partition)
            .map(|((_, _, offset), memo)| (*offset, memo))
    }

    pub(crate) fn remember(&mut self, place: Place, memo: Memo) {
        self.memory.insert(place, memo);
    }

    /// Forgets messages that need not be known any more.
    pub(crate) fn forget(&mut self, keep: impl Fn(&Place) -> bool) {
        self.memory.retain(|place, _| keep(place));
    }
}

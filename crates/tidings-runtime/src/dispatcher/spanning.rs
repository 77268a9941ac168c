//! Exactly once: deliveries in spans, each of which is one transaction of the broker.
//!
//! A span is closed by time or count: nothing starts until what runs has ended. What is finished above a watermark is
//! part of the transaction as far as the source can keep it ([`Transaction::ranges`]); beyond that, what waits below is
//! parked first, or waited for. So a committed transaction never holds the effects of a message that would be handled
//! again.
//!
//! A handling that fails after it has published has effects that cannot be taken back singly: then the whole
//! transaction is given up, and the attempt is remembered.

use super::Dispatcher;
use crate::scope::ScopeOwner;
use crate::span::{Cause, Memo, Place, Span, State, Step};
use crate::tasks::{Stage, TaskId};
use crate::timers::Timer;
use crate::verdict::Verdict;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{HandlerKind, LaneId, Ordering, Publisher, Sink, Transaction};
use tokio::time::Instant;

/// At most so many messages of a pair are parked behind others at a time.
const MOVES: usize = 1_024;

impl Dispatcher {
    /// Whether effects and progress are one transaction.
    pub(crate) fn is_transactional(&self) -> bool {
        self.span.is_some()
    }

    /// Effects go there from now on.
    pub(crate) fn enter(&mut self, transaction: Transaction) {
        let Some(span) = &mut self.span else { return };
        span.enter(transaction);
        let longest = span.longest_handling();
        self.effects.timeout = self.effects.timeout.min(longest);
        let timeout = &mut self.spec.policy.timeout;
        *timeout = Some(timeout.map_or(longest, |timeout| timeout.min(longest)));
    }

    /// Where what is parked and dead letters go.
    pub(super) fn sink(&self) -> Arc<dyn Sink> {
        match self.span.as_ref().and_then(|span| span.sink()) {
            Some(sink) => sink.clone(),
            None => self.spec.binder.sink(),
        }
    }

    /// Publishes what handlers return.
    pub(super) fn publisher(&self) -> &Publisher {
        match &self.span {
            Some(span) => span.publisher(),
            None => &self.spec.context.publisher,
        }
    }

    /// Whether each handling is watched, because it may publish by itself.
    pub(super) fn tracks(span: Option<&Span>, handler: &dyn tidings_core::Invoke) -> bool {
        span.is_some()
            && (handler.needs().publisher || handler.kind() == HandlerKind::Batch || !handler.has_sequence())
    }

    /// How many messages were finished, in whatever way, or will be as soon as the broker has kept what they led to.
    fn finished_count(&self) -> u64 {
        let counters = &self.board.counters;
        let counted: u64 = [
            &counters.handled,
            &counters.dead_lettered,
            &counters.dropped,
            &counters.filtered,
            &counters.parked,
        ]
        .iter()
        .map(|counter| counter.value())
        .sum();
        counted + self.on_the_way.messages as u64
    }

    /// How much may be done in a round, so that a span does not become longer than it should.
    pub(super) fn left_in_span(&self, stretch: usize) -> usize {
        match &self.span {
            Some(span) => stretch.min(span.left(self.finished_count())),
            None => stretch,
        }
    }

    /// Whether records may be looked at.
    pub(super) fn is_clearing(&self) -> bool {
        self.span
            .as_ref()
            .is_some_and(|span| span.state == State::Clearing)
    }

    /// The transaction cannot be committed any more.
    pub(super) fn break_off(&mut self, cause: Cause) {
        if let Some(span) = &mut self.span {
            span.break_off(cause);
        }
    }

    /// What is to be done about the transaction now.
    pub(crate) fn step_span(&mut self, now: Instant) -> Step {
        self.settle_sequences();
        let busy = self.slots.in_use() > 0;
        let changed = busy || self.lanes.iter().flatten().any(|lane| lane.changed);
        let finished = self.finished_count();
        let Some(span) = &mut self.span else {
            return Step::GoOn;
        };
        if let Some(cause) = span.take_broken() {
            return Step::Abort(cause);
        }
        match span.state {
            State::Committing => return Step::Commit,
            State::Ended => return Step::GoOn,
            State::Resting { until } if now < until && !span.wants_to_close() => return Step::GoOn,
            State::Resting { .. } => return self.enter_state(State::Open),
            _ => {}
        }
        if span.began.is_none() {
            if changed {
                self.begin_span(now);
            } else if span.wants_to_close() {
                return self.hand_over();
            } else {
                span.counted = finished;
            }
            return self.look_at_state(now, busy, finished);
        }
        self.look_at_state(now, busy, finished)
    }

    fn begin_span(&mut self, now: Instant) {
        let Some(span) = &mut self.span else { return };
        span.began = Some(now);
        for at in [span.close_at(), span.abort_at()].into_iter().flatten() {
            self.timers.set(at, Timer::Look);
        }
    }

    fn look_at_state(&mut self, now: Instant, busy: bool, finished: u64) -> Step {
        let Some(span) = &self.span else { return Step::GoOn };
        if !span.is_open() {
            return Step::GoOn;
        }
        if span.abort_at().is_some_and(|at| now >= at) {
            let said = "the transaction has no time left: a handling, a publish or a wait takes too long for the broker's limit";
            return Step::Abort(Cause::Trouble(said.to_owned()));
        }
        if span.leave_by().is_some_and(|by| now >= by) {
            return Step::Abort(Cause::Handling);
        }
        match span.state {
            State::Open if span.is_due(now, finished) => {
                if let Some(span) = &mut self.span {
                    span.closes(now);
                }
                self.enter_state(State::Closing)
            }
            State::Closing | State::Clearing if !busy && self.is_closable() => {
                self.enter_state(State::Committing);
                Step::Commit
            }
            State::Closing if !busy => self.enter_state(State::Clearing),
            State::Clearing => self.clear(now),
            _ => Step::GoOn,
        }
    }

    fn enter_state(&mut self, state: State) -> Step {
        if let Some(span) = &mut self.span {
            span.state = state;
        }
        self.update_paused();
        Step::Work
    }

    /// Whether everything that is finished can be told.
    fn is_closable(&self) -> bool {
        let ranges = self.span.as_ref().map_or(0, |span| span.ranges());
        self.lanes.iter().flatten().all(|lane| lane.can_be_told(ranges))
    }

    /// Parks what waits below finished messages, and what waits behind that.
    fn clear(&mut self, now: Instant) -> Step {
        let ranges = self.span.as_ref().map_or(0, |span| span.ranges());
        let gaps = self.lanes.iter().enumerate().filter_map(|(index, lane)| {
            let lane = lane.as_ref()?;
            (!lane.is_retry() && !lane.can_be_told(ranges)).then_some(index)
        });
        let gaps: Vec<_> = gaps.collect();
        let mut moved = false;
        for index in gaps {
            for id in self.tasks.of_lane(index) {
                if let Some(wait) = self.wait_to_be_parked(id, now) {
                    self.park(id, None, wait);
                    moved = true;
                }
            }
            if self.keeps_order() && self.has_retry_lane(index) {
                for id in self.keys.take_moves(index, MOVES) {
                    self.park(id, None, Duration::ZERO);
                    moved = true;
                }
            }
        }
        if moved { Step::Work } else { Step::GoOn }
    }

    fn has_retry_lane(&self, index: usize) -> bool {
        self.lane(index).is_some_and(|lane| {
            let input = self.spec.inputs.get(lane.input);
            let has_retry = input.is_some_and(|input| input.retry.is_some());
            has_retry && lane.partner.is_some() && self.spec.policy.ordering != Ordering::Partition
        })
    }

    /// How long a waiting message has to wait yet, if it can be parked.
    fn wait_to_be_parked(&self, id: TaskId, now: Instant) -> Option<Duration> {
        let task = self.tasks.get(id)?;
        let span = self.span.as_ref()?;
        if task.stage() != Stage::Waiting || span.refused.contains(&id) || !self.has_retry_lane(task.lane) {
            return None;
        }
        let due = span.memo(&self.place_of(id)?).and_then(|memo| memo.due);
        Some(due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now)))
    }

    fn place_of(&self, id: TaskId) -> Option<Place> {
        let task = self.tasks.get(id)?;
        let info = &self.lane(task.lane)?.info;
        Some((
            info.destination.clone(),
            info.partition,
            task.delivery.lane_offset(),
        ))
    }

    /// A handling failed: what was decided outlives its transaction, and if it has published, nothing of that stays.
    pub(super) fn note_in_span(&mut self, id: TaskId, verdict: &Verdict, said: &str) {
        if self.span.is_none() {
            return;
        }
        let (Some(place), published) = (self.place_of(id), self.end_scope(id)) else {
            return;
        };
        let Some(task) = self.tasks.get(id) else { return };
        let (counted, wait, sentence) = match verdict {
            Verdict::Again { wait, counts } => (u32::from(*counts), Some(*wait), None),
            Verdict::GiveUp(reason) => (1, None, Some((*reason, said.to_owned()))),
        };
        let memo = Memo {
            used: task.used.saturating_add(counted),
            first_failure: task.first_failure,
            due: wait.map(|wait| Instant::now() + wait),
            sentence,
        };
        if let Some(span) = &mut self.span {
            span.remember(place, memo);
            if published {
                span.break_off(Cause::Handling);
            }
        }
    }

    /// A handling is over: it publishes nothing more by itself. Whether it has.
    pub(super) fn end_scope(&mut self, id: TaskId) -> bool {
        let scope = self.tasks.get_mut(id).and_then(|task| task.scope.take());
        scope.is_some_and(ScopeOwner::end)
    }

    /// Gives a new task what is known of its message from a transaction that was given up.
    pub(super) fn recall(&mut self, id: TaskId) {
        let Some(place) = self.place_of(id) else { return };
        let Some(memo) = self.span.as_ref().and_then(|span| span.memo(&place)) else {
            return;
        };
        if let Some(task) = self.tasks.get_mut(id) {
            task.used = task.used.max(memo.used);
            task.first_failure = task.first_failure.or(memo.first_failure);
        }
    }

    /// Whether a task may start now; if not, it was given another way. One that may gets what it publishes with.
    pub(super) fn may_start_in_span(&mut self, id: TaskId) -> bool {
        let now = Instant::now();
        let memo = self
            .place_of(id)
            .and_then(|place| self.span.as_ref()?.memo(&place));
        if let Some((reason, said)) = memo.and_then(|memo| memo.sentence.clone()) {
            self.dead_letter(id, None, reason, &said);
            return false;
        }
        if let Some(due) = memo.and_then(|memo| memo.due)
            && due > now
        {
            self.wait(id, due - now);
            return false;
        }
        if self.leaves_too_many_gaps(id) {
            self.hold(id);
            return false;
        }
        if self.tracked
            && let Some(scope) = self.new_scope()
        {
            let context = scope.context(&self.spec.context);
            if let Some(task) = self.tasks.get_mut(id) {
                task.delivery = task.delivery.clone().with_context(context);
                task.scope = Some(scope);
            }
        }
        true
    }

    /// A task may start only after others of its lane. If they may overtake each other it gives its key back: one of
    /// them may need it.
    fn hold(&mut self, id: TaskId) {
        self.tasks.set_stage(id, Stage::Queued);
        if let Some(span) = &mut self.span {
            span.held.push(id);
        }
        if self.keeps_order() {
            return;
        }
        if let Some(task) = self.tasks.get_mut(id)
            && let Some(key) = task.key
            && std::mem::take(&mut task.holds_key)
        {
            self.release(key);
        }
    }

    /// What was held may start if that is possible now.
    fn start_held(&mut self) {
        let held = self.span.as_mut().map(|span| std::mem::take(&mut span.held));
        for id in held.into_iter().flatten() {
            match self.tasks.get(id) {
                Some(task) if task.key.is_some() && !task.holds_key => self.wait(id, Duration::ZERO),
                Some(_) => self.runnable.push_back(id),
                None => {}
            }
        }
    }

    /// What a handling publishes with; none outside of transactions.
    pub(super) fn new_scope(&self) -> Option<ScopeOwner> {
        let sink = self.span.as_ref()?.sink()?;
        Some(ScopeOwner::new(sink.clone()))
    }

    /// Whether more would be finished above the watermark of a retry lane than a transaction can keep: messages there
    /// wait in place, however long.
    fn leaves_too_many_gaps(&self, id: TaskId) -> bool {
        let Some(task) = self.tasks.get(id) else {
            return false;
        };
        let Some(lane) = self.lane(task.lane).filter(|lane| lane.is_retry()) else {
            return false;
        };
        let ranges = self.span.as_ref().map_or(0, |span| span.ranges());
        if lane.ledger.watermark() == task.delivery.lane_offset() {
            return false;
        }
        let active = self.tasks.of_lane(task.lane);
        let active = active.into_iter().filter(|other| {
            *other != id
                && self
                    .tasks
                    .get(*other)
                    .is_some_and(|other| other.stage().is_active())
        });
        !lane.can_be_told(ranges.saturating_sub(active.count() + 1)) || ranges == 0
    }

    /// The transaction was committed. Lanes that were waiting for it can be handed over.
    pub(crate) fn committed(&mut self) -> Step {
        let lanes = &self.lanes;
        let watermarks = lanes.iter().flatten().map(|lane| {
            let info = &lane.info;
            (&info.destination, info.partition, lane.ledger.watermark())
        });
        let watermarks: Vec<_> = watermarks.collect();
        let finished = self.finished_count();
        let Some(span) = &mut self.span else {
            return Step::GoOn;
        };
        span.forget(|(destination, partition, offset)| {
            let owned = watermarks
                .iter()
                .find(|(name, number, _)| *name == destination && number == partition);
            owned.is_some_and(|(_, _, watermark)| watermark <= offset)
        });
        span.committed(Instant::now());
        span.counted = finished;
        self.start_held();
        self.update_paused();
        self.hand_over()
    }

    /// Lanes that are to be handed over leave, with nothing open.
    fn hand_over(&mut self) -> Step {
        let Some(span) = &mut self.span else {
            return Step::GoOn;
        };
        let leaving = span.take_leaving();
        if span.ending {
            span.state = State::Ended;
        }
        self.update_paused();
        if leaving.is_empty() {
            return Step::Work;
        }
        self.lose(&leaving);
        Step::Release(leaving)
    }

    /// The transaction is given up: everything that belongs to it is stopped, and all lanes will be assigned again. Those
    /// that were to be handed over can be.
    pub(crate) fn aborted(&mut self, cause: &Cause, now: Instant) -> Vec<LaneId> {
        let lanes: Vec<_> = self.lanes.iter().flatten().map(|lane| lane.id).collect();
        self.lose(&lanes);
        self.commands.clear();
        let finished = self.finished_count();
        let Some(span) = &mut self.span else {
            return Vec::new();
        };
        span.aborted(cause, finished, now);
        span.counted = finished;
        if let State::Resting { until } = span.state {
            self.timers.set(until, Timer::Look);
        }
        let leaving = span.take_leaving();
        self.update_paused();
        leaving
    }

    /// Lanes belong to somebody else. True if the whole transaction is lost with them: something in it was not committed.
    pub(crate) fn lose_in_span(&mut self, lanes: &[LaneId]) -> bool {
        let busy = self.slots.in_use() > 0 || self.lanes.iter().flatten().any(|lane| lane.changed);
        let Some(span) = &mut self.span else { return false };
        span.forget_leaving(lanes);
        if busy || span.is_open() {
            return true;
        }
        self.lose(lanes);
        false
    }

    /// Whether any of these lanes is here.
    pub(crate) fn has_lanes(&self, lanes: &[LaneId]) -> bool {
        lanes.iter().any(|lane| self.lane(lane.0 as usize).is_some())
    }

    /// Whether any other lane is here.
    pub(crate) fn has_others(&self, lanes: &[LaneId]) -> bool {
        self.lanes.iter().flatten().any(|lane| !lanes.contains(&lane.id))
    }

    /// Lanes are to be handed over once the transaction is closed.
    pub(crate) fn leave_span(&mut self, lanes: Vec<LaneId>, deadline: Instant) {
        self.timers.set(deadline, Timer::Look);
        if let Some(span) = &mut self.span {
            span.leave(lanes, deadline);
        }
    }

    /// The subscription ends once the transaction is closed.
    pub(crate) fn end_span(&mut self) {
        if let Some(span) = &mut self.span {
            span.ending = true;
        }
    }

    /// Whether the last transaction is closed; true if it was committed.
    pub(crate) fn span_ended(&self) -> Option<bool> {
        let span = self.span.as_ref()?;
        (span.state == State::Ended).then_some(!span.cut)
    }
}

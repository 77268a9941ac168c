//! The dispatcher: one state machine for every delivery of a subscription, run on the task that owns the source.
//!
//! - `intake`: lanes come and go, batches are opened
//! - `scan`: looks at records in order and gives each to its key, to a slot, or to a batch
//! - `run`: starts handlers and polls what is pending
//! - `turn`: handles stretches of a batch in turn, without a box per message
//! - `gather`: batch handlers
//! - `finish`: what becomes of a handling: done, again, parked, a dead letter
//! - `outputs`: what handlers return, on its way to the broker
//! - `alone`: what is suspected of killing the process
//! - `stuck`: says which message is not finished after a long time
//! - `leave`: lanes that are handed over, and draining
//! - `spanning`: exactly once, where all this is done in transactions
//!
//! Nothing in here waits: [`Dispatcher::work`] does what can be done now, and
//! [`Dispatcher::next_timer`] says when to come again.

mod alone;
mod finish;
mod gather;
mod intake;
mod leave;
mod outlet;
mod outputs;
mod run;
mod scan;
mod seek;
mod spanning;
mod stuck;
mod turn;

use crate::budget::{Budget, Limiter};
use crate::effects::Effects;
use crate::inbox::Hold;
use crate::keys::Keys;
use crate::lane::Lane;
use crate::pipeline::Load;
use crate::replies::Answers;
use crate::scope::mute;
use crate::slots::Slots;
use crate::span::Span;
use crate::spec::SubscriptionSpec;
use crate::status::{LaneStatus, StatusBoard};
use crate::tasks::{Stage, TaskId, Tasks};
use crate::timers::{Timer, Timers};
use alone::Solitude;
use outlet::{StretchOutlet, Taken};
use run::Work;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tidings_core::{
    GateMember, HandlerKind, LaneId, LaneRole, Ordering, Pace, Position, RetryOrder, SequenceControl,
};
use tokio::time::Instant;

/// After so many pieces of work the source is polled again, however much there is to do.
const STRETCH: usize = 256;
/// Below so many timers nobody looks for pointless ones.
const TIMERS: usize = 1_024;
/// At most so many messages of a pair are moved behind parked ones at a time.
const MOVES: usize = 64;

/// What the dispatcher wants of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceCommand {
    Pause(LaneId),
    Resume(LaneId),
    Seek(LaneId, u64),
}

/// How records can be handled of which nothing is known, as far as the subscription alone says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Usual {
    /// In turn, a stretch at a time, if nothing is in flight that they would have to wait for.
    InTurn,
    /// Started one after the other, each as soon as its key is idle and a slot is free.
    Started,
    /// Each is looked at.
    LookedAt,
}

impl Usual {
    fn of(spec: &SubscriptionSpec, tracked: bool) -> Self {
        let (policy, handler) = (&spec.policy, &spec.handler);
        if policy.spawn || spec.filter.is_some() || tracked {
            return Self::LookedAt;
        }
        let one_at_a_time = policy.ordering == Ordering::Partition || policy.concurrency <= 1;
        if one_at_a_time && handler.has_sequence() {
            Self::InTurn
        } else if policy.ordering != Ordering::Partition
            && handler.kind() == HandlerKind::Single
            && !handler.needs().manual_ack
        {
            Self::Started
        } else {
            Self::LookedAt
        }
    }
}

pub(crate) struct Dispatcher {
    spec: SubscriptionSpec,
    board: Arc<StatusBoard>,
    effects: Effects,
    answers: Answers,
    lanes: Vec<Option<Lane>>,
    /// Where the next round of scanning begins.
    turn: usize,
    /// The lane whose batch is looked at first: the one behind that of the last call.
    batch_turn: usize,
    tasks: Tasks,
    keys: Keys,
    slots: Slots<Work>,
    /// Slots that wait for the broker to keep what handlers returned.
    publishing: usize,
    /// How much that is.
    on_the_way: Load,
    /// Tasks that may run as soon as a slot is free.
    runnable: VecDeque<TaskId>,
    /// Some became runnable: stretches that are handled in turn come to an end for them.
    hurry: bool,
    /// Tasks that are to be handled alone, and hold their keys.
    suspects: VecDeque<TaskId>,
    solitude: Solitude,
    gate: Option<GateMember>,
    /// Another message is handled alone, or is about to be.
    held_back: bool,
    /// The database of the inbox may be away; none without an inbox.
    hold: Option<Arc<Hold>>,
    /// When it is asked again.
    asked_again: Option<Instant>,
    timers: Timers,
    limiter: Option<Limiter>,
    rate_timer: bool,
    stuck: stuck::Stuck,
    budget: Budget,
    /// Batch calls are numbered.
    batches: u64,
    /// Nothing starts: it was paused by hand, or its transaction is being closed.
    paused: bool,
    paused_by_hand: bool,
    draining: bool,
    /// Every lane that is not paused was read to its end.
    source_idle: bool,
    commands: VecDeque<SourceCommand>,
    /// Of the last stretch that was handled in turn, for the next one.
    spare_control: Option<Arc<SequenceControl>>,
    /// Where records of stretches publish what they return.
    outlet: Arc<StretchOutlet>,
    /// What came of that, between a poll and the next; empty otherwise.
    taken: Vec<Taken>,
    /// What the records of a lane of which nothing is known need.
    usual: Usual,
    /// With so many timers it is time to look for those that have become pointless.
    timers_limit: usize,
    /// Bounds the round in time.
    pace: Pace,
    /// When the round began.
    now: Instant,
    /// The transaction that effects and progress are part of; none without exactly-once.
    span: Option<Box<Span>>,
    /// Where lanes went on since somebody asked.
    moved: Vec<Position>,
    /// Each handling is watched, because it may publish into the transaction by itself.
    tracked: bool,
    /// How long a message may be held; then the order of keys ends with it. None where that is for ever.
    longest_hold: Option<Duration>,
}

impl Dispatcher {
    pub(crate) fn new(mut spec: SubscriptionSpec, board: Arc<StatusBoard>) -> Self {
        let now = Instant::now();
        let longest_hold = spec.binder.capabilities().longest_hold;
        if let Some(longest) = longest_hold
            && spec.policy.order == RetryOrder::Kept
        {
            // In its queue a message keeps its place, as long as the broker lets it.
            let durable_after = &mut spec.policy.retry.durable_after;
            *durable_after = (*durable_after).max(longest);
        }
        let span = spec.policy.exactly_once.then(|| {
            let publisher = spec.context.publisher.clone();
            spec.context = mute(&spec.context);
            Box::new(Span::new(&spec.policy, publisher))
        });
        let tracked = Self::tracks(span.as_deref(), &*spec.handler);
        let policy = &spec.policy;
        let answers = Answers::new(&*spec.binder, board.clone());
        let effects = Effects {
            board: board.clone(),
            timeout: spec.publish_timeout,
            in_transaction: span.is_some(),
        };
        Self {
            limiter: policy.rate.map(|rate| Limiter::new(rate, now)),
            budget: Budget::new(policy.retry.budget, now),
            paused: policy.paused,
            paused_by_hand: policy.paused,
            board,
            effects,
            answers: answers.clone(),
            lanes: Vec::new(),
            turn: 0,
            batch_turn: 0,
            tasks: Tasks::default(),
            keys: Keys::default(),
            slots: Slots::default(),
            publishing: 0,
            on_the_way: Load::default(),
            runnable: VecDeque::new(),
            hurry: false,
            suspects: VecDeque::new(),
            solitude: Solitude::default(),
            gate: None,
            held_back: false,
            hold: None,
            asked_again: None,
            timers: Timers::default(),
            rate_timer: false,
            stuck: stuck::Stuck::default(),
            batches: 0,
            draining: false,
            source_idle: false,
            commands: VecDeque::new(),
            spare_control: None,
            outlet: Arc::new(StretchOutlet::new(
                spec.output.as_deref(),
                spec.context.clone(),
                answers,
            )),
            taken: Vec::new(),
            usual: Usual::of(&spec, tracked),
            timers_limit: TIMERS,
            pace: Pace::begin(),
            now,
            span,
            moved: Vec::new(),
            tracked,
            longest_hold,
            spec,
        }
    }

    /// Nothing starts while this holds it back.
    pub(crate) fn hold_back_by(&mut self, hold: Arc<Hold>) {
        self.hold = Some(hold);
    }

    /// Does what can be done now, up to a limit. True if there is more.
    pub(crate) fn work(&mut self) -> bool {
        let now = Instant::now();
        self.now = now;
        self.fire_timers(now);
        self.prune_timers();
        self.pace = Pace::begin();
        let more_suspects = self.pass_gate(now);
        let mut left = self.left_in_span(STRETCH);
        // Those only that were woken by now: what wakes itself while it is polled would leave nothing for others.
        let mut woken = self.slots.woken();
        while left > 0
            && woken > 0
            && let Some((slot, work)) = self.slots.next_woken()
        {
            woken -= 1;
            self.poll_work(slot, work);
            self.spend_round(&mut left);
        }
        while left > 0 && self.may_start(now) {
            let Some(task) = self.runnable.pop_front() else {
                break;
            };
            if self.tasks.get(task).is_some() {
                self.start_task(task);
                self.spend_round(&mut left);
            }
        }
        let mut started = false;
        if !self.paused && !self.draining {
            if !self.is_clearing() {
                self.scan_lanes(now, &mut left);
            }
            started = self.start_batches(now);
        }
        if std::mem::take(&mut self.hurry) && !self.runnable.is_empty() {
            self.stop_sequences(|_| true);
        }
        self.watch(now);
        // What was ready at once may have freed a key or made room for others.
        let passed = self.pass_gate_again(now);
        let may_go_on = !self.runnable.is_empty() && self.may_start(now);
        left == 0 || started || more_suspects || passed || may_go_on || self.slots.woken() > 0
    }

    /// One more piece of work was done in this round, which ends after so many and after some time.
    fn spend_round(&mut self, left: &mut usize) {
        *left = if self.pace.is_over() {
            0
        } else {
            left.saturating_sub(1)
        };
    }

    /// Forgets timers of what is gone: they could be due in days.
    fn prune_timers(&mut self) {
        if self.timers.len() < self.timers_limit {
            return;
        }
        let mut timers = std::mem::take(&mut self.timers);
        timers.retain(|timer| match timer {
            Timer::Due(task) => self
                .tasks
                .get(task)
                .is_some_and(|task| task.stage() == Stage::Waiting),
            Timer::Linger { lane, batch } => self.lane(lane).is_some_and(|lane| lane.gather.batch == batch),
            Timer::Revoke { lane, epoch } => self.lane(lane).is_some_and(|lane| lane.epoch == epoch),
            Timer::Timeout(_) | Timer::Rate | Timer::Stuck | Timer::Look => true,
        });
        self.timers_limit = TIMERS.max(2 * timers.len());
        self.timers = timers;
    }

    /// When to come again although nothing else happens.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Ready when pending work can go on.
    pub(crate) fn poll_woken(&self, context: &mut Context<'_>) -> Poll<()> {
        self.slots.poll_woken(context)
    }

    /// What the source is to be told next.
    pub(crate) fn next_command(&mut self) -> Option<SourceCommand> {
        self.commands.pop_front()
    }

    /// Whether the source is to be told something.
    pub(crate) fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }

    /// Stops or goes on starting deliveries.
    pub(crate) fn set_paused(&mut self, paused: bool) {
        self.paused_by_hand = paused;
        self.update_paused();
    }

    fn update_paused(&mut self) {
        self.paused = self.paused_by_hand || self.span.as_ref().is_some_and(|span| span.blocks());
        if self.paused {
            self.stop_sequences(|_| true);
        }
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused_by_hand
    }

    /// Whether a delivery may start: not paused, a slot free, the rate not exceeded.
    fn may_start(&mut self, now: Instant) -> bool {
        !self.paused
            && !self.draining
            && !self.held_back
            && !self.waits_for_inbox(now)
            && self.slots.in_use() - self.publishing < self.spec.policy.concurrency.max(1)
            && self.on_the_way.bytes < self.spec.policy.max_in_flight_bytes.max(1)
            && self.rate_allows(now) > 0
    }

    /// Whether the inbox's database is away and not to be asked yet; sets a timer if so.
    fn waits_for_inbox(&mut self, now: Instant) -> bool {
        let Some(until) = self.hold.as_ref().and_then(|hold| hold.until(now)) else {
            return false;
        };
        if self.asked_again != Some(until) {
            self.asked_again = Some(until);
            self.timers.set(until, Timer::Look);
        }
        true
    }

    /// How many deliveries the rate limit allows now; sets a timer if none.
    fn rate_allows(&mut self, now: Instant) -> usize {
        let Some(limiter) = &mut self.limiter else {
            return usize::MAX;
        };
        let available = limiter.available(now);
        if available == 0 && !self.rate_timer {
            self.rate_timer = true;
            self.timers.set(now + limiter.wait(), Timer::Rate);
        }
        available
    }

    /// Deliveries started.
    fn spend(&mut self, started: usize) {
        if let Some(limiter) = &mut self.limiter {
            limiter.spend(started);
        }
    }

    fn fire_timers(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Due(task) => self.due(task, now),
                Timer::Timeout(slot) => self.look_at_deadline(slot, now),
                Timer::Linger { lane, batch } => {
                    if let Some(lane) = self.lane_mut(lane)
                        && lane.gather.batch == batch
                    {
                        lane.gather.due = true;
                    }
                }
                Timer::Rate => self.rate_timer = false,
                Timer::Stuck => self.look_for_stuck(now),
                Timer::Look => {}
                Timer::Revoke { lane, epoch } => self.revoke_deadline(lane, epoch, now),
            }
        }
    }

    fn lane(&self, lane: usize) -> Option<&Lane> {
        self.lanes.get(lane)?.as_ref()
    }

    fn lane_mut(&mut self, lane: usize) -> Option<&mut Lane> {
        self.lanes.get_mut(lane)?.as_mut()
    }

    fn is_stopping(&self, lane: usize) -> bool {
        self.lane(lane).is_none_or(|lane| lane.stopping)
    }

    fn is_batch(&self) -> bool {
        self.spec.handler.kind() == HandlerKind::Batch
    }

    /// Whether what waits in the retry lane waits in its place.
    fn waits_in_place(&self) -> bool {
        self.longest_hold.is_none()
    }

    /// Whether later messages of a key wait for one in the retry lane.
    fn keeps_order(&self) -> bool {
        (self.waits_in_place() && self.spec.policy.order == RetryOrder::Kept)
            || self.spec.policy.ordering == Ordering::Partition
    }

    fn after(wait: Duration) -> Instant {
        Instant::now() + wait
    }

    /// Writes what the subscription does to its status.
    pub(crate) fn write_status(&self) {
        let (running, waiting, queued) = (self.slots.in_use(), self.tasks.waiting(), self.tasks.queued());
        let mut open = 0;
        let lanes = self.lanes.iter().flatten();
        self.board.edit(|status| {
            status.lanes.clear();
            status.lanes.extend(lanes.map(|lane| {
                open += lane.ledger.open_count();
                LaneStatus {
                    destination: lane.info.destination.clone(),
                    partition: lane.info.partition,
                    role: lane.info.role,
                    watermark: lane.ledger.watermark(),
                    received: lane.ledger.next_offset(),
                    open: lane.ledger.open_count(),
                }
            }));
            (status.running, status.waiting, status.queued) = (running, waiting, queued);
            let committed = self.span.as_ref().is_none_or(|span| !span.is_open());
            status.idle = self.source_idle && open == 0 && running == 0 && committed;
        });
    }

    /// How many messages are in the retry lane of a pair.
    fn parked_count(&self, pair: usize) -> usize {
        let retry = self
            .lane(pair)
            .and_then(|lane| lane.partner)
            .and_then(|partner| self.lane(partner));
        let Some(retry) = retry.filter(|lane| lane.info.role == LaneRole::Retry) else {
            return 0;
        };
        let on_the_way = retry.parked_end.saturating_sub(retry.ledger.next_offset());
        retry.ledger.open_count() + usize::try_from(on_the_way).unwrap_or(usize::MAX)
    }
}

//! Starts handlers and polls what is pending.

use super::Dispatcher;
use super::finish::EffectEnd;
use super::gather::BatchCall;
use super::turn::Turn;
use crate::keys::KeyId;
use crate::lane::Stretch;
use crate::ledger::Ticket;
use crate::marking::{Marked, Message};
use crate::panics::{call_caught, drop_caught, failure, poll_caught};
use crate::slots::Slots;
use crate::spec::SubscriptionSpec;
use crate::tasks::{Stage, TaskId};
use crate::timers::Timer;
use crate::verdict::took_too_long;
use std::sync::Arc;
use std::task::Poll;
use tidings_core::{
    BatchOutcome, BoxFuture, Company, Delivery, Failure, HandlerContext, HandlerKind, HandlerResult, Outputs,
    PublishError, SequenceEnd,
};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// What is pending in a slot.
pub(super) enum Work {
    /// A handler.
    Call {
        task: TaskId,
        running: Running<HandlerResult>,
    },
    /// What follows a handler: a manual acknowledgement, parking, a dead letter.
    Effect {
        task: TaskId,
        future: BoxFuture<'static, EffectEnd>,
    },
    /// What handlers of a lane returned, of which so many messages were answered for.
    Outputs { lane: usize, reached: usize },
    /// A stretch handled in turn.
    Turn {
        turn: Box<Turn>,
        future: BoxFuture<'static, SequenceEnd>,
    },
    /// A batch handler.
    Batch {
        call: BatchCall,
        running: Running<BatchOutcome>,
    },
    /// What a batch handler returned is being published.
    BatchOutputs {
        call: BatchCall,
        failures: Vec<Option<Failure>>,
        future: BoxFuture<'static, Result<(), PublishError>>,
    },
}

/// A handler under way.
pub(super) struct Running<T> {
    pub(super) future: BoxFuture<'static, T>,
    /// It runs as a task of its own, which is stopped by this.
    abort: Option<AbortOnDrop>,
    /// It took too long and was told to stop: what it comes to unless it is done already.
    pub(super) stopped: Option<Failure>,
}

/// What a handler says when it is polled, or that it panicked.
type HandlerPoll = Poll<Result<HandlerResult, Failure>>;

/// What is not handled with nothing to publish.
#[inline]
fn unfinished(polled: HandlerPoll) -> Option<HandlerPoll> {
    match polled {
        // Apart from what is empty otherwise, because there is nothing to drop.
        Poll::Ready(Ok(Ok(Outputs::None))) => None,
        Poll::Ready(Ok(Ok(outputs))) if outputs.is_empty() => None,
        polled => Some(polled),
    }
}

/// Stops a task of its own when the engine gives it up.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T: Send + 'static> Running<T> {
    fn here(future: BoxFuture<'static, T>) -> Self {
        Self {
            future,
            abort: None,
            stopped: None,
        }
    }

    /// As a task of its own.
    fn spawned(future: BoxFuture<'static, T>, failed: impl FnOnce(Failure) -> T + Send + 'static) -> Self {
        let handle = tokio::spawn(future);
        let abort = Some(AbortOnDrop(handle.abort_handle()));
        let future = Box::pin(async move {
            match handle.await {
                Ok(result) => result,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => failed(failure(&*panic)),
                    Err(_) => failed(Failure::transient("the handler's task was cancelled")),
                },
            }
        });
        Self {
            future,
            abort,
            stopped: None,
        }
    }

    /// Tells a task of its own to stop; it may still be busy for a while. Gives back what is not one: that stops by
    /// being dropped.
    fn stop(mut self, failure: Failure) -> Result<Self, (BoxFuture<'static, T>, Failure)> {
        match &self.abort {
            Some(AbortOnDrop(task)) => {
                task.abort();
                self.stopped.get_or_insert(failure);
                Ok(self)
            }
            None => Err((self.future, failure)),
        }
    }
}

impl Dispatcher {
    /// Handles the record that the stretch stands at; its key is idle and a slot is free.
    pub(super) fn start_record(
        &mut self,
        index: usize,
        stretch: &mut Stretch,
        key: Option<KeyId>,
        left: &mut usize,
    ) {
        let Some(lane) = self.lane(index) else { return };
        let (pair, known) = (lane.pair, lane.is_known(stretch.delivery.lane_offset()));
        if known || self.tracked || self.spec.policy.spawn || self.spec.handler.needs().manual_ack {
            let task = self.make_holder(index, stretch, key, pair);
            self.start_task(task);
            stretch.cursor += 1;
            return self.spend_round(left);
        }
        self.start_records(index, stretch, key, left, 1);
    }

    /// Handles the record that the stretch stands at, whose key is idle while a slot is free, and then those behind it
    /// as long as each ends at once: at most `limit`, and in one slot.
    pub(super) fn start_records(
        &mut self,
        index: usize,
        stretch: &mut Stretch,
        mut key: Option<KeyId>,
        left: &mut usize,
        limit: usize,
    ) {
        let Some((pair, tag)) = self.lane(index).map(|lane| (lane.pair, lane.tag)) else {
            return;
        };
        let first = stretch.ticket(stretch.cursor);
        let mut message = Message {
            tag,
            offset: stretch.delivery.lane_offset(),
            company: Company::Others,
        };
        let slot = self.slots.take();
        self.slots.begin(slot, message);
        let mut done = 0;
        loop {
            let (future, polled) = self.call_and_poll(slot, &stretch.delivery);
            if let Some(polled) = unfinished(polled) {
                self.settle_started(index, first, done, done + 1);
                let task = self.make_holder(index, stretch, key, pair);
                stretch.cursor += 1;
                self.spend_round(left);
                return self.go_on_as_task(slot, task, future, polled);
            }
            // While the mark still names its message: it is the handler's, and so is what its destructor does.
            drop(future);
            done += 1;
            stretch.cursor += 1;
            self.spend_round(left);
            if done >= limit || *left == 0 || stretch.cursor >= stretch.len {
                break;
            }
            stretch.delivery.move_to(stretch.cursor);
            key = self.usual_key(pair, &stretch.delivery);
            if key.is_some_and(|key| self.keys.is_busy(key)) {
                break;
            }
            message.offset = stretch.delivery.lane_offset();
            self.slots.begin_next(slot, message);
        }
        self.slots.give_back(slot);
        self.settle_started(index, first, done, done);
    }

    /// Calls the handler and polls what it returns for the first time. No future if the call itself panicked.
    fn call_and_poll(
        &mut self,
        slot: usize,
        delivery: &Delivery,
    ) -> (Option<BoxFuture<'static, HandlerResult>>, HandlerPoll) {
        let (handler, mut future) = (&self.spec.handler, None);
        let polled = self.slots.poll(slot, |context| {
            // The future is kept outside: a panic must not drop it, whose destructor may panic too.
            let call = || future.insert(handler.one(delivery)).as_mut().poll(context);
            match call_caught(call) {
                Ok(polled) => polled.map(Ok),
                Err(failure) => Poll::Ready(Err(failure)),
            }
        });
        (future, polled)
    }

    /// Closes the positions of `done` records from one on that ended at once; `started` were started.
    fn settle_started(&mut self, index: usize, first: Ticket, done: usize, started: usize) {
        self.spend(started);
        self.budget.earn(started);
        if done == 0 {
            return;
        }
        self.board.counters.handled.add(done as u64);
        if let Some(lane) = self.lane_mut(index) {
            lane.finish_range(first, done);
        }
    }

    /// A record that is pending, failed or has something to publish goes on as a task.
    fn go_on_as_task(
        &mut self,
        slot: usize,
        task: TaskId,
        future: Option<BoxFuture<'static, HandlerResult>>,
        polled: HandlerPoll,
    ) {
        self.tasks.set_stage(task, Stage::Running);
        match (future, polled) {
            (Some(future), polled) => self.go_on(slot, task, Running::here(future), polled),
            (None, Poll::Ready(result)) => self.on_handled(task, slot, result.unwrap_or_else(Err)),
            (None, Poll::Pending) => {}
        }
    }

    /// A task for the record that the stretch stands at, which holds its key.
    pub(super) fn make_holder(
        &mut self,
        index: usize,
        stretch: &Stretch,
        key: Option<KeyId>,
        pair: usize,
    ) -> TaskId {
        let key = key.or_else(|| self.key_to_hold(pair, &stretch.delivery));
        let id = self.make_task(index, stretch, key);
        self.hold_key(id, pair);
        id
    }

    /// A task takes its key, which nobody holds.
    pub(super) fn hold_key(&mut self, id: TaskId, pair: usize) {
        if let Some(task) = self.tasks.get_mut(id)
            && let Some(key) = task.key
        {
            task.holds_key = true;
            self.keys.hold(key, pair);
        }
    }

    /// Runs a task's handler for its next attempt; a slot is free.
    pub(super) fn start_task(&mut self, id: TaskId) {
        if self.span.is_some() && !self.may_start_in_span(id) {
            return;
        }
        let manual_ack = self.spec.handler.needs().manual_ack;
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let attempt = task.attempts().saturating_add(1);
        task.delivery.set_attempt(attempt);
        if manual_ack {
            task.delivery = task.delivery.clone().with_manual_ack();
        }
        let (lane, offset) = (task.lane, task.delivery.lane_offset());
        if task.used == 0 {
            self.budget.earn(1);
        } else {
            self.board.counters.retried.add(1);
        }
        self.spend(1);
        self.tasks.set_stage(id, Stage::Running);
        let slot = self.slots.take();
        let message = Message {
            tag: self.lane(lane).and_then(|lane| lane.tag),
            offset,
            company: self.company(),
        };
        self.slots.begin(slot, message);
        let Some(task) = self.tasks.get(id) else {
            return self.slots.give_back(slot);
        };
        let (spec, slots, delivery) = (&self.spec, &mut self.slots, &task.delivery);
        match call_caught(|| Self::call(spec, slots, slot, delivery, message)) {
            Ok(mut running) => {
                let polled = self
                    .slots
                    .poll(slot, |context| poll_caught(&mut running.future, context));
                self.go_on(slot, id, running, polled);
            }
            Err(failure) => self.on_handled(id, slot, Err(failure)),
        }
    }

    /// The handler's future for one delivery; a batch handler gets a batch of one.
    fn call(
        spec: &SubscriptionSpec,
        slots: &mut Slots<Work>,
        slot: usize,
        delivery: &Delivery,
        message: Message,
    ) -> Running<HandlerResult> {
        let handler = &spec.handler;
        let future: BoxFuture<'static, HandlerResult> = if handler.kind() == HandlerKind::Batch {
            let outcome = handler.batch(std::slice::from_ref(delivery), delivery.context());
            Box::pin(async move {
                let (outputs, mut failures) = outcome.await.into_parts(1);
                failures.pop().flatten().map_or(Ok(outputs), Err)
            })
        } else {
            handler.one(delivery)
        };
        if spec.policy.spawn {
            let marks = slots.go_elsewhere(slot, &[message]);
            Running::spawned(Marked::around(future, marks), Err)
        } else {
            Running::here(future)
        }
    }

    /// As its own task if the policy says so.
    pub(super) fn call_batch(
        &mut self,
        slot: usize,
        deliveries: &[Delivery],
        messages: &[Message],
        context: &Arc<HandlerContext>,
    ) -> Running<BatchOutcome> {
        let future = self.spec.handler.batch(deliveries, context);
        if self.spec.policy.spawn {
            let marks = self.slots.go_elsewhere(slot, messages);
            Running::spawned(Marked::around(future, marks), BatchOutcome::all_failed)
        } else {
            Running::here(future)
        }
    }

    fn go_on(&mut self, slot: usize, task: TaskId, running: Running<HandlerResult>, polled: HandlerPoll) {
        match polled {
            Poll::Pending => {
                if running.stopped.is_none() {
                    self.arm_timeout(slot);
                }
                self.slots.put(slot, Work::Call { task, running });
            }
            Poll::Ready(result) => {
                let Running { future, stopped, .. } = running;
                drop_caught(future);
                let result = result.unwrap_or_else(Err);
                self.on_handled(task, slot, result.map_err(|failure| stopped.unwrap_or(failure)));
            }
        }
    }

    /// Polls work whose slot was woken.
    pub(super) fn poll_work(&mut self, slot: usize, work: Work) {
        match work {
            Work::Call { task, mut running } => {
                let polled = self
                    .slots
                    .poll(slot, |context| poll_caught(&mut running.future, context));
                self.go_on(slot, task, running, polled);
            }
            Work::Effect { task, mut future } => {
                match self.slots.poll(slot, |context| future.as_mut().poll(context)) {
                    Poll::Pending => self.slots.put(slot, Work::Effect { task, future }),
                    Poll::Ready(end) => self.on_effect(task, slot, end),
                }
            }
            Work::Outputs { lane, reached } => self.poll_outputs(slot, lane, reached),
            Work::Turn { turn, future } => self.poll_turn(slot, turn, future),
            Work::Batch { call, running } => self.poll_batch(slot, call, running),
            Work::BatchOutputs {
                call,
                failures,
                mut future,
            } => match self.slots.poll(slot, |context| future.as_mut().poll(context)) {
                Poll::Pending => self.slots.put(
                    slot,
                    Work::BatchOutputs {
                        call,
                        failures,
                        future,
                    },
                ),
                Poll::Ready(result) => self.on_batch_published(slot, call, failures, result),
            },
        }
    }

    /// Starts to measure the time of pending work, unless it is measured already.
    pub(super) fn arm_timeout(&mut self, slot: usize) {
        if !self.slots.has_deadline(slot) {
            self.restart_timeout(slot);
        }
    }

    /// Starts to measure anew.
    pub(super) fn restart_timeout(&mut self, slot: usize) {
        let Some(timeout) = self.spec.policy.timeout else {
            return;
        };
        let deadline = Instant::now() + timeout;
        if self.slots.set_deadline(slot, Some(deadline)) {
            self.timers.set(deadline, Timer::Timeout(slot));
        }
    }

    pub(super) fn look_at_deadline(&mut self, slot: usize, now: Instant) {
        match self.slots.look_at_deadline(slot, now) {
            Err(later) => self.timers.set(later, Timer::Timeout(slot)),
            Ok(Some(work)) => self.timed_out(slot, work),
            Ok(None) => {}
        }
    }

    /// The future is dropped, which stops the handler; what it did outside stays done.
    fn timed_out(&mut self, slot: usize, work: Work) {
        let after = self.spec.policy.timeout.unwrap_or_default();
        let failure = took_too_long(after);
        match work {
            Work::Call { task, running } => match running.stop(failure) {
                Ok(running) => self.slots.put(slot, Work::Call { task, running }),
                Err((future, failure)) => {
                    drop_caught(future);
                    self.on_handled(task, slot, Err(failure));
                }
            },
            Work::Effect { task, future } => {
                drop(future);
                self.failed(task, Some(slot), failure);
            }
            Work::Turn { turn, future } => {
                drop_caught(future);
                self.end_pending_turn(slot, *turn, Err(failure));
            }
            Work::Batch { call, running } => match running.stop(failure) {
                Ok(running) => self.slots.put(slot, Work::Batch { call, running }),
                Err((future, failure)) => {
                    drop_caught(future);
                    self.on_batch(slot, call, Err(failure));
                }
            },
            // Publishing has no deadline.
            published @ (Work::Outputs { .. } | Work::BatchOutputs { .. }) => self.slots.put(slot, published),
        }
    }
}

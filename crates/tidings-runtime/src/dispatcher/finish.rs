//! What becomes of a handling: done, delivered again, parked, a dead letter.

use super::Dispatcher;
use super::run::Work;
use crate::deaths::Standing;
use crate::effects::OutputId;
use crate::keys::{KeyId, Parked};
use crate::letters::{self, GivenUp, Leaving};
use crate::panics::{call_caught, drop_caught, text_of};
use crate::span::Cause;
use crate::tasks::{Stage, TaskId};
use crate::timers::Timer;
use crate::verdict::{Verdict, judge};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tidings_core::{
    AckDecision, BoxFuture, Delivery, Failure, FailureKind, HandlerResult, Ordering, Outgoing, Outputs,
    Position, PublishError, Publishes, Sink,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// After the retry lane refused a message for good, none is moved there for so long.
const MOVE_AGAIN: Duration = Duration::from_secs(1);

/// How an effect ended.
pub(super) enum EffectEnd {
    /// The manual acknowledgement came; the outputs are those that the handler returned.
    Decided(AckDecision, Outputs),
    /// The message is in the retry lane, or refused for good.
    Parked(Result<Position, PublishError>, Duration),
    /// The message is in the dead letters, or it is in doubt whether it is part of the transaction.
    DeadLettered(Result<(), PublishError>),
    /// The requester of a message that is lost knows of it, or it is in doubt as above.
    Told(Result<(), PublishError>),
}

impl Dispatcher {
    /// A handler ended.
    pub(super) fn on_handled(&mut self, id: TaskId, slot: usize, result: HandlerResult) {
        self.slots.set_deadline(slot, None);
        let outputs = match result {
            Ok(outputs) => outputs,
            Err(failure) => return self.failed(id, Some(slot), failure),
        };
        match self
            .tasks
            .get(id)
            .and_then(|task| task.delivery.take_ack_waiter())
        {
            Some(waiter) => {
                let held = Box::pin(async move { EffectEnd::Decided(waiter.await, outputs) });
                self.start_effect(id, Some(slot), Stage::Held, held);
                if self.tasks.get(id).is_some_and(|task| task.stage() == Stage::Held) {
                    self.arm_timeout(slot);
                }
            }
            None => self.publish_or_done(id, slot, outputs),
        }
    }

    fn publish_or_done(&mut self, id: TaskId, slot: usize, outputs: Outputs) {
        if self.tracked {
            self.end_scope(id);
        }
        if outputs.is_empty() {
            return self.done(id, Some(slot));
        }
        self.publish_outputs(id, slot, outputs);
    }

    /// Starts an effect in the slot of the handling, or in one more.
    fn start_effect(
        &mut self,
        id: TaskId,
        slot: Option<usize>,
        stage: Stage,
        mut future: BoxFuture<'static, EffectEnd>,
    ) {
        let slot = slot.unwrap_or_else(|| self.slots.take());
        self.tasks.set_stage(id, stage);
        // A held message is the handler's until it decides. Everything else is the broker's work: a process that dies of
        // it, or is killed during it, says nothing of the message.
        match stage {
            Stage::Held => self.mark_here(slot, &[id]),
            _ => self.slots.end(slot),
        }
        match self.slots.poll(slot, |context| future.as_mut().poll(context)) {
            Poll::Pending => self.slots.put(slot, Work::Effect { task: id, future }),
            Poll::Ready(end) => self.on_effect(id, slot, end),
        }
    }

    /// What another thread has handled is this one's again, until it is published or decided.
    pub(super) fn mark_here(&mut self, slot: usize, tasks: &[TaskId]) {
        if self.slots.is_elsewhere(slot) {
            let messages = self.messages(tasks);
            self.slots.come_here(slot, &messages);
        }
    }

    pub(super) fn on_effect(&mut self, id: TaskId, slot: usize, end: EffectEnd) {
        self.slots.set_deadline(slot, None);
        if let Some(error) = self.doubt(&end) {
            // Whatever becomes of it counts for nothing.
            self.slots.give_back(slot);
            return self.break_off(Cause::Trouble(error));
        }
        match end {
            EffectEnd::Decided(AckDecision::Ack, outputs) => self.publish_or_done(id, slot, outputs),
            EffectEnd::Decided(decision, _) => self.failed(id, Some(slot), refusal(decision)),
            EffectEnd::Parked(Ok(position), _) => self.on_parked(id, slot, &position),
            EffectEnd::Parked(Err(error), wait) => self.on_not_parked(id, slot, &error, wait),
            EffectEnd::DeadLettered(_) => {
                self.board.counters.dead_lettered.add(1);
                self.close(id, Some(slot));
            }
            EffectEnd::Told(_) => self.close(id, Some(slot)),
        }
    }

    /// What makes it doubtful whether an effect is part of the transaction.
    fn doubt(&self, end: &EffectEnd) -> Option<String> {
        match end {
            EffectEnd::DeadLettered(result) | EffectEnd::Told(result) => self.doubtful(result),
            EffectEnd::Parked(Err(error), _) => self.doubtful::<()>(&Err(error.clone())),
            _ => None,
        }
    }

    /// The same of a publish.
    pub(super) fn doubtful<T>(&self, result: &Result<T, PublishError>) -> Option<String> {
        let error = result.as_ref().err().filter(|error| !error.is_permanent());
        error.filter(|_| self.span.is_some()).map(ToString::to_string)
    }

    /// An attempt failed.
    pub(super) fn failed(&mut self, id: TaskId, slot: Option<usize>, failure: Failure) {
        let (verdict, said) = self.judge(id, &failure);
        let is_held = is_unavailable(&failure);
        drop_caught(failure);
        self.note_in_span(id, &verdict, &said);
        match verdict {
            Verdict::GiveUp(_) => self.give_up(id, slot, verdict, &said),
            Verdict::Again { wait, .. } if is_held => self.again_here(id, slot, wait),
            Verdict::Again { wait, counts } => {
                if counts {
                    self.count_attempt(id);
                }
                self.again(id, slot, wait);
            }
        }
    }

    /// A delivery was an attempt, and is remembered as one through restarts.
    pub(super) fn count_attempt(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        task.used = task.used.saturating_add(1);
        let (lane, offset, used) = (task.lane, task.delivery.lane_offset(), task.used);
        if let Some(lane) = self.lane_mut(lane) {
            lane.note_attempts(offset, used);
        }
    }

    /// Counts a failure, and says what becomes of its delivery and what is to be said about it. What the user wrote is
    /// asked with care: a panic in there is one more failure.
    pub(super) fn judge(&mut self, id: TaskId, failure: &Failure) -> (Verdict, String) {
        let said = text_of(failure);
        let retry = &self.spec.policy.retry;
        let kind = if is_unavailable(failure) {
            // Nobody has handled it: that is no failure of its, whatever the policy says of errors.
            failure.kind()
        } else {
            let kind = call_caught(|| retry.classify(failure)).unwrap_or(failure.kind());
            self.note_failure(id, failure.kind(), &said);
            kind
        };
        let retry = &self.spec.policy.retry;
        let attempt = self
            .tasks
            .get(id)
            .map_or(1, |task| task.attempts().saturating_add(1));
        // A back-off function of the user's that panics must not make a message wait for ever.
        let verdict = call_caught(|| judge(kind, attempt, retry, fastrand::f64()));
        (verdict.unwrap_or(Verdict::GiveUp("exhausted")), said)
    }

    /// A delivery is never tried again.
    pub(super) fn give_up(&mut self, id: TaskId, slot: Option<usize>, verdict: Verdict, said: &str) {
        let Verdict::GiveUp(reason) = verdict else { return };
        if let Some(task) = self.tasks.get_mut(id) {
            task.used = task.used.saturating_add(1);
        }
        self.dead_letter(id, slot, reason, said);
    }

    /// Counts and remembers a failure.
    pub(super) fn note_failure(&mut self, id: TaskId, kind: FailureKind, said: &str) {
        let now = self.spec.context.clock.now();
        self.board.counters.failed.add(1);
        self.board
            .edit(|status| status.last_failure = Some((now, said.to_owned())));
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        task.first_failure.get_or_insert(now);
        tracing::debug!(subscription = %self.spec.context.subscription, position = %task.delivery.position(),
            kind = kind.as_str(), failure = said, "a delivery failed");
    }

    /// Delivers a task again after that time: waits in the retry lane if that is long, else in memory.
    fn again(&mut self, id: TaskId, slot: Option<usize>, wait: Duration) {
        if wait > self.spec.policy.retry.durable_after && self.can_park(id) {
            return self.park(id, slot, wait);
        }
        self.again_here(id, slot, wait);
    }

    /// Delivers a task again after that time, which it waits in memory.
    fn again_here(&mut self, id: TaskId, slot: Option<usize>, wait: Duration) {
        if let Some(slot) = slot {
            self.slots.give_back(slot);
        }
        if let Some(task) = self.tasks.get_mut(id) {
            task.detach();
        }
        if self.tasks.get(id).is_some_and(|task| self.is_stopping(task.lane)) {
            return self.abandon_task(id);
        }
        self.wait(id, wait);
    }

    /// Whether a task may move to the retry lane: it does not wait there in its place, there is one, and it has room.
    fn can_park(&self, id: TaskId) -> bool {
        let Some(lane) = self.tasks.get(id).and_then(|task| self.lane(task.lane)) else {
            return false;
        };
        let has_retry = self
            .spec
            .inputs
            .get(lane.input)
            .is_some_and(|input| input.retry.is_some());
        has_retry
            && (!lane.is_retry() || !self.waits_in_place())
            && lane.partner.is_some()
            && self.spec.policy.ordering != Ordering::Partition
            && self.parked_count(lane.pair) < self.spec.policy.max_parked
    }

    /// Moves a message to the retry lane, to wait there for that time.
    pub(super) fn park(&mut self, id: TaskId, slot: Option<usize>, wait: Duration) {
        let Some(task) = self.tasks.get(id) else { return };
        let Some(lane) = self.lane(task.lane) else { return };
        let Some(retry) = self
            .spec
            .inputs
            .get(lane.input)
            .and_then(|input| input.retry.clone())
        else {
            return;
        };
        let due = self.spec.context.clock.now().plus(wait);
        let leaving = Leaving {
            delivery: &task.delivery,
            used: task.attempts(),
            first_failure: task.first_failure,
        };
        let message = letters::parked(&leaving, retry, lane.info.partition, due);
        let keep =
            self.effects
                .clone()
                .keep("a message that waits for its next attempt", self.sink(), message);
        let earlier = self.earlier_outputs(id);
        let future = Box::pin(async move {
            for outputs in earlier {
                // Nobody waits for them any more: this counts for nothing either.
                let _ = outputs.await;
            }
            EffectEnd::Parked(keep.await, wait)
        });
        self.start_effect(id, slot, Stage::Parking, future);
    }

    /// What earlier messages returned and the broker has not kept yet. A message that waits is handled first after a crash,
    /// and what it returns then would come before what an earlier one of its key returned and the crash has taken.
    fn earlier_outputs(&mut self, id: TaskId) -> Vec<oneshot::Receiver<()>> {
        let Some(task) = self.tasks.get(id).filter(|_| !self.effects.in_transaction) else {
            return Vec::new();
        };
        let own = task.lane;
        let partner = self.lane(own).and_then(|lane| lane.partner);
        let lanes = [Some(own), partner].into_iter().flatten();
        lanes
            .filter_map(|lane| self.lane_mut(lane)?.outputs.answered())
            .collect()
    }

    fn on_parked(&mut self, id: TaskId, slot: usize, position: &Position) {
        let Some(task) = self.tasks.get(id) else {
            return self.slots.give_back(slot);
        };
        let (lane, key, moved) = (task.lane, task.key, !task.holds_key);
        if task.used > 0 || task.first_failure.is_some() {
            self.board.counters.parked.add(1);
        }
        if !self.waits_in_place() {
            // It is on its way, and has no place in the lane before it is back.
            return self.close(id, Some(slot));
        }
        let partner = self.lane(lane).and_then(|lane| lane.partner);
        if let Some(retry) = partner.and_then(|partner| self.lane_mut(partner)) {
            retry.parked_end = retry.parked_end.max(position.offset() + 1);
            // It may have been received before this receipt: then nothing is to come.
            if retry.ledger.next_offset() <= position.offset() {
                self.source_idle = false;
            }
        }
        if let Some(key) = key
            && self.keeps_order()
        {
            let pair = self.lane(lane).map_or(lane, |lane| lane.pair);
            // It may have come back already: then nothing is still to come.
            let retry = partner.and_then(|partner| self.lane(partner));
            let is_back = retry.is_some_and(|retry| retry.looked_to > position.offset());
            let offset = (!is_back).then(|| position.offset());
            if let Some(next) = self.keys.parked(key, pair, Parked { offset, moved }) {
                self.next_of_key(next);
            }
        }
        self.close(id, Some(slot));
    }

    /// The retry lane refuses the message: it waits in memory, and those behind it stay.
    fn on_not_parked(&mut self, id: TaskId, slot: usize, error: &PublishError, wait: Duration) {
        tracing::warn!(subscription = %self.spec.context.subscription, %error, "a message cannot be parked and waits in memory");
        self.slots.give_back(slot);
        if let Some(span) = &mut self.span {
            span.refused.insert(id);
        }
        let Some(task) = self.tasks.get(id) else { return };
        let (key, index) = (task.key.filter(|_| !task.holds_key), task.lane);
        if self.is_stopping(index) {
            return self.abandon_task(id);
        }
        match key {
            Some(key) if self.keeps_order() => {
                let later = Instant::now() + MOVE_AGAIN;
                self.timers.set(later, Timer::Look);
                if let Some(lane) = self.lane_mut(index) {
                    lane.move_again = Some(later);
                }
                self.tasks.set_stage(id, Stage::Queued);
                if let Some(next) = self.keys.not_moved(key, id) {
                    self.next_of_key(next);
                }
            }
            _ => self.wait(id, wait),
        }
    }

    /// Writes a message to the dead letters; its position stays open until the broker keeps it.
    pub(super) fn dead_letter(&mut self, id: TaskId, slot: Option<usize>, reason: &'static str, said: &str) {
        let Some(task) = self.tasks.get(id) else { return };
        let input = self
            .lane(task.lane)
            .and_then(|lane| self.spec.inputs.get(lane.input));
        let target = input.and_then(|input| input.dead_letter.as_ref());
        let refusal = self.refusal(&task.delivery, reason, said);
        let Some(target) = target.filter(|_| !self.spec.policy.lose_exhausted_messages) else {
            self.board.counters.dropped.add(1);
            tracing::warn!(subscription = %self.spec.context.subscription, position = %task.delivery.position(), failure = said,
                "a message is lost, as lose_exhausted_messages says");
            let Some((sink, refusal)) = refusal else {
                return self.close(id, slot);
            };
            let told = self.effects.clone().reply(sink, refusal);
            let future = Box::pin(async move { EffectEnd::Told(told.await) });
            return self.start_effect(id, slot, Stage::DeadLettering, future);
        };
        tracing::warn!(subscription = %self.spec.context.subscription, position = %task.delivery.position(), reason, failure = said,
            destination = %target.destination, "to the dead letters");
        let leaving = Leaving {
            delivery: &task.delivery,
            used: task.attempts().max(1),
            first_failure: task.first_failure,
        };
        let at = self.spec.context.clock.now();
        let given_up = GivenUp {
            handler: self.spec.handler.name(),
            reason,
            error: said,
            at,
            headers: self.spec.policy.headers,
        };
        let message = letters::dead(&leaving, target, &given_up);
        let keep = self
            .effects
            .clone()
            .keep_for_ever("a dead letter", self.sink(), message);
        let effects = self.effects.clone();
        let future = Box::pin(async move {
            let kept = keep.await.map(|_| ());
            EffectEnd::DeadLettered(match (kept, refusal) {
                // Who asks need not wait for what will never come.
                (Ok(()), Some((sink, refusal))) => effects.reply(sink, refusal).await,
                (kept, _) => kept,
            })
        });
        self.start_effect(id, slot, Stage::DeadLettering, future);
    }

    /// What tells a requester that its request is given up, by a handler that would have replied to it. Others that read
    /// the same channel do not speak for it.
    fn refusal(&self, delivery: &Delivery, reason: &str, said: &str) -> Option<(Arc<dyn Sink>, Outgoing)> {
        if self.spec.handler.publishes() != Publishes::Reply {
            return None;
        }
        let id = OutputId::new(delivery, &self.spec.context).of(0);
        let id = std::str::from_utf8(&id).ok();
        self.answers.refusal(self.publisher(), delivery, reason, said, id)
    }

    /// A message is handled.
    pub(super) fn done(&mut self, id: TaskId, slot: Option<usize>) {
        self.board.counters.handled.add(1);
        self.close(id, slot);
    }

    /// Everything outside is done: the position is closed, and slot and key are free.
    pub(super) fn close(&mut self, id: TaskId, slot: Option<usize>) {
        if let Some(slot) = slot {
            self.slots.give_back(slot);
        }
        let Some(task) = self.remove_task(id) else { return };
        if let Some(lane) = self.lane_mut(task.lane) {
            lane.finish(task.ticket);
            lane.forget_attempts(task.offset);
        }
        if let Some(key) = task.held {
            self.release(key);
        }
    }

    pub(super) fn release(&mut self, key: KeyId) {
        if let Some(next) = self.keys.release(key) {
            self.next_of_key(next);
        }
    }

    /// A task holds its key now.
    pub(super) fn next_of_key(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        task.holds_key = true;
        let index = task.lane;
        let due = task.due;
        if self.is_stopping(index) {
            return self.abandon_task(id);
        }
        match due {
            Some(due) if due > Instant::now() => {
                let wait = due - Instant::now();
                self.wait(id, wait);
            }
            _ => self.make_runnable(id),
        }
    }

    /// A task may run as soon as a slot is free; a first attempt of a batch handler joins a batch.
    fn make_runnable(&mut self, id: TaskId) {
        self.tasks.set_stage(id, Stage::Queued);
        let Some(task) = self.tasks.get(id) else { return };
        if task.standing != Standing::Usual {
            return self.set_aside(id);
        }
        let main = self.lane(task.lane).is_some_and(|lane| !lane.is_retry());
        if self.is_batch() && main && task.used == 0 {
            self.gather_next(id);
        } else {
            self.runnable.push_back(id);
            self.hurry = true;
        }
    }

    /// A task's wait is over: it runs if the retry budget allows it and its key is free.
    pub(super) fn due(&mut self, id: TaskId, now: Instant) {
        let Some(task) = self.tasks.get(id).filter(|task| task.stage() == Stage::Waiting) else {
            return;
        };
        if task.used > 0
            && let Err(wait) = self.budget.take(now)
        {
            return self.timers.set(now + wait, Timer::Due(id));
        }
        let (key, holds_key, lane) = (task.key, task.holds_key, task.lane);
        let pair = self.lane(lane).map_or(lane, |lane| lane.pair);
        if let Some(key) = key.filter(|_| !holds_key) {
            self.tasks.set_stage(id, Stage::Queued);
            if !self.keys.take_or_queue(key, pair, id) {
                return;
            }
            if let Some(task) = self.tasks.get_mut(id) {
                task.holds_key = true;
            }
        }
        self.make_runnable(id);
    }
}

/// Whether what the engine needs for every message was away.
fn is_unavailable(failure: &Failure) -> bool {
    matches!(failure.kind(), FailureKind::Unavailable(_))
}

/// A decision by hand, as a failure.
fn refusal(decision: AckDecision) -> Failure {
    match decision {
        AckDecision::NackAfter(wait) => {
            Failure::transient("the handler refused it for now").with_kind(FailureKind::RetryAfter(wait))
        }
        AckDecision::Reject(reason) => Failure::transient(reason).with_kind(FailureKind::Rejected),
        _ => Failure::transient("the handler refused it"),
    }
}

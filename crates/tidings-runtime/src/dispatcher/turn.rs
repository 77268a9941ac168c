//! Handles stretches of a batch in turn: one future for many messages, so a message costs no allocation.
//!
//! This is possible where only one message of a lane is handled at a time anyway and nothing is known of the messages
//! that would have to be looked at before: no key in flight, no filter, no earlier attempts.

use super::run::Work;
use super::{Dispatcher, Usual};
use crate::lane::Stretch;
use crate::ledger::Ticket;
use crate::marking::Message;
use crate::panics::{call_caught, drop_caught, poll_caught};
use crate::tasks::{Stage, Task, TaskId};
use std::sync::Arc;
use std::task::Poll;
use tidings_core::{
    BoxFuture, Company, Delivery, Failure, HandlerResult, Ordering, Sequence, SequenceControl, SequenceEnd,
};
use tokio::time::Instant;

/// A stretch that is being handled.
pub(super) struct Turn {
    pub(super) lane: usize,
    /// Its first record, and that one's ticket.
    start: usize,
    first: Ticket,
    /// All records before this are finished in the ledger.
    done: usize,
    end: usize,
    /// The record that the running time is measured of.
    measured: usize,
    delivery: Delivery,
    control: Arc<SequenceControl>,
}

impl Turn {
    /// The record that is being handled.
    pub(super) fn progress(&self) -> usize {
        self.control.progress()
    }

    /// Its offset in the lane.
    pub(super) fn current_offset(&self) -> u64 {
        let mut delivery = self.delivery.clone();
        delivery.move_to(self.progress().min(self.end.saturating_sub(1)));
        delivery.lane_offset()
    }

    fn ticket(&self, index: usize) -> Ticket {
        self.first.plus(index - self.start)
    }
}

impl Dispatcher {
    /// Whether the records of a lane from `next` on may be handled in turn.
    pub(super) fn may_take_turns(&self, index: usize, next: Ticket) -> bool {
        if self.usual != Usual::InTurn {
            return false;
        }
        let Some(lane) = self.lane(index) else {
            return false;
        };
        if lane.is_retry() || !lane.is_unknown(next) {
            return false;
        }
        match self.spec.policy.ordering {
            Ordering::Partition => self.keys.is_empty() || !self.keys.is_busy(self.keys.id(lane.pair, &[])),
            _ => self.keys.is_empty(),
        }
    }

    /// Handles the next records of a stretch in turn. False if nothing of the lane can start for now.
    pub(super) fn take_turn(
        &mut self,
        index: usize,
        stretch: &mut Stretch,
        now: Instant,
        left: &mut usize,
    ) -> bool {
        if !self.may_start(now) {
            return false;
        }
        let start = stretch.cursor;
        let count = (stretch.len - start).min(*left).min(self.rate_allows(now));
        *left -= count;
        self.spend(count);
        let mut delivery = stretch.delivery.clone();
        delivery.move_to(start);
        let turn = Turn {
            lane: index,
            start,
            first: stretch.ticket(start),
            done: start,
            end: start + count,
            measured: usize::MAX,
            delivery: delivery.clone(),
            control: self.spare_control.take().unwrap_or_default(),
        };
        turn.control.begin(start);
        let slot = self.slots.take();
        let message = Message {
            tag: self.lane(index).and_then(|lane| lane.tag),
            offset: delivery.lane_offset(),
            company: Company::Others,
        };
        self.slots.begin(slot, message);
        let sequence = Sequence {
            delivery,
            end: turn.end,
            control: turn.control.clone(),
            mark: message.tag.and_then(|_| self.slots.mark(slot)),
        };
        let end = match call_caught(|| self.spec.handler.sequence(sequence)) {
            Err(failure) => Err(failure),
            Ok(mut future) => match self.slots.poll(slot, |context| poll_caught(&mut future, context)) {
                Poll::Ready(end) => end,
                Poll::Pending => {
                    self.leave_pending(slot, Box::new(turn), future);
                    return false;
                }
            },
        };
        stretch.cursor = self.end_turn(slot, turn, end);
        // It was stopped by a record that has something to publish: others may follow in this round.
        *left += (start + count).saturating_sub(stretch.cursor);
        true
    }

    fn leave_pending(&mut self, slot: usize, mut turn: Box<Turn>, future: BoxFuture<'static, SequenceEnd>) {
        let current = turn.control.progress();
        if turn.measured != current {
            turn.measured = current;
            self.restart_timeout(slot);
        }
        if let Some(lane) = self.lane_mut(turn.lane) {
            lane.sequence = Some(slot);
            // What became due meanwhile, or a pause, must not wait for the whole stretch.
            if !self.runnable.is_empty() || self.paused {
                turn.control.stop();
            }
        }
        self.slots.put(slot, Work::Turn { turn, future });
    }

    /// Polls a stretch whose slot was woken.
    pub(super) fn poll_turn(
        &mut self,
        slot: usize,
        turn: Box<Turn>,
        mut future: BoxFuture<'static, SequenceEnd>,
    ) {
        match self.slots.poll(slot, |context| poll_caught(&mut future, context)) {
            Poll::Pending => self.leave_pending(slot, turn, future),
            Poll::Ready(end) => {
                drop_caught(future);
                self.end_pending_turn(slot, *turn, end);
            }
        }
    }

    /// A stretch that was pending came to an end, or was stopped.
    pub(super) fn end_pending_turn(&mut self, slot: usize, turn: Turn, end: Result<SequenceEnd, Failure>) {
        let index = turn.lane;
        if let Some(lane) = self.lane_mut(index) {
            lane.sequence = None;
        }
        let cursor = self.end_turn(slot, turn, end);
        let Some(lane) = self.lane_mut(index) else { return };
        if let Some(stretch) = lane.backlog.front_mut() {
            stretch.cursor = cursor;
            if cursor >= stretch.len {
                lane.backlog.pop_front();
            }
        }
    }

    /// Finishes what was handled, and goes on with the record that needs more. Returns the next record.
    fn end_turn(&mut self, slot: usize, mut turn: Turn, end: Result<SequenceEnd, Failure>) -> usize {
        let (reached, result) = match end {
            Ok(SequenceEnd::Finished(reached)) => (reached, None),
            // Middleware had to go its own way with it, and it is handled.
            Ok(SequenceEnd::Stopped(reached, Ok(outputs))) if outputs.is_empty() => (reached + 1, None),
            Ok(SequenceEnd::Stopped(reached, result)) => (reached, Some(result)),
            Err(failure) if turn.control.progress() < turn.end => {
                (turn.control.progress(), Some(Err(failure)))
            }
            // It panicked after its last record.
            Err(_) => (turn.end, None),
        };
        self.settle(&mut turn, reached);
        self.budget.earn(reached - turn.start);
        self.slots.set_deadline(slot, None);
        let next = match result {
            None => {
                self.slots.give_back(slot);
                reached
            }
            Some(result) => {
                self.go_on_alone(slot, &turn, reached, result);
                reached + 1
            }
        };
        if let Some(limiter) = &mut self.limiter {
            limiter.refund(turn.end.saturating_sub(next));
        }
        // The future that shared it was dropped, unless its handler is one that forgets what it is given.
        let mut control = turn.control;
        self.spare_control = Arc::get_mut(&mut control).is_some().then_some(control);
        next
    }

    /// A record that failed becomes a task. One that has something to publish does not.
    fn go_on_alone(&mut self, slot: usize, turn: &Turn, index: usize, result: HandlerResult) {
        if let Ok(outputs) = result {
            let mut delivery = turn.delivery.clone();
            delivery.move_to(index);
            return self.publish_of_turn(turn.lane, slot, (delivery, turn.ticket(index)), outputs);
        }
        let task = self.task_of_turn(turn, index);
        self.on_handled(task, slot, result);
    }

    fn task_of_turn(&mut self, turn: &Turn, index: usize) -> TaskId {
        let mut delivery = turn.delivery.clone();
        delivery.move_to(index);
        let pair = self.lane(turn.lane).map_or(turn.lane, |lane| lane.pair);
        let key = self.key_to_hold(pair, &delivery);
        let id = self.add_task(Task::new(delivery, turn.lane, turn.ticket(index), key));
        self.tasks.set_stage(id, Stage::Running);
        self.hold_key(id, pair);
        id
    }

    /// Closes the positions of records that were handled.
    fn settle(&mut self, turn: &mut Turn, reached: usize) {
        self.board.counters.handled.add((reached - turn.done) as u64);
        let done = std::mem::replace(&mut turn.done, reached);
        let first = turn.ticket(done);
        if let Some(lane) = self.lane_mut(turn.lane)
            && reached > done
        {
            lane.finish_range(first, reached - done);
        }
    }

    /// Closes what pending stretches have handled so far, so that it can be reported.
    pub(super) fn settle_sequences(&mut self) {
        for lane in self.lanes.iter_mut().flatten() {
            let Some(slot) = lane.sequence else { continue };
            let Some(Work::Turn { turn, .. }) = self.slots.work_mut(slot) else {
                continue;
            };
            let reached = turn.control.progress();
            let done = std::mem::replace(&mut turn.done, reached);
            if reached > done {
                self.board.counters.handled.add((reached - done) as u64);
                lane.finish_range(turn.ticket(done), reached - done);
            }
        }
    }

    /// Asks pending stretches to end before their next record.
    pub(super) fn stop_sequences(&mut self, pick: impl Fn(usize) -> bool) {
        let pending = self.lanes.iter().enumerate();
        let pending = pending.filter_map(|(index, lane)| lane.as_ref()?.sequence.filter(|_| pick(index)));
        for slot in pending {
            if let Some(Work::Turn { turn, .. }) = self.slots.work_mut(slot) {
                turn.control.stop();
            }
        }
    }
}

//! Handles stretches of a batch in turn: one future for many messages, so a message costs no allocation.
//!
//! This is possible where only one message of a lane is handled at a time anyway and nothing is known of the messages
//! that would have to be looked at before: no key in flight, no filter, no earlier attempts.

use super::outlet::Taken;
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
    records: Records,
    end: usize,
    /// The record that the running time is measured of.
    measured: usize,
    control: Arc<SequenceControl>,
}

/// Where the records of a stretch are, and how many of them need no more.
#[derive(Clone)]
struct Records {
    lane: usize,
    /// The first one, and its ticket.
    start: usize,
    first: Ticket,
    /// All before this are finished in the ledger, or what they returned is on its way.
    done: usize,
    delivery: Delivery,
}

impl Records {
    fn ticket(&self, index: usize) -> Ticket {
        self.first.plus(index - self.start)
    }

    /// The positions before that record that are to be closed now, if there are any.
    fn pass(&mut self, reached: usize) -> Option<(Ticket, usize)> {
        let done = std::mem::replace(&mut self.done, reached);
        (reached > done).then(|| (self.ticket(done), reached - done))
    }

    fn delivery(&self, index: usize) -> Delivery {
        let mut delivery = self.delivery.clone();
        delivery.move_to(index);
        delivery
    }
}

impl Turn {
    /// The record that is being handled.
    pub(super) fn progress(&self) -> usize {
        self.control.progress()
    }

    /// Its offset in the lane.
    pub(super) fn current_offset(&self) -> u64 {
        let index = self.progress().min(self.end.saturating_sub(1));
        self.records.delivery(index).lane_offset()
    }

    pub(super) fn lane(&self) -> usize {
        self.records.lane
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
            records: Records {
                lane: index,
                start,
                first: stretch.ticket(start),
                done: start,
                delivery: delivery.clone(),
            },
            end: start + count,
            measured: usize::MAX,
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
            outlet: Some(self.outlet.clone()),
        };
        self.open_outlet(index);
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
        // It ended before its end: others may follow in this round.
        *left += (start + count).saturating_sub(stretch.cursor);
        true
    }

    fn leave_pending(&mut self, slot: usize, mut turn: Box<Turn>, future: BoxFuture<'static, SequenceEnd>) {
        let current = turn.control.progress();
        if turn.measured != current {
            turn.measured = current;
            self.restart_timeout(slot);
        }
        if let Some(lane) = self.lane_mut(turn.lane()) {
            lane.sequence = Some(slot);
            // What became due meanwhile, or a pause, must not wait for the whole stretch.
            if !self.runnable.is_empty() || self.paused {
                turn.control.stop();
            }
        }
        self.slots.put(slot, Work::Turn { turn, future });
        self.follow_taken_in(slot);
    }

    /// What a pending stretch has returned so far is followed now, and not at its end.
    fn follow_taken_in(&mut self, slot: usize) {
        self.outlet.close(&mut self.taken);
        let Some(last) = self.taken.last().map(|taken| taken.index) else {
            return;
        };
        let Some(Work::Turn { turn, .. }) = self.slots.work_mut(slot) else {
            return;
        };
        let mut records = turn.records.clone();
        turn.records.done = last + 1;
        self.follow_taken(&mut records);
    }

    /// Follows what records of a stretch returned, in order, and closes the positions of those between them.
    fn follow_taken(&mut self, records: &mut Records) {
        let mut all = std::mem::take(&mut self.taken);
        for Taken { index, sent } in all.drain(..) {
            self.settle(records, index);
            records.done = index + 1;
            let message = (records.delivery(index), records.ticket(index));
            self.follow(records.lane, message, sent);
        }
        self.taken = all;
    }

    /// What the lane's records return while its stretch is polled is published by this subscription's publisher.
    fn open_outlet(&mut self, index: usize) {
        let held = self.holds_outputs(index);
        self.outlet.open(self.publisher().clone(), held);
    }

    /// Polls a stretch whose slot was woken.
    pub(super) fn poll_turn(
        &mut self,
        slot: usize,
        turn: Box<Turn>,
        mut future: BoxFuture<'static, SequenceEnd>,
    ) {
        self.open_outlet(turn.lane());
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
        let index = turn.lane();
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
        self.outlet.close(&mut self.taken);
        if !self.taken.is_empty() {
            // What goes wrong from here on is not the handler's doing.
            self.slots.end(slot);
            self.follow_taken(&mut turn.records);
        }
        self.settle(&mut turn.records, reached);
        self.budget.earn(reached - turn.records.start);
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
        let records = &turn.records;
        if let Ok(outputs) = result {
            let message = (records.delivery(index), records.ticket(index));
            return self.publish_of_turn(records.lane, slot, message, outputs);
        }
        let task = self.task_of_turn(records, index);
        self.on_handled(task, slot, result);
    }

    fn task_of_turn(&mut self, records: &Records, index: usize) -> TaskId {
        let delivery = records.delivery(index);
        let pair = self.lane(records.lane).map_or(records.lane, |lane| lane.pair);
        let key = self.key_to_hold(pair, &delivery);
        let id = self.add_task(Task::new(delivery, records.lane, records.ticket(index), key));
        self.tasks.set_stage(id, Stage::Running);
        self.hold_key(id, pair);
        id
    }

    /// Closes the positions of records that were handled.
    fn settle(&mut self, records: &mut Records, reached: usize) {
        if let Some((first, count)) = records.pass(reached) {
            self.board.counters.handled.add(count as u64);
            if let Some(lane) = self.lane_mut(records.lane) {
                lane.finish_range(first, count);
            }
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
            if let Some((first, count)) = turn.records.pass(reached) {
                self.board.counters.handled.add(count as u64);
                lane.finish_range(first, count);
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

//! Looks at received records in order and gives each to its key, to a slot, or to a batch.

use super::{Dispatcher, MOVES, Usual};
use crate::deaths::Standing;
use crate::keys::KeyId;
use crate::lane::Stretch;
use crate::ledger::Ticket;
use crate::letters::Parked;
use crate::marking::Message;
use crate::panics::call_caught;
use crate::tasks::{Stage, Task, TaskId};
use crate::timers::Timer;
use std::sync::Arc;
use tidings_core::{Delivery, Ordering};
use tokio::time::Instant;

/// What became of a look at one record.
enum Looked {
    /// It was given away; on to the next.
    GivenAway,
    /// So it was, and the stretch stands at the next.
    MovedOn,
    /// It has to wait where it is, and all after it.
    Stays,
}

impl Dispatcher {
    /// Looks at the lanes in turn, retry lanes first, until nothing more can start.
    pub(super) fn scan_lanes(&mut self, now: Instant, left: &mut usize) {
        let count = self.lanes.len();
        for retry in [true, false] {
            for step in 0..count {
                let index = (self.turn + step) % count;
                let Some(lane) = self.lane(index) else { continue };
                if lane.is_retry() != retry {
                    continue;
                }
                if !lane.backlog.is_empty() && !lane.stopping {
                    self.scan_lane(index, now, left);
                }
                if !retry {
                    self.move_overflow(index);
                }
                self.resume_source(index);
            }
        }
        self.turn = (self.turn + 1) % count.max(1);
    }

    fn scan_lane(&mut self, index: usize, now: Instant, left: &mut usize) {
        while *left > 0 && self.is_open_to_scan(index) {
            let Some(lane) = self.lane_mut(index) else { return };
            let Some(mut stretch) = lane.backlog.pop_front() else {
                return;
            };
            let finished = self.scan_stretch(index, &mut stretch, now, left);
            if stretch.cursor < stretch.len
                && let Some(lane) = self.lane_mut(index)
            {
                lane.backlog.push_front(stretch);
            }
            if !finished {
                return;
            }
        }
    }

    /// Whether a lane's records may be looked at now.
    fn is_open_to_scan(&mut self, index: usize) -> bool {
        let Some(lane) = self.lane(index) else {
            return false;
        };
        if lane.sequence.is_some() {
            return false;
        }
        let (pair, partner, retry) = (lane.pair, lane.partner, lane.is_retry());
        if retry {
            // What is handled in turn has not taken its keys: let it come to an end first.
            return match self.lane(pair).and_then(|main| main.sequence) {
                Some(_) => {
                    self.stop_sequences(|lane| lane == pair);
                    false
                }
                None => true,
            };
        }
        let Some(retry) = partner.and_then(|partner| self.lane(partner)) else {
            return true;
        };
        // Only when every parked key is known may later messages of the keys start.
        let known = retry.ledger.next_offset() >= retry.known_end && retry.backlog.is_empty();
        known || !self.keeps_order()
    }

    /// Looks at records until the stretch ends (true), or nothing more can start.
    fn scan_stretch(&mut self, index: usize, stretch: &mut Stretch, now: Instant, left: &mut usize) -> bool {
        while stretch.cursor < stretch.len {
            if *left == 0 {
                return false;
            }
            if self.may_take_turns(index, stretch.ticket(stretch.cursor)) {
                if !self.take_turn(index, stretch, now, left) {
                    return false;
                }
                if self.pace.has_passed() {
                    *left = 0;
                }
                continue;
            }
            if self.may_start_usual(index, stretch.ticket(stretch.cursor)) {
                if !self.start_usual(index, stretch, now, left) {
                    return false;
                }
                continue;
            }
            stretch.delivery.move_to(stretch.cursor);
            match self.look(index, stretch, now, left) {
                Looked::GivenAway => {
                    stretch.cursor += 1;
                    self.spend_round(left);
                }
                Looked::MovedOn => {}
                Looked::Stays => return false,
            }
        }
        true
    }

    /// Whether the records of a lane from `next` on are started without being looked at: nothing is known of them.
    fn may_start_usual(&self, index: usize, next: Ticket) -> bool {
        self.usual == Usual::Started
            && self
                .lane(index)
                .is_some_and(|lane| !lane.is_retry() && lane.is_unknown(next))
    }

    /// Starts records, or queues them behind their keys, up to one that did not end at once. False if nothing more can
    /// start.
    fn start_usual(&mut self, index: usize, stretch: &mut Stretch, now: Instant, left: &mut usize) -> bool {
        let Some(pair) = self.lane(index).map(|lane| lane.pair) else {
            return false;
        };
        stretch.delivery.move_to(stretch.cursor);
        let key = self.usual_key(pair, &stretch.delivery);
        if let Some(key) = key.filter(|key| self.keys.is_busy(*key)) {
            let task = self.make_task(index, stretch, Some(key));
            self.keys.queue(key, pair, task);
            stretch.cursor += 1;
            self.spend_round(left);
            return true;
        }
        if !self.may_start(now) {
            return false;
        }
        let limit = self.rate_allows(now);
        self.start_records(index, stretch, key, left, limit);
        true
    }

    fn look(&mut self, index: usize, stretch: &mut Stretch, now: Instant, left: &mut usize) -> Looked {
        let ticket = stretch.ticket(stretch.cursor);
        let Some(lane) = self.lane_mut(index) else {
            return Looked::Stays;
        };
        let pair = lane.pair;
        if lane.ledger.is_finished(ticket) {
            return Looked::GivenAway;
        }
        // What is in the retry lane was accepted before.
        let is_retry = lane.is_retry();
        let standing = self.standing(index, stretch);
        if !is_retry && standing == Standing::Usual && self.is_filtered(index, &stretch.delivery) {
            self.board.counters.filtered.add(1);
            if let Some(lane) = self.lane_mut(index) {
                lane.finish(ticket);
                lane.forget_attempts(stretch.delivery.lane_offset());
            }
            return Looked::GivenAway;
        }
        if is_retry {
            self.receive_parked(index, stretch);
            return Looked::GivenAway;
        }
        let key = self.key_of(pair, &stretch.delivery);
        if self.is_batch() && standing == Standing::Usual && !self.is_recalled(index, stretch) {
            return self.look_for_batch(index, stretch, key, now);
        }
        if let Some(key) = key
            && self.keys.is_busy(key)
        {
            if self.spec.policy.ordering == Ordering::Partition {
                return Looked::Stays;
            }
            let task = self.make_task(index, stretch, Some(key));
            self.keys.queue(key, pair, task);
            return Looked::GivenAway;
        }
        if standing != Standing::Usual {
            let task = self.make_holder(index, stretch, key, pair);
            self.set_aside(task);
            return Looked::GivenAway;
        }
        if !self.may_start(now) {
            return Looked::Stays;
        }
        self.start_record(index, stretch, key, left);
        Looked::MovedOn
    }

    fn look_for_batch(
        &mut self,
        index: usize,
        stretch: &Stretch,
        key: Option<KeyId>,
        now: Instant,
    ) -> Looked {
        if !self.has_room_in_batch(index) {
            return Looked::Stays;
        }
        let Some(lane) = self.lane(index) else {
            return Looked::Stays;
        };
        let (pair, batch) = (lane.pair, lane.gather.batch);
        match key {
            Some(key) if !self.keys.join(key, pair, batch) => {
                if self.spec.policy.ordering == Ordering::Partition {
                    return Looked::Stays;
                }
                let task = self.make_task(index, stretch, Some(key));
                self.keys.queue(key, pair, task);
            }
            key => {
                let task = self.make_task(index, stretch, key);
                if let Some(task) = self.tasks.get_mut(task) {
                    task.holds_key = key.is_some();
                }
                self.add_to_batch(index, task, now);
            }
        }
        Looked::GivenAway
    }

    /// Whether a message failed in a transaction that was given up: then it goes its own way, as after any failure.
    fn is_recalled(&self, index: usize, stretch: &Stretch) -> bool {
        self.span.is_some()
            && self
                .lane(index)
                .is_some_and(|lane| lane.is_known(stretch.delivery.lane_offset()))
    }

    /// A panic in a filter lets the message through: its handler can fail better.
    pub(super) fn is_filtered(&mut self, index: usize, delivery: &Delivery) -> bool {
        let Some(filter) = self.spec.filter.clone() else {
            return false;
        };
        let message = Message {
            tag: self.lane(index).and_then(|lane| lane.tag),
            offset: delivery.lane_offset(),
            company: self.company(),
        };
        let filtered = || !call_caught(|| filter(delivery)).unwrap_or(true);
        self.slots.mark_for(message, filtered)
    }

    /// The key that a delivery must hold while it is handled.
    fn key_of(&self, pair: usize, delivery: &Delivery) -> Option<KeyId> {
        // No look at the key when nothing is in flight: it is needed only if the handler does not finish at once.
        let is_needed =
            self.spec.policy.ordering != Ordering::Key || !self.keys.is_empty() || self.is_batch();
        if is_needed {
            self.key_to_hold(pair, delivery)
        } else {
            None
        }
    }

    /// The same for records that are started without being looked at.
    #[inline]
    pub(super) fn usual_key(&self, pair: usize, delivery: &Delivery) -> Option<KeyId> {
        if self.keys.is_empty() {
            None
        } else {
            self.key_to_hold(pair, delivery)
        }
    }

    /// The key that a task must hold, whether others are in flight or not.
    pub(super) fn key_to_hold(&self, pair: usize, delivery: &Delivery) -> Option<KeyId> {
        match self.spec.policy.ordering {
            Ordering::Key => delivery.key().map(|key| self.keys.id(pair, key)),
            Ordering::Partition => Some(self.keys.id(pair, &[])),
            _ => None,
        }
    }

    /// Makes the record that the stretch stands at a task.
    pub(super) fn make_task(&mut self, index: usize, stretch: &Stretch, key: Option<KeyId>) -> TaskId {
        self.add_task(Task::new(
            stretch.delivery.clone(),
            index,
            stretch.ticket(stretch.cursor),
            key,
        ))
    }

    /// A delivery becomes a task of its lane.
    pub(super) fn add_task(&mut self, mut task: Task) -> TaskId {
        if let Some(lane) = self.lane_mut(task.lane) {
            let offset = task.delivery.lane_offset();
            task.used = lane.attempts_of(offset);
            (task.standing, task.died, task.deaths) = lane.standing_of(offset);
            lane.tasks += 1;
            lane.memory.tasks += task.delivery.size();
        }
        let id = self.tasks.insert(task);
        if self.span.is_some() {
            self.recall(id);
        }
        id
    }

    /// A record of the retry lane waits in place, in the order of its key.
    fn receive_parked(&mut self, index: usize, stretch: &Stretch) {
        let Some(pair) = self.lane(index).map(|lane| lane.pair) else {
            return;
        };
        let now = self.spec.context.clock.now();
        let parked = Parked::read(&stretch.delivery, now, self.spec.policy.retry.attempts);
        let key = self.key_to_hold(pair, &stretch.delivery);
        let (wait, offset) = (parked.wait(now), stretch.delivery.lane_offset());
        if let Some(lane) = self.lane_mut(index) {
            lane.looked_to = offset + 1;
        }
        let id = self.make_task(index, stretch, key);
        if let Some(task) = self.tasks.get_mut(id) {
            task.used = task.used.max(parked.used);
            task.first_failure = parked.origin.as_ref().and_then(|origin| origin.first_failure);
            if let Some(origin) = parked.origin {
                task.delivery = task.delivery.clone().with_origin(Arc::new(origin));
            }
            task.due = Some(Self::after(wait));
            task.detach();
        }
        let holds = match key {
            Some(key) if self.keeps_order() => {
                let holds = self.keys.receive_parked(key, pair, offset, id);
                if let Some(task) = self.tasks.get_mut(id) {
                    task.holds_key = true;
                }
                holds
            }
            _ => true,
        };
        if self.longest_hold.is_some_and(|longest| wait > longest) {
            // It was on its way for a part of its time only.
            self.park(id, None, wait);
        } else if holds {
            self.wait(id, wait);
        }
    }

    /// Lets a task wait for its time. It holds its key, and no slot.
    pub(super) fn wait(&mut self, id: TaskId, wait: std::time::Duration) {
        self.tasks.set_stage(id, Stage::Waiting);
        self.timers.set(Self::after(wait), Timer::Due(id));
    }

    /// When a lane is nearly full, messages behind parked ones are parked too, one of each key at a time and in order.
    fn move_overflow(&mut self, index: usize) {
        let Some(lane) = self.lane(index) else { return };
        // A lane that was paused for it goes on only when half of it is free.
        let full = lane.source_paused || lane.ledger.span() * 4 >= self.spec.policy.max_in_flight.max(1) * 3;
        let has_retry = lane.partner.is_some();
        if !full || !has_retry || lane.stopping || !self.keeps_order() || self.keys.is_empty() {
            return;
        }
        if self.spec.policy.ordering != Ordering::Key
            || self.parked_count(index) >= self.spec.policy.max_parked
        {
            return;
        }
        let now = Instant::now();
        if lane.move_again.is_some_and(|at| at > now) {
            return;
        }
        for task in self.keys.take_moves(index, MOVES) {
            self.park(task, None, std::time::Duration::ZERO);
        }
    }
}

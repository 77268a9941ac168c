//! Batch handlers: items are gathered per pair of lanes, handled by one call, and then go their own ways.

use super::Dispatcher;
use super::run::{Running, Work};
use crate::deaths::Standing;
use crate::effects::{OutputId, prepare};
use crate::keys::KeyId;
use crate::marking::Message;
use crate::panics::{call_caught, drop_caught, poll_caught};
use crate::scope::ScopeOwner;
use crate::span::Cause;

use crate::tasks::{Stage, Task, TaskId};
use crate::timers::Timer;
use crate::verdict::Verdict;
use std::collections::HashMap;
use std::task::Poll;
use tidings_core::{BatchOutcome, BoxFuture, Failure, Ordering, Outputs, PublishError};
use tokio::time::Instant;

/// A call of a batch handler.
pub(super) struct BatchCall {
    pub(super) lane: usize,
    pub(super) tasks: Vec<TaskId>,
    /// What it publishes with, in an exactly-once subscription.
    scope: Option<ScopeOwner>,
    /// It has published by itself.
    published: bool,
}

impl Dispatcher {
    /// Whether another item may be gathered. One call of a lane at a time keeps the order.
    pub(super) fn has_room_in_batch(&mut self, index: usize) -> bool {
        let (size, one_call) = (
            self.spec.policy.batch.size.max(1),
            self.spec.policy.ordering != Ordering::None,
        );
        let number = self.batches + 1;
        let Some(lane) = self.lane_mut(index) else {
            return false;
        };
        let gather = &mut lane.gather;
        if gather.batch == 0 {
            gather.batch = number;
            self.batches = number;
        }
        let Some(lane) = self.lane(index) else {
            return false;
        };
        lane.gather.tasks.len() < size && (lane.gather.calls == 0 || !one_call)
    }

    /// An item joins the batch; its key is held for it.
    pub(super) fn add_to_batch(&mut self, index: usize, task: TaskId, now: Instant) {
        let linger = self.spec.policy.batch.linger;
        let Some(lane) = self.lane_mut(index) else { return };
        lane.gather.tasks.push(task);
        if lane.gather.tasks.len() == 1 {
            let batch = lane.gather.batch;
            lane.gather.due = linger.is_zero();
            self.timers
                .set(now + linger, Timer::Linger { lane: index, batch });
        }
    }

    /// A message whose key was freed joins the batch, or the next one if there is no room.
    pub(super) fn gather_next(&mut self, id: TaskId) {
        let Some(index) = self.tasks.get(id).map(|task| task.lane) else {
            return;
        };
        let size = self.spec.policy.batch.size.max(1);
        // A running call is no obstacle: the key is held, so its order is kept.
        self.has_room_in_batch(index);
        match self.lane_mut(index) {
            Some(lane) if lane.gather.tasks.len() >= size => lane.gather.overflow.push_back(id),
            _ => self.gather_now(index, id),
        }
    }

    /// A message that holds its key joins the batch, and those of its key behind it as far as there is room.
    fn gather_now(&mut self, index: usize, id: TaskId) {
        let now = Instant::now();
        self.add_to_batch(index, id, now);
        let Some(key) = self.tasks.get(id).and_then(|task| task.key) else {
            return;
        };
        let Some(batch) = self.lane(index).map(|lane| lane.gather.batch) else {
            return;
        };
        self.keys.set_batch(key, batch);
        while self.has_room_in_batch(index)
            && let Some(next) = self.next_in_batch(key, batch)
        {
            if let Some(task) = self.tasks.get_mut(next) {
                task.holds_key = true;
            }
            self.add_to_batch(index, next, now);
        }
    }

    /// The next message behind a key that may join its batch: a suspect has a batch of its own.
    fn next_in_batch(&mut self, key: KeyId, batch: u64) -> Option<TaskId> {
        let tasks = &self.tasks;
        let recalls = self.span.is_some();
        let may_join = |id| {
            let usual = |task: &Task| task.standing == Standing::Usual && !(recalls && task.used > 0);
            tasks.get(id).is_none_or(usual)
        };
        self.keys.next_in_batch(key, batch, may_join)
    }

    /// Starts the calls whose batch is full or has waited long enough, lane by lane in turn: where fewer calls may run than
    /// there are lanes, one that always has something leaves room for the others. True if there was one.
    pub(super) fn start_batches(&mut self, now: Instant) -> bool {
        let mut started = false;
        if !self.is_batch() {
            return started;
        }
        let (size, one_call) = (
            self.spec.policy.batch.size.max(1),
            self.spec.policy.ordering != Ordering::None,
        );
        // What is gathered stands below what is finished, and what a commit waits for does not linger.
        let clearing = self.is_clearing();
        let (first, count) = (self.batch_turn, self.lanes.len());
        for step in 0..count {
            let index = (first + step) % count;
            let Some(lane) = self.lane(index) else { continue };
            let gather = &lane.gather;
            let due = gather.due || clearing;
            let ready = !gather.tasks.is_empty() && (due || gather.tasks.len() >= size);
            let blocked = lane.stopping || (one_call && gather.calls > 0);
            if ready && !blocked && self.may_start(now) {
                self.start_call(index);
                self.batch_turn = index + 1;
                started = true;
            }
        }
        started
    }

    fn start_call(&mut self, index: usize) {
        self.batches += 1;
        let number = self.batches;
        let Some(lane) = self.lane_mut(index) else { return };
        let tasks = std::mem::take(&mut lane.gather.tasks);
        lane.gather.batch = number;
        lane.gather.due = false;
        lane.gather.calls += 1;
        self.spend(tasks.len());
        self.budget.earn(tasks.len());
        let mut deliveries = Vec::with_capacity(tasks.len());
        let slot = self.slots.take();
        let messages = self.begin_batch(slot, &tasks);
        for id in &tasks {
            self.tasks.set_stage(*id, Stage::Running);
            if let Some(task) = self.tasks.get(*id) {
                deliveries.push(
                    task.delivery
                        .clone()
                        .with_attempt(task.attempts().saturating_add(1)),
                );
            }
        }
        self.gather_overflow(index);
        let scope = self.new_scope();
        let context = match &scope {
            Some(scope) => scope.context(&self.spec.context),
            None => self.spec.context.clone(),
        };
        let call = BatchCall {
            lane: index,
            tasks,
            scope,
            published: false,
        };
        match call_caught(|| self.call_batch(slot, &deliveries, &messages, &context)) {
            Ok(running) => self.poll_batch(slot, call, running),
            Err(failure) => self.on_batch(slot, call, Err(failure)),
        }
    }

    /// Marks all messages of a call.
    fn begin_batch(&mut self, slot: usize, tasks: &[TaskId]) -> Vec<Message> {
        let messages = self.messages(tasks);
        let mut rest = messages.iter().copied();
        if let Some(first) = rest.next() {
            self.slots.begin(slot, first);
        }
        rest.for_each(|message| self.slots.begin_another(slot, message));
        messages
    }

    /// What is to be marked of tasks.
    pub(super) fn messages(&self, tasks: &[TaskId]) -> Vec<Message> {
        let tasks = tasks.iter().filter_map(|id| self.tasks.get(*id));
        let message = |task: &Task| Message {
            tag: self.lane(task.lane).and_then(|lane| lane.tag),
            offset: task.delivery.lane_offset(),
            company: self.company(),
        };
        tasks.map(message).collect()
    }

    /// What had no room in the batch before begins the next one.
    fn gather_overflow(&mut self, index: usize) {
        let size = self.spec.policy.batch.size.max(1);
        while let Some(lane) = self.lane_mut(index)
            && lane.gather.tasks.len() < size
            && let Some(next) = lane.gather.overflow.pop_front()
        {
            self.gather_now(index, next);
        }
    }

    pub(super) fn poll_batch(&mut self, slot: usize, call: BatchCall, mut running: Running<BatchOutcome>) {
        match self
            .slots
            .poll(slot, |context| poll_caught(&mut running.future, context))
        {
            Poll::Pending => {
                if running.stopped.is_none() {
                    self.arm_timeout(slot);
                }
                self.slots.put(slot, Work::Batch { call, running });
            }
            Poll::Ready(outcome) => {
                let Running { future, stopped, .. } = running;
                drop_caught(future);
                // A task that was stopped says only that it was cancelled.
                self.on_batch(slot, call, stopped.map_or(outcome, Err));
            }
        }
    }

    /// A call ended: what it returned is published, then each item goes its own way.
    pub(super) fn on_batch(
        &mut self,
        slot: usize,
        mut call: BatchCall,
        outcome: Result<BatchOutcome, Failure>,
    ) {
        call.published |= call.scope.take().is_some_and(ScopeOwner::end);
        self.slots.set_deadline(slot, None);
        let outcome = outcome.unwrap_or_else(BatchOutcome::all_failed);
        let (outputs, failures) = outcome.into_parts(call.tasks.len());
        if outputs.is_empty() {
            return self.end_call(slot, call, failures);
        }
        // It is encoded while its messages are marked, and published when they are not any more.
        self.mark_here(slot, &call.tasks);
        let mut future = self.publish_of_batch(&call, &failures, outputs);
        self.slots.end(slot);
        match self.slots.poll(slot, |context| future.as_mut().poll(context)) {
            Poll::Pending => {
                let work = Work::BatchOutputs {
                    call,
                    failures,
                    future,
                };
                self.slots.put(slot, work);
            }
            Poll::Ready(result) => self.on_batch_published(slot, call, failures, result),
        }
    }

    /// The ids of what a call returns are derived from the items that it handled.
    fn publish_of_batch(
        &self,
        call: &BatchCall,
        failures: &[Option<Failure>],
        outputs: Outputs,
    ) -> BoxFuture<'static, Result<(), PublishError>> {
        let items = call.tasks.iter().zip(failures);
        let handled = items
            .filter(|(_, failure)| failure.is_none())
            .filter_map(|(id, _)| self.tasks.get(*id));
        let id = OutputId::of_batch(handled.map(|task| &task.delivery), &self.spec.context);
        let prepared = prepare(
            self.publisher(),
            self.spec.output.as_deref(),
            outputs,
            None,
            &id,
            &self.answers,
        );
        Box::pin(self.effects.clone().publish(prepared))
    }

    pub(super) fn on_batch_published(
        &mut self,
        slot: usize,
        call: BatchCall,
        mut failures: Vec<Option<Failure>>,
        result: Result<(), PublishError>,
    ) {
        if let Some(error) = self.doubtful(&result) {
            self.break_off(Cause::Trouble(error));
        }
        if let Err(error) = result {
            // Some of it may be published.
            self.break_off(Cause::Handling);
            let said = format!("what the batch handler returned cannot be published: {error}");
            for failure in &mut failures {
                failure.get_or_insert_with(|| Failure::permanent(said.clone()));
            }
        }
        self.end_call(slot, call, failures);
    }

    fn end_call(&mut self, slot: usize, call: BatchCall, failures: Vec<Option<Failure>>) {
        self.slots.give_back(slot);
        if let Some(lane) = self.lane_mut(call.lane) {
            lane.gather.calls = lane.gather.calls.saturating_sub(1);
        }
        let failed = failures.iter().any(Option::is_some);
        if failed && call.published {
            self.break_off(Cause::Handling);
        }
        // Of several failed items of a key the first goes on; the others wait behind it.
        let mut behind: HashMap<KeyId, Vec<TaskId>> = HashMap::new();
        for (id, failure) in call.tasks.into_iter().zip(failures) {
            let Some(task) = self.tasks.get(id) else { continue };
            match (failure, task.key) {
                (None, _) => self.done(id, None),
                (Some(failure), Some(key)) => match behind.get_mut(&key) {
                    Some(others) => {
                        if self.step_back(id, failure) {
                            others.push(id);
                        }
                    }
                    None => {
                        behind.insert(key, Vec::new());
                        self.failed(id, None, failure);
                    }
                },
                (Some(failure), None) => self.failed(id, None, failure),
            }
        }
        for (key, tasks) in behind.into_iter().filter(|(_, tasks)| !tasks.is_empty()) {
            if let Some(next) = self.keys.requeue(key, &tasks) {
                self.next_of_key(next);
            }
        }
    }

    /// A failed item gives its key back to the one before it, and waits for it again. False if it does not: it is
    /// never tried again, or its lane is handed over.
    fn step_back(&mut self, id: TaskId, failure: Failure) -> bool {
        let (verdict, said) = self.judge(id, &failure);
        self.note_in_span(id, &verdict, &said);
        let Verdict::Again { wait, counts } = verdict else {
            self.give_up(id, None, verdict, &said);
            return false;
        };
        let Some(task) = self.tasks.get_mut(id) else {
            return false;
        };
        task.holds_key = false;
        task.due = Some(Instant::now() + wait);
        task.detach();
        if counts {
            self.count_attempt(id);
        }
        self.tasks.set_stage(id, Stage::Queued);
        true
    }
}

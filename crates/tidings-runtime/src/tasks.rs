//! Deliveries on their way through the state machine: [`Task`], kept in a [`Tasks`] slab.

use crate::deaths::Standing;
use crate::keys::KeyId;
use crate::ledger::Ticket;
use crate::scope::ScopeOwner;
use std::sync::Arc;
use tidings_core::{Delivery, RecordBatch, Timestamp};
use tokio::time::Instant;

/// Names one task; a number that is used again carries another generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TaskId {
    index: u32,
    generation: u32,
}

/// Where a delivery is. What is finished or abandoned is no task any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Behind another delivery of its key, in a batch that is being gathered, or next to run.
    Queued,
    /// Its handler runs.
    Running,
    /// What it returned is being published.
    Publishing,
    /// Its handler returned; the manual acknowledgement is still to come.
    Held,
    /// For its next attempt.
    Waiting,
    /// Being written to the retry lane.
    Parking,
    /// Being written to the dead letters.
    DeadLettering,
}

impl Stage {
    /// Whether something outside is under way that may not be forgotten.
    pub(crate) fn is_active(self) -> bool {
        !matches!(self, Self::Queued | Self::Waiting)
    }
}

/// One delivery.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) delivery: Delivery,
    /// The lane's number.
    pub(crate) lane: usize,
    pub(crate) ticket: Ticket,
    /// The key that it holds or waits for; none if it is free.
    pub(crate) key: Option<KeyId>,
    /// Whether it holds its key: a message that overtakes (relaxed order) takes it when it is due.
    pub(crate) holds_key: bool,
    /// Attempts that failed.
    pub(crate) used: u32,
    /// Attempts that ended with the process.
    pub(crate) died: u32,
    /// How often a process died while it handled the message.
    pub(crate) deaths: u32,
    /// How it is to be handled because of that.
    pub(crate) standing: Standing,
    pub(crate) first_failure: Option<Timestamp>,
    /// Not before this time, even if its key is free.
    pub(crate) due: Option<Instant>,
    /// What its handling publishes with, in an exactly-once subscription.
    pub(crate) scope: Option<ScopeOwner>,
    stage: Stage,
}

impl Task {
    pub(crate) fn new(delivery: Delivery, lane: usize, ticket: Ticket, key: Option<KeyId>) -> Self {
        Self {
            delivery,
            lane,
            ticket,
            key,
            holds_key: false,
            used: 0,
            died: 0,
            deaths: 0,
            standing: Standing::Usual,
            first_failure: None,
            due: None,
            scope: None,
            stage: Stage::Queued,
        }
    }

    /// Attempts so far, however they ended.
    pub(crate) fn attempts(&self) -> u32 {
        self.used.saturating_add(self.died)
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// Copies the record out of its batch when the batch is much larger: a message that waits for long must not keep
    /// a whole batch in memory.
    pub(crate) fn detach(&mut self) {
        let batch = self.delivery.batch();
        let message = self.delivery.message();
        if batch.memory_bytes() <= 2 * message.size() + 1024 {
            return;
        }
        let offset = self.delivery.lane_offset();
        let own = RecordBatch::from_messages(batch.lane(), batch.epoch(), offset, &[message]);
        self.delivery = self.delivery.in_batch(Arc::new(own), 0);
    }
}

/// What is to be put in order when a task is gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Removed {
    pub(crate) lane: usize,
    pub(crate) ticket: Ticket,
    pub(crate) offset: u64,
    /// The size of its message.
    pub(crate) size: usize,
    /// The key that it held.
    pub(crate) held: Option<KeyId>,
}

#[derive(Debug)]
struct Entry {
    generation: u32,
    task: Option<Task>,
}

/// All tasks of a subscription.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    entries: Vec<Entry>,
    free: Vec<u32>,
    waiting: usize,
    queued: usize,
}

impl Tasks {
    /// Adds a task.
    pub(crate) fn insert(&mut self, task: Task) -> TaskId {
        self.count(task.stage, 1);
        if let Some(index) = self.free.pop() {
            let entry = &mut self.entries[index as usize];
            entry.task = Some(task);
            return TaskId {
                index,
                generation: entry.generation,
            };
        }
        let index = u32::try_from(self.entries.len()).expect("max_in_flight keeps tasks far below 2^32");
        self.entries.push(Entry {
            generation: 0,
            task: Some(task),
        });
        TaskId { index, generation: 0 }
    }

    /// The task if it is still there.
    pub(crate) fn get(&self, id: TaskId) -> Option<&Task> {
        let entry = self.entries.get(id.index as usize)?;
        entry.task.as_ref().filter(|_| entry.generation == id.generation)
    }

    /// The task if it is still there, to be changed.
    pub(crate) fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        let entry = self.entries.get_mut(id.index as usize)?;
        entry.task.as_mut().filter(|_| entry.generation == id.generation)
    }

    /// Moves a task to another stage.
    pub(crate) fn set_stage(&mut self, id: TaskId, stage: Stage) {
        let Some(task) = self.get_mut(id) else { return };
        let before = std::mem::replace(&mut task.stage, stage);
        self.count(before, -1);
        self.count(stage, 1);
    }

    /// Removes a task.
    pub(crate) fn remove(&mut self, id: TaskId) -> Option<Removed> {
        let entry = self.entries.get_mut(id.index as usize)?;
        let task = entry
            .task
            .as_ref()
            .filter(|_| entry.generation == id.generation)?;
        let removed = Removed {
            lane: task.lane,
            ticket: task.ticket,
            offset: task.delivery.lane_offset(),
            size: task.delivery.size(),
            held: task.key.filter(|_| task.holds_key),
        };
        let stage = task.stage;
        entry.task = None;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(id.index);
        self.count(stage, -1);
        Some(removed)
    }

    /// The tasks of a lane.
    pub(crate) fn of_lane(&self, lane: usize) -> Vec<TaskId> {
        let numbered = (0..).zip(&self.entries);
        let found = numbered.filter(|(_, entry)| entry.task.as_ref().is_some_and(|task| task.lane == lane));
        found
            .map(|(index, entry)| TaskId {
                index,
                generation: entry.generation,
            })
            .collect()
    }

    /// How many wait for their next attempt.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many are queued.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    fn count(&mut self, stage: Stage, by: isize) {
        let counter = match stage {
            Stage::Queued => &mut self.queued,
            Stage::Waiting => &mut self.waiting,
            _ => return,
        };
        *counter = counter.saturating_add_signed(by);
    }
}

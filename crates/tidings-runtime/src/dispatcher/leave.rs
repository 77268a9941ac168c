//! Lanes that are handed over, lanes that are lost, and draining.

use super::Dispatcher;
use crate::lane::Lane;
use crate::panics::drop_caught;
use crate::tasks::{Removed, TaskId};
use crate::timers::Timer;
use std::collections::HashMap;
use tidings_core::{Epoch, LaneId};
use tokio::time::Instant;

impl Dispatcher {
    /// Lanes are to be handed over: nothing of them starts any more, what runs may finish until the deadline.
    pub(crate) fn revoke(&mut self, lanes: &[LaneId], deadline: Instant) {
        for index in lanes.iter().map(|lane| lane.0 as usize) {
            let Some(lane) = self.lane(index) else { continue };
            let epoch = lane.epoch;
            if let Some(lane) = self.lane_mut(index) {
                // Where it was to go on is its next owner's to decide.
                lane.seek = None;
                lane.stop_by = Some(deadline);
            }
            self.timers.set(deadline, Timer::Revoke { lane: index, epoch });
            self.stop_lane(index);
        }
    }

    /// Lanes belong to somebody else: what runs is stopped and counts for nothing.
    pub(crate) fn lose(&mut self, lanes: &[LaneId]) {
        for index in lanes.iter().map(|lane| lane.0 as usize) {
            self.stop_lane(index);
            self.cut(index);
            if let Some(lane) = self.lanes.get_mut(index) {
                *lane = None;
            }
        }
    }

    /// Lanes that were to be handed over and have nothing running.
    pub(crate) fn finished_lanes(&self) -> Vec<LaneId> {
        let partner = |lane: &Lane| lane.partner.and_then(|partner| self.lane(partner));
        let stopping = self
            .lanes
            .iter()
            .flatten()
            .filter(|lane| lane.stopping && lane.seek.is_none() && !lane.is_busy());
        // The two lanes of a pair go together.
        let finished =
            stopping.filter(|lane| !partner(lane).is_some_and(|other| other.stopping && other.is_busy()));
        finished.map(|lane| lane.id).collect()
    }

    /// Whether any lane is being handed over.
    pub(crate) fn is_leaving(&self) -> bool {
        self.lanes.iter().flatten().any(|lane| lane.stopping)
    }

    /// Forgets lanes that were handed over.
    pub(crate) fn forget(&mut self, lanes: &[LaneId]) {
        for lane in lanes {
            if let Some(pair) = self.lane(lane.0 as usize).map(|lane| lane.pair) {
                self.keys.forget_pair(pair);
            }
            if let Some(lane) = self.lanes.get_mut(lane.0 as usize) {
                *lane = None;
            }
        }
    }

    /// Nothing starts any more, anywhere.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
        self.slots.end_marking();
        for index in 0..self.lanes.len() {
            if let Some(lane) = self.lane_mut(index)
                && lane.seek.take().is_some()
            {
                // From now on the drain's deadline counts.
                lane.stop_by = None;
            }
            self.stop_lane(index);
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Whether nothing runs.
    pub(crate) fn is_quiet(&self) -> bool {
        self.slots.in_use() == 0
    }

    /// Stops everything that runs, and says how much that was.
    pub(crate) fn cut_all(&mut self) -> usize {
        (0..self.lanes.len()).map(|index| self.cut(index)).sum()
    }

    /// Timers are not taken back: this may be one of a seek that is over, or of a deadline that was changed.
    pub(super) fn revoke_deadline(&mut self, index: usize, epoch: Epoch, now: Instant) {
        let is_over =
            |lane: &Lane| lane.epoch == epoch && lane.stopping && lane.stop_by.is_some_and(|by| by <= now);
        if self.lane(index).is_some_and(is_over) {
            self.cut(index);
        }
    }

    /// Nothing of a lane starts any more; what has not started is abandoned, and will be delivered to its next owner.
    pub(super) fn stop_lane(&mut self, index: usize) {
        let Some(lane) = self.lane_mut(index) else { return };
        lane.stopping = true;
        lane.backlog
            .drain(usize::from(lane.sequence.is_some()).min(lane.backlog.len())..);
        lane.gather.tasks.clear();
        lane.gather.overflow.clear();
        let pair = lane.pair;
        self.stop_sequences(|other| other == index);
        for id in self.tasks.of_lane(index) {
            if self.tasks.get(id).is_some_and(|task| !task.stage().is_active()) {
                self.remove_task(id);
            }
        }
        self.abandon_keys(pair);
    }

    /// Forgets what waits behind the keys of a pair of lanes.
    fn abandon_keys(&mut self, pair: usize) {
        let mut held: HashMap<_, usize> = HashMap::new();
        let lanes = [Some(pair), self.lane(pair).and_then(|lane| lane.partner)];
        for id in lanes
            .into_iter()
            .flatten()
            .flat_map(|lane| self.tasks.of_lane(lane))
        {
            if let Some(task) = self.tasks.get(id).filter(|task| task.holds_key)
                && let Some(key) = task.key
            {
                *held.entry(key).or_default() += 1;
            }
        }
        self.keys
            .abandon_queues(pair, |key| held.get(&key).copied().unwrap_or(0));
    }

    /// Stops what runs of a lane, and says how much that was.
    fn cut(&mut self, index: usize) -> usize {
        self.settle_sequences();
        let tasks = &self.tasks;
        let taken = self.slots.take_where(|work| match work {
            super::run::Work::Call { task, .. } | super::run::Work::Effect { task, .. } => {
                tasks.get(*task).is_some_and(|task| task.lane == index)
            }
            super::run::Work::Outputs { lane, .. } => *lane == index,
            super::run::Work::Turn { turn, .. } => turn.lane() == index,
            super::run::Work::Batch { call, .. } | super::run::Work::BatchOutputs { call, .. } => {
                call.lane == index
            }
        });
        let mut count = 0;
        for (slot, work) in taken {
            count += match work {
                super::run::Work::Outputs { .. } => self.give_up_outputs(index),
                _ => 1,
            };
            // The future is dropped: the handler stops where it waits.
            drop_caught(work);
            self.slots.give_back(slot);
        }
        for id in self.tasks.of_lane(index) {
            self.remove_task(id);
        }
        if let Some(lane) = self.lane_mut(index) {
            lane.sequence = None;
            lane.gather.calls = 0;
            lane.backlog.clear();
            let pair = lane.pair;
            self.abandon_keys(pair);
        }
        count
    }

    /// A task leaves its lane, for whatever reason.
    pub(super) fn remove_task(&mut self, id: TaskId) -> Option<Removed> {
        let task = self.tasks.remove(id)?;
        if let Some(lane) = self.lane_mut(task.lane) {
            lane.tasks = lane.tasks.saturating_sub(1);
            lane.memory.tasks = lane.memory.tasks.saturating_sub(task.size);
        }
        Some(task)
    }

    /// A task of a lane that is handed over would have to wait: its next owner delivers it.
    pub(super) fn abandon_task(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(id) else { return };
        let lane = task.lane;
        let pair = self.lane(lane).map_or(lane, |lane| lane.pair);
        self.remove_task(id);
        self.abandon_keys(pair);
    }
}

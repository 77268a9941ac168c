//! Lanes that come, and what the source hands over for them.

use super::{Dispatcher, SourceCommand};
use crate::lane::{Extent, Lane};
use crate::spec::Input;
use tidings_core::{Assignment, Epoch, LaneId, Progress, RecordBatch};

/// A lane with so many batches that were not looked at is paused.
const BACKLOG: usize = 2;
/// A retry lane may span so many times more positions than may be open in it.
const SPAN_OF_RETRY_LANE: usize = 16;

impl Dispatcher {
    /// Lanes belong to this subscription now.
    pub(crate) fn assign(&mut self, assignments: Vec<Assignment>) {
        self.source_idle = false;
        for mut assignment in assignments {
            if let Some(span) = &self.span {
                let memos = span.memos(&assignment.destination, assignment.partition);
                assignment
                    .attempts
                    .extend(memos.map(|(offset, memo)| (offset, memo.used)));
            }
            let index = assignment.lane.0 as usize;
            if self.lane(index).is_some() {
                // The source gave the lane again without having it taken back: what runs belongs to the old epoch.
                self.lose(&[assignment.lane]);
            }
            if let Some(marks) = &assignment.marks {
                self.slots.mark_on(&marks.board);
                let bell = self.slots.bell();
                self.gate.get_or_insert_with(|| marks.board.gate().join(bell));
            }
            let input = self.input_of(&assignment.destination);
            if self.lanes.len() <= index {
                self.lanes.resize_with(index + 1, || None);
            }
            self.lanes[index] = Some(Lane::new(assignment, input));
        }
    }

    /// What is read has changed. What is no longer read keeps its place, because its last lanes may still work, and
    /// lanes know their input by its place.
    pub(crate) fn set_inputs(&mut self, inputs: &[Input]) {
        for input in inputs {
            let known = &mut self.spec.inputs;
            let place = known
                .iter_mut()
                .find(|known| known.destination == input.destination);
            match place {
                Some(place) => *place = input.clone(),
                None => known.push(input.clone()),
            }
        }
        self.source_idle = false;
    }

    fn input_of(&self, destination: &str) -> usize {
        let found = self.spec.inputs.iter().position(|input| {
            &*input.destination == destination || input.retry.as_deref() == Some(destination)
        });
        found.unwrap_or(0)
    }

    /// Opens the positions of a batch. One of another epoch is dropped: its lane belongs to somebody else.
    pub(crate) fn receive(&mut self, batch: RecordBatch) {
        self.source_idle = false;
        let index = batch.lane().0 as usize;
        let context = self.spec.context.clone();
        let Some(lane) = self.lane_mut(index) else { return };
        if lane.epoch != batch.epoch() || lane.stopping {
            return;
        }
        lane.receive(batch, &context);
        if !self.has_room(index, 1)
            && let Some(lane) = self.lane_mut(index)
            && !lane.source_paused
        {
            lane.source_paused = true;
            let id = lane.id;
            self.commands.push_back(SourceCommand::Pause(id));
        }
    }

    /// Whether a lane takes another batch; a `share` of 2 asks for half of the room to be free.
    ///
    /// A main lane is bounded by what it spans from its watermark on. In a retry lane messages wait for days beside
    /// others that are done, so there the open ones count, and the span only by far.
    ///
    /// Bytes count as what is kept for them: whole batches in a main lane, single messages in a retry lane.
    fn has_room(&mut self, index: usize, share: usize) -> bool {
        let policy = &self.spec.policy;
        let Some(lane) = self.lanes.get_mut(index).and_then(Option::as_mut) else {
            return false;
        };
        let bytes = if lane.is_retry() {
            lane.memory.tasks
        } else {
            lane.memory.batches(&lane.ledger)
        };
        let within_bytes = bytes == 0 || bytes.saturating_mul(share) < policy.max_in_flight_bytes;
        let within = if lane.is_retry() {
            let limit = policy.max_parked.max(1);
            lane.ledger.open_count() * share < limit + share
                && lane.ledger.span() < limit.saturating_mul(SPAN_OF_RETRY_LANE)
        } else {
            lane.ledger.span() * share < policy.max_in_flight.max(1) + share - 1
        };
        within && within_bytes && lane.backlog.len() < BACKLOG
    }

    /// Lets the source go on with lanes that have room again.
    pub(super) fn resume_source(&mut self, index: usize) {
        if !self
            .lane(index)
            .is_some_and(|lane| lane.source_paused && !lane.stopping)
            || !self.has_room(index, 2)
        {
            return;
        }
        if let Some(lane) = self.lane_mut(index) {
            lane.source_paused = false;
            let id = lane.id;
            self.source_idle = false;
            self.commands.push_back(SourceCommand::Resume(id));
        }
    }

    /// Progress that was not reported yet.
    pub(crate) fn take_progress(&mut self) -> impl Iterator<Item = (LaneId, Epoch, Progress)> {
        self.settle_sequences();
        let changed = self.lanes.iter_mut().flatten().filter(|lane| lane.changed);
        changed.map(|lane| {
            lane.changed = false;
            (lane.id, lane.epoch, lane.progress(Extent::Bounded))
        })
    }

    /// What of lanes that are left was too much to be told every time.
    pub(crate) fn take_all_progress(&mut self) -> Vec<(LaneId, Epoch, Progress)> {
        self.settle_sequences();
        let lanes = self
            .lanes
            .iter_mut()
            .flatten()
            .filter(|lane| lane.stopping && lane.has_more_to_tell());
        lanes
            .map(|lane| (lane.id, lane.epoch, lane.progress(Extent::All)))
            .collect()
    }

    /// Every lane that is not paused was read to its end.
    pub(crate) fn set_source_idle(&mut self) {
        self.source_idle = true;
        for lane in self.lanes.iter_mut().flatten() {
            if lane.known_end == u64::MAX && !lane.source_paused {
                lane.known_end = lane.ledger.next_offset();
            }
        }
    }
}

//! Lanes that go on at another offset.

use super::{Dispatcher, SourceCommand};
use crate::lane::{Lane, Seek};
use crate::timers::Timer;
use tidings_core::{LaneRole, Position};
use tokio::time::Instant;

impl Dispatcher {
    /// The main lane at that place is to go on at its offset. What has not started is abandoned at once; what runs may
    /// finish until the deadline, and is stopped then. False if the lane is not this
    /// member's, is being handed over, or is handled in transactions.
    ///
    /// Its retry lane stops with it, because they share their keys, and goes on where it was.
    pub(crate) fn seek(&mut self, to: &Position, deadline: Instant) -> bool {
        let is_meant = |lane: &Lane| {
            let info = &lane.info;
            info.role == LaneRole::Main
                && *info.destination == *to.destination()
                && info.partition == to.partition()
        };
        let found = self.lanes.iter().flatten().find(|lane| is_meant(lane));
        let Some(index) = found.map(|lane| lane.id.0 as usize) else {
            return false;
        };
        // A transaction would have to end first, and its handlings with it.
        let draining = self.draining || self.is_transactional();
        let Some(lane) = self.lane_mut(index) else {
            return false;
        };
        if draining || (lane.stopping && lane.seek.is_none()) {
            return false;
        }
        let again = lane.seek.replace(Seek::To(to.offset())).is_some();
        if again {
            return true;
        }
        for index in self.both_of(index) {
            let Some(lane) = self.lane_mut(index) else {
                continue;
            };
            let epoch = lane.epoch;
            lane.seek.get_or_insert(Seek::Along);
            lane.stop_by = Some(deadline);
            self.timers.set(deadline, Timer::Revoke { lane: index, epoch });
            self.stop_lane(index);
        }
        true
    }

    /// A lane and its partner.
    fn both_of(&self, index: usize) -> Vec<usize> {
        let partner = self.lane(index).and_then(|lane| lane.partner);
        std::iter::once(index).chain(partner).collect()
    }

    /// Whether a lane is on its way to another offset.
    pub(crate) fn is_seeking(&self) -> bool {
        self.lanes.iter().flatten().any(|lane| lane.seek.is_some())
    }

    /// Which of these partitions went on elsewhere since the last call, and where. One that was taken away in between
    /// did not.
    pub(crate) fn take_moved(&mut self) -> impl Fn(&[Position]) -> Vec<Position> + use<> {
        let moved = std::mem::take(&mut self.moved);
        move |asked| {
            let is_same = |one: &Position, to: &Position| {
                (one.destination(), one.partition()) == (to.destination(), to.partition())
            };
            let of = |to| moved.iter().rfind(|one| is_same(one, to)).cloned();
            asked.iter().filter_map(of).collect()
        }
    }

    /// Lets lanes go on that were asked to and have come to rest.
    pub(crate) fn go_on_elsewhere(&mut self) {
        self.settle_sequences();
        for index in 0..self.lanes.len() {
            let at_rest = |index: &usize| {
                self.lane(*index)
                    .is_none_or(|lane| lane.seek.is_some() && !lane.is_busy())
            };
            let is_main = self
                .lane(index)
                .is_some_and(|lane| lane.seek.is_some() && lane.pair == index);
            let both = self.both_of(index);
            if is_main && both.iter().all(at_rest) {
                self.keys.forget_pair(index);
                both.into_iter().for_each(|index| self.begin_anew(index));
            }
        }
    }

    fn begin_anew(&mut self, index: usize) {
        let Some(place) = self.lanes.get_mut(index) else {
            return;
        };
        let Some(old) = place.take() else { return };
        let (id, was_paused) = (old.id, old.source_paused);
        let lane = old.moved();
        let next = lane.ledger.next_offset();
        if !lane.is_retry() {
            let to = Position::new(lane.info.destination.clone(), lane.info.partition, next);
            self.moved.push(to);
        }
        *place = Some(lane);
        self.source_idle = false;
        self.commands.push_back(SourceCommand::Seek(id, next));
        if was_paused {
            self.commands.push_back(SourceCommand::Resume(id));
        }
    }
}

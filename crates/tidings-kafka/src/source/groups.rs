//! Partitions that come and go.

use super::KafkaSource;
use super::commits::Of;
use super::inbox::News;
use super::lane::{Lane, Lanes, Standing};
use super::plan::Since;
use super::positions::{Positions, Wanted, look};
use super::watch::warn_of_deleted;
use crate::background::background;
use crate::native::List;
use crate::trouble::Fault;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tidings_core::{Epoch, LaneId, LaneRole, SourceError, SourceEvent};
use tokio::time::Instant;

/// The first wait before it is asked again where partitions begin, doubled up to the second.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Epochs grow within the process, over all members: late work can only come from the same process.
static EPOCHS: AtomicU64 = AtomicU64::new(1);

/// Partitions that were given, while it is found out where to read them. Until then librdkafka waits for the answer,
/// and keeps this member in its group.
#[derive(Debug)]
pub(super) struct Opening {
    ticket: u64,
    wanted: Vec<Wanted>,
    /// When to ask again after a failure.
    pub(super) again: Option<Instant>,
    wait: Duration,
}

/// Partitions that are to be given back. librdkafka is told once for all of them.
#[derive(Debug)]
pub(super) struct Handover {
    lanes: Vec<LaneId>,
    pub(super) deadline: Instant,
}

impl KafkaSource {
    pub(super) fn on_assigned(&mut self, places: &[(String, u32)], since: Since) {
        self.settled = true;
        let wanted = places
            .iter()
            .flat_map(|(topic, partition)| self.plan.wanted(topic, *partition, since));
        let wanted: Vec<_> = wanted.collect();
        if wanted.is_empty() {
            self.consumer.assign_nothing();
            self.read_ends_again();
            self.watch.assigned();
            return;
        }
        let before = self.opening.take().map(|opening| opening.wanted);
        self.open(before.into_iter().flatten().chain(wanted).collect(), FIRST_WAIT);
    }

    /// With the newer protocol a member is told nothing when there is nothing for it: it has settled when nothing came.
    pub(super) fn settle(&mut self) {
        if !self.settled && self.plan.settles_at.is_some_and(|at| at <= Instant::now()) {
            self.settled = true;
            self.watch.assigned();
        }
    }

    /// Asks, on another thread, where to read.
    fn open(&mut self, wanted: Vec<Wanted>, wait: Duration) {
        self.tickets += 1;
        let ticket = self.tickets;
        let (consumer, list) = (self.consumer.clone(), wanted.clone());
        let (memory, timeout) = (self.plan.memory(), self.plan.request_timeout);
        let started = background("tidings-kafka-look", move || {
            let positions = look(&consumer, &list, memory, timeout);
            consumer.inbox().tell(News::Looked { ticket, positions });
        });
        self.opening = Some(Opening {
            ticket,
            wanted,
            again: (!started).then(|| Instant::now() + wait),
            wait,
        });
    }

    pub(super) fn ask_again(&mut self) {
        let due = |opening: &mut Opening| opening.again.is_some_and(|again| again <= Instant::now());
        if let Some(opening) = self.opening.take_if(due) {
            self.open(opening.wanted, (opening.wait * 2).min(LONGEST_WAIT));
        }
    }

    pub(super) fn on_looked(&mut self, ticket: u64, positions: Result<Positions, Fault>) {
        let Some(opening) = self.opening.as_mut().filter(|opening| opening.ticket == ticket) else {
            return;
        };
        match positions {
            Ok(positions) => {
                self.opening = None;
                self.take_over(positions);
            }
            Err(fault) => {
                opening.again = Some(Instant::now() + opening.wait);
                self.on_fault(&fault);
            }
        }
    }

    /// Reads partitions from where they were found to begin.
    fn take_over(&mut self, positions: Positions) {
        let mut list = List::new();
        for position in &positions {
            let offset = position.progress.watermark;
            list.add_at(
                &position.wanted.topic,
                position.wanted.partition,
                i64::try_from(offset).unwrap_or(i64::MAX),
            );
        }
        if let Err(fault) = self.consumer.assign(&list) {
            // The group has decided otherwise meanwhile, and will tell.
            self.report(&fault);
            return;
        }
        self.read_ends_again();
        let epoch = Epoch(EPOCHS.fetch_add(1, Ordering::Relaxed));
        let mut given = Vec::with_capacity(positions.len());
        let mut main = None;
        for position in positions {
            let mut lane = Lane::new(&position, epoch);
            if self.plan.group.is_none() {
                lane.reported = None;
            } else if !position.stored {
                self.commits.hurry();
            }
            // A retry partition follows its main partition.
            let role = lane.role;
            lane.partner = main.take().filter(|_| role == LaneRole::Retry);
            let partner = lane.partner;
            let id = self.lanes.add(lane);
            if let Some(partner) = partner.and_then(|partner| self.lanes.get_mut(partner)) {
                partner.partner = Some(id);
            }
            main = (role == LaneRole::Main).then_some(id);
            if let Some(deleted) = position.deleted {
                let wanted = &position.wanted;
                warn_of_deleted(&wanted.topic, wanted.partition, deleted, position.first);
            }
            given.push((id, position));
        }
        let assignment = |(id, position)| Some(self.lanes.get(id)?.assignment(id, position));
        let assignments = given.into_iter().filter_map(assignment).collect();
        self.events.push_back(SourceEvent::Assigned(assignments));
        self.idle_told = false;
        self.watch.assigned();
    }

    /// The group's position is where nothing is: what was there is lost, and what comes there would be skipped.
    pub(super) fn fail_beyond(&mut self, id: LaneId, position: u64, end: u64) {
        self.hold(id);
        let Some(lane) = self.lanes.get_mut(id) else {
            return;
        };
        lane.standing = Standing::Failed;
        lane.clear();
        self.errors.push_back(SourceError::Corrupt {
            destination: lane.topic.clone(),
            partition: lane.partition,
            offset: end,
            reason: format!(
                "the stored position {position} is beyond the end {end}: records were lost, as an unclean election of a leader can; set the group's position to {end} or lower"
            ),
        });
    }

    pub(super) fn on_revoked(&mut self, places: &[(String, u32)], lost: bool) {
        self.forget_opening(places);
        let lanes = self.lanes_of(places);
        if lost || lanes.is_empty() {
            self.give_back(&lanes);
            if lost {
                self.watch.lost();
            }
            if !lanes.is_empty() {
                self.events.push_back(SourceEvent::Lost(lanes));
            }
            return;
        }
        for id in &lanes {
            self.hold(*id);
            if let Some(lane) = self.lanes.get_mut(*id) {
                lane.standing = Standing::Revoked;
                lane.clear();
            }
        }
        let deadline = Instant::now() + self.plan.revoke_timeout;
        self.handovers.push(Handover {
            lanes: lanes.clone(),
            deadline,
        });
        self.events.push_back(SourceEvent::Revoking { lanes, deadline });
    }

    fn forget_opening(&mut self, places: &[(String, u32)]) {
        let Some(opening) = self.opening.take() else {
            return;
        };
        let before = opening.wanted.len();
        let mut gone = false;
        // Retry partitions follow their main partition.
        let keep = |wanted: &Wanted| {
            if wanted.role == LaneRole::Main {
                gone = places
                    .iter()
                    .any(|(topic, partition)| **topic == *wanted.topic && *partition == wanted.partition);
            }
            !gone
        };
        let mut wanted = opening.wanted.clone();
        wanted.retain(keep);
        match wanted.len() {
            0 => {}
            left if left == before => self.opening = Some(opening),
            _ => self.open(wanted, FIRST_WAIT),
        }
    }

    /// The lanes of partitions, with their retry lanes.
    fn lanes_of(&self, places: &[(String, u32)]) -> Vec<LaneId> {
        let mains = places
            .iter()
            .filter_map(|(topic, partition)| self.lanes.at(topic, *partition));
        let both = mains.flat_map(|id| {
            let partner = self.lanes.get(id).and_then(|lane| lane.partner);
            std::iter::once(id).chain(partner)
        });
        both.collect()
    }

    /// Ends hand-overs whose lanes were all released, and those whose time is over.
    pub(super) fn end_handovers(&mut self) {
        let now = Instant::now();
        for handover in std::mem::take(&mut self.handovers) {
            let kept: Vec<_> = unreleased(&self.lanes, &handover.lanes);
            if !kept.is_empty() && handover.deadline > now {
                self.handovers.push(handover);
                continue;
            }
            if !kept.is_empty() {
                tracing::warn!(
                    subscription = %self.plan.subscription,
                    lanes = kept.len(),
                    "partitions were not released in time and are taken away; what runs for them counts for nothing"
                );
            }
            self.commits
                .start(&self.consumer, &self.lanes, Of::These(&handover.lanes));
            self.give_back(&handover.lanes);
            if !kept.is_empty() {
                self.events.push_back(SourceEvent::Lost(kept));
            }
        }
    }

    /// Tells librdkafka that lanes are given back, and forgets them.
    pub(super) fn give_back(&mut self, lanes: &[LaneId]) {
        let (mut list, mut held) = (List::new(), List::new());
        for lane in lanes.iter().filter_map(|id| self.lanes.get(*id)) {
            list.add(&lane.topic, lane.partition);
            if lane.held {
                held.add(&lane.topic, lane.partition);
            }
        }
        if let Err(fault) = self.consumer.unassign(&list) {
            tracing::warn!(subscription = %self.plan.subscription, reason = %fault, "partitions could not be given back");
        }
        if !held.is_empty()
            && let Err(fault) = self.consumer.resume(&held)
        {
            // librdkafka keeps the mark of a pause beyond the assignment: the next one would give nothing.
            tracing::warn!(subscription = %self.plan.subscription, reason = %fault, "partitions stay paused");
        }
        for id in lanes {
            self.lanes.remove(*id);
            self.handovers
                .iter_mut()
                .for_each(|handover| handover.lanes.retain(|lane| lane != id));
        }
        self.read_ends_again();
        self.idle_told = false;
    }
}

fn unreleased(lanes: &Lanes, of: &[LaneId]) -> Vec<LaneId> {
    let kept = |id: &&LaneId| lanes.get(**id).is_some_and(|lane| !lane.released);
    of.iter().filter(kept).copied().collect()
}

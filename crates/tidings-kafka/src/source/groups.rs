//! Partitions that come and go.

use super::KafkaSource;
use super::commits::Of;
use super::inbox::News;
use super::lane::{Lane, Lanes, Standing};
use super::plan::Since;
use super::positions::{Positions, Wanted, look};
use super::spans::{Spans, Told};
use super::watch::{warn_of_deleted, warn_of_other};
use crate::background::background;
use crate::native::{List, Protocol};
use crate::progress;
use crate::trouble::Fault;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tidings_core::{Epoch, LaneId, LaneRole, SourceError, SourceEvent};
use tokio::time::Instant;

/// The first wait before it is asked again where partitions begin, doubled up to the second.
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(200);
/// While a transaction is being given up, that may be over soon.
const UNSETTLED_WAIT: Duration = Duration::from_millis(10);
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Epochs grow within the process, over all members: late work can only come from the same process.
pub(super) static EPOCHS: AtomicU64 = AtomicU64::new(1);

/// The number of the commit that stores where a group begins, before its transactions.
pub(super) const BEGINNINGS: usize = usize::MAX;

/// Partitions that were given, while it is found out where to read them. Until then librdkafka waits for the answer,
/// and keeps this member in its group.
#[derive(Debug)]
pub(super) struct Opening {
    ticket: u64,
    wanted: Vec<Wanted>,
    /// When to ask again after a failure.
    pub(super) again: Option<Instant>,
    wait: Duration,
    /// Where to read, while it is being stored that the group begins there.
    found: Option<Positions>,
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
        let protocol = self.consumer.protocol();
        let places = match protocol {
            Protocol::Eager => self.stay_with(places),
            Protocol::Incremental => places.to_vec(),
        };
        let wanted = places.iter().flat_map(|(topic, partition)| {
            // What was made again while this member was there is new as a whole.
            let since = if self.missing.is_back(topic) {
                Since::Growth
            } else {
                since
            };
            self.plan.wanted(topic, *partition, since)
        });
        let wanted: Vec<_> = wanted.collect();
        if wanted.is_empty() {
            let answer = match protocol {
                Protocol::Eager => self.kept(),
                Protocol::Incremental => List::new(),
            };
            if let Err(fault) = self.answer(&[], |consumer| consumer.assign(&answer)) {
                tracing::debug!(reason = %fault, "an assignment with nothing new was refused");
            }
            self.watch.assigned();
            self.look_for_topics_soon();
            return;
        }
        let before = self.opening.take().map(|opening| opening.wanted);
        self.open(before.into_iter().flatten().chain(wanted).collect(), FIRST_WAIT);
    }

    /// In an eager group an assignment is all that there is, and one may follow another with no revocation between them:
    /// where the group moves while a member is being assigned, librdkafka believes that it had nothing yet. What this
    /// member has already it keeps, and goes on with it where it is. Gives back what is new.
    fn stay_with(&mut self, places: &[(String, u32)]) -> Vec<(String, u32)> {
        self.opening = None;
        let staying = self.lanes_of(places);
        let gone = self.lanes.iter().map(|(id, _)| id);
        let gone: Vec<LaneId> = gone.filter(|id| !staying.contains(id)).collect();
        if !gone.is_empty() {
            self.lose(&gone);
        }
        let new = places
            .iter()
            .filter(|(topic, partition)| self.lanes.at(topic, *partition).is_none());
        new.cloned().collect()
    }

    /// What there is to name where an assignment names everything: all lanes, each from where it is.
    pub(super) fn kept(&self) -> List {
        let mut all = List::new();
        for (_, lane) in self.lanes.iter() {
            let next = i64::try_from(lane.next).unwrap_or(i64::MAX);
            all.add_at(&lane.topic, lane.partition, next);
        }
        all
    }

    /// With the newer protocol a member is told nothing when there is nothing for it: it has settled when nothing came.
    pub(super) fn settle(&mut self) {
        if !self.settled && self.plan.settles_at.is_some_and(|at| at <= Instant::now()) {
            self.settled = true;
            self.watch.assigned();
            self.look_for_topics_soon();
        }
    }

    /// Asks, on another thread, where to read.
    fn open(&mut self, wanted: Vec<Wanted>, wait: Duration) {
        self.tickets += 1;
        let ticket = self.tickets;
        let mut opening = Opening {
            ticket,
            wanted,
            again: None,
            wait,
            found: None,
        };
        if self.spans.as_ref().is_some_and(|spans| !spans.is_settled()) {
            // What is committed is not known yet, and nothing could be published.
            opening.again = Some(Instant::now() + UNSETTLED_WAIT);
            opening.wait = FIRST_WAIT;
            self.opening = Some(opening);
            return;
        }
        let (consumer, list) = (self.consumer.clone(), opening.wanted.clone());
        let (memory, timeout) = (self.plan.memory(), self.plan.request_timeout);
        let producer = self.spans.as_ref().map(Spans::producer);
        let started = background("tidings-kafka-look", move || {
            let positions = look(&consumer, producer.as_deref(), &list, memory, timeout);
            consumer.inbox().tell(News::Looked { ticket, positions });
        });
        opening.again = (!started).then(|| Instant::now() + wait);
        self.opening = Some(opening);
    }

    pub(super) fn ask_again(&mut self) {
        let due = |opening: &mut Opening| opening.again.is_some_and(|again| again <= Instant::now());
        if let Some(opening) = self.opening.take_if(due) {
            self.open(opening.wanted, (opening.wait * 2).min(LONGEST_WAIT));
        }
    }

    pub(super) fn on_looked(&mut self, ticket: u64, mut positions: Result<Positions, Fault>) {
        if self.on_reopened(ticket, &mut positions) {
            return;
        }
        let Some(opening) = self.opening.as_mut().filter(|opening| opening.ticket == ticket) else {
            return;
        };
        match positions {
            Ok(positions) => self.on_found(positions),
            Err(fault) => {
                opening.again = Some(Instant::now() + opening.wait);
                self.on_fault(&fault);
            }
        }
    }

    /// Takes partitions over, unless it has to be stored first that the group begins there. Elsewhere that is stored with
    /// the progress; but a transaction that is given up must find where it began.
    fn on_found(&mut self, positions: Positions) {
        let mut beginnings = List::new();
        if let Some(spans) = &self.spans {
            for position in positions.iter().filter(|one| !one.stored && one.begins_late()) {
                let at = i64::try_from(position.progress.watermark).unwrap_or(i64::MAX);
                let metadata =
                    progress::encode_within(spans.room.bytes(), &position.progress, position.began_with);
                let wanted = &position.wanted;
                beginnings.add_with(&wanted.topic, wanted.partition, at, &metadata);
            }
        }
        if beginnings.is_empty() {
            self.opening = None;
            self.take_over(positions);
            return;
        }
        let begun = self.consumer.commit(&beginnings, BEGINNINGS);
        if let Some(opening) = &mut self.opening {
            opening.found = Some(positions);
        }
        if let Err(fault) = begun {
            self.on_begun(Some(fault));
        }
    }

    /// It was stored where the group begins, or not.
    pub(super) fn on_begun(&mut self, fault: Option<Fault>) {
        let Some(opening) = &mut self.opening else { return };
        let Some(positions) = opening.found.take() else {
            return;
        };
        match fault {
            None => {
                self.opening = None;
                self.take_over(positions);
            }
            Some(fault) => {
                opening.again = Some(Instant::now() + opening.wait);
                if let Some(spans) = self.spans.as_mut().filter(|_| fault.is_of_text()) {
                    spans.room.shrink();
                }
                self.on_fault(&fault);
            }
        }
    }

    /// Reads partitions from where they were found to begin.
    fn take_over(&mut self, positions: Positions) {
        let mut list = match self.consumer.protocol() {
            Protocol::Eager => self.kept(),
            Protocol::Incremental => List::new(),
        };
        for position in &positions {
            let offset = position.progress.watermark;
            list.add_at(
                &position.wanted.topic,
                position.wanted.partition,
                i64::try_from(offset).unwrap_or(i64::MAX),
            );
        }
        if let Err(fault) = self.answer(&[], |consumer| consumer.assign(&list)) {
            // The group has decided otherwise meanwhile, and will tell.
            self.report(&fault);
            return;
        }
        let epoch = Epoch(EPOCHS.fetch_add(1, Ordering::Relaxed));
        let mut given = Vec::with_capacity(positions.len());
        let mut main = None;
        for position in positions {
            let mut lane = Lane::new(&position, epoch);
            if self.plan.group.is_none() {
                lane.reported = None;
            } else if self.spans.is_some() {
                lane.is_stored();
            } else if !position.stored {
                self.commits.hurry();
            }
            // A retry partition follows its main partition.
            let role = lane.role;
            lane.partner = main.take().filter(|_| role == LaneRole::Retry);
            let partner = lane.partner;
            self.missing.is_read(&lane.topic);
            let id = self.lanes.add(lane);
            if let Some(partner) = partner.and_then(|partner| self.lanes.get_mut(partner)) {
                partner.partner = Some(id);
            }
            main = (role == LaneRole::Main).then_some(id);
            if let Some(stored) = position.of_other {
                warn_of_other(&position.wanted, stored);
            }
            if let Some(deleted) = position.deleted {
                let wanted = &position.wanted;
                warn_of_deleted(&wanted.topic, wanted.partition, deleted, position.first);
            }
            given.push((id, position));
        }
        let assignment = |(id, position)| Some(self.lanes.get(id)?.assignment(id, position));
        let assignments = given.into_iter().filter_map(assignment).collect();
        if let Some(spans) = &self.spans {
            spans.admit();
        }
        self.events.push_back(SourceEvent::Assigned(assignments));
        self.idle_told = false;
        self.watch.assigned();
        self.look_for_topics_soon();
    }

    /// The group's position is where nothing is: what was there is lost, and what comes there would be skipped.
    pub(super) fn fail_beyond(&mut self, id: LaneId, position: u64, end: u64) {
        self.hold(&[id]);
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
                "the stored position {position} is beyond the end {end}: records were lost, by an unclean election of a leader, or with a topic that was deleted and made again; set the group's position to {end} or lower"
            ),
        });
    }

    pub(super) fn on_revoked(&mut self, places: &[(String, u32)], lost: bool) {
        self.forget_opening(places);
        let lanes = self.lanes_of(places);
        if lost || lanes.is_empty() {
            self.lose(&lanes);
            if lost {
                self.watch.lost();
            }
            return;
        }
        let mut known = lanes.clone();
        self.hold(&lanes);
        for id in &lanes {
            if let Some(lane) = self.lanes.get_mut(*id) {
                if lane.standing == Standing::Suspended {
                    // Nobody has it, so nobody releases it.
                    lane.released = true;
                    known.retain(|known| known != id);
                }
                lane.standing = Standing::Revoked;
                lane.clear();
            }
        }
        let deadline = Instant::now() + self.plan.revoke_timeout;
        self.handovers.push(Handover { lanes, deadline });
        if !known.is_empty() {
            let lanes = known;
            self.events.push_back(SourceEvent::Revoking { lanes, deadline });
        }
    }

    /// Lanes are somebody else's. With them goes the transaction that holds what was done for them.
    fn lose(&mut self, lanes: &[LaneId]) {
        let mut known = lanes.to_vec();
        if !lanes.is_empty() && self.has_open_span() {
            self.give_up(Told::ByLoss);
            known.clear();
        }
        known.retain(|id| {
            self.lanes
                .get(*id)
                .is_some_and(|lane| lane.standing != Standing::Suspended)
        });
        self.give_back(lanes);
        if !known.is_empty() {
            self.events.push_back(SourceEvent::Lost(known));
        }
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
            if self.stores_by_itself() {
                self.commits
                    .start(&self.consumer, &self.lanes, Of::These(&handover.lanes));
            }
            if kept.is_empty() {
                self.give_back(&handover.lanes);
            } else {
                self.lose_late(&handover.lanes, kept);
            }
        }
    }

    /// Lanes were not released in time.
    fn lose_late(&mut self, lanes: &[LaneId], kept: Vec<LaneId>) {
        if self.has_open_span() {
            self.give_up(Told::ByLoss);
            self.give_back(lanes);
            return;
        }
        self.give_back(lanes);
        self.events.push_back(SourceEvent::Lost(kept));
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
        if let Err(fault) = self.answer(lanes, |consumer| consumer.unassign(&list)) {
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
        self.idle_told = false;
        self.look_for_topics_soon();
    }
}

fn unreleased(lanes: &Lanes, of: &[LaneId]) -> Vec<LaneId> {
    let kept = |id: &&LaneId| lanes.get(**id).is_some_and(|lane| !lane.released);
    of.iter().filter(kept).copied().collect()
}

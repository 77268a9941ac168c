//! What reads for one subscription: [`EmbeddedSource`].

use crate::broker::Handle;
use crate::group::{Command, Grant, Member, Share, Unit};
use crate::held::{self, Held};
use crate::keeper::Concern;
use crate::lane::{Lane, Look};
use crate::lock::lock;
use crate::progress::Reported;
use crate::shared::Shared;
use crate::signal::{News, Signal};
use crate::topics::Topic;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{
    Assignment, Epoch, LaneId, LaneRole, Progress, Source, SourceError, SourceEvent, SourceInput, SourceSpec,
};
use tokio::time::Instant;

/// How often a read-only source looks whether the owner has written more: no one can tell it.
const REFRESH: Duration = Duration::from_millis(100);

/// A member of a group, or a reader without one. Dropping it leaves the group.
pub struct EmbeddedSource {
    pub(crate) handle: Arc<Handle>,
    /// Units name an input by its place, so none is ever taken away.
    pub(crate) inputs: Vec<Input>,
    pub(crate) group: Option<Arc<str>>,
    /// Which partitions it reads, without a group; none for all.
    pub(crate) chosen: Option<Arc<[u32]>>,
    pub(crate) member: Arc<Member>,
    /// Inputs that were added and cannot be read yet.
    pub(crate) opening: usize,
    lanes: Vec<Option<Lane>>,
    /// Assigned by the group, and not to be opened at the moment.
    held: Held,
    /// The places of the lanes that are to be looked at, in turn; each is there once. Of a thousand lanes the others cost
    /// a message nothing.
    ready: VecDeque<u32>,
    /// Empty, with memory for the places that the signal tells.
    told: Vec<u32>,
    pub(crate) idle_told: bool,
    unstored: Unstored,
    max_batch_bytes: usize,
    closed: bool,
}

/// A destination that is read.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) topic: Arc<Topic>,
    pub(crate) retry: Option<Arc<Topic>>,
    /// None without a group.
    pub(crate) share: Option<Share>,
    /// False for one that is no longer read.
    pub(crate) is_read: bool,
}

/// What was reported and may not be stored yet.
#[derive(Debug)]
struct Unstored {
    since: Option<Instant>,
    messages: u64,
    interval: Duration,
    every: u64,
}

impl Unstored {
    fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + self.interval)
    }

    fn is_due(&self) -> bool {
        self.since.is_some()
            && (self.messages >= self.every || self.due().is_some_and(|due| due <= Instant::now()))
    }

    fn clear(&mut self) {
        (self.since, self.messages) = (None, 0);
    }
}

impl EmbeddedSource {
    pub(crate) fn new(
        handle: Arc<Handle>,
        spec: &SourceSpec,
        inputs: Vec<Input>,
        member: Arc<Member>,
    ) -> Self {
        Self {
            handle,
            inputs,
            group: spec.group.clone(),
            chosen: spec.partitions.clone(),
            member,
            opening: 0,
            lanes: Vec::new(),
            held: Held::default(),
            ready: VecDeque::new(),
            told: Vec::new(),
            idle_told: false,
            unstored: Unstored {
                since: None,
                messages: 0,
                interval: spec.commit_interval,
                every: spec.commit_every.max(1),
            },
            max_batch_bytes: spec.max_batch_bytes,
            closed: false,
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    fn signal(&self) -> &Arc<Signal> {
        &self.member.signal
    }

    fn lane(&mut self, lane: LaneId) -> Option<&mut Lane> {
        self.lanes.get_mut(lane.0 as usize)?.as_mut()
    }

    /// Puts a lane into the lowest free place.
    fn place(&mut self, lane: impl FnOnce(Arc<News>) -> Lane) -> LaneId {
        let free = self
            .lanes
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.lanes.len());
        let lane = lane(Arc::new(News::new(self.signal().clone(), free as u32)));
        lane.partition.watch(&lane.news);
        match self.lanes.get_mut(free) {
            Some(place) => *place = Some(lane),
            None => self.lanes.push(Some(lane)),
        }
        let id = LaneId(free as u32);
        self.look_at(id);
        id
    }

    /// The lane is looked at when those before it were.
    fn look_at(&mut self, id: LaneId) {
        if let Some(lane) = self.lane(id)
            && !std::mem::replace(&mut lane.is_queued, true)
        {
            self.ready.push_back(id.0);
        }
    }

    /// Puts the lanes that have told something on the list of those to look at.
    fn hear(&mut self) {
        let mut told = std::mem::take(&mut self.told);
        self.signal().take_told(&mut told);
        for place in told.drain(..) {
            // It may be another lane's by now, which is looked at in vain then.
            if let Some(lane) = self.lane(LaneId(place)) {
                lane.news.hear();
                self.look_at(LaneId(place));
            }
        }
        self.told = told;
    }

    fn remove(&mut self, lane: LaneId) {
        if let Some(gone) = self.lanes.get_mut(lane.0 as usize).and_then(Option::take) {
            gone.partition.unwatch(&gone.news);
        }
    }

    /// The partitions of an input that it has.
    pub(crate) fn units_of(&self, input: usize) -> Vec<Unit> {
        let mut units: Vec<Unit> = Vec::new();
        for lane in self.lanes.iter().flatten() {
            // A main lane and its retry lane are one unit.
            if lane.unit.input == input && !units.contains(&lane.unit) {
                units.push(lane.unit);
            }
        }
        units
    }

    fn lanes_of(&self, unit: Unit) -> impl Iterator<Item = LaneId> + '_ {
        let of_unit =
            move |(_, lane): &(u32, &Option<Lane>)| lane.as_ref().is_some_and(|lane| lane.unit == unit);
        (0..)
            .zip(&self.lanes)
            .filter(of_unit)
            .map(|(place, _)| LaneId(place))
    }

    /// What the group's coordinator has decided. What concerns only lanes that were released meanwhile is no news.
    fn follow(&mut self) -> Option<SourceEvent> {
        loop {
            let command = lock(&self.member.inbox).pop_front()?;
            if let Some(event) = self.obey(command) {
                self.idle_told = false;
                return Some(event);
            }
        }
    }

    fn obey(&mut self, command: Command) -> Option<SourceEvent> {
        let (units, deadline) = match command {
            Command::Assign(grants) => return self.assign_all(grants),
            Command::Revoke { units, deadline } => (units, Some(deadline)),
            Command::Lost(units) => (units, None),
            Command::Ready { input, starts } => return self.on_ready(input, &starts),
        };
        for unit in &units {
            if self.held.forget(*unit) && deadline.is_some() {
                self.release_unit(*unit);
            }
        }
        let lanes: Vec<_> = units.iter().flat_map(|unit| self.lanes_of(*unit)).collect();
        for lane in &lanes {
            match (deadline, self.lane(*lane)) {
                (Some(_), Some(lane)) => lane.revoke(),
                _ => self.remove(*lane),
            }
        }
        let event = match deadline {
            _ if lanes.is_empty() => return None,
            Some(deadline) => SourceEvent::Revoking { lanes, deadline },
            None => SourceEvent::Lost(lanes),
        };
        Some(event)
    }

    pub(crate) fn assign_all(&mut self, grants: Vec<Grant>) -> Option<SourceEvent> {
        let assignments: Vec<_> = grants.into_iter().flat_map(|grant| self.assign(grant)).collect();
        (!assignments.is_empty()).then_some(SourceEvent::Assigned(assignments))
    }

    /// The lane of a partition, and that of its retry partition. None while one of them cannot be opened: where it
    /// ends is not known, and messages of the one must not overtake parked ones in the other.
    fn assign(&mut self, grant: Grant) -> Vec<Assignment> {
        let Some(input) = self.inputs.get(grant.unit.input).filter(|input| input.is_read) else {
            return Vec::new();
        };
        let partition = |topic: &Arc<Topic>| topic.partition(grant.unit.partition).cloned();
        let main = partition(&input.topic);
        let retry = input.retry.as_ref().and_then(partition).zip(grant.retry.clone());
        let Some(main) = main else { return Vec::new() };
        let both: Vec<_> = std::iter::once(&main)
            .chain(retry.as_ref().map(|(partition, _)| partition))
            .cloned()
            .collect();
        if let Err(error) = held::open(self.shared(), &both) {
            self.held.hold(grant, both, error);
            return Vec::new();
        }
        let Grant {
            unit,
            main: entry,
            start,
            ..
        } = grant;
        let main = self.place(|news| Lane::new(unit, LaneRole::Main, main, entry, start, news));
        let retry = retry.map(|(partition, entry)| {
            self.place(|news| Lane::new(unit, LaneRole::Retry, partition, Some(entry), 0, news))
        });
        let shared = self.shared().clone();
        let mut assignments = Vec::with_capacity(2);
        for (lane, partner) in [(Some(main), retry), (retry, Some(main))] {
            if let Some((id, lane)) = lane.and_then(|id| Some((id, self.lane(id)?))) {
                lane.partner = partner;
                assignments.push(lane.assign(&shared, id));
            }
        }
        assignments
    }

    /// The next batch in turn; none when there is nothing to read now.
    fn read(&mut self) -> Result<Option<SourceEvent>, SourceError> {
        self.hear();
        let shared = self.shared().clone();
        let max_bytes = self.max_batch_bytes;
        let mut at_end = true;
        for _ in 0..self.ready.len() {
            let Some(place) = self.ready.pop_front() else {
                break;
            };
            let id = LaneId(place);
            let Some(lane) = self.lane(id) else { continue };
            lane.is_queued = false;
            let look = lane.look(&shared, id, max_bytes);
            // What comes from now on is told. After any other look there may be something that was told before it.
            let is_done = lane.is_drained || matches!(look, Look::Off);
            if !is_done {
                self.look_at(id);
            }
            match look {
                Look::Batch(batch) => {
                    self.idle_told = false;
                    return Ok(Some(SourceEvent::Batch(batch)));
                }
                Look::Failed(error) => return Err(error),
                Look::Reading => at_end = false,
                Look::AtEnd | Look::Off => {}
            }
        }
        if at_end
            && self.opening == 0
            && self.held.is_empty()
            && !std::mem::replace(&mut self.idle_told, true)
        {
            return Ok(Some(SourceEvent::Idle));
        }
        Ok(None)
    }

    fn store_if_due(&mut self) {
        if self.unstored.is_due() {
            self.unstored.clear();
            self.shared().keeper.start(self.shared());
        }
    }

    /// Waits until something may have changed.
    async fn wait(&mut self) {
        let refresh = self.shared().is_read_only().then(|| Instant::now() + REFRESH);
        let until = [self.unstored.due(), self.held.due(), refresh];
        let until = until.into_iter().flatten().min();
        match until {
            None => self.member.signal.raised().await,
            // That the time is over is found when it is looked at again.
            Some(until) => drop(tokio::time::timeout_at(until, self.member.signal.raised()).await),
        }
    }

    /// What could not be opened before and can be now.
    fn open_held(&mut self) -> Result<Option<SourceEvent>, SourceError> {
        if self.held.is_empty() {
            return Ok(None);
        }
        let (shared, signal) = (self.shared().clone(), self.signal().clone());
        let opened = self.held.look(&shared, &signal)?;
        let event = self.assign_all(opened);
        if event.is_some() {
            self.idle_told = false;
        }
        Ok(event)
    }

    fn release_unit(&self, unit: Unit) {
        if let Some(share) = self.inputs.get(unit.input).and_then(|input| input.share.as_ref()) {
            let shared = self.shared();
            shared.groups.release(shared, share, unit);
        }
    }

    /// A read-only broker looks what the owner has done, which nobody tells it.
    fn refresh(&mut self) {
        if !self.shared().is_read_only() {
            return;
        }
        for place in 0..self.lanes.len() {
            let id = LaneId(place as u32);
            let partition = self.lane(id).map(|lane| lane.partition.clone());
            if let Some(partition) = partition {
                partition.refresh(self.shared());
                self.look_at(id);
            }
        }
    }

    fn leave(&mut self) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        for lane in 0..self.lanes.len() {
            self.remove(LaneId(lane as u32));
        }
        let shared = self.shared();
        let inputs = self.inputs.iter().filter(|input| input.is_read);
        for share in inputs.filter_map(|input| input.share.as_ref()) {
            shared.groups.leave(shared, share, &self.member);
        }
        if self.unstored.since.is_some() && !shared.is_closed() {
            shared.keeper.start(shared);
        }
    }
}

impl Source for EmbeddedSource {
    async fn next(&mut self) -> Result<SourceEvent, SourceError> {
        // A reader with a backlog would otherwise never let other tasks of its thread run.
        tokio::task::coop::consume_budget().await;
        loop {
            if self.closed || self.handle.is_closed() {
                return Err(SourceError::Closed);
            }
            self.signal().lower();
            if let Some(event) = self.follow() {
                return Ok(event);
            }
            self.store_if_due();
            if let Some(event) = self.open_held()? {
                return Ok(event);
            }
            self.refresh();
            if let Some(event) = self.read()? {
                return Ok(event);
            }
            self.wait().await;
        }
    }

    fn progress(&mut self, lane: LaneId, epoch: Epoch, progress: Progress) {
        let watermark = progress.watermark;
        let Some(found) = self.lane(lane).filter(|lane| lane.unit.epoch == epoch) else {
            return;
        };
        let Some(entry) = found.entry.clone() else { return };
        let finished = watermark.saturating_sub(std::mem::replace(&mut found.watermark, watermark));
        let reported = entry.report(epoch, progress);
        if reported == Reported::Ignored {
            return;
        }
        self.shared().keeper.note(&entry, reported);
        self.unstored.messages += finished;
        self.unstored.since.get_or_insert_with(Instant::now);
        self.store_if_due();
    }

    fn pause(&mut self, lanes: &[LaneId]) {
        for lane in lanes {
            if let Some(lane) = self.lane(*lane) {
                lane.paused = true;
            }
        }
    }

    fn resume(&mut self, lanes: &[LaneId]) {
        for lane in lanes {
            if let Some(found) = self.lane(*lane) {
                found.paused = false;
                self.look_at(*lane);
            }
        }
        self.idle_told = false;
    }

    fn seek(&mut self, lane: LaneId, offset: u64) {
        if let Some(found) = self.lane(lane) {
            found.seek(offset);
            self.look_at(lane);
        }
        self.idle_told = false;
    }

    fn change_inputs(&mut self, inputs: &[SourceInput]) -> Result<(), SourceError> {
        self.read_these(inputs)
    }

    async fn commit(&mut self) -> Result<(), SourceError> {
        let shared = self.shared().clone();
        if shared.is_closed() {
            return Err(SourceError::Closed);
        }
        if shared.is_read_only() {
            return Ok(());
        }
        let entries = self.lanes.iter().flatten().filter_map(|lane| lane.entry.clone());
        let concern = Concern::Entries(entries.collect());
        let stored = shared.keeper.commit(&shared, concern).await;
        stored.map_err(|reason| SourceError::Unavailable { reason })?;
        self.unstored.clear();
        Ok(())
    }

    fn release(&mut self, lanes: &[LaneId]) {
        for id in lanes {
            let Some(lane) = self.lane(*id).filter(|lane| lane.is_revoked()) else {
                continue;
            };
            lane.released = true;
            let (unit, partner) = (lane.unit, lane.partner);
            // The two lanes of a partition move together.
            let partner_left = partner
                .and_then(|partner| self.lane(partner))
                .is_none_or(|lane| lane.released);
            if !partner_left {
                continue;
            }
            self.remove(*id);
            partner.into_iter().for_each(|partner| self.remove(partner));
            self.release_unit(unit);
        }
    }

    async fn close(&mut self) -> Result<(), SourceError> {
        if self.closed {
            return Ok(());
        }
        let committed = self.commit().await;
        self.leave();
        committed
    }
}

impl Drop for EmbeddedSource {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for EmbeddedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let destinations: Vec<_> = self.inputs.iter().map(|input| &input.topic.name).collect();
        f.debug_struct("EmbeddedSource")
            .field("destinations", &destinations)
            .field("lanes", &self.lanes.iter().flatten().count())
            .finish()
    }
}

//! What reads for one subscription: [`KafkaSource`].

mod batching;
mod changing;
mod commits;
mod groups;
pub(crate) mod inbox;
mod lane;
mod leaving;
mod memory;
pub(crate) mod missing;
mod plan;
pub(crate) mod positions;
mod pump;
mod spans;
mod speed;
mod steer;
mod watch;
pub(crate) mod wire;

pub(crate) use leaving::{LEAVE_TIMEOUT, leave};
pub(crate) use plan::{Plan, configure};

use crate::background::Held;
use crate::native::Consumer;
use crate::shared::Shared;
use crate::transactions::Transactor;
use commits::{Commits, Of};
use groups::{Handover, Opening};
use lane::{Lanes, Standing};
use leaving::left;
use memory::Pool;
use missing::Missing;
use spans::{Spans, Told};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{
    Epoch, LaneId, LaneRole, Progress, Source, SourceError, SourceEvent, SourceInput, Transaction,
};
use tokio::time::{Instant, timeout_at};
use watch::Watch;

/// The queue is looked at this often even if nothing rings: librdkafka takes a member that does not look for dead.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long storing what is left may take when a member leaves.
const LAST_COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// A member of a group, or a reader without one. Dropping it leaves the group.
pub struct KafkaSource {
    shared: Arc<Shared>,
    consumer: Held<Consumer>,
    plan: Plan,
    lanes: Lanes,
    /// Memory of batches that were handled.
    pool: Pool,
    /// Partitions that were given, while it is found out where to read them.
    opening: Option<Opening>,
    tickets: u64,
    handovers: Vec<Handover>,
    commits: Commits,
    /// Where what is finished is committed together with what is published.
    spans: Option<Spans>,
    events: VecDeque<SourceEvent>,
    errors: VecDeque<SourceError>,
    watch: Watch,
    /// Topics that are not there.
    missing: Missing,
    /// The group has answered, perhaps with nothing.
    settled: bool,
    idle_told: bool,
    closed: bool,
}

impl KafkaSource {
    pub(crate) fn new(
        shared: Arc<Shared>,
        consumer: Arc<Consumer>,
        plan: Plan,
        transactor: Option<Transactor>,
    ) -> Self {
        let mut watch = Watch::new(shared.clone(), &plan);
        // Nobody tells a member anything that reads nothing yet.
        let settled = plan.group.is_some() && plan.reads_nothing();
        if settled {
            watch.assigned();
        }
        let missing = Missing::new(shared.new_name());
        Self {
            shared,
            consumer: Held::new(consumer),
            lanes: Lanes::default(),
            pool: Pool::default(),
            opening: None,
            tickets: 0,
            handovers: Vec::new(),
            commits: Commits::new(plan.commit_interval, plan.commit_every),
            spans: transactor.map(Spans::new),
            events: VecDeque::new(),
            errors: VecDeque::new(),
            watch,
            missing,
            settled,
            idle_told: false,
            closed: false,
            plan,
        }
    }

    /// What is due by the clock.
    fn on_time(&mut self) {
        self.end_handovers();
        self.ask_again();
        self.reopen_on_time();
        self.look_for_growth();
        self.look_for_topics();
        self.report_doubtful();
        self.settle();
        if self.stores_by_itself() && self.commits.is_due() {
            self.commits.start(&self.consumer, &self.lanes, Of::All);
        }
    }

    /// Whether progress is stored apart from what is published.
    fn stores_by_itself(&self) -> bool {
        self.plan.group.is_some() && self.spans.is_none()
    }

    /// Waits until something may have changed.
    async fn wait(&self) {
        let timers = [
            self.commits.due().filter(|_| self.stores_by_itself()),
            self.spans.as_ref().and_then(Spans::due),
            self.handovers.iter().map(|handover| handover.deadline).min(),
            self.opening.as_ref().and_then(|opening| opening.again),
            self.plan.grows_at,
            self.plan.settles_at.filter(|_| !self.settled),
            self.watch.due(),
            self.missing.due(),
            Some(Instant::now() + LOOK_INTERVAL),
        ];
        let until = timers.into_iter().flatten().min().unwrap_or_else(Instant::now);
        // That the time is over is found when it is looked at again.
        drop(timeout_at(until, self.consumer.inbox().rung()).await);
    }

    fn is_idle(&self) -> bool {
        self.settled
            && self.opening.is_none()
            && self.spans.as_ref().is_none_or(|spans| !spans.is_reopening())
            && !self.watch.is_asking()
            && self.lanes.iter().all(|(_, lane)| lane.is_read())
    }

    async fn store_the_last(&mut self) -> Result<(), SourceError> {
        let until = Instant::now() + LAST_COMMIT_TIMEOUT;
        timeout_at(until, self.commit()).await.unwrap_or_else(|_| {
            Err(SourceError::Unavailable {
                reason: format!("progress was not stored within {LAST_COMMIT_TIMEOUT:?}"),
            })
        })
    }

    /// Lets go of everything, without waiting.
    fn abandon(&mut self) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        if self.stores_by_itself() {
            self.commits.start(&self.consumer, &self.lanes, Of::All);
        }
        // What is open is given up.
        self.spans = None;
        self.lanes.clear();
        self.watch.forget();
        self.forget_missing();
        drop(leave(self.consumer.clone()));
    }
}

impl Source for KafkaSource {
    async fn next(&mut self) -> Result<SourceEvent, SourceError> {
        // A reader with a backlog would otherwise never let other tasks of its thread run.
        tokio::task::coop::consume_budget().await;
        loop {
            if self.closed || self.shared.is_closed() {
                self.abandon();
                return Err(SourceError::Closed);
            }
            self.watch.beat();
            self.follow();
            self.on_time();
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            if let Some(error) = self.errors.pop_front() {
                return Err(error);
            }
            if let Some(batch) = self.lanes.next_batch() {
                self.idle_told = false;
                self.let_go_of(&[batch.lane()]);
                return Ok(SourceEvent::Batch(batch));
            }
            if self.pump() {
                continue;
            }
            if self.is_idle() && !std::mem::replace(&mut self.idle_told, true) {
                return Ok(SourceEvent::Idle);
            }
            self.wait().await;
        }
    }

    fn progress(&mut self, lane: LaneId, epoch: Epoch, progress: Progress) {
        let found = self.lanes.get_mut(lane);
        let reports = |lane: &&mut lane::Lane| {
            lane.epoch == epoch && !lane.released && lane.standing != Standing::Suspended
        };
        let Some(found) = found.filter(reports) else {
            return;
        };
        if let Some(finished) = found.report(progress) {
            self.commits.note(finished);
            if let Some(group) = self.plan.group.as_ref().filter(|_| found.role == LaneRole::Retry) {
                self.shared.retries.have_moved(group);
            }
        }
    }

    fn pause(&mut self, lanes: &[LaneId]) {
        for lane in lanes {
            if let Some(lane) = self.lanes.get_mut(*lane) {
                lane.paused = true;
            }
        }
    }

    fn resume(&mut self, lanes: &[LaneId]) {
        for id in lanes {
            if let Some(lane) = self.lanes.get_mut(*id) {
                lane.paused = false;
            }
        }
        self.let_go_of(lanes);
        self.idle_told = false;
    }

    fn seek(&mut self, lane: LaneId, offset: u64) {
        self.read_on_at(lane, offset);
        self.idle_told = false;
    }

    fn change_inputs(&mut self, inputs: &[SourceInput]) -> Result<(), SourceError> {
        self.read_these(inputs)
    }

    async fn commit(&mut self) -> Result<(), SourceError> {
        if self.closed || self.shared.is_closed() {
            return Err(SourceError::Closed);
        }
        if self.spans.is_some() {
            return self.commit_span().await;
        }
        loop {
            self.follow();
            let dirty = self.lanes.iter().any(|(_, lane)| lane.is_dirty());
            if !dirty && !self.commits.is_under_way() {
                return Ok(());
            }
            if let Some(fault) = self.commits.take_failure() {
                return Err(fault.unavailable());
            }
            let again = self.commits.not_before();
            if !self.commits.is_under_way() && again.is_none() {
                self.commits.start(&self.consumer, &self.lanes, Of::All);
                continue;
            }
            let until = again.unwrap_or_else(|| Instant::now() + LOOK_INTERVAL);
            drop(timeout_at(until, self.consumer.inbox().rung()).await);
        }
    }

    fn release(&mut self, lanes: &[LaneId]) {
        for lane in lanes {
            let lane = self.lanes.get_mut(*lane);
            if let Some(lane) = lane.filter(|lane| lane.standing == Standing::Revoked) {
                lane.released = true;
            }
        }
        self.end_handovers();
    }

    fn transaction(&self) -> Option<Transaction> {
        self.spans.as_ref().map(Spans::transaction)
    }

    fn abort(&mut self) {
        self.give_up(Told::Already);
    }

    async fn close(&mut self) -> Result<(), SourceError> {
        if self.closed {
            return Ok(());
        }
        let stored = if self.spans.is_some() {
            self.end_spans().await
        } else {
            self.store_the_last().await
        };
        if std::mem::replace(&mut self.closed, true) {
            return stored;
        }
        self.lanes.clear();
        self.watch.forget();
        self.forget_missing();
        left(self.consumer.clone()).await;
        stored
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSource")
            .field("subscription", &self.plan.subscription)
            .field("group", &self.plan.group)
            .field("lanes", &self.lanes.iter().count())
            .finish()
    }
}

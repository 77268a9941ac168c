//! What is wrong, told once and not twenty times a second: [`Watch`].

use super::KafkaSource;
use super::inbox::News;
use super::plan::{GROWTH_INTERVAL, Plan};
use super::positions::Wanted;
use crate::background::background;
use crate::shared::{Pulse, Shared};
use crate::trouble::Fault;
use rdkafka::error::RDKafkaErrorCode as Code;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::LaneId;
use tokio::time::Instant;

/// The same trouble is told again after this time.
const AGAIN: Duration = Duration::from_secs(5);

/// How long what was just asked is left alone.
const SOON: Duration = Duration::from_millis(500);

/// So long brokers may take to know of a new topic or leader.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long nobody asks for the bounds of a partition again after there was no use for an answer.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// What was told of trouble.
#[derive(Debug)]
pub(super) struct Watch {
    shared: Arc<Shared>,
    /// Under which the broker's health knows this source.
    name: u64,
    subscription: Arc<str>,
    pulse: Arc<Pulse>,
    told: Option<(String, Instant)>,
    /// Why connections end; only of interest if no broker is left.
    cause: Option<Fault>,
    /// What may pass by itself, and since when.
    doubtful: Option<(Fault, Instant)>,
    /// Partitions whose bounds are being asked for.
    asking: usize,
}

impl Watch {
    pub(super) fn new(shared: Arc<Shared>, plan: &Plan) -> Self {
        let name = shared.new_name();
        let pulse = Arc::new(Pulse::new(plan.subscription.clone()));
        pulse.waits();
        shared.watch(&pulse);
        Self {
            pulse,
            shared,
            name,
            subscription: plan.subscription.clone(),
            told: None,
            cause: None,
            doubtful: None,
            asking: 0,
        }
    }

    /// The engine asks.
    pub(super) fn beat(&self) {
        self.pulse.beat();
    }

    /// The group has taken this member for dead: nothing is read until it answers again.
    pub(super) fn lost(&mut self) {
        self.pulse.waits();
        // Told in the health only: the engine hears of the lanes, and librdkafka joins again by itself.
        self.is_news(
            "its partitions were taken away, because its group did not hear from it in time; it joins again",
        );
    }

    pub(super) fn is_asking(&self) -> bool {
        self.asking > 0
    }

    /// The broker has answered.
    pub(super) fn all_well(&mut self) {
        self.shared.state.works();
        if self.told.take().is_some() {
            self.shared.set_trouble(self.name, None);
        }
        self.cause = None;
    }

    /// Partitions are read.
    pub(super) fn assigned(&mut self) {
        self.doubtful = None;
        self.pulse.answered();
        self.all_well();
    }

    /// When what may pass by itself is told.
    pub(super) fn due(&self) -> Option<Instant> {
        self.doubtful.as_ref().map(|(_, since)| *since + PATIENCE)
    }

    /// Nobody reads any more.
    pub(super) fn forget(&mut self) {
        self.told = None;
        self.shared.set_trouble(self.name, None);
    }

    /// Whether to tell it.
    fn is_news(&mut self, text: &str) -> bool {
        let now = Instant::now();
        if let Some((told, at)) = &self.told
            && told == text
            && *at + AGAIN > now
        {
            return false;
        }
        self.told = Some((text.to_owned(), now));
        self.shared
            .set_trouble(self.name, Some(format!("{}: {text}", self.subscription)));
        true
    }
}

impl KafkaSource {
    /// Something that asking again may help with.
    pub(super) fn report(&mut self, fault: &Fault) {
        let fault = &match (&self.plan.group, fault.code) {
            // The broker does not repeat which one.
            (Some(group), Code::GroupAuthorizationFailed) => {
                Fault::new(fault.code, format!("the group \"{group}\": {}", fault.code))
            }
            _ => fault.clone(),
        };
        if self.watch.is_news(&fault.to_string()) {
            self.errors.push_back(fault.unavailable());
        }
    }

    /// Tells what did not pass by itself.
    pub(super) fn report_doubtful(&mut self) {
        if self.watch.due().is_some_and(|due| due <= Instant::now())
            && let Some((fault, _)) = self.watch.doubtful.take()
        {
            self.report(&fault);
        }
    }

    pub(super) fn on_fault(&mut self, fault: &Fault) {
        self.shared.state.failed(fault.code, &fault.reason);
        match fault.code {
            Code::Fatal => {
                let fault = self.consumer.fatal().unwrap_or_else(|| fault.clone());
                self.watch.is_news(&fault.to_string());
                self.errors.push_back(fault.refused());
            }
            _ if fault.is_away() => {
                // That nobody answers is known; why, the connections have said before.
                let cause = self.watch.cause.clone().unwrap_or_else(|| fault.clone());
                self.report(&cause);
            }
            _ if fault.is_connection() => self.watch.cause = Some(fault.clone()),
            _ if fault.may_be_news() => {
                let since = Instant::now();
                self.watch.doubtful.get_or_insert_with(|| (fault.clone(), since));
            }
            Code::PollExceeded => {
                tracing::warn!(subscription = %self.plan.subscription, reason = %fault, "this member left its group");
            }
            _ => self.report(fault),
        }
    }

    /// A partition cannot be read where it should: asks what there is.
    pub(super) fn ask_bounds(&mut self, id: LaneId) {
        self.ask_bounds_after(Duration::ZERO, id);
    }

    fn ask_bounds_after(&mut self, wait: Duration, id: LaneId) {
        let Some(lane) = self.lanes.get(id) else { return };
        let (topic, partition) = (lane.topic.to_string(), lane.partition);
        let (consumer, timeout) = (self.consumer.clone(), self.plan.request_timeout);
        let started = background("tidings-kafka-bounds", move || {
            std::thread::sleep(wait);
            let bounds = consumer.watermarks(&topic, partition, timeout);
            consumer.inbox().tell(News::Bounds {
                topic,
                partition,
                bounds,
            });
        });
        self.watch.asking += usize::from(started);
    }

    pub(super) fn on_bounds(&mut self, topic: &str, partition: u32, bounds: Result<(u64, u64), Fault>) {
        self.watch.asking = self.watch.asking.saturating_sub(1);
        let Some(id) = self.lanes.at(topic, partition) else {
            return;
        };
        let Some(next) = self.lanes.get(id).map(|lane| lane.next) else {
            return;
        };
        match bounds {
            Err(fault) => {
                self.report(&fault);
                self.ask_bounds_after(ASK_AGAIN, id);
            }
            Ok((first, _)) if next < first => {
                warn_of_deleted(topic, partition, next, first);
                self.go_on(id, first);
            }
            Ok((_, end)) if next > end => self.fail_beyond(id, next, end),
            Ok(_) => self.go_on(id, next),
        }
    }

    /// Goes on at an offset with what was read before kept: that is given first.
    fn go_on(&mut self, id: LaneId, offset: u64) {
        // To take partitions and to give them back is also how a group is answered that waits for it: not now.
        if !self.handovers.is_empty() || self.opening.is_some() {
            self.ask_bounds_after(ASK_AGAIN, id);
            return;
        }
        if let Some(lane) = self.lanes.get_mut(id) {
            lane.next = offset;
            lane.at_end = false;
        }
        self.begin_anew(id);
    }

    /// Looks, without a group, within the second.
    pub(super) fn look_for_growth_soon(&mut self) {
        self.plan.grows_at = Some(Instant::now() + SOON);
    }

    /// Looks, without a group, for partitions that were added.
    pub(super) fn look_for_growth(&mut self) {
        if self.plan.grows_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.plan.grows_at = Some(Instant::now() + GROWTH_INTERVAL);
        let topics: Vec<_> = self.plan.topics().map(str::to_owned).collect();
        let (consumer, timeout) = (self.consumer.clone(), self.plan.request_timeout);
        background("tidings-kafka-growth", move || {
            let mut places = Vec::new();
            for topic in topics {
                // What cannot be asked now is asked next time.
                let Ok(found) = consumer.client().fetch_metadata(Some(&topic), timeout) else {
                    return;
                };
                for partition in found.topics().iter().flat_map(|topic| topic.partitions()) {
                    places.extend(u32::try_from(partition.id()).map(|partition| (topic.clone(), partition)));
                }
            }
            consumer.inbox().tell(News::Grown(places));
        });
    }
}

/// Retention was quicker than the group.
pub(super) fn warn_of_deleted(topic: &str, partition: u32, position: u64, first: u64) {
    tracing::warn!(
        topic,
        partition,
        position,
        first,
        lost = first.saturating_sub(position),
        "retention has deleted records that were not read; reading goes on at the first that is left"
    );
}

/// What the group has read is not this topic.
pub(super) fn warn_of_other(wanted: &Wanted, position: u64) {
    tracing::warn!(
        topic = &*wanted.topic,
        partition = wanted.partition,
        position,
        "the topic was deleted and made again: the position is one of the topic before; reading begins at the first record"
    );
}

//! What the engine is given to run a subscription: [`SubscriptionSpec`].

use crate::discovery::Discovery;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{DynBinder, Filter, HandlerContext, Invoke, Policy};

/// Half a century is beyond every wait that is meant, and within what an instant can hold.
const LONGEST: Duration = Duration::from_secs(50 * 365 * 86_400);

/// A destination that a subscription reads, and the two that belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// What is read.
    pub destination: Arc<str>,
    /// Where the group's messages wait for long, with the same number of partitions; none for a subscription without
    /// a group and on brokers without a retry lane.
    pub retry: Option<Arc<str>>,
    /// Where the dead letters go; none drops them ([`Policy::lose_exhausted_messages`]).
    pub dead_letter: Option<DeadLetterTarget>,
}

/// Where dead letters go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterTarget {
    /// The destination.
    pub destination: Arc<str>,
    /// How many partitions it has: a dead letter keeps its partition's number if there is one.
    pub partitions: u32,
}

/// A subscription, ready to run.
#[derive(Clone)]
pub struct SubscriptionSpec {
    /// What its deliveries share.
    pub context: Arc<HandlerContext>,
    /// The handler with its state and middleware.
    pub handler: Arc<dyn Invoke>,
    /// How messages are handled.
    pub policy: Policy,
    /// Which messages are handled; the others are finished without a call.
    pub filter: Option<Filter>,
    /// The channel that outputs without a channel of their own go to.
    pub output: Option<String>,
    /// The broker that it reads from, and whose retry and dead-letter destinations it writes to.
    pub binder: Arc<dyn DynBinder>,
    /// What it reads by name.
    pub inputs: Vec<Input>,
    /// What it reads besides: what matches a pattern, also what comes while it runs.
    pub discovery: Discovery,
    /// How long a revoked lane may drain.
    pub revoke_timeout: Duration,
    /// How long one publish of an output, a parked message or a dead letter may take before it is tried again.
    pub publish_timeout: Duration,
}

impl SubscriptionSpec {
    /// The same with times that clocks can hold: they are added to instants, by the engine and by brokers.
    pub(crate) fn within_clocks(mut self) -> Self {
        let policy = &mut self.policy;
        let times = [
            &mut policy.batch.linger,
            &mut policy.commit_interval,
            &mut policy.alone.wait,
            &mut policy.alone.time,
            &mut policy.alone.time_max,
            &mut self.revoke_timeout,
            &mut self.publish_timeout,
        ];
        let times = times.into_iter().chain(&mut policy.timeout);
        times
            .chain(&mut policy.stuck_after)
            .for_each(|time| *time = (*time).min(LONGEST));
        self
    }
}

impl fmt::Debug for SubscriptionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriptionSpec")
            .field("subscription", &self.context.subscription)
            .field("group", &self.context.group)
            .field("handler", &self.handler.name())
            .field("inputs", &self.inputs)
            .field("patterns", &self.discovery.patterns)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

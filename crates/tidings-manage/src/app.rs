//! What a running service does for its operators beyond its brokers: [`ManagedApp`].

use crate::error::ManageError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::ControlFlow;
use tidings_core::BoxFuture;

/// A running service, as far as operators ask for it.
pub trait ManagedApp: Send + Sync + fmt::Debug + 'static {
    /// What it does, and where each value comes from.
    fn describe(&self) -> AppDescription;

    /// Whether it works, and why not.
    fn health(&self) -> AppHealth;

    /// Its subscriptions with what they are doing.
    fn subscriptions(&self) -> Vec<SubscriptionInfo>;

    /// Its requests to others, by the binder that they go to.
    fn requests(&self) -> Vec<RequestInfo> {
        Vec::new()
    }

    /// The outboxes that are sent from there.
    fn outboxes(&self) -> Vec<OutboxInfo> {
        Vec::new()
    }

    /// Sends dead letters back to a group, or takes them off the list. One at a time: a second one waits for the first.
    ///
    /// # Errors
    /// [`ManageError::Unknown`] for a group that the service does not have, what the broker says.
    fn redrive(
        &self,
        request: RedriveRequest,
        progress: RedriveProgress,
    ) -> BoxFuture<'_, Result<RedriveCounts, ManageError>>;
}

/// What a service does, for people and for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppDescription {
    /// As the service prints it.
    pub text: String,
    /// The same as data.
    pub json: serde_json::Value,
}

/// Whether a service works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppHealth {
    /// Whether the process can recover by itself.
    pub live: bool,
    /// Whether everything works.
    pub ready: bool,
    /// Every part.
    pub parts: Vec<PartHealth>,
}

/// Whether one part of a service works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartHealth {
    /// `binder`, `subscription`, `producer` or `outbox`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// `up`, `waiting`, `degraded`, `down`, `failed`.
    pub condition: String,
    /// What stands in the way, if something does.
    pub reason: Option<String>,
}

/// A subscription and what it is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionInfo {
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: Option<String>,
    /// The binder that it reads from.
    pub binder: String,
    /// What it reads.
    pub destinations: Vec<String>,
    /// Where its dead letters go.
    pub dead_letters: Vec<String>,
    /// `connecting`, `running`, `paused`, `draining`, `stopped`, `failed`.
    pub phase: String,
    /// Handlers that run.
    pub running: u64,
    /// Messages that wait in memory for their next attempt.
    pub waiting: u64,
    /// Messages that wait behind another of their key.
    pub queued: u64,
    /// Handled with success.
    pub handled: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Attempts after the first.
    pub retried: u64,
    /// Messages moved to the retry lane.
    pub parked: u64,
    /// Messages written to the dead letters.
    pub dead_lettered: u64,
    /// Messages dropped because the policy says so.
    pub dropped: u64,
    /// What became of its replies to requests.
    #[serde(default)]
    pub replies: ReplyInfo,
    /// What stands in the way now.
    pub obstacle: Option<String>,
    /// The last failure.
    pub last_failure: Option<String>,
    /// When that was, in milliseconds since 1970 UTC.
    pub last_failure_ms: Option<i64>,
    /// What it reads now.
    pub lanes: Vec<SubscriptionLane>,
}

/// What became of the replies of a subscription.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyInfo {
    /// Kept by the broker, for their requesters.
    pub sent: u64,
    /// Of messages that ask for no reply.
    pub unaddressed: u64,
    /// Of messages that ask for it where replies may not go.
    pub refused: u64,
    /// Dropped, because their address is gone.
    pub orphaned: u64,
    /// Dropped, because the broker did not take them in time.
    pub not_taken: u64,
}

/// The requests of a service to one broker, and what became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestInfo {
    /// The binder that they go to.
    pub binder: String,
    /// Those that wait for their reply.
    pub open: u64,
    /// Those that got one.
    pub answered: u64,
    /// Those that ended without one.
    pub unanswered: u64,
    /// Replies for which nobody waited any more.
    pub late: u64,
    /// Why no replies can be received now, if that is so.
    pub obstacle: Option<String>,
}

/// An outbox that is sent from a service, and what is known of it there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxInfo {
    /// The database that it is in.
    pub name: String,
    /// `starting`, `leads`, `follows`: whether this service sends, or another process does.
    pub role: String,
    /// Whether messages come as they are committed, without being looked for.
    pub replicates: bool,
    /// Messages that this service has sent and taken out.
    pub sent: u64,
    /// Messages that it has parked.
    pub parked: u64,
    /// How often it has sent and taken out some.
    pub rounds: u64,
    /// How often something failed that is tried again.
    pub failures: u64,
    /// Messages that waited when it was measured last; none where another process sends.
    pub backlog: Option<u64>,
    /// For how long the first of them had been waiting, in milliseconds.
    pub backlog_age_ms: Option<u64>,
    /// Messages that were parked then, by whomever.
    pub backlog_parked: Option<u64>,
    /// Bytes of its log that the server keeps for the slot, where there is one.
    pub slot_lag_bytes: Option<u64>,
    /// Whether that is beyond the limit.
    pub lag_alarm: bool,
    /// What stands in the way now.
    pub obstacle: Option<String>,
}

/// A partition that a subscription reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionLane {
    /// The destination.
    pub destination: String,
    /// The partition.
    pub partition: u32,
    /// Every offset below is finished.
    pub watermark: u64,
    /// The next offset to be received.
    pub received: u64,
    /// Messages received and not finished.
    pub open: u64,
}

/// Which dead letters go back, and how.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RedriveRequest {
    /// The group that gave up on them.
    pub group: String,
    /// Only those that all of these accept.
    #[serde(default)]
    pub letters: Vec<LetterFilter>,
    /// How many at the most; none is no limit.
    #[serde(default)]
    pub limit: Option<u64>,
    /// What is done with them.
    #[serde(default)]
    pub action: RedriveAction,
    /// How many in a second at the most; none is as fast as it goes.
    #[serde(default)]
    pub per_second: Option<f64>,
    /// Payloads that replace those of some letters.
    #[serde(default)]
    pub payloads: Vec<Replacement>,
}

/// What is done with the dead letters that are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RedriveAction {
    /// They are sent back.
    #[default]
    Send,
    /// They are counted.
    DryRun,
    /// They are taken off the list and never sent back. They stay where they lie until retention takes them.
    Discard,
}

/// Which dead letters are meant.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LetterFilter {
    /// Those with this key.
    Key(Vec<u8>),
    /// Those with one of these message ids.
    MessageIds(Vec<String>),
    /// Those that lie at one of these positions.
    Positions(Vec<LetterPosition>),
    /// Those that failed for the last time within this time in milliseconds; the end does not belong to it.
    FailedWithin {
        /// From here on.
        from_ms: i64,
        /// Up to here.
        to_ms: i64,
    },
    /// Those whose chain of errors contains this text.
    ErrorContains(String),
}

impl fmt::Debug for LetterFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "a key of {} bytes", key.len()),
            Self::MessageIds(ids) => write!(f, "{} message ids", ids.len()),
            Self::Positions(positions) => write!(f, "{} positions", positions.len()),
            Self::FailedWithin { from_ms, to_ms } => write!(f, "failed within {from_ms}..{to_ms}"),
            Self::ErrorContains(text) => write!(f, "error contains {text:?}"),
        }
    }
}

/// Where a dead letter lies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LetterPosition {
    /// The destination of the dead letters.
    pub destination: String,
    /// The partition.
    pub partition: u32,
    /// The offset.
    pub offset: u64,
}

/// A payload in place of a letter's own.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    /// The letter.
    pub letter: LetterPosition,
    /// The payload.
    pub payload: Vec<u8>,
}

impl fmt::Debug for Replacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replacement")
            .field("letter", &self.letter)
            .field("payload_bytes", &self.payload.len())
            .finish()
    }
}

/// What a redrive has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RedriveCounts {
    /// Dead letters of the group that were not sent back or discarded before.
    pub pending: u64,
    /// Those of them that were meant.
    pub selected: u64,
    /// Those that were sent back.
    pub redriven: u64,
    /// Those that were discarded.
    pub discarded: u64,
    /// Those that can never go back as they are.
    pub refused: u64,
}

/// Is told how far a redrive is, and says whether it goes on. What was done until then is recorded in any case.
pub struct RedriveProgress(Box<Report>);

type Report = dyn Fn(&RedriveCounts) -> ControlFlow<()> + Send + Sync;

impl RedriveProgress {
    /// Calls this from time to time.
    pub fn new(report: impl Fn(&RedriveCounts) -> ControlFlow<()> + Send + Sync + 'static) -> Self {
        Self(Box::new(report))
    }

    /// How far it is; whether it goes on.
    pub fn report(&self, counts: &RedriveCounts) -> ControlFlow<()> {
        (self.0)(counts)
    }
}

impl fmt::Debug for RedriveProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedriveProgress")
    }
}

//! How a subscription handles its messages: [`Policy`], data that code sets and configuration overrides.

use crate::retry::Retry;
use crate::source::Start;
use std::time::Duration;

/// What keeps its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ordering {
    /// Messages of one key; messages without a key are free. Keys are handled beside each other.
    #[default]
    Key,
    /// Messages of one partition. Partitions are handled beside each other.
    Partition,
    /// Nothing.
    None,
}

/// What a message does that must wait for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RetryOrder {
    /// Later messages of its key wait behind it.
    #[default]
    Kept,
    /// Later messages of its key overtake it.
    Relaxed,
}

/// Whose words dead letters are described in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeadLetterHeaders {
    /// Ours.
    #[default]
    Tidings,
    /// Ours, and those of Spring Kafka beside them: services that use it can share the dead letters.
    Spring,
}

/// How batches are formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchPolicy {
    /// The most items of a batch, at least 1.
    pub size: usize,
    /// How long the first item waits for others.
    pub linger: Duration,
}

/// A limit to how many deliveries start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Deliveries per second; above 0.
    pub per_second: f64,
}

/// How a subscription handles its messages. Every value has a default and a key in the configuration.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Where to begin without a stored position.
    pub start: Start,
    /// Which partitions it reads, without a group; none for all.
    pub partitions: Option<Vec<u32>>,
    /// What keeps its order.
    pub ordering: Ordering,
    /// How many deliveries are handled at once, at least 1.
    pub concurrency: usize,
    /// How many messages may be received and not finished, per partition; the partition is paused beyond it.
    pub max_in_flight: usize,
    /// How many bytes of messages may be received and not finished, per partition; the partition is paused beyond it.
    pub max_in_flight_bytes: usize,
    /// How batches are formed; only for batch handlers.
    pub batch: BatchPolicy,
    /// When a failed message is tried again.
    pub retry: Retry,
    /// Whether later messages of a key wait for one that waits long.
    pub order: RetryOrder,
    /// How many messages may wait in the retry lane of a partition; the partition is paused beyond it.
    pub max_parked: usize,
    /// The dead letters' destination; `{destination}` stands for the destination's name, `{group}` for the group's.
    pub dead_letter: String,
    /// Whose words dead letters are described in.
    pub headers: DeadLetterHeaders,
    /// Drop what cannot be handled instead of keeping it as a dead letter.
    pub lose_exhausted_messages: bool,
    /// A handling that takes longer is stopped and fails.
    pub timeout: Option<Duration>,
    /// A message whose handling is not finished after this is named in health, until it is; never if there is none.
    pub stuck_after: Option<Duration>,
    /// How long a message that may kill the process is kept apart from others.
    pub alone: Alone,
    /// How many deliveries may start.
    pub rate: Option<Rate>,
    /// Progress is stored at least this often.
    pub commit_interval: Duration,
    /// Progress is stored after this many finished messages. A subscription that says nothing has
    /// [`SPAN_EVERY`](Self::SPAN_EVERY) with [`exactly_once`](Self::exactly_once), so that time decides how long a
    /// transaction is.
    pub commit_every: u64,
    /// The subscription starts paused.
    pub paused: bool,
    /// Each handling is a task of its own, so that CPU-heavy work uses every core.
    pub spawn: bool,
    /// What handlings publish, what is parked, dead letters and progress are one transaction of the broker, per span of
    /// messages ([`commit_interval`](Self::commit_interval), [`commit_every`](Self::commit_every)). While commits take
    /// long, a span lasts up to ten intervals.
    pub exactly_once: bool,
}

impl Policy {
    /// How many messages a transaction holds at the most, unless a subscription says it. A commit takes as long for a
    /// hundred messages as for a hundred thousand, and nothing is handled meanwhile.
    pub const SPAN_EVERY: u64 = 100_000;
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            start: Start::Earliest,
            partitions: None,
            ordering: Ordering::Key,
            concurrency: 1,
            max_in_flight: 10_000,
            max_in_flight_bytes: 64 * 1024 * 1024,
            batch: BatchPolicy {
                size: 500,
                linger: Duration::from_millis(50),
            },
            retry: Retry::default(),
            order: RetryOrder::Kept,
            max_parked: 10_000,
            dead_letter: "{destination}.DLT".to_owned(),
            headers: DeadLetterHeaders::Tidings,
            lose_exhausted_messages: false,
            timeout: None,
            stuck_after: Some(Duration::from_secs(300)),
            alone: Alone::default(),
            rate: None,
            commit_interval: Duration::from_millis(100),
            commit_every: 10_000,
            paused: false,
            spawn: false,
            exactly_once: false,
        }
    }
}

/// How long a message is kept apart that processes died of twice. Every wait ends by time, so that nobody is held up for
/// ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alone {
    /// So long it waits for others to finish what they handle; then it begins beside them.
    pub wait: Duration,
    /// So long it is alone at its first time; twice as long after each more death.
    pub time: Duration,
    /// Never longer than this.
    pub time_max: Duration,
}

impl Default for Alone {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(30),
            time: Duration::from_secs(30),
            time_max: Duration::from_secs(3_600),
        }
    }
}

impl Policy {
    /// The dead letters' destination for a destination and a group.
    pub fn dead_letter_destination(&self, destination: &str, group: Option<&str>) -> String {
        self.dead_letter
            .replace("{destination}", destination)
            .replace("{group}", group.unwrap_or("anonymous"))
    }
}

/// The retry destination of a group and a destination.
pub fn retry_destination(destination: &str, group: &str) -> String {
    format!("{destination}.{group}.retry")
}

/// What code sets of a policy; the rest stays as it is.
#[derive(Debug, Clone, Default)]
pub struct PolicyChanges {
    /// See [`Policy::start`].
    pub start: Option<Start>,
    /// See [`Policy::partitions`].
    pub partitions: Option<Vec<u32>>,
    /// See [`Policy::ordering`].
    pub ordering: Option<Ordering>,
    /// See [`Policy::concurrency`].
    pub concurrency: Option<usize>,
    /// See [`Policy::max_in_flight`].
    pub max_in_flight: Option<usize>,
    /// See [`Policy::max_in_flight_bytes`].
    pub max_in_flight_bytes: Option<usize>,
    /// See [`Policy::batch`].
    pub batch: Option<BatchPolicy>,
    /// See [`Policy::retry`].
    pub retry: Option<Retry>,
    /// See [`Policy::order`].
    pub order: Option<RetryOrder>,
    /// See [`Policy::max_parked`].
    pub max_parked: Option<usize>,
    /// See [`Policy::dead_letter`].
    pub dead_letter: Option<String>,
    /// See [`Policy::headers`].
    pub headers: Option<DeadLetterHeaders>,
    /// See [`Policy::lose_exhausted_messages`].
    pub lose_exhausted_messages: Option<bool>,
    /// See [`Policy::timeout`].
    pub timeout: Option<Duration>,
    /// See [`Policy::stuck_after`].
    pub stuck_after: Option<Duration>,
    /// See [`Policy::rate`].
    pub rate: Option<Rate>,
    /// See [`Policy::commit_interval`].
    pub commit_interval: Option<Duration>,
    /// See [`Policy::commit_every`].
    pub commit_every: Option<u64>,
    /// See [`Policy::paused`].
    pub paused: Option<bool>,
    /// See [`Policy::spawn`].
    pub spawn: Option<bool>,
    /// See [`Policy::exactly_once`].
    pub exactly_once: Option<bool>,
}

impl PolicyChanges {
    /// Applies the changes.
    pub fn apply(&self, policy: &mut Policy) {
        macro_rules! set {
            ($($field:ident),*) => {$(
                if let Some(value) = &self.$field {
                    policy.$field = value.clone();
                }
            )*};
        }
        set!(
            start,
            ordering,
            concurrency,
            max_in_flight,
            max_in_flight_bytes,
            batch,
            retry,
            order,
            max_parked,
            dead_letter,
            headers
        );
        set!(
            lose_exhausted_messages,
            commit_interval,
            commit_every,
            paused,
            spawn,
            exactly_once
        );
        if self.partitions.is_some() {
            policy.partitions.clone_from(&self.partitions);
        }
        policy.timeout = self.timeout.or(policy.timeout);
        policy.stuck_after = self.stuck_after.or(policy.stuck_after);
        policy.rate = self.rate.or(policy.rate);
    }
}

//! What a broker can do, as far as the suite needs to know: [`Features`].

use std::collections::BTreeSet;
use std::fmt;
use tidings_core::Capabilities;

/// Something that a broker may lack. A case that needs it is skipped by name then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Feature {
    /// Destinations have partitions, and a key decides which.
    Partitions,
    /// Messages can be read again from an offset or a time.
    Replay,
    /// A group's position outlives its members.
    StoredPositions,
    /// Positions are offsets, which are stored with what is finished above them and with attempts, and can be asked for.
    Offsets,
    /// Dead letters can be sent back.
    Redrive,
    /// Messages outlive the process.
    Durable,
    /// A message may be published for later.
    Delayed,
    /// Long waits outlive the process.
    RetryLane,
    /// Whatever its length, a wait frees the place of its message, keeps the order of its key, and counts its attempts
    /// over the end of its process.
    WaitsInPlace,
    /// Outputs and progress can be one transaction.
    Transactions,
    /// Messages may have priorities.
    Priorities,
    /// What a subscription reads may change while it runs.
    Patterns,
    /// It runs within the test's process and waits on tokio's clock, so that hours pass in no time.
    VirtualTime,
    /// [`Opening::max_message_bytes`](crate::Opening::max_message_bytes) is obeyed.
    SizeLimit,
    /// Old messages are deleted by age and size within the time that [`Opening::small_segments`](crate::Opening::small_segments) promises.
    Retention,
    /// It can be opened for reading beside its owner.
    ReadOnly,
    /// The harness can make its storage fail.
    StorageFaults,
    /// It marks what is being handled, and knows of it when the process has died.
    Marks,
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Partitions => "partitions",
            Self::Replay => "replay",
            Self::StoredPositions => "stored positions",
            Self::Offsets => "offsets",
            Self::Redrive => "redrive",
            Self::Durable => "durability beyond the process",
            Self::Delayed => "delayed delivery",
            Self::RetryLane => "retry lane",
            Self::WaitsInPlace => "waits that keep their place in a retry lane",
            Self::Transactions => "transactions",
            Self::Priorities => "priorities",
            Self::Patterns => "patterns of destinations",
            Self::VirtualTime => "virtual time",
            Self::SizeLimit => "limit of size that a test can set",
            Self::Retention => "retention",
            Self::ReadOnly => "read-only opening",
            Self::StorageFaults => "storage that a test can break",
            Self::Marks => "marks that outlive the process",
        })
    }
}

/// What a broker can do.
///
/// ```
/// use tidings_conformance::{Feature, Features};
/// use tidings_core::Capabilities;
/// let mut can = Capabilities::NONE;
/// can.replay = true;
/// let features = Features::of(can).with(Feature::VirtualTime);
/// assert!(features.has(Feature::Replay) && !features.has(Feature::Durable));
/// ```
#[derive(Debug, Clone)]
pub struct Features {
    capabilities: Capabilities,
    has: BTreeSet<Feature>,
}

impl Features {
    /// What these capabilities say. The broker itself must say the same.
    pub fn of(capabilities: Capabilities) -> Self {
        let table = [
            (capabilities.partitions, Feature::Partitions),
            (capabilities.replay, Feature::Replay),
            (capabilities.stored_positions, Feature::StoredPositions),
            (capabilities.durable, Feature::Durable),
            (capabilities.delayed, Feature::Delayed),
            (capabilities.retry_lane, Feature::RetryLane),
            (capabilities.transactions, Feature::Transactions),
            (capabilities.priorities, Feature::Priorities),
            (capabilities.patterns, Feature::Patterns),
        ];
        let waits_in_place = capabilities.retry_lane && capabilities.longest_hold.is_none();
        // Who keeps messages knows where each of them is.
        let of_history = [Feature::Offsets, Feature::Redrive].map(|feature| (capabilities.replay, feature));
        let has = table
            .into_iter()
            .chain(of_history)
            .chain([(waits_in_place, Feature::WaitsInPlace)])
            .filter(|(has, _)| *has);
        Self {
            capabilities,
            has: has.map(|(_, feature)| feature).collect(),
        }
    }

    /// With one more, of those that are no capability of a binder.
    #[must_use]
    pub fn with(mut self, feature: Feature) -> Self {
        self.has.insert(feature);
        self
    }

    /// Whether it has that.
    pub fn has(&self, feature: Feature) -> bool {
        self.has.contains(&feature)
    }

    /// What the binder says of itself.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }
}

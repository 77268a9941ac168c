//! Destinations that a subscription reads and that become known while it runs: those that match a [`Pattern`].
//!
//! Patterns are resolved here and not by a broker, so that they mean the same everywhere: the broker lists what there
//! is, [`choose`] says what of it is read, [`look`] sees to the retry and dead-letter destinations, and [`watch`] looks
//! again as time passes. The source is told the names.

mod choose;
mod look;
mod pattern;
mod watch;

pub use choose::LetterName;
pub use pattern::{Pattern, PatternError};

pub(crate) use look::Looker;
pub(crate) use watch::{Discovering, News};

use std::time::Duration;
use tidings_core::Create;

/// What a subscription reads beside what it names.
#[derive(Debug, Clone)]
pub struct Discovery {
    /// The patterns; none reads only what is named.
    pub patterns: Vec<PatternInput>,
    /// Where dead letters of this app's subscriptions go on that broker: no pattern takes them for messages.
    pub letters: Vec<LetterName>,
    /// How often the broker is asked what there is.
    pub interval: Duration,
}

impl Discovery {
    /// How often the broker is asked if nobody says anything.
    pub const INTERVAL: Duration = Duration::from_secs(10);
}

impl Default for Discovery {
    /// No patterns.
    fn default() -> Self {
        Self {
            patterns: Vec::new(),
            letters: Vec::new(),
            interval: Self::INTERVAL,
        }
    }
}

/// A pattern that a subscription reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternInput {
    /// Which destinations.
    pub pattern: Pattern,
    /// What of them.
    pub reads: PatternReads,
    /// Whether retry and dead-letter destinations of what matches may be created.
    pub create: Create,
}

/// What is read of the destinations that match a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatternReads {
    /// Their messages.
    Messages,
    /// Their dead letters, which have these names.
    DeadLetters(Vec<LetterName>),
}

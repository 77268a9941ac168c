//! What the checker found: [`Report`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident = $name:literal;)*) => {
        /// What can be wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule {
            $($(#[$doc])* $rule,)*
        }

        impl Rule {
            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$rule => $name,)*
                }
            }
        }
    };
}

rules! {
    /// An acknowledged message was neither handled nor dead-lettered by a group.
    LostWrite = "lost-write";
    /// A message came again that was finished, and no fault explains it.
    Duplicate = "duplicate";
    /// Something was handled that nobody sent, or not with these bytes.
    Phantom = "phantom";
    /// The first successful handlings of a key are not in the order in which it was published.
    KeyReorder = "key-reorder";
    /// Two handlings of a key ran at the same time.
    KeyOverlap = "key-overlap";
    /// A position was reported or stored before everything below it was finished.
    CommitAhead = "commit-ahead";
    /// A message failed for good and is not among the dead letters.
    MissingDeadLetter = "missing-dead-letter";
    /// A dead letter of a message that did not fail for good, with other bytes, or without its diagnosis.
    PhantomDeadLetter = "phantom-dead-letter";
    /// A drain ended too long after its deadline.
    ShutdownLate = "shutdown-late";
    /// Resident memory is above its base and the configured buffers.
    RssOver = "rss-over";
    /// A message has more than one effect in the database, or one that nothing keeps from happening again.
    EffectDup = "effect-dup";
    /// A message that was accepted, or a transaction that was committed, has no effect in the database.
    EffectLost = "effect-lost";
    /// An event was published whose transaction was never committed.
    OutboxGhost = "outbox-ghost";
    /// An event of a committed transaction was never published.
    OutboxMissing = "outbox-missing";
    /// When the faults had ended, a group did not come to the end.
    NotQuiet = "not-quiet";
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What is wrong.
    pub rule: Rule,
    /// In which incarnation it showed.
    pub incarnation: u32,
    /// Where, and what.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: incarnation {}: {}",
            self.rule, self.incarnation, self.what
        )
    }
}

/// What the checker found in a run, or in several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The seed of the campaign.
    pub seed: u64,
    /// Processes that were killed.
    pub kills: u64,
    /// The named places at which they were.
    pub places: BTreeSet<String>,
    /// Messages that were acknowledged.
    pub messages: u64,
    /// Successful handlings.
    pub handled: u64,
    /// Dead letters.
    pub letters: u64,
    /// Those of them that say that processes died of the message, and the deaths that the histories know of.
    pub condemned: Vec<String>,
    /// Successful handlings beyond the first of each message in each group; a crash explains them, or there is a
    /// violation.
    pub repeated: u64,
    /// Messages that a power cut took within the interval in which it may.
    pub excused: u64,
    /// How long before the power cut the oldest of them was acknowledged, in milliseconds.
    pub excused_age_ms: u64,
    /// Everything that is wrong.
    pub violations: Vec<Violation>,
}

impl Report {
    /// Something is wrong.
    pub(super) fn add(&mut self, rule: Rule, incarnation: u32, what: String) {
        self.violations.push(Violation {
            rule,
            incarnation,
            what,
        });
    }

    /// How much is wrong of each kind.
    pub fn counts(&self) -> BTreeMap<Rule, usize> {
        let mut counts = BTreeMap::new();
        for violation in &self.violations {
            *counts.entry(violation.rule).or_default() += 1;
        }
        counts
    }

    /// Whether something of that kind is wrong.
    pub fn has(&self, rule: Rule) -> bool {
        self.violations.iter().any(|violation| violation.rule == rule)
    }

    fn count(&self, rule: Rule) -> usize {
        self.counts().get(&rule).copied().unwrap_or_default()
    }

    /// What may be lost, and was.
    fn excuse(&self) -> String {
        match self.excused {
            0 => String::new(),
            excused => format!(
                " ({excused} more within fsync_interval, at most {} ms old)",
                self.excused_age_ms
            ),
        }
    }

    /// Dead letters because of deaths.
    fn verdicts(&self) -> String {
        match self.condemned.len() {
            0 => String::new(),
            condemned => format!(" ({condemned} killed: {})", self.condemned.join("; ")),
        }
    }

    /// This and another run as one.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.kills += other.kills;
        self.places.extend(other.places);
        self.messages += other.messages;
        self.handled += other.handled;
        self.letters += other.letters;
        self.condemned.extend(other.condemned);
        self.repeated += other.repeated;
        self.excused += other.excused;
        self.excused_age_ms = self.excused_age_ms.max(other.excused_age_ms);
        self.violations.extend(other.violations);
        self
    }
}

/// The summary: one line, and one for each kind of violation.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills at {} places, {} messages, lost {}{}, duplicated {} ({} repeated after crashes), reordered {}, {} dead letters{} (seed {})",
            self.kills,
            self.places.len(),
            self.messages,
            self.count(Rule::LostWrite),
            self.excuse(),
            self.count(Rule::Duplicate),
            self.repeated,
            self.count(Rule::KeyReorder),
            self.letters,
            self.verdicts(),
            self.seed,
        )?;
        for (rule, count) in self.counts() {
            write!(f, "\n{rule}: {count}")?;
            for violation in self
                .violations
                .iter()
                .filter(|violation| violation.rule == rule)
                .take(5)
            {
                write!(f, "\n  {violation}")?;
            }
        }
        Ok(())
    }
}

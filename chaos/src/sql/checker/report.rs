//! What the checker found: [`SqlReport`].

use crate::checker::Rule;
use crate::history::Store;
use std::collections::BTreeMap;
use std::fmt;

/// Violations of each kind that are shown.
const SHOWN: usize = 5;

/// What the checker found.
#[derive(Debug, Clone, Default)]
pub struct SqlReport {
    /// The seed.
    pub seed: u64,
    /// What was attacked.
    pub store: Option<Store>,
    /// How often which fault was injected.
    pub faults: BTreeMap<String, u64>,
    /// What processes met because of them.
    pub met: BTreeMap<String, u64>,
    /// Messages and requests that have an effect.
    pub messages: u64,
    /// How often messages were handed to a broker to be handled.
    pub deliveries: u64,
    /// Events at the broker, each counted once.
    pub published: u64,
    /// How many came again, with the same message id.
    pub again: u64,
    /// Messages that were given up.
    pub letters: u64,
    /// Everything that is wrong.
    pub violations: Vec<(Rule, String)>,
}

impl SqlReport {
    pub(super) fn add(&mut self, rule: Rule, what: String) {
        self.violations.push((rule, what));
    }

    /// Whether something of that kind is wrong.
    pub fn has(&self, rule: Rule) -> bool {
        self.count(rule) > 0
    }

    fn count(&self, rule: Rule) -> usize {
        self.violations.iter().filter(|(found, _)| *found == rule).count()
    }

    /// How many faults there were.
    pub fn all_faults(&self) -> u64 {
        self.faults.values().sum()
    }

    /// This and another campaign as one.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for (kind, times) in other.faults {
            *self.faults.entry(kind).or_default() += times;
        }
        for (what, times) in other.met {
            *self.met.entry(what).or_default() += times;
        }
        self.store = self.store.or(other.store);
        self.messages += other.messages;
        self.deliveries += other.deliveries;
        self.published += other.published;
        self.again += other.again;
        self.letters += other.letters;
        self.violations.extend(other.violations);
        self
    }

    /// How often each fault was injected and what came of it, a line each.
    pub fn table(&self) -> String {
        let line = |(what, times): (&String, &u64)| format!("{times:>8}  {what}\n");
        let faults: String = self.faults.iter().map(line).collect();
        let met: String = self.met.iter().map(line).collect();
        format!("faults:\n{faults}met:\n{met}")
    }
}

/// The summary: one line, and some for each kind of violation.
impl fmt::Display for SqlReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} faults of {} kinds, {} messages sent {} times, effect-dup {}, effect-lost {}, {} events, outbox-ghost {}, outbox-missing {}, reordered {} ({} published again), {} dead letters (seed {})",
            self.store.map_or("sql", Store::name),
            self.all_faults(),
            self.faults.len(),
            self.messages,
            self.deliveries,
            self.count(Rule::EffectDup),
            self.count(Rule::EffectLost),
            self.published,
            self.count(Rule::OutboxGhost),
            self.count(Rule::OutboxMissing),
            self.count(Rule::KeyReorder),
            self.again,
            self.letters,
            self.seed,
        )?;
        let mut shown: BTreeMap<Rule, usize> = BTreeMap::new();
        for (rule, what) in &self.violations {
            let shown = shown.entry(*rule).or_default();
            *shown += 1;
            if *shown <= SHOWN {
                write!(f, "\n{rule}: {what}")?;
            }
        }
        Ok(())
    }
}

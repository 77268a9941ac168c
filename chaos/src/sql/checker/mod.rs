//! The checker of campaigns on databases: it compares what was accepted, what the business table and the inbox hold, what
//! the database said was committed, and what arrived at the broker.

mod report;
#[cfg(test)]
mod tests;

pub use report::SqlReport;

use super::handlers::fails_for_good;
use crate::checker::Rule;
use crate::history::{Arrival, Effect, Event, Lifecycle, Line, SqlEvent};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Each service must say that it is quiet.
const QUIET: u32 = 2;

/// Reads the lines of one campaign and judges.
pub fn check(lines: &[Line]) -> SqlReport {
    let mut report = SqlReport::default();
    let mut found = Found::default();
    for line in lines {
        found.observe(line, &mut report);
    }
    if found.judge_quiet(&mut report) {
        found.judge_effects(&mut report);
        found.judge_committed(&mut report);
        found.judge_letters(&mut report);
    }
    found.judge_published(&mut report);
    found.judge_order(&mut report);
    report
}

/// What the histories say.
#[derive(Debug, Default)]
struct Found {
    sent: HashSet<String>,
    accepted: BTreeSet<String>,
    /// In which incarnation the database said that it is committed.
    committed: BTreeMap<String, u32>,
    effects: Vec<Effect>,
    claims: HashSet<String>,
    arrivals: Vec<Arrival>,
    /// Messages that were given up, and why.
    letters: BTreeMap<String, String>,
    left: Option<u64>,
    quiet: u32,
    restless: Vec<String>,
}

impl Found {
    fn observe(&mut self, line: &Line, report: &mut SqlReport) {
        match &line.event {
            Event::Sql(event) => self.note(line.n, event, report),
            Event::Fault(fault) => {
                let kind = match &fault.point {
                    Some(point) => format!("killed at {point}"),
                    None => "killed at any time".to_owned(),
                };
                *report.faults.entry(kind).or_default() += 1;
            }
            Event::Lifecycle(Lifecycle::Quiet) => self.quiet += 1,
            Event::Lifecycle(Lifecycle::Restless { reason }) => self.restless.push(reason.clone()),
            Event::DeadLetter(letter) => {
                self.letters.insert(letter.id.clone(), letter.reason.clone());
            }
            _ => {}
        }
    }

    fn note(&mut self, n: u32, event: &SqlEvent, report: &mut SqlReport) {
        match event {
            SqlEvent::Began { seed, store } => {
                report.seed = *seed;
                report.store = Some(*store);
            }
            SqlEvent::Sent { id } => {
                report.deliveries += 1;
                self.sent.insert(id.clone());
            }
            SqlEvent::Accepted { id } => drop(self.accepted.insert(id.clone())),
            SqlEvent::Committed { nonces } => {
                self.committed
                    .extend(nonces.iter().map(|nonce| (nonce.clone(), n)));
            }
            SqlEvent::Met { what, times } => *report.met.entry(what.clone()).or_default() += times,
            SqlEvent::Fault { kind } => *report.faults.entry(kind.clone()).or_default() += 1,
            SqlEvent::Effect(effect) => self.effects.push(effect.clone()),
            SqlEvent::Claim { id } => drop(self.claims.insert(id.clone())),
            SqlEvent::Arrived(arrival) => self.arrivals.push(arrival.clone()),
            SqlEvent::Left { rows } => self.left = Some(*rows),
        }
    }

    /// Whether what is missing now is missing for ever.
    fn judge_quiet(&self, report: &mut SqlReport) -> bool {
        for reason in &self.restless {
            report.add(Rule::NotQuiet, reason.clone());
        }
        if self.quiet < QUIET && self.restless.is_empty() {
            report.add(Rule::NotQuiet, "the history ends before it is quiet".to_owned());
        }
        match self.left {
            Some(0) => {}
            Some(rows) => report.add(Rule::NotQuiet, format!("{rows} rows are left in the outbox")),
            None => report.add(Rule::NotQuiet, "nobody looked at the outbox".to_owned()),
        }
        !report.has(Rule::NotQuiet)
    }

    /// Each accepted message has one effect and a claim, or is a dead letter; nothing else has.
    fn judge_effects(&self, report: &mut SqlReport) {
        let mut times: HashMap<&str, u64> = HashMap::new();
        for effect in &self.effects {
            *times.entry(&effect.id).or_default() += 1;
        }
        report.messages = times.len() as u64;
        let mut ids: Vec<_> = times.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let times = times.get(id).copied().unwrap_or_default();
            if times > 1 {
                report.add(Rule::EffectDup, format!("{id} has {times} effects"));
            }
            if !is_input(id) {
                continue;
            }
            if !self.sent.contains(id) {
                report.add(Rule::Phantom, format!("{id} has an effect, and nobody sent it"));
            }
            if fails_for_good(id) {
                report.add(
                    Rule::Phantom,
                    format!("{id} has an effect, and its handler never succeeds"),
                );
            }
            if !self.claims.contains(id) {
                let what = format!("{id} has an effect and no claim: it would be handled again");
                report.add(Rule::EffectDup, what);
            }
        }
        for id in self.accepted.iter().filter(|id| !self.letters.contains_key(*id)) {
            if !times.contains_key(&**id) && !fails_for_good(id) {
                let claimed = match self.claims.contains(id) {
                    true => "claimed and",
                    false => "accepted and",
                };
                report.add(Rule::EffectLost, format!("{id} was {claimed} has no effect"));
            }
        }
    }

    /// What the database has promised to keep is there; no change of a key is missing.
    fn judge_committed(&self, report: &mut SqlReport) {
        let kept: HashSet<&str> = self.effects.iter().map(|effect| &*effect.nonce).collect();
        for (nonce, incarnation) in &self.committed {
            if !kept.contains(&**nonce) {
                let what = format!("incarnation {incarnation} committed {nonce}, and it is not there");
                report.add(Rule::EffectLost, what);
            }
        }
        let mut numbers: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for effect in &self.effects {
            numbers.entry(&effect.key).or_default().push(effect.number);
        }
        for (key, mut numbers) in numbers {
            numbers.sort_unstable();
            let gap = (1..).zip(&numbers).find(|(should, is)| should != *is);
            if let Some((should, is)) = gap {
                report.add(
                    Rule::EffectLost,
                    format!("change {should} of {key} is missing, the next is {is}"),
                );
            }
        }
    }

    /// Dead letters are those that never work. One of a message that killed three processes may be.
    fn judge_letters(&self, report: &mut SqlReport) {
        report.letters = self.letters.len() as u64;
        for (id, reason) in &self.letters {
            match fails_for_good(id) {
                true => {}
                false if reason == "killed" => {
                    *report.met.entry("dead letter killed".to_owned()).or_default() += 1
                }
                false => report.add(Rule::PhantomDeadLetter, format!("{id} was given up: {reason}")),
            }
        }
        for id in self.accepted.iter().filter(|id| fails_for_good(id)) {
            if !self.letters.contains_key(id) {
                report.add(
                    Rule::MissingDeadLetter,
                    format!("{id} never works, and is no dead letter"),
                );
            }
        }
    }

    /// What arrived was committed, what was committed arrived, and each event has one message id.
    fn judge_published(&self, report: &mut SqlReport) {
        let committed: BTreeSet<&str> = self.effects.iter().map(|effect| &*effect.nonce).collect();
        let mut ids: BTreeMap<&str, &str> = BTreeMap::new();
        let mut events: HashMap<&str, &str> = HashMap::new();
        for arrival in &self.arrivals {
            let (nonce, id) = (&*arrival.nonce, &*arrival.message_id);
            if *ids.entry(nonce).or_insert(id) != id || *events.entry(id).or_insert(nonce) != nonce {
                report.add(
                    Rule::Duplicate,
                    format!("event {nonce} is not told by its message id {id}"),
                );
            }
        }
        report.published = ids.len() as u64;
        report.again = (self.arrivals.len() - ids.len()) as u64;
        for nonce in ids.keys().filter(|nonce| !committed.contains(*nonce)) {
            report.add(
                Rule::OutboxGhost,
                format!("event {nonce} was published and never committed"),
            );
        }
        if report.has(Rule::NotQuiet) {
            return;
        }
        for nonce in committed.iter().filter(|nonce| !ids.contains_key(*nonce)) {
            report.add(
                Rule::OutboxMissing,
                format!("event {nonce} was committed and never published"),
            );
        }
    }

    /// The events of a key arrived in the order in which it was changed, those that came again left out.
    fn judge_order(&self, report: &mut SqlReport) {
        let mut seen = HashSet::new();
        let mut latest: HashMap<&str, u64> = HashMap::new();
        for arrival in self.arrivals.iter().filter(|arrival| seen.insert(&arrival.nonce)) {
            let before = latest.entry(&arrival.key).or_default();
            if arrival.number < *before {
                let what = format!(
                    "change {} of {} was published behind change {before}",
                    arrival.number, arrival.key
                );
                report.add(Rule::KeyReorder, what);
            }
            *before = arrival.number.max(*before);
        }
    }
}

/// Whether it came as a message, and not from a transaction without an inbox.
fn is_input(id: &str) -> bool {
    id.starts_with("i-")
}

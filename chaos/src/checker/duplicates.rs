//! What came twice, and what came from nowhere: [`Duplicates`].

use super::knowledge::{End, Knowledge};
use super::report::{Report, Rule};
use crate::history::{Commit, Event, GroupFacts, Handle, Line, Phase, Send, Stage};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Group, lane, partition.
type Lane = (String, String, u32);

/// Judges deliveries and what they cause. A position may come again only after a kill, and only if its end was not
/// stored before.
#[derive(Debug, Default)]
pub(super) struct Duplicates {
    /// In which incarnation a position was handled, and what it held.
    done: HashMap<Lane, BTreeMap<u64, (u32, String)>>,
    stored: HashMap<Lane, Commit>,
    /// How often a message was sent.
    copies: HashMap<(String, String), u64>,
    /// Where a message was delivered from: a delayed one may be there twice after a kill.
    arrivals: HashMap<(String, String), BTreeSet<(u32, u64)>>,
    /// The same as `copies` within one incarnation.
    copies_now: HashMap<(String, String), (u32, u64)>,
    /// What came again after an incarnation that drained.
    returned: HashMap<u32, HashSet<(Lane, u64)>>,
}

impl Duplicates {
    /// Knows from the start where each message lies: a copy may be moved behind its key before any group is given it.
    pub(super) fn of(lines: &[Line]) -> Self {
        let mut judge = Self::default();
        for line in lines {
            let Event::Handle(handle) = &line.event else {
                continue;
            };
            if handle.phase == Phase::Start && handle.lane == handle.topic {
                let of = (handle.topic.clone(), handle.id.clone());
                let places = judge.arrivals.entry(of).or_default();
                places.insert((handle.partition, handle.offset));
            }
        }
        judge
    }

    pub(super) fn observe(&mut self, line: &Line, known: &Knowledge, report: &mut Report) {
        match &line.event {
            Event::Commit(commit) if commit.stage == Stage::Stored => {
                let lane = (commit.group.clone(), commit.topic.clone(), commit.partition);
                self.stored.insert(lane, commit.clone());
            }
            Event::Handle(handle) if handle.phase == Phase::Start => {
                self.judge_origin(line, handle, known, report);
                self.judge_delivery(line, handle, known, report);
            }
            Event::Handle(handle) if handle.phase == Phase::Ok => {
                let done = self.done.entry(lane(handle)).or_default();
                done.insert(handle.offset, (line.n, handle.id.clone()));
            }
            Event::Send(send) => self.judge_copy(line, send, known, report),
            _ => {}
        }
    }

    fn judge_origin(&self, line: &Line, handle: &Handle, known: &Knowledge, report: &mut Report) {
        let who = || format!("{} was given {} of {}", handle.group, handle.id, place(handle));
        match known.find(&handle.topic, &handle.id) {
            None => report.add(Rule::Phantom, line.n, format!("{}, which nobody sent", who())),
            Some(sent) if sent.digest != handle.digest => {
                report.add(Rule::Phantom, line.n, format!("{} with other bytes", who()));
            }
            Some(_) => {}
        }
    }

    fn judge_delivery(&mut self, line: &Line, handle: &Handle, known: &Knowledge, report: &mut Report) {
        let mut again = |why: String| {
            let what = format!(
                "{} was given {} of {} again: {why}",
                handle.group,
                handle.id,
                place(handle)
            );
            report.add(Rule::Duplicate, line.n, what);
        };
        let lane = lane(handle);
        if let Some(stored) = self
            .stored
            .get(&lane)
            .filter(|stored| covers(stored, handle.offset))
        {
            return again(format!("{} and what is above it was stored", stored.watermark));
        }
        let done = self.done.get(&lane).and_then(|done| done.get(&handle.offset));
        match done.filter(|(_, id)| *id == handle.id) {
            Some((n, _)) if *n == line.n => again("no fault since it was handled".to_owned()),
            Some((n, _)) if known.ends.get(n) == Some(&End::Clean) => {
                // A drain that came to its deadline has given up some: so many, and no more.
                let returned = self.returned.entry(*n).or_default();
                returned.insert((lane, handle.offset));
                if returned.len() as u64 <= known.abandoned.get(n).copied().unwrap_or_default() {
                    return;
                }
                again(format!("incarnation {n} handled it and ended cleanly"));
            }
            _ => {}
        }
    }

    /// A message is sent once for each handling that causes it.
    fn judge_copy(&mut self, line: &Line, send: &Send, known: &Knowledge, report: &mut Report) {
        let of = (send.topic.clone(), send.id.clone());
        let copies = self.copies.entry(of.clone()).or_default();
        *copies += 1;
        let now = self.copies_now.entry(of).or_default();
        *now = (line.n, if now.0 == line.n { now.1 + 1 } else { 1 });
        let (copies, now) = (*copies, now.1);
        let Some(causes) = causes(send, known) else { return };
        let (found, most) = match causes {
            Causes::Handlings(handlings) => (copies, handlings),
            Causes::Arrivals => (now, self.arrivals(send, known)),
        };
        if found > most {
            let what = format!(
                "{} was sent to {} {found} times, and {most} handlings explain it",
                send.id, send.topic
            );
            report.add(Rule::Duplicate, line.n, what);
        }
    }

    /// How often a parked message is in the destination that it came from.
    fn arrivals(&self, send: &Send, known: &Knowledge) -> u64 {
        let facts = known.groups().iter().find(|facts| facts.retry() == send.topic);
        let of = (
            facts.map(|facts| facts.topic.clone()).unwrap_or_default(),
            send.id.clone(),
        );
        let seen = self.arrivals.get(&of).map_or(0, |places| places.len() as u64);
        seen.max(self.copies.get(&of).copied().unwrap_or(1))
    }
}

/// What explains that a message is sent more than once.
enum Causes {
    /// So many handlings.
    Handlings(u64),
    /// Copies of it that arrive, each once in a process.
    Arrivals,
}

/// What explains a copy; none for what is judged elsewhere.
fn causes(send: &Send, known: &Knowledge) -> Option<Causes> {
    let is_output = |facts: &&GroupFacts| facts.output.as_ref() == Some(&send.topic);
    if known.groups().iter().any(|facts| facts.retry() == send.topic) {
        return Some(Causes::Arrivals);
    }
    if known.groups().iter().any(|facts| facts.letters() == send.topic) {
        return None;
    }
    let Some(facts) = known.groups().iter().find(is_output) else {
        return Some(Causes::Handlings(1));
    };
    let input = send.id.strip_prefix('p').unwrap_or_default();
    let of = (facts.group.clone(), input.to_owned());
    Some(Causes::Handlings(
        known.handled.get(&of).copied().unwrap_or_default(),
    ))
}

fn covers(stored: &Commit, offset: u64) -> bool {
    let in_range = |range: &(u64, u64)| (range.0..range.1).contains(&offset);
    offset < stored.watermark || stored.finished.iter().any(in_range)
}

fn lane(handle: &Handle) -> Lane {
    (handle.group.clone(), handle.lane.clone(), handle.partition)
}

fn place(handle: &Handle) -> String {
    format!("{}/{} at {}", handle.lane, handle.partition, handle.offset)
}

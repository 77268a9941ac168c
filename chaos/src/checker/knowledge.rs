//! What is known of a run at a point of its history: [`Knowledge`].

use super::report::Report;
use crate::history::{Acked, Event, GroupFacts, Handle, Lifecycle, Line, Phase, Seen, Send, Settings};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A group and a message.
pub(super) type Of = (String, String);

/// What is known of a run at a point of its history.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    pub(super) settings: Option<Settings>,
    /// By destination, then by id.
    pub(super) sent: HashMap<String, HashMap<String, Sent>>,
    /// What each offset holds.
    pub(super) places: HashMap<(String, u32), BTreeMap<u64, String>>,
    /// How often a group handled a message successfully.
    pub(super) handled: HashMap<Of, u64>,
    /// What failed for good, and why.
    pub(super) failed: HashMap<Of, &'static str>,
    /// What a group has among the dead letters, as far as the broker says.
    pub(super) dead: HashSet<Of>,
    /// Power cuts, and the window before each in which acknowledged messages may be lost.
    pub(super) cuts: Vec<(u64, u64)>,
    /// When the incarnation that lives began, and when it could work.
    beats: Vec<u64>,
    /// When the last line was written.
    latest: u64,
    /// How each incarnation ended.
    pub(super) ends: HashMap<u32, End>,
    /// How many messages each incarnation that drained gave up at its deadline: these may come again.
    pub(super) abandoned: HashMap<u32, u64>,
    /// Whether the run came to its end.
    pub(super) quiet: Quiet,
    kills: u64,
    points: HashSet<String>,
}

/// A message of a destination.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) digest: u32,
    pub(super) acked: Vec<u64>,
}

/// How an incarnation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Killed,
    Clean,
}

/// Whether a run came to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Quiet {
    #[default]
    Unknown,
    Reached,
    Missed(String),
}

impl Knowledge {
    pub(super) fn observe(&mut self, line: &Line) {
        self.latest = self.latest.max(line.t);
        match &line.event {
            Event::Lifecycle(lifecycle) => self.live(line, lifecycle),
            Event::Send(send) => self.send(send),
            Event::Acked(acked) => self.ack(line.t, acked),
            Event::Handle(handle) => self.handle(handle),
            Event::DeadLetter(letter) if letter.seen == Seen::Written => {
                self.dead.insert((letter.group.clone(), letter.id.clone()));
            }
            Event::Fault(fault) => {
                self.kills += 1;
                self.points.extend(fault.point.clone());
                self.ends.insert(line.n, End::Killed);
                // Other threads go on for a moment after the one that writes of its own death.
                self.cut(self.latest);
            }
            Event::DeadLetter(_) | Event::Commit(_) | Event::Rss { .. } | Event::Sql(_) => {}
        }
    }

    fn live(&mut self, line: &Line, lifecycle: &Lifecycle) {
        match lifecycle {
            Lifecycle::Started(settings) => {
                self.settings = Some(settings.clone());
                self.beats = vec![line.t];
            }
            Lifecycle::Beat => self.beats.push(line.t),
            Lifecycle::Drained { problems, abandoned } if problems.is_empty() => {
                self.ends.insert(line.n, End::Clean);
                self.abandoned.insert(line.n, *abandoned);
            }
            Lifecycle::Quiet => self.quiet = Quiet::Reached,
            Lifecycle::Restless { reason } => self.quiet = Quiet::Missed(reason.clone()),
            _ => {}
        }
    }

    fn send(&mut self, send: &Send) {
        let fresh = Sent {
            digest: send.digest,
            acked: Vec::new(),
        };
        let topic = self.sent.entry(send.topic.clone()).or_default();
        topic.entry(send.id.clone()).or_insert(fresh);
    }

    fn ack(&mut self, t: u64, acked: &Acked) {
        let topic = self.sent.get_mut(&acked.topic);
        if let Some(sent) = topic.and_then(|topic| topic.get_mut(&acked.id)) {
            sent.acked.push(t);
        }
        self.place(&acked.topic, acked.partition, acked.offset, &acked.id);
    }

    fn place(&mut self, topic: &str, partition: u32, offset: u64, id: &str) {
        // A delayed message, and one that a planted bug never wrote, has no place.
        if offset != u64::MAX {
            let places = self.places.entry((topic.to_owned(), partition)).or_default();
            places.insert(offset, id.to_owned());
        }
    }

    fn handle(&mut self, handle: &Handle) {
        let of = (handle.group.clone(), handle.id.clone());
        match handle.phase {
            Phase::Start => self.place(&handle.lane, handle.partition, handle.offset, &handle.id),
            Phase::Ok => *self.handled.entry(of).or_default() += 1,
            Phase::Permanent => drop(self.failed.insert(of, "permanent")),
            Phase::Transient => {
                if self
                    .facts(&handle.group)
                    .is_some_and(|facts| handle.attempt >= facts.attempts)
                {
                    self.failed.insert(of, "exhausted");
                }
            }
            Phase::Dropped => {}
        }
    }

    /// After a power cut that may take acknowledged messages away, their offsets are given again.
    fn cut(&mut self, t: u64) {
        let Some(settings) = self.settings.as_ref().filter(|settings| settings.may_lose()) else {
            return;
        };
        let mut window = self.beats.iter().rev().take(settings.window_beats);
        self.cuts.push((window.next_back().copied().unwrap_or(t), t));
        self.places.clear();
    }

    pub(super) fn facts(&self, group: &str) -> Option<&GroupFacts> {
        let groups = self.settings.iter().flat_map(|settings| &settings.groups);
        groups.into_iter().find(|facts| facts.group == group)
    }

    pub(super) fn groups(&self) -> &[GroupFacts] {
        self.settings.as_ref().map_or(&[], |settings| &settings.groups)
    }

    pub(super) fn find(&self, topic: &str, id: &str) -> Option<&Sent> {
        self.sent.get(topic)?.get(id)
    }

    /// Whether the broker has promised to keep the message.
    pub(super) fn is_acked(&self, topic: &str, id: &str) -> bool {
        self.find(topic, id).is_some_and(|sent| !sent.acked.is_empty())
    }

    /// Whether every promise to keep the message was given so shortly before a power cut that it may be broken.
    pub(super) fn may_be_lost(&self, topic: &str, id: &str) -> bool {
        let in_window = |t: &u64| self.cuts.iter().any(|(from, to)| (from..=to).contains(&t));
        self.find(topic, id)
            .is_some_and(|sent| sent.acked.iter().all(in_window))
    }

    /// How long before a power cut it was acknowledged, in milliseconds.
    pub(super) fn age_at_cut(&self, topic: &str, id: &str) -> u64 {
        let acked = self
            .find(topic, id)
            .and_then(|sent| sent.acked.iter().max().copied());
        let next_cut = |t: u64| self.cuts.iter().map(|(_, cut)| *cut).find(|cut| *cut >= t);
        let age = acked.and_then(|t| Some(next_cut(t)? - t));
        age.unwrap_or_default() / 1_000_000
    }

    pub(super) fn is_handled(&self, group: &str, id: &str) -> bool {
        self.handled.contains_key(&(group.to_owned(), id.to_owned()))
    }

    /// Whether a group owes nothing more for a message in that lane.
    pub(super) fn is_finished(&self, facts: &GroupFacts, lane: &str, id: &str) -> bool {
        let output = |topic: &String| self.is_acked(topic, &GroupFacts::output_id(id));
        let handled = || self.is_handled(&facts.group, id) && facts.output.as_ref().is_none_or(output);
        let parked = || lane == facts.topic && self.is_acked(&facts.retry(), id);
        self.dead.contains(&(facts.group.clone(), id.to_owned())) || handled() || parked()
    }

    pub(super) fn count(self, report: &mut Report) {
        report.kills = self.kills;
        report.places = self.points.into_iter().collect();
        let acked = |sent: &&Sent| !sent.acked.is_empty();
        let topics: HashSet<_> = self
            .settings
            .iter()
            .flat_map(|settings| settings.groups.iter().map(|facts| facts.topic.clone()))
            .collect();
        let messages = self.sent.iter().filter(|(topic, _)| topics.contains(*topic));
        report.messages = messages
            .map(|(_, sent)| sent.values().filter(acked).count() as u64)
            .sum();
        report.handled = self.handled.values().sum();
        report.repeated = report.handled - self.handled.len() as u64;
    }
}

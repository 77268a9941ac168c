//! How often a process was killed while it handled a message: [`Deaths`].
//!
//! A message of which processes die three times, the last time while nothing else is handled, is a dead letter with the
//! reason `killed`. Here handlers kill nobody but by their places, and the campaign kills whatever is being handled. So
//! such a letter is in order if, and only if, the histories allow three such deaths of that very message.

use super::knowledge::Of;
use crate::history::{Event, Fault, GroupFacts, Handle, Lifecycle, Line, Phase, Seen, Send};
use std::collections::HashMap;

/// A handler that returned so shortly before the kill may have been about to: its last line is written before it does.
const RETURNING: u64 = 50_000_000;
/// What a dead letter says of a message that processes died of.
pub(super) const KILLED: &str = "killed";
/// So many deaths condemn.
const DEATHS: u32 = 3;

/// What is known of the deaths of each message in each group.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    /// The last handling of each message by the process that lives.
    now: HashMap<Of, Last>,
    /// Handlings of each call that have not ended.
    open: HashMap<u64, u32>,
    /// Whether the process that lives could have handled anything.
    ready: bool,
    tallies: HashMap<Of, Tally>,
    /// Processes that were killed so far while they could handle something.
    kills: u32,
    /// How many had been when a message was sent for the first time.
    sent: HashMap<(String, String), u32>,
}

#[derive(Debug)]
struct Last {
    call: u64,
    ended: Option<u64>,
    /// Something has followed that follows only a handler that has returned.
    over: bool,
}

/// The deaths of one message in one group.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    /// Its handler had begun and not ended.
    running: u32,
    /// It had ended, and nothing shows that it had returned.
    returning: u32,
    /// Processes that were killed after they had begun it.
    begun: u32,
    /// One of the first two, while nothing else was handled.
    alone: bool,
    /// How many processes had been killed when its dead letter was acknowledged.
    condemned: Option<u32>,
}

impl Deaths {
    pub(super) fn observe(&mut self, line: &Line, groups: &[GroupFacts]) {
        match &line.event {
            Event::Lifecycle(Lifecycle::Ready { .. }) => self.ready = true,
            Event::Lifecycle(Lifecycle::Started(_)) => {
                self.now.clear();
                self.open.clear();
                self.ready = false;
            }
            Event::Handle(handle) => self.handle(line.t, handle),
            Event::Send(send) => {
                let kills = self.kills;
                self.sent
                    .entry((send.topic.clone(), send.id.clone()))
                    .or_insert(kills);
                self.follow(send, groups);
            }
            Event::DeadLetter(letter) if letter.seen == Seen::Written && letter.reason == KILLED => {
                let tally = self.tallies.entry((letter.group.clone(), letter.id.clone()));
                tally.or_default().condemned.get_or_insert(self.kills);
            }
            Event::Fault(fault) => self.kill(line.t, fault),
            _ => {}
        }
    }

    fn handle(&mut self, t: u64, handle: &Handle) {
        self.ready = true;
        let of = (handle.group.clone(), handle.id.clone());
        let open = self.open.entry(handle.call).or_default();
        let ended = match handle.phase {
            Phase::Start => {
                *open += 1;
                None
            }
            _ => {
                *open = open.saturating_sub(1);
                Some(t)
            }
        };
        let (call, over) = (handle.call, false);
        self.now.insert(of, Last { call, ended, over });
    }

    /// What is sent because a handler has returned: its output, its dead letter, the copy that waits.
    fn follow(&mut self, send: &Send, groups: &[GroupFacts]) {
        for facts in groups {
            let follows = facts.retry() == send.topic || send.group.as_ref() == Some(&facts.group);
            let input = match facts.output.as_ref() == Some(&send.topic) {
                true => send.id.strip_prefix('p'),
                false => follows.then_some(&*send.id),
            };
            let Some(input) = input else { continue };
            let last = self.now.get_mut(&(facts.group.clone(), input.to_owned()));
            if let Some(last) = last.filter(|last| last.ended.is_some()) {
                last.over = true;
            }
        }
    }

    fn kill(&mut self, t: u64, fault: &Fault) {
        if !self.ready {
            return;
        }
        self.kills += 1;
        let is_open =
            |call: u64| fault.call == Some(call) || self.open.get(&call).is_some_and(|open| *open > 0);
        let running = self
            .open
            .iter()
            .filter(|(_, open)| **open > 0)
            .map(|(call, _)| *call);
        let mut running: Vec<u64> = running.chain(fault.call).collect();
        running.sort_unstable();
        running.dedup();
        let mut sizes: HashMap<u64, u32> = HashMap::new();
        self.now
            .values()
            .for_each(|last| *sizes.entry(last.call).or_default() += 1);
        for (of, last) in self.now.drain() {
            let tally = self.tallies.entry(of).or_default();
            tally.begun += 1;
            let is_running = is_open(last.call);
            let is_returning = !last.over
                && last
                    .ended
                    .is_some_and(|ended| t.saturating_sub(ended) <= RETURNING);
            let beside = running.iter().any(|call| *call != last.call) || sizes.get(&last.call) != Some(&1);
            tally.running += u32::from(is_running);
            tally.returning += u32::from(!is_running && is_returning);
            tally.alone |= (is_running || is_returning) && !beside;
        }
        self.open.clear();
        self.ready = false;
    }

    /// The deaths of that message in that group, for a reader.
    pub(super) fn told(&self, of: &Of) -> String {
        let tally = self.tallies.get(of).copied().unwrap_or_default();
        let Tally {
            running, returning, ..
        } = tally;
        format!("{running} times running and {returning} times about to return")
    }

    /// Why processes cannot have died of that message often enough; none if they may have: at least once it is certain
    /// that its handler ran, and of the other deaths nothing shows that it did not.
    pub(super) fn acquit(&self, facts: &GroupFacts, id: &str) -> Option<String> {
        let of = (facts.group.clone(), id.to_owned());
        let tally = self.tallies.get(&of).copied().unwrap_or_default();
        let sent = self.sent.get(&(facts.topic.clone(), id.to_owned()));
        let until = tally.condemned.unwrap_or(self.kills);
        let lived = until.saturating_sub(sent.copied().unwrap_or_default());
        // A handler that was called has not written so yet.
        let about_to = lived.saturating_sub(tally.begun);
        let alone = tally.alone || about_to > 0;
        let may = tally.running > 0 && alone && tally.running + tally.returning + about_to >= DEATHS;
        (!may).then(|| format!("it says \"{KILLED}\", and the histories do not allow {DEATHS} deaths of it, the last alone ({tally:?})"))
    }
}

//! Dead letters, as the log has them at the end: [`Letters`].

use super::deaths::{Deaths, KILLED};
use super::knowledge::{Knowledge, Of};
use super::report::{Report, Rule};
use crate::history::{DeadLetter, Event, Line, Seen};
use std::collections::HashSet;

/// Judges each dead letter of the log.
#[derive(Debug, Default)]
pub(super) struct Letters {
    found: HashSet<Of>,
    letters: Vec<(u32, DeadLetter)>,
}

impl Letters {
    pub(super) fn observe(&mut self, line: &Line) {
        let Event::DeadLetter(letter) = &line.event else {
            return;
        };
        if letter.seen == Seen::InLog {
            self.found.insert((letter.group.clone(), letter.id.clone()));
            self.letters.push((line.n, letter.clone()));
        }
    }

    /// Which groups have which messages among them.
    pub(super) fn found(&self) -> &HashSet<Of> {
        &self.found
    }

    pub(super) fn judge(&self, known: &Knowledge, deaths: &Deaths, report: &mut Report) {
        report.letters = self.letters.len() as u64;
        for (n, letter) in &self.letters {
            if letter.reason == KILLED {
                let said = deaths.told(&(letter.group.clone(), letter.id.clone()));
                let what = format!("{} of {}, {said}", letter.id, letter.group);
                report.condemned.push(what);
            }
            if let Some(flaw) = flaw(letter, known, deaths) {
                let what = format!("{} has {} of {}: {flaw}", letter.group, letter.id, letter.topic);
                report.add(Rule::PhantomDeadLetter, *n, what);
            }
        }
    }
}

/// What is wrong with a letter.
fn flaw(letter: &DeadLetter, known: &Knowledge, deaths: &Deaths) -> Option<String> {
    let of = (letter.group.clone(), letter.id.clone());
    let Some(facts) = known.facts(&letter.group) else {
        return Some("it names no group".to_owned());
    };
    let Some(sent) = known.find(&facts.topic, &letter.id) else {
        return Some("nobody sent it".to_owned());
    };
    if sent.digest != letter.digest {
        return Some("its key or payload is not what was sent".to_owned());
    }
    let reason = known.failed.get(&of);
    match reason {
        _ if letter.reason == KILLED => {
            if let Some(flaw) = deaths.acquit(facts, &letter.id) {
                return Some(flaw);
            }
        }
        None => return Some("no handler has failed on it for good".to_owned()),
        Some(reason) if letter.reason != *reason => {
            return Some(format!("it says \"{}\", and it was {reason}", letter.reason));
        }
        Some(_) => {}
    }
    if letter.error_bytes == 0 || letter.attempts == 0 {
        return Some("its diagnosis has no error or no attempts".to_owned());
    }
    let there = known.places.get(&(letter.topic.clone(), letter.partition));
    let held = there.and_then(|places| places.get(&letter.offset));
    // A power cut may have given the offset to another message; then nothing is known of it.
    match held {
        Some(held) if *held != letter.id && known.cuts.is_empty() => {
            Some(format!("it names a place that holds {held}"))
        }
        _ if letter.topic != facts.topic => Some("it names another destination".to_owned()),
        _ => None,
    }
}

//! Positions that are ahead of what they stand for: [`CommitAhead`].

use super::knowledge::Knowledge;
use super::report::{Report, Rule};
use crate::history::{Commit, Event, GroupFacts, Line};
use std::collections::HashMap;

/// Group, lane, partition.
type Lane = (String, String, u32);

/// Judges each reported and each stored position at the moment at which it was.
#[derive(Debug, Default)]
pub(super) struct CommitAhead {
    /// Up to where a lane was judged, and with how many power cuts behind it.
    judged: HashMap<Lane, (u64, usize)>,
}

impl CommitAhead {
    pub(super) fn observe(&mut self, line: &Line, known: &Knowledge, report: &mut Report) {
        let Event::Commit(commit) = &line.event else {
            return;
        };
        let Some(facts) = known.facts(&commit.group) else {
            return;
        };
        let lane = (commit.group.clone(), commit.topic.clone(), commit.partition);
        let cuts = known.cuts.len();
        let from = self
            .judged
            .get(&lane)
            .filter(|(_, then)| *then == cuts)
            .map_or(0, |(from, _)| *from);
        let ranges = std::iter::once((from, commit.watermark)).chain(commit.finished.iter().copied());
        for (start, end) in ranges.filter(|(start, end)| start < end) {
            judge(line, commit, facts, (start, end), known, report);
        }
        self.judged.insert(lane, (from.max(commit.watermark), cuts));
    }
}

fn judge(
    line: &Line,
    commit: &Commit,
    facts: &GroupFacts,
    (start, end): (u64, u64),
    known: &Knowledge,
    report: &mut Report,
) {
    let place = (commit.topic.clone(), commit.partition);
    let Some(places) = known.places.get(&place) else {
        return;
    };
    for (offset, id) in places.range(start..end) {
        if known.is_finished(facts, &commit.topic, id) {
            continue;
        }
        let Commit {
            group,
            topic,
            partition,
            watermark,
            stage,
            ..
        } = commit;
        let what = format!(
            "{group} {stage:?} {watermark} in {topic}/{partition}, and {id} at {offset} was not finished"
        );
        report.add(Rule::CommitAhead, line.n, what);
    }
}

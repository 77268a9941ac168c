//! What must have come of every message when everything is quiet.

use super::knowledge::{Knowledge, Of, Quiet};
use super::report::{Report, Rule};
use crate::history::GroupFacts;
use std::collections::HashSet;

/// Judges each acknowledged message for each group that reads it.
pub(super) fn judge(known: &Knowledge, letters: &HashSet<Of>, report: &mut Report) {
    let last = known.ends.keys().max().copied().unwrap_or_default();
    match &known.quiet {
        Quiet::Reached => {}
        Quiet::Unknown => {
            return report.add(
                Rule::NotQuiet,
                last,
                "the history ends before it is quiet".to_owned(),
            );
        }
        // What was not handled by then may only be late.
        Quiet::Missed(reason) => return report.add(Rule::NotQuiet, last, reason.clone()),
    }
    for facts in known.groups() {
        let mut ids: Vec<_> = known
            .sent
            .get(&facts.topic)
            .into_iter()
            .flat_map(|topic| topic.keys())
            .collect();
        ids.sort_unstable();
        for id in ids {
            judge_message(known, letters, facts, id, report);
        }
    }
}

fn judge_message(
    known: &Knowledge,
    letters: &HashSet<Of>,
    facts: &GroupFacts,
    id: &str,
    report: &mut Report,
) {
    let of = (facts.group.clone(), id.to_owned());
    let settled = known.handled.contains_key(&of) || letters.contains(&of);
    if settled || !known.is_acked(&facts.topic, id) {
        return;
    }
    if known.may_be_lost(&facts.topic, id) {
        report.excused += 1;
        report.excused_age_ms = report.excused_age_ms.max(known.age_at_cut(&facts.topic, id));
        return;
    }
    let last = known.ends.keys().max().copied().unwrap_or_default();
    let (group, topic) = (&facts.group, &facts.topic);
    match known.failed.get(&of) {
        Some(reason) => {
            let what = format!("{group} failed on {id} of {topic} ({reason}), and there is no dead letter");
            report.add(Rule::MissingDeadLetter, last, what);
        }
        None => {
            let what = format!(
                "{id} of {topic} was acknowledged, and {group} has neither handled nor dead-lettered it"
            );
            report.add(Rule::LostWrite, last, what);
        }
    }
}

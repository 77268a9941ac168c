//! The checker: it reads the histories of a run and says by name what is wrong.
//!
//! Nothing it believes comes from the code under attack but what that code promised: acknowledgements and stored
//! positions. What a message is, who must handle it and how its handlings ended was written down around that code.

mod deaths;
mod duplicates;
mod ends;
mod knowledge;
mod letters;
mod limits;
mod order;
mod progress;
mod report;

pub use report::{Report, Rule, Violation};

use crate::history::{Event, Lifecycle, Line};
use deaths::Deaths;
use duplicates::Duplicates;
use knowledge::Knowledge;
use letters::Letters;
use limits::Limits;
use order::Order;
use progress::CommitAhead;

/// Reads the lines of one run, in the order of [`read_all`](crate::history::read_all), and judges.
pub fn check(lines: &[Line]) -> Report {
    let mut known = Knowledge::default();
    let mut report = Report::default();
    let mut duplicates = Duplicates::of(lines);
    let mut order = Order::default();
    let mut ahead = CommitAhead::default();
    let mut letters = Letters::default();
    let mut deaths = Deaths::default();
    let mut limits = Limits::default();
    for line in lines {
        if let Event::Lifecycle(Lifecycle::Started(settings)) = &line.event {
            report.seed = settings.seed;
        }
        // Judged by what was known before the line, except for positions, which the line itself may reveal.
        duplicates.observe(line, &known, &mut report);
        order.observe(line, &known, &mut report);
        limits.observe(line, &known, &mut report);
        known.observe(line);
        ahead.observe(line, &known, &mut report);
        letters.observe(line);
        deaths.observe(line, known.groups());
    }
    ends::judge(&known, letters.found(), &mut report);
    letters.judge(&known, &deaths, &mut report);
    known.count(&mut report);
    report
}

#[cfg(test)]
mod tests;

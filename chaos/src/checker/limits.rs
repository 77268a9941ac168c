//! Time and memory: [`Limits`].

use super::knowledge::Knowledge;
use super::report::{Report, Rule};
use crate::history::{Event, Lifecycle, Line};

/// Judges drains and resident memory.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// The incarnation, when its drain began and how long it may take in milliseconds.
    draining: Option<(u32, u64, u64)>,
    /// The incarnation, its base, and whether it was reported.
    base: Option<(u32, u64, bool)>,
}

impl Limits {
    pub(super) fn observe(&mut self, line: &Line, known: &Knowledge, report: &mut Report) {
        let settings = known.settings.as_ref();
        match &line.event {
            Event::Lifecycle(Lifecycle::Ready { rss }) => self.base = Some((line.n, *rss, false)),
            Event::Lifecycle(Lifecycle::Draining { deadline_ms }) => {
                self.draining = Some((line.n, line.t, *deadline_ms));
            }
            Event::Lifecycle(Lifecycle::Drained { .. }) => {
                self.judge_drain(line, settings.map_or(0, |settings| settings.grace_ms), report);
            }
            // Killed while it drained: that was too long only if the time was over.
            Event::Fault(_) => {
                self.judge_drain(line, settings.map_or(0, |settings| settings.grace_ms), report);
            }
            Event::Rss { bytes } => self.judge_rss(
                line,
                *bytes,
                settings.map_or(0, |settings| settings.rss_budget),
                report,
            ),
            _ => {}
        }
    }

    fn judge_drain(&mut self, line: &Line, grace_ms: u64, report: &mut Report) {
        let Some((_, began, deadline_ms)) = self.draining.take().filter(|(n, _, _)| *n == line.n) else {
            return;
        };
        let took_ms = line.t.saturating_sub(began) / 1_000_000;
        if took_ms > deadline_ms + grace_ms {
            let what = format!("a drain took {took_ms} ms, its deadline was {deadline_ms} ms");
            report.add(Rule::ShutdownLate, line.n, what);
        }
    }

    fn judge_rss(&mut self, line: &Line, bytes: u64, budget: u64, report: &mut Report) {
        let Some((n, base, reported)) = &mut self.base else {
            return;
        };
        if *n == line.n && !*reported && bytes > *base + budget {
            *reported = true;
            let mib = |bytes: u64| bytes >> 20;
            let what = format!(
                "{} MiB resident, base {} MiB and buffers {} MiB",
                mib(bytes),
                mib(*base),
                mib(budget)
            );
            report.add(Rule::RssOver, line.n, what);
        }
    }
}

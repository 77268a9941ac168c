//! How a load went.

use super::LoadOptions;
use super::expect::{Planned, Told};
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

const MISTAKES_SHOWN: usize = 10;

/// Whether the shop did what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every order was accepted and ended as its events say.
    AsExpected,
    /// Some were not.
    Wrong,
}

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) resent: u64,
    lost: u64,
    completed: u64,
    rejected: u64,
    declined: u64,
    dead_lettered: u64,
    mistakes: Vec<String>,
    accept_us: Vec<u64>,
    end_ms: Vec<u64>,
}

impl Tally {
    pub(super) fn accept(&mut self, after: Duration) {
        self.accepted += 1;
        self.accept_us
            .push(u64::try_from(after.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn refuse(&mut self, key: &str, status: u16, said: &str) {
        self.refused += 1;
        let said: String = said.chars().take(300).collect();
        self.mistake(key, &format!("it was refused with {status}: {said}"));
    }

    pub(super) fn lose(&mut self, key: &str, how: &str) {
        self.lost += 1;
        self.mistake(key, how);
    }

    pub(super) fn end(&mut self, told: &Told, planned: &Planned) {
        match told.status.as_str() {
            "completed" => self.completed += 1,
            "rejected" => self.rejected += 1,
            "declined" => self.declined += 1,
            _ => self.dead_lettered += 1,
        }
        self.end_ms.push(told.took_ms());
        if let Some(mistake) = told.mistake(planned) {
            self.mistake(&planned.key, &mistake);
        }
    }

    pub(super) fn mistake(&mut self, key: &str, what: &str) {
        self.mistakes.push(format!("order {key}: {what}"));
    }

    /// How many have ended, or are lost.
    pub(super) fn ended(&self) -> u64 {
        self.well_known() + self.lost
    }

    fn well_known(&self) -> u64 {
        self.completed + self.rejected + self.declined + self.dead_lettered
    }
}

/// The tally and how long it took.
#[derive(Debug)]
pub(super) struct Report {
    tally: Tally,
    options: LoadOptions,
    took: Duration,
}

impl Report {
    pub(super) fn new(mut tally: Tally, options: LoadOptions, took: Duration) -> Self {
        tally.accept_us.sort_unstable();
        tally.end_ms.sort_unstable();
        Self { tally, options, took }
    }

    fn verdict(&self) -> Verdict {
        let tally = &self.tally;
        let adds_up = tally.accepted == tally.well_known() && tally.accepted == self.options.orders;
        if adds_up && tally.mistakes.is_empty() {
            Verdict::AsExpected
        } else {
            Verdict::Wrong
        }
    }

    /// Prints it to stdout.
    pub(super) fn print(&self) -> Verdict {
        // A closed stdout changes nothing about the verdict.
        let _ = write!(std::io::stdout(), "{}", self.text());
        self.verdict()
    }

    fn text(&self) -> String {
        let tally = &self.tally;
        let seconds = self.took.as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "nobody counts so many orders")]
        let rate = tally.well_known() as f64 / seconds.max(0.001);
        let mut text = String::new();
        let mut line = |line: std::fmt::Arguments<'_>| {
            writeln!(text, "{line}").expect("writing to a String cannot fail");
        };
        line(format_args!(
            "{} orders of {} customers in {seconds:.1} s: {rate:.0} orders/s from first byte to end",
            self.options.orders, self.options.keys
        ));
        let ms = |us: u64| format!("{}.{} ms", us / 1_000, us % 1_000 / 100);
        let (accept, end) = (&tally.accept_us, &tally.end_ms);
        line(format_args!(
            "accept        p50 {}   p99 {}   ({} sent again)",
            ms(quantile(accept, 50)),
            ms(quantile(accept, 99)),
            tally.resent
        ));
        line(format_args!(
            "end to end    p50 {} ms   p99 {} ms",
            quantile(end, 50),
            quantile(end, 99)
        ));
        let (rejected, sum) = (tally.rejected + tally.declined, tally.well_known());
        line(format_args!(
            "accepted {} {} completed {} + rejected {rejected} (short stock {}, declined {}) + dead-lettered {}",
            tally.accepted,
            if tally.accepted == sum { "=" } else { "IS NOT" },
            tally.completed,
            tally.rejected,
            tally.declined,
            tally.dead_lettered
        ));
        for mistake in tally.mistakes.iter().take(MISTAKES_SHOWN) {
            line(format_args!("wrong: {mistake}"));
        }
        if tally.mistakes.len() > MISTAKES_SHOWN {
            line(format_args!(
                "wrong: and {} more",
                tally.mistakes.len() - MISTAKES_SHOWN
            ));
        }
        text
    }
}

/// The smallest value that so many percent do not exceed.
fn quantile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(
            (
                quantile(&hundred, 50),
                quantile(&hundred, 99),
                quantile(&[7], 99),
                quantile(&[], 50)
            ),
            (50, 99, 7, 0)
        );
    }

    #[test]
    fn a_tally_that_does_not_add_up_is_wrong() {
        let options = LoadOptions {
            orders: 2,
            ..LoadOptions::default()
        };
        let report = |tally| Report::new(tally, options.clone(), Duration::from_secs(1));
        let good = Tally {
            accepted: 2,
            completed: 1,
            declined: 1,
            ..Tally::default()
        };
        assert_eq!(report(good).verdict(), Verdict::AsExpected);
        let lost = Tally {
            accepted: 2,
            completed: 1,
            lost: 1,
            ..Tally::default()
        };
        assert_eq!(report(lost).verdict(), Verdict::Wrong);
        let refused = Tally {
            accepted: 1,
            completed: 1,
            refused: 1,
            ..Tally::default()
        };
        assert_eq!(report(refused).verdict(), Verdict::Wrong);
        let contradicted = Tally {
            accepted: 2,
            completed: 2,
            mistakes: vec!["x".to_owned()],
            ..Tally::default()
        };
        assert_eq!(report(contradicted).verdict(), Verdict::Wrong);
    }
}

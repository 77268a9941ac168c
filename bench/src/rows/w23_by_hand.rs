//! W23's bound: how much of the growth is nobody's fault.

use std::path::Path;

use crate::arms::files::{Files, Pace};
use crate::error::BenchError;
use crate::measure::Figure;
use crate::pairs::Pairs;
use crate::report::Line;
use crate::rows::w23::Bench;
use crate::verdict::{Target, Unit};

/// A file that is written after more than a tick of the kernel's clock, up to 4 ms, has its time of change noted in its
/// inode; within a tick it costs nothing. A loop by hand that takes 1 µs a message comes back to each of 1,000 files
/// within a tick, and a broker that takes 2 µs does not.
const RARELY: usize = 4;
const MANY: usize = 1_000;

/// The same work by hand, over as many files as the large broker uses, and over one.
pub(super) struct ByHand {
    many: Files,
    one: Files,
    /// So many that each is left alone for longer than a tick.
    rarely: Option<Files>,
}

impl ByHand {
    /// With so many empty files; `published` of them are published to in turn.
    pub(super) fn new(directory: &Path, files: usize, published: usize) -> Result<Self, BenchError> {
        let create = |name: &str, count| {
            let path = directory.join(name);
            std::fs::create_dir(&path).map_err(BenchError::file(&path))?;
            Files::create(&path, count)
        };
        Ok(Self {
            many: create("many", files)?,
            one: create("one", 1)?,
            rarely: (published >= MANY)
                .then(|| create("rarely", RARELY * published))
                .transpose()?,
        })
    }

    /// What the broker adds to it, and how it grows itself.
    pub(super) fn lines(
        &self,
        what: &str,
        pace: Pace,
        rounds: usize,
        large: &Bench,
    ) -> Result<Vec<Line>, BenchError> {
        let many = || self.many.run(pace, large.messages);
        let beside = Pairs::run(rounds, || large.run(pace), many)?;
        let growth = Pairs::run(rounds, many, || self.one.run(pace, large.messages))?;
        let line = |what: String, beside: &str, pairs: &Pairs| {
            let ratio = (Unit::Ratio, pairs.ratio(Figure::CpuNanoseconds));
            Line::new(what, beside, ratio, Target::None)
        };
        let ours = line(what.to_owned(), "the same by hand over as many files", &beside)
            .with("ours", Unit::Nanoseconds, beside.ours(Figure::CpuNanoseconds))
            .with(
                "by hand",
                Unit::Nanoseconds,
                beside.reference(Figure::CpuNanoseconds),
            );
        let bound = |what: String, growth: &Pairs| {
            line(what, "by hand over one file", growth)
                .with("many", Unit::Nanoseconds, growth.ours(Figure::CpuNanoseconds))
                .with("one", Unit::Nanoseconds, growth.reference(Figure::CpuNanoseconds))
        };
        let mut lines = vec![ours, bound(format!("bound: {what}, by hand"), &growth)];
        if let Some(rarely) = self.rarely.as_ref().filter(|_| matches!(pace, Pace::Publish)) {
            let rarely = || rarely.run(pace, large.messages);
            let growth = Pairs::run(rounds, rarely, || self.one.run(pace, large.messages))?;
            let what = format!("bound: {what}, by hand, each file after more than a tick of the clock");
            lines.push(bound(what, &growth));
        }
        Ok(lines)
    }
}

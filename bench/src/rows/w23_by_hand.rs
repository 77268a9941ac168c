//! W23's bound: how much of the growth is nobody's fault.

use std::path::Path;

use crate::arms::files::{Files, Pace};
use crate::error::BenchError;
use crate::measure::Figure;
use crate::pairs::Pairs;
use crate::report::Line;
use crate::rows::w23::Bench;
use crate::verdict::{Target, Unit};

/// The same work by hand, over as many files as the large broker uses, and over one.
pub(super) struct ByHand {
    many: Files,
    one: Files,
}

impl ByHand {
    /// With so many empty files.
    pub(super) fn new(directory: &Path, files: usize) -> Result<Self, BenchError> {
        let create = |name: &str, count| {
            let path = directory.join(name);
            std::fs::create_dir(&path).map_err(BenchError::file(&path))?;
            Files::create(&path, count)
        };
        Ok(Self {
            many: create("many", files)?,
            one: create("one", 1)?,
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
        let bound = line(
            format!("bound: {what}, by hand"),
            "by hand over one file",
            &growth,
        )
        .with("many", Unit::Nanoseconds, growth.ours(Figure::CpuNanoseconds))
        .with("one", Unit::Nanoseconds, growth.reference(Figure::CpuNanoseconds));
        Ok(vec![ours, bound])
    }
}

//! Lines of the table about pairs of arms.

use crate::measure::Figure;
use crate::pairs::Pairs;
use crate::report::Line;
use crate::verdict::{Target, Unit};

/// Processor time beside a reference: less is better.
pub(super) fn cost(what: &str, reference: &str, pairs: &Pairs, target: Target) -> Line {
    let ratio = (Unit::Ratio, pairs.ratio(Figure::CpuNanoseconds));
    context(
        Line::new(format!("{what}, processor time"), reference, ratio, target),
        pairs,
    )
}

/// Messages a second of processor time beside a reference: more is better.
pub(super) fn speed(what: &str, reference: &str, pairs: &Pairs, target: Target) -> Line {
    let ratio = (Unit::Ratio, pairs.ratio(Figure::PerCpuSecond));
    context(
        Line::new(format!("{what}, per processor second"), reference, ratio, target),
        pairs,
    )
}

/// Messages a second of wall time beside a reference: more is better.
pub(super) fn throughput(what: &str, reference: &str, pairs: &Pairs, target: Target) -> Line {
    let ratio = (Unit::Ratio, pairs.ratio(Figure::PerSecond));
    context(
        Line::new(format!("{what}, per second"), reference, ratio, target),
        pairs,
    )
}

/// Wall time a message beside a reference: less is better.
pub(super) fn time(what: &str, reference: &str, pairs: &Pairs, target: Target) -> Line {
    let ratio = (Unit::Ratio, pairs.ratio(Figure::WallNanoseconds));
    context(
        Line::new(format!("{what}, time"), reference, ratio, target),
        pairs,
    )
}

fn context(line: Line, pairs: &Pairs) -> Line {
    let million = |spread: crate::pairs::Spread| spread.scaled(1e-3);
    line.with(
        "ours",
        Unit::CpuSeconds,
        million(pairs.ours(Figure::CpuNanoseconds)),
    )
    .with(
        "theirs",
        Unit::CpuSeconds,
        million(pairs.reference(Figure::CpuNanoseconds)),
    )
    .with("ours", Unit::PerSecond, pairs.ours(Figure::PerSecond))
    .with("theirs", Unit::PerSecond, pairs.reference(Figure::PerSecond))
}

//! A figure against its target.

use crate::pairs::Spread;

/// What `BENCH` asks of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// Context: nothing is asked of it.
    None,
}

/// Whether a figure reaches its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The median does.
    Holds,
    /// The median does not.
    Loses,
    /// Nothing is asked.
    Context,
}

impl Target {
    /// The median decides; its range stands beside it in the table.
    pub(crate) fn judge(self, found: Spread) -> Verdict {
        let holds = match self {
            Target::None => return Verdict::Context,
            Target::AtLeast(limit) => found.median >= limit,
            Target::AtMost(limit) => found.median <= limit,
        };
        if holds { Verdict::Holds } else { Verdict::Loses }
    }
}

impl Verdict {
    /// The word in the table and in the results.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Verdict::Holds => "holds",
            Verdict::Loses => "LOSES",
            Verdict::Context => "",
        }
    }
}

/// What a figure counts, which decides how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Ours divided by the reference.
    Ratio,
    PerSecond,
    /// Processor seconds of a million messages.
    CpuSeconds,
    Nanoseconds,
    Microseconds,
    Milliseconds,
    Megabytes,
    Kibibytes,
    /// Allocations per message.
    Allocations,
    Count,
}

impl Unit {
    /// A value as a person reads it.
    pub(crate) fn write(self, value: f64) -> String {
        match self {
            Unit::Ratio => format!("{value:.3}x"),
            Unit::PerSecond if value >= 1e6 => format!("{:.2} M/s", value / 1e6),
            Unit::PerSecond if value >= 1e4 => format!("{:.1} k/s", value / 1e3),
            Unit::PerSecond => format!("{value:.0} /s"),
            Unit::CpuSeconds => format!("{value:.3} CPU-s a million"),
            Unit::Nanoseconds => format!("{value:.1} ns"),
            Unit::Microseconds => format!("{value:.1} µs"),
            Unit::Milliseconds => format!("{value:.1} ms"),
            Unit::Megabytes => format!("{value:.1} MB"),
            Unit::Kibibytes => format!("{value:.2} KiB"),
            Unit::Allocations => format!("{value:.4}"),
            Unit::Count => format!("{value:.0}"),
        }
    }

    /// The name in the results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Unit::Ratio => "ratio",
            Unit::PerSecond => "messages_per_second",
            Unit::CpuSeconds => "cpu_seconds_per_million",
            Unit::Nanoseconds => "ns_per_message",
            Unit::Microseconds => "us",
            Unit::Milliseconds => "ms",
            Unit::Megabytes => "MB",
            Unit::Kibibytes => "KiB",
            Unit::Allocations => "allocations_per_message",
            Unit::Count => "count",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_what_holds_or_loses() {
        let found = Spread {
            median: 0.9,
            low: 0.5,
            high: 1.5,
        };
        for (target, expected) in [
            (Target::AtLeast(0.85), Verdict::Holds),
            (Target::AtLeast(0.95), Verdict::Loses),
            (Target::AtMost(0.9), Verdict::Holds),
            (Target::AtMost(0.8), Verdict::Loses),
            (Target::None, Verdict::Context),
        ] {
            assert_eq!(target.judge(found), expected, "{target:?}");
        }
    }

    #[test]
    fn values_are_written_with_their_unit() {
        for (unit, value, expected) in [
            (Unit::Ratio, 1.1, "1.100x"),
            (Unit::PerSecond, 2_480_000.0, "2.48 M/s"),
            (Unit::PerSecond, 16_328.0, "16.3 k/s"),
            (Unit::PerSecond, 190.0, "190 /s"),
            (Unit::Nanoseconds, 65.04, "65.0 ns"),
            (Unit::Allocations, 0.0021, "0.0021"),
        ] {
            assert_eq!(unit.write(value), expected);
        }
    }
}

//! Pairs of arms, run as A B B A, and what they say: the median of the paired ratios with its range.

use crate::error::BenchError;
use crate::measure::{Figure, Sample};

/// A median with its range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// The same spread in another unit.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        Self {
            median: self.median * factor,
            low: self.low * factor,
            high: self.high * factor,
        }
    }

    /// The same spread, farther up or down.
    pub(crate) fn shifted(self, by: f64) -> Self {
        Self {
            median: self.median + by,
            low: self.low + by,
            high: self.high + by,
        }
    }

    /// The spread of some values; all zero when there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or_default();
        let last = values.len().saturating_sub(1);
        Self {
            // Of an even number the mean of the middle two.
            median: (at(last / 2) + at(last.div_ceil(2))) / 2.0,
            low: at(0),
            high: at(last),
        }
    }
}

/// What A B B A gave: both runs of each arm, joined.
#[derive(Debug, Clone, Copy)]
struct Pair {
    ours: Sample,
    reference: Sample,
}

/// The pairs of one comparison.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pairs {
    pairs: Vec<Pair>,
}

impl Pairs {
    /// Runs both arms in the order A B B A, so often, after one uncounted run of each: what drifts during a pair hits
    /// both arms alike.
    pub(crate) fn run(
        rounds: usize,
        mut ours: impl FnMut() -> Result<Sample, BenchError>,
        mut reference: impl FnMut() -> Result<Sample, BenchError>,
    ) -> Result<Self, BenchError> {
        ours()?;
        reference()?;
        Self::of_processes(rounds, ours, reference)
    }

    /// The same without the uncounted runs: each run of these arms is a process of its own, with its own warm-up.
    pub(crate) fn of_processes(
        rounds: usize,
        mut ours: impl FnMut() -> Result<Sample, BenchError>,
        mut reference: impl FnMut() -> Result<Sample, BenchError>,
    ) -> Result<Self, BenchError> {
        let mut pairs = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            let first = ours()?;
            let between = reference()?.joined(&reference()?);
            pairs.push(Pair {
                ours: first.joined(&ours()?),
                reference: between,
            });
        }
        Ok(Self { pairs })
    }

    /// Ours divided by the reference, pair by pair.
    pub(crate) fn ratio(&self, figure: Figure) -> Spread {
        Spread::of(
            self.pairs
                .iter()
                .map(|pair| pair.ours.figure(figure) / pair.reference.figure(figure)),
        )
    }

    /// Ours alone.
    pub(crate) fn ours(&self, figure: Figure) -> Spread {
        Spread::of(self.pairs.iter().map(|pair| pair.ours.figure(figure)))
    }

    /// The reference alone.
    pub(crate) fn reference(&self, figure: Figure) -> Spread {
        Spread::of(self.pairs.iter().map(|pair| pair.reference.figure(figure)))
    }

    /// What ours takes more than the reference, pair by pair.
    pub(crate) fn difference(&self, figure: Figure) -> Spread {
        Spread::of(
            self.pairs
                .iter()
                .map(|pair| pair.ours.figure(figure) - pair.reference.figure(figure)),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use super::*;

    fn sample(millis: u64) -> Sample {
        Sample {
            messages: 1,
            wall: Duration::from_millis(millis),
            cpu: Duration::from_millis(millis),
        }
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        for (values, expected) in [
            (vec![], (0.0, 0.0, 0.0)),
            (vec![3.0], (3.0, 3.0, 3.0)),
            (vec![4.0, 1.0, 2.0], (2.0, 1.0, 4.0)),
            (vec![4.0, 1.0, 2.0, 3.0], (2.5, 1.0, 4.0)),
        ] {
            let spread = Spread::of(values);
            assert_eq!((spread.median, spread.low, spread.high), expected);
        }
    }

    #[test]
    fn arms_run_a_b_b_a_after_an_uncounted_run_of_each() {
        let order = RefCell::new(String::new());
        let arm = |name: char, millis: u64| {
            order.borrow_mut().push(name);
            Ok(sample(millis))
        };
        let pairs = Pairs::run(2, || arm('a', 30), || arm('b', 10)).unwrap();
        assert_eq!(order.into_inner(), "ababbaabba");
        let ratio = pairs.ratio(Figure::WallNanoseconds);
        assert!((ratio.median - 3.0).abs() < 1e-9, "{ratio:?}");
        assert!((pairs.ratio(Figure::PerSecond).median - 1.0 / 3.0).abs() < 1e-9);
        let difference = pairs.difference(Figure::WallNanoseconds);
        assert!((difference.median - 20e6).abs() < 1.0, "{difference:?}");
    }

    #[test]
    fn an_arm_that_fails_ends_the_comparison() {
        let broken = || {
            Err(BenchError::Part {
                part: "log",
                reason: "full".into(),
            })
        };
        assert!(Pairs::run(1, || Ok(sample(1)), broken).is_err());
    }
}

//! What happens to a message in a group: [`Fate`]. It follows from their names alone, so a message has the same fate
//! after every crash.

use crate::history::Phase;
use std::time::Duration;

/// What happens to a message in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    failing: Failing,
    /// How long it is worked on.
    pub work: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failing {
    Never,
    First(u32),
    Always,
    ForGood,
}

/// How often which failure happens, of a hundred messages.
#[derive(Debug, Clone, Copy)]
pub struct Odds {
    /// The first attempt fails.
    pub once: u32,
    /// The first two attempts fail.
    pub twice: u32,
    /// Every attempt fails.
    pub always: u32,
    /// The first attempt fails for good.
    pub for_good: u32,
    /// The longest work, in microseconds.
    pub work_us: u64,
}

impl Fate {
    /// What the names say.
    pub fn of(group: &str, id: &str, odds: &Odds) -> Self {
        let number = crc32c::crc32c_append(crc32c::crc32c(group.as_bytes()), id.as_bytes());
        let steps = [
            (odds.once, Failing::First(1)),
            (odds.twice, Failing::First(2)),
            (odds.always, Failing::Always),
            (odds.for_good, Failing::ForGood),
        ];
        let mut rest = number % 100;
        let mut failing = Failing::Never;
        for (share, what) in steps {
            if rest < share {
                failing = what;
                break;
            }
            rest -= share;
        }
        let work = Duration::from_micros(u64::from(number >> 8) % (odds.work_us + 1));
        Self { failing, work }
    }

    /// How an attempt ends, counted from 1.
    pub fn attempt(self, attempt: u32) -> Phase {
        match self.failing {
            Failing::ForGood => Phase::Permanent,
            Failing::Always => Phase::Transient,
            Failing::First(failures) if attempt <= failures => Phase::Transient,
            Failing::First(_) | Failing::Never => Phase::Ok,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates_follow_the_odds_and_never_change() {
        let odds = Odds {
            once: 10,
            twice: 10,
            always: 10,
            for_good: 10,
            work_us: 50,
        };
        let ends = |attempt| {
            let fates = (0..1_000).map(|id| Fate::of("billing", &id.to_string(), &odds));
            let ends = fates.map(|fate| fate.attempt(attempt));
            ends.filter(|end| *end == Phase::Ok).count()
        };
        let [first, second, third] = [1, 2, 3].map(ends);
        assert!(first < second && second < third, "{first} {second} {third}");
        assert!((500..700).contains(&first) && (700..900).contains(&third));
        assert_eq!(Fate::of("a", "1", &odds), Fate::of("a", "1", &odds));
    }
}

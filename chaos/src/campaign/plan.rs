//! What happens to the next incarnation: [`Plan`].

use crate::history::Disk;
use crate::points::Point;
use std::time::Duration;

/// The life of an incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It kills itself when it passes a place for the n-th time.
    Die {
        /// The place.
        point: Point,
        /// The time, from 1.
        nth: u64,
    },
    /// It is killed, wherever it is.
    Killed {
        /// When.
        after: Duration,
    },
    /// It drains.
    Stop {
        /// When.
        after: Duration,
    },
    /// It finishes everything, at the latest after that time, and drains.
    Settle(Duration),
}

/// Long enough for everything to be at work.
const LONG: Duration = Duration::from_millis(250);

/// Chooses lives from a seed.
#[derive(Debug)]
pub struct Plan {
    dice: fastrand::Rng,
    seed: u64,
    reachable: Vec<Point>,
    /// Places still to come before all come again.
    points: Vec<Point>,
    lives: u32,
}

impl Plan {
    /// The lives of that seed on such a disk.
    pub fn new(seed: u64, disk: Disk) -> Self {
        let reachable = Point::ALL
            .iter()
            .copied()
            .filter(|point| point.is_reachable(disk));
        Self {
            dice: fastrand::Rng::with_seed(seed),
            seed,
            reachable: reachable.collect(),
            points: Vec::new(),
            lives: 0,
        }
    }

    /// The next life: most end at a place, many at any time, some in peace.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> Life {
        let dice = &mut self.dice;
        self.lives += 1;
        match self.lives {
            1 => return self.first(),
            // In every campaign a clean stop that has something to store.
            2 => return Life::Stop { after: LONG },
            _ => {}
        }
        match dice.u8(..20) {
            0..12 => self.die(),
            12..18 => Life::Killed {
                after: Duration::from_millis(dice.u64(15..300)),
            },
            _ => Life::Stop {
                after: Duration::from_millis(dice.u64(10..200)),
            },
        }
    }

    /// The first life begins with nothing. It has something to lose, or it does not even get there.
    fn first(&mut self) -> Life {
        let dice = &mut self.dice;
        let in_state = [
            Point::StateWriteTorn,
            Point::StateFsyncBefore,
            Point::StateFsyncAfter,
        ];
        match dice
            .choice(in_state)
            .filter(|point| self.reachable.contains(point))
        {
            _ if self.seed.is_multiple_of(2) => Life::Killed { after: LONG },
            Some(point) if dice.bool() => Life::Die {
                point,
                nth: dice.u64(1..=8),
            },
            _ => Life::Killed {
                after: Duration::from_millis(dice.u64(2..60)),
            },
        }
    }

    fn die(&mut self) -> Life {
        if self.points.is_empty() {
            self.points.clone_from(&self.reachable);
            self.dice.shuffle(&mut self.points);
        }
        let point = self.points.pop().expect("it was just filled");
        let nth = self.dice.u64(1..=point.often());
        Life::Die { point, nth }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_seed_chooses_the_same_lives_and_every_place() {
        let lives = |seed, disk| {
            let mut plan = Plan::new(seed, disk);
            (0..60).map(move |_| plan.next()).collect::<Vec<_>>()
        };
        let places = |disk| -> BTreeSet<Point> {
            let dying = lives(1, disk).into_iter().filter_map(|life| match life {
                Life::Die { point, .. } => Some(point),
                _ => None,
            });
            dying.collect()
        };
        assert_eq!(lives(1, Disk::Torn), lives(1, Disk::Torn));
        assert_ne!(lives(1, Disk::Torn), lives(2, Disk::Torn));
        assert_eq!(places(Disk::Torn).len(), Point::ALL.len());
        assert!(!places(Disk::Kept).contains(&Point::StateWriteTorn));
    }
}

//! Policies that differ from one incarnation to the next, as after a change of the configuration: [`Policies`].

use crate::plant::Plant;
use tidings::Ordering;

/// What a restart may change without breaking a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policies {
    /// How many orders are charged at once.
    pub concurrency: usize,
    /// Received and not finished, per partition.
    pub max_in_flight: usize,
    /// Waiting in the retry lane, per partition.
    pub max_parked: usize,
    /// How many payments are booked at once.
    pub bookings: usize,
    /// Whether a payment is booked in a task of its own.
    pub spawn: bool,
    /// What keeps its order among orders.
    pub ordering: Ordering,
}

impl Policies {
    /// Those of an incarnation.
    pub fn of(seed: u64, incarnation: u32, plant: Option<Plant>) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed ^ u64::from(incarnation).rotate_left(40));
        let mut one_of = |choices: [usize; 3]| dice.choice(choices).unwrap_or(8);
        let policies = Self {
            concurrency: one_of([2, 8, 32]),
            max_in_flight: one_of([20, 200, 10_000]),
            max_parked: one_of([4, 50, 10_000]),
            bookings: one_of([1, 4, 16]),
            spawn: one_of([0, 0, 1]) == 1,
            ordering: Ordering::Key,
        };
        match plant {
            Some(Plant::OverlapKey) => Self {
                concurrency: 8,
                ordering: Ordering::None,
                ..policies
            },
            // One at a time, so that only the order is wrong.
            Some(Plant::ReorderKey) => Self {
                concurrency: 1,
                ordering: Ordering::None,
                ..policies
            },
            _ => policies,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn incarnations_differ_and_a_seed_repeats_them() {
        let policies = |seed| (0..40).map(|n| Policies::of(seed, n, None)).collect::<Vec<_>>();
        assert_eq!(policies(1), policies(1));
        let parked: BTreeSet<_> = policies(1).iter().map(|one| one.max_parked).collect();
        assert_eq!(parked.len(), 3);
    }
}

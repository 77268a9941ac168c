//! The checker is worth something: it finds bugs that are planted, and calls each by its name.

use crate::campaigns::{Mode, run_all};
use chaos::history::{Disk, Fsync};
use chaos::plant::Plant;

#[test]
fn every_planted_bug_is_caught_by_its_name() {
    let modes = (0..).zip(Plant::ALL).map(|(number, plant)| Mode {
        seed: 7_000 + number,
        // Only a power cut tells an early acknowledgement from a true one.
        disk: match plant {
            Plant::AckBeforeFsync => Disk::PowerLoss,
            _ => Disk::Kept,
        },
        fsync: Fsync::Always,
        kills: 5,
        plant: Some(*plant),
    });
    let outcomes = run_all(modes.collect());
    assert_eq!(outcomes.len(), Plant::ALL.len());
    for (mode, outcome) in outcomes {
        let plant = mode.plant.unwrap();
        assert!(
            outcome.failures.is_empty(),
            "{plant:?}: {}",
            outcome.failures.join("\n")
        );
        assert!(
            outcome.report.has(plant.caught_as()),
            "{} is not reported as {}: {}",
            plant.name(),
            plant.caught_as(),
            outcome.report
        );
    }
}

//! The checker is worth something: it finds bugs that are planted, and calls each by its name.

use crate::campaigns::{Mode, run_all};
use chaos::history::{Disk, Fsync};
use chaos::plant::Plant;

#[test]
fn every_planted_bug_is_caught_by_its_name() {
    // Where the kills hit is chance: a bug that none of them shows gets a few more to show in.
    let mut left: Vec<Plant> = Plant::ALL.to_vec();
    for round in 0..4 {
        left = not_caught(round, left);
    }
    let names: Vec<_> = left.iter().map(|plant| plant.name()).collect();
    assert!(names.is_empty(), "{names:?} are not reported by their names");
}

/// Those of them that a campaign each did not show.
fn not_caught(round: u64, plants: Vec<Plant>) -> Vec<Plant> {
    let modes = (0..).zip(&plants).map(|(number, plant)| Mode {
        seed: 7_000 + 100 * round + number,
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
    assert_eq!(outcomes.len(), plants.len());
    let mut left = Vec::new();
    for (mode, outcome) in outcomes {
        let plant = mode.plant.unwrap();
        assert!(
            outcome.failures.is_empty(),
            "{plant:?}: {}",
            outcome.failures.join("\n")
        );
        if !outcome.report.has(plant.caught_as()) {
            println!("{} is not reported as {} yet", plant.name(), plant.caught_as());
            left.push(plant);
        }
    }
    left
}

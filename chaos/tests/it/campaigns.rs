//! Hundreds of kills, in every mode.

use chaos::campaign::{Campaign, Outcome};
use chaos::checker::Report;
use chaos::history::{Disk, Fsync};
use chaos::plant::Plant;
use chaos::points::Point;
use std::collections::VecDeque;
use std::sync::Mutex;
use tempfile::TempDir;

/// Campaigns at the same time: what a small machine has cores for.
const AT_ONCE: usize = 2;
const MODES: [(Disk, Fsync); 6] = [
    (Disk::Torn, Fsync::Always),
    (Disk::Kept, Fsync::Interval),
    (Disk::PowerLoss, Fsync::Always),
    (Disk::Torn, Fsync::Interval),
    (Disk::Kept, Fsync::Always),
    (Disk::PowerLoss, Fsync::Interval),
];

pub(crate) struct Mode {
    pub(crate) seed: u64,
    pub(crate) disk: Disk,
    pub(crate) fsync: Fsync,
    pub(crate) kills: u32,
    pub(crate) plant: Option<Plant>,
}

/// Runs them all, a few at once, and gives what came of each. A directory with findings is kept.
pub(crate) fn run_all(modes: Vec<Mode>) -> Vec<(Mode, Outcome)> {
    let waiting = Mutex::new(VecDeque::from(modes));
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(mode) = waiting.lock().unwrap().pop_front() else {
                        return;
                    };
                    let outcome = run(&mode);
                    done.lock().unwrap().push((mode, outcome));
                }
            });
        }
    });
    done.into_inner().unwrap()
}

fn run(mode: &Mode) -> Outcome {
    let directory = TempDir::with_prefix("tidings-chaos-").unwrap();
    let campaign = Campaign {
        program: env!("CARGO_BIN_EXE_chaos").into(),
        directory: directory.path().to_owned(),
        seed: mode.seed,
        disk: mode.disk,
        fsync: mode.fsync,
        kills: mode.kills,
        messages: 120,
        plant: mode.plant,
    };
    let outcome = campaign.run().unwrap();
    let name = format!("{:?}, fsync {:?}, plant {:?}", mode.disk, mode.fsync, mode.plant);
    println!("{name}: {}", outcome.report);
    if mode.plant.is_none() && !outcome.is_clean() {
        println!("{name}: histories and data are in {}", directory.keep().display());
    }
    outcome
}

#[test]
fn three_hundred_processes_are_killed_everywhere_and_nothing_is_lost() {
    let modes = (0..).zip(MODES).map(|(number, (disk, fsync))| Mode {
        seed: 2_026 + number,
        disk,
        fsync,
        kills: 52,
        plant: None,
    });
    let outcomes = run_all(modes.collect());
    let mut total = Report::default();
    for (mode, outcome) in outcomes {
        assert!(
            outcome.failures.is_empty(),
            "{:?}: {}",
            mode.disk,
            outcome.failures.join("\n")
        );
        assert!(
            outcome.report.violations.is_empty(),
            "{:?}: {}",
            mode.disk,
            outcome.report
        );
        total = total.and(outcome.report);
    }
    println!("all campaigns: {total}");
    assert!(total.kills >= 300, "{total}");
    // The checker has found each of them possible; many would not be chance.
    assert!(total.condemned.len() <= 3, "{total}");
    for point in Point::ALL {
        assert!(
            total.places.contains(point.name()),
            "nobody died at {}: {total}",
            point.name()
        );
    }
}

#[test]
fn a_first_start_that_is_killed_is_followed_by_one_that_works() {
    let modes = (0..)
        .zip(MODES.into_iter().cycle().take(18))
        .map(|(number, (disk, fsync))| Mode {
            // Odd seeds: the first process dies while it makes its files.
            seed: 5_001 + 2 * number,
            disk,
            fsync,
            kills: 1,
            plant: None,
        });
    for (mode, outcome) in run_all(modes.collect()) {
        assert!(
            outcome.failures.is_empty(),
            "{:?}: {}",
            mode.disk,
            outcome.failures.join("\n")
        );
        assert!(
            outcome.report.violations.is_empty(),
            "{:?}: {}",
            mode.disk,
            outcome.report
        );
    }
}

//! `chaos run` kills, `chaos check` judges; see the library for what stands behind it.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this program talks to the person who started it"
)]

use chaos::ChaosError;
use chaos::arguments::{self, Command, RunArguments, USAGE, disk_name, fsync_name};
use chaos::campaign::{Campaign, Outcome};
use chaos::checker::{Report, check};
use chaos::history::{Disk, Fsync, read_all};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// What is attacked in turn.
const MODES: &[(Disk, Fsync)] = &[
    (Disk::Kept, Fsync::Interval),
    (Disk::Torn, Fsync::Always),
    (Disk::PowerLoss, Fsync::Interval),
    (Disk::Kept, Fsync::Always),
    (Disk::Torn, Fsync::Interval),
    (Disk::PowerLoss, Fsync::Always),
];
/// About how many messages an incarnation publishes.
const MESSAGES: u64 = 160;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let clean = arguments::parse(&arguments).and_then(|command| match command {
        Command::Help => {
            print!("{USAGE}");
            Ok(true)
        }
        Command::Run(arguments) => run(&arguments),
        Command::Check(histories) => {
            let report = check(&read_all(&histories)?);
            println!("{report}");
            Ok(report.violations.is_empty())
        }
        Command::Child(order) => child(&order),
    });
    match clean {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn child(order: &str) -> Result<bool, ChaosError> {
    let order = serde_json::from_str(order).map_err(|error| ChaosError::Usage(error.to_string()))?;
    chaos::child::run(&order).map(|()| true)
}

/// Runs campaigns until the time is over or one finds something.
fn run(arguments: &RunArguments) -> Result<bool, ChaosError> {
    let began = Instant::now();
    let root = root(arguments)?;
    println!("seed {}, directory {}", arguments.seed, root.display());
    let mut total = Report {
        seed: arguments.seed,
        ..Report::default()
    };
    for (round, seed) in (0..).zip(arguments.seed..) {
        let campaign = campaign(arguments, &root, round, seed)?;
        let outcome = campaign.run()?;
        println!(
            "{}, fsync {}: {}",
            disk_name(campaign.disk),
            fsync_name(campaign.fsync),
            outcome.report
        );
        if !outcome.is_clean() {
            explain(&campaign, &outcome);
            return Ok(false);
        }
        remove(&campaign.directory)?;
        total = total.and(outcome.report);
        if arguments.time.is_none_or(|time| began.elapsed() >= time) {
            break;
        }
    }
    if arguments.directory.is_none() {
        remove(&root)?;
    }
    println!("all campaigns: {total}");
    Ok(true)
}

fn root(arguments: &RunArguments) -> Result<PathBuf, ChaosError> {
    let name = format!("tidings-chaos-{}-{}", arguments.seed, std::process::id());
    let root = arguments
        .directory
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(name));
    match std::fs::create_dir_all(&root) {
        Ok(()) => Ok(root),
        Err(error) => Err(ChaosError::Usage(format!(
            "cannot create {}: {error}",
            root.display()
        ))),
    }
}

fn remove(directory: &Path) -> Result<(), ChaosError> {
    let removed = std::fs::remove_dir_all(directory);
    removed.map_err(|error| ChaosError::Usage(format!("cannot remove {}: {error}", directory.display())))
}

fn campaign(arguments: &RunArguments, root: &Path, round: usize, seed: u64) -> Result<Campaign, ChaosError> {
    let program = std::env::current_exe();
    let program = program.map_err(|error| ChaosError::Usage(format!("cannot find this program: {error}")))?;
    let (disk, fsync) = MODES
        .get(round % MODES.len())
        .copied()
        .unwrap_or((Disk::Kept, Fsync::Always));
    Ok(Campaign {
        program,
        directory: root.join(format!("campaign-{seed}")),
        seed,
        disk: arguments.disk.unwrap_or(disk),
        fsync: arguments.fsync.unwrap_or(fsync),
        kills: arguments.kills,
        messages: MESSAGES,
        plant: arguments.plant,
    })
}

fn explain(campaign: &Campaign, outcome: &Outcome) {
    for failure in &outcome.failures {
        eprintln!("{failure}");
    }
    let plant = campaign.plant.map(|plant| format!(" --plant {}", plant.name()));
    eprintln!(
        "histories and data are in {}\njudge them again: cargo run -p chaos -- check {}\nrepeat: cargo xtask chaos --seed {} --disk {} --fsync {} --kills {}{}",
        campaign.directory.display(),
        campaign.directory.display(),
        campaign.seed,
        disk_name(campaign.disk),
        fsync_name(campaign.fsync),
        campaign.kills,
        plant.unwrap_or_default(),
    );
}

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
use chaos::history::{Disk, Event, Fsync, Store, read_all};
use chaos::sql::{self, Relays, SqlCampaign, SqlOutcome, SqlReport};
use serde::de::DeserializeOwned;
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
/// The same of one with a database, which lives longer.
const SQL_MESSAGES: u64 = 1_500;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let clean = arguments::parse(&arguments).and_then(|command| match command {
        Command::Help => {
            print!("{USAGE}");
            Ok(true)
        }
        Command::Run(arguments) => match arguments.store {
            Some(store) => run_sql(&arguments, store),
            None => run(&arguments),
        },
        Command::Check(histories) => judge(&histories),
        Command::Child(order) => chaos::child::run(&read(&order)?).map(|()| true),
        Command::SqlChild(order) => sql::child::run(&read(&order)?).map(|()| true),
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

fn read<T: DeserializeOwned>(order: &str) -> Result<T, ChaosError> {
    serde_json::from_str(order).map_err(|error| ChaosError::Usage(error.to_string()))
}

/// Judges histories, of whichever kind of campaign they are.
fn judge(histories: &[PathBuf]) -> Result<bool, ChaosError> {
    let lines = read_all(histories)?;
    if lines.iter().any(|line| matches!(line.event, Event::Sql(_))) {
        let report = sql::check(&lines);
        println!("{report}\n{}", report.table());
        return Ok(report.violations.is_empty());
    }
    let report = check(&lines);
    println!("{report}");
    Ok(report.violations.is_empty())
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

/// The same for campaigns on a database.
fn run_sql(arguments: &RunArguments, store: Store) -> Result<bool, ChaosError> {
    let began = Instant::now();
    let root = root(arguments)?;
    println!("seed {}, directory {}", arguments.seed, root.display());
    let mut total = SqlReport {
        seed: arguments.seed,
        ..SqlReport::default()
    };
    for seed in arguments.seed.. {
        let campaign = SqlCampaign {
            program: program()?,
            directory: root.join(format!("campaign-{seed}")),
            seed,
            store,
            relays: arguments.relays.unwrap_or_else(|| Relays::of_seed(seed, store)),
            faults: arguments.kills,
            messages: SQL_MESSAGES,
            plant: arguments.sql_plant(),
        };
        let outcome = campaign.run()?;
        println!("relay by {}, {}", campaign.relays.name(), outcome.report);
        if !outcome.is_clean() {
            explain_sql(&campaign, &outcome);
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
    println!("all campaigns: {total}\n{}", total.table());
    Ok(true)
}

fn program() -> Result<PathBuf, ChaosError> {
    let program = std::env::current_exe();
    program.map_err(|error| ChaosError::Usage(format!("cannot find this program: {error}")))
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
    let (disk, fsync) = MODES
        .get(round % MODES.len())
        .copied()
        .unwrap_or((Disk::Kept, Fsync::Always));
    Ok(Campaign {
        program: program()?,
        directory: root.join(format!("campaign-{seed}")),
        seed,
        disk: arguments.disk.unwrap_or(disk),
        fsync: arguments.fsync.unwrap_or(fsync),
        kills: arguments.kills,
        messages: MESSAGES,
        plant: arguments.log_plant(),
    })
}

fn explain_sql(campaign: &SqlCampaign, outcome: &SqlOutcome) {
    let plant = campaign.plant.map(|plant| format!(" --plant {}", plant.name()));
    let relays = match campaign.store {
        Store::Postgres => format!(" --relay {}", campaign.relays.name()),
        Store::Sqlite => String::new(),
    };
    let repeat = format!(
        "--store {} --seed {} --kills {}{relays}{}",
        campaign.store.name(),
        campaign.seed,
        campaign.faults,
        plant.unwrap_or_default()
    );
    explain_all(&outcome.failures, &campaign.directory, &repeat);
}

fn explain(campaign: &Campaign, outcome: &Outcome) {
    let plant = campaign.plant.map(|plant| format!(" --plant {}", plant.name()));
    let repeat = format!(
        "--seed {} --disk {} --fsync {} --kills {}{}",
        campaign.seed,
        disk_name(campaign.disk),
        fsync_name(campaign.fsync),
        campaign.kills,
        plant.unwrap_or_default()
    );
    explain_all(&outcome.failures, &campaign.directory, &repeat);
}

fn explain_all(failures: &[String], directory: &Path, repeat: &str) {
    for failure in failures {
        eprintln!("{failure}");
    }
    let directory = directory.display();
    eprintln!(
        "histories and data are in {directory}\njudge them again: cargo run -p chaos -- check {directory}\nrepeat: cargo xtask chaos {repeat}"
    );
}

//! The command line of the program.

use crate::error::ChaosError;
use crate::history::{Disk, Fsync, Store};
use crate::plant::Plant;
use crate::sql::{Relays, SqlPlant};
use std::path::PathBuf;
use std::time::Duration;

/// What is asked for.
#[derive(Debug, Clone)]
pub enum Command {
    /// Help.
    Help,
    /// Campaigns.
    Run(RunArguments),
    /// Judging histories.
    Check(Vec<PathBuf>),
    /// Being killed.
    Child(String),
    /// Being killed as a service with a database.
    SqlChild(String),
}

/// Which campaigns.
#[derive(Debug, Clone)]
pub struct RunArguments {
    /// How long new ones are begun; none for exactly one.
    pub time: Option<Duration>,
    /// The first seed; each further campaign has the next one.
    pub seed: u64,
    /// Where everything is kept; a temporary directory otherwise.
    pub directory: Option<PathBuf>,
    /// What a kill takes away; otherwise each in turn.
    pub disk: Option<Disk>,
    /// When an acknowledged message is on the disk; otherwise each in turn.
    pub fsync: Option<Fsync>,
    /// How many processes a campaign kills.
    pub kills: u32,
    /// What is attacked in place of the log.
    pub store: Option<Store>,
    /// By which way services relay; otherwise as the seed chooses.
    pub relays: Option<Relays>,
    /// The bug.
    pub plant: Option<AnyPlant>,
}

/// A bug of either kind of campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnyPlant {
    /// Around the log.
    Log(Plant),
    /// Around a database.
    Sql(SqlPlant),
}

impl RunArguments {
    /// The bug of a campaign on the log.
    pub fn log_plant(&self) -> Option<Plant> {
        match self.plant {
            Some(AnyPlant::Log(plant)) => Some(plant),
            _ => None,
        }
    }

    /// The bug of a campaign on a database.
    pub fn sql_plant(&self) -> Option<SqlPlant> {
        match self.plant {
            Some(AnyPlant::Sql(plant)) => Some(plant),
            _ => None,
        }
    }
}

/// What the program can do.
pub const USAGE: &str = "\
usage: chaos run [OPTIONS]      (or `cargo xtask chaos`) kill processes while they work, and judge what they wrote
       chaos check HISTORY...   judge histories: files, or directories of *.jsonl

options of run
  --minutes N   begin campaigns for so long; without it one campaign is run
  --seed S      what happens; printed, so that it can happen again
  --dir DIR     where everything is kept; a temporary directory otherwise
  --disk D      kept | power-loss | torn: what a kill takes away; each in turn otherwise
  --fsync F     always | interval: when the disk has what is acknowledged; each in turn otherwise
  --kills K     how many processes a campaign kills, and with --store how many faults it has; 60
  --store S     postgres | sqlite: attack inbox, outbox and relay on that database, and not the log
  --relay R     polling | replication | both: how outboxes on PostgreSQL are sent; each in turn otherwise
  --plant P     plant a bug, to see it found
";

/// Reads the command line.
///
/// # Errors
/// What was not understood.
pub fn parse(arguments: &[String]) -> Result<Command, ChaosError> {
    let Some((command, rest)) = arguments.split_first() else {
        return Ok(Command::Help);
    };
    match command.as_str() {
        "help" | "-h" | "--help" => Ok(Command::Help),
        "check" if !rest.is_empty() => Ok(Command::Check(rest.iter().map(PathBuf::from).collect())),
        "check" => Err(usage("check what? name a history or a directory of histories")),
        "run" => run(rest).map(Command::Run),
        crate::campaign::CHILD => rest
            .first()
            .map(|order| Command::Child(order.clone()))
            .ok_or_else(|| usage("a child is started by a campaign")),
        crate::sql::CHILD => rest
            .first()
            .map(|order| Command::SqlChild(order.clone()))
            .ok_or_else(|| usage("a child is started by a campaign")),
        other => Err(usage(&format!("there is no command \"{other}\""))),
    }
}

fn run(arguments: &[String]) -> Result<RunArguments, ChaosError> {
    let mut run = RunArguments {
        time: None,
        seed: fastrand::u64(1..1_000_000_000),
        directory: None,
        disk: None,
        fsync: None,
        kills: 60,
        store: None,
        relays: None,
        plant: None,
    };
    let mut rest = arguments.iter();
    while let Some(option) = rest.next() {
        let value = rest
            .next()
            .ok_or_else(|| usage(&format!("{option} needs a value")))?;
        let refused = || usage(&format!("{option} cannot be \"{value}\""));
        match option.as_str() {
            "--minutes" => {
                let minutes: f64 = value.parse().map_err(|_| refused())?;
                let time = Duration::try_from_secs_f64(minutes * 60.0).map_err(|_| refused())?;
                run.time = Some(time);
            }
            "--seed" => run.seed = value.parse().map_err(|_| refused())?,
            "--dir" => run.directory = Some(value.into()),
            "--kills" => run.kills = value.parse().map_err(|_| refused())?,
            "--disk" => run.disk = Some(disk(value).ok_or_else(refused)?),
            "--fsync" => run.fsync = Some(fsync(value).ok_or_else(refused)?),
            "--store" => run.store = Some(Store::named(value).ok_or_else(refused)?),
            "--relay" => run.relays = Some(Relays::named(value).ok_or_else(refused)?),
            "--plant" => run.plant = Some(plant(value).ok_or_else(refused)?),
            _ => return Err(usage(&format!("there is no option \"{option}\""))),
        }
    }
    check_kind(run)
}

/// What belongs to the other kind of campaign would be taken for done.
fn check_kind(run: RunArguments) -> Result<RunArguments, ChaosError> {
    match run.store {
        Some(_) if run.disk.is_some() || run.fsync.is_some() || run.log_plant().is_some() => Err(usage(
            "--disk, --fsync and bugs of the log are not for a campaign with --store",
        )),
        None if run.sql_plant().is_some() => Err(usage("this bug is for a campaign with --store")),
        Some(Store::Sqlite) | None if run.relays.is_some() => Err(usage("--relay is for --store postgres")),
        _ if run.sql_plant().is_some_and(SqlPlant::needs_slot) && run.relays != Some(Relays::Replication) => {
            Err(usage("this bug is for --store postgres --relay replication"))
        }
        _ => Ok(run),
    }
}

fn plant(name: &str) -> Option<AnyPlant> {
    let of_log = Plant::named(name).map(AnyPlant::Log);
    of_log.or_else(|| SqlPlant::named(name).map(AnyPlant::Sql))
}

fn disk(name: &str) -> Option<Disk> {
    [Disk::Kept, Disk::PowerLoss, Disk::Torn]
        .into_iter()
        .find(|disk| disk_name(*disk) == name)
}

fn fsync(name: &str) -> Option<Fsync> {
    [Fsync::Always, Fsync::Interval]
        .into_iter()
        .find(|fsync| fsync_name(*fsync) == name)
}

/// The word for it on the command line.
pub fn disk_name(disk: Disk) -> &'static str {
    match disk {
        Disk::Kept => "kept",
        Disk::PowerLoss => "power-loss",
        Disk::Torn => "torn",
    }
}

/// The word for it on the command line.
pub fn fsync_name(fsync: Fsync) -> &'static str {
    match fsync {
        Fsync::Always => "always",
        Fsync::Interval => "interval",
    }
}

fn usage(what: &str) -> ChaosError {
    ChaosError::Usage(format!("{what}\n\n{USAGE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Command, ChaosError> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read_and_what_is_not_understood_is_named() {
        let Ok(Command::Run(run)) = parse_line("run --minutes 0.5 --seed 7 --disk torn --plant invent")
        else {
            panic!("not understood")
        };
        assert_eq!((run.seed, run.time), (7, Some(Duration::from_secs(30))));
        assert_eq!(
            (run.disk, run.plant),
            (Some(Disk::Torn), Some(AnyPlant::Log(Plant::Invent)))
        );
        for (line, named) in [
            ("run --minutes", "--minutes"),
            ("run --minutes -1", "\"-1\""),
            ("run --disk wet", "wet"),
            ("run --sead 7", "--sead"),
            ("run --store oracle", "oracle"),
            ("run --store sqlite --disk torn", "--disk"),
            ("run --plant no-claim", "--store"),
            ("run --store sqlite --relay polling", "--relay"),
            ("run --store postgres --plant slot-alone", "--relay"),
            ("check", "history"),
            ("attack", "attack"),
        ] {
            let error = parse_line(line).unwrap_err().to_string();
            assert!(error.contains(named), "{line}: {error}");
        }
    }
}

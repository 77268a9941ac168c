//! `tidings log repair`.

use super::long;
use super::verify::ProblemRow;
use crate::args::Global;
use crate::broker::Address;
use crate::confirm::{Beforehand, Unattended, ask};
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::{Form, Out, escape_lines};
use clap::Args;
use serde::Serialize;
use std::path::Path;
use tidings_embedded::{PartitionRepair, RepairMode, RepairReport, is_owned, repair_directory};

/// What `log repair` understands.
#[derive(Debug, Args)]
#[command(after_help = "\
Every message that can be read keeps its offset, and every file that is changed is first put into the folder `damaged` \
of the directory. Stop the app first.

Example:
  tidings log repair --dry-run")]
pub(super) struct RepairArgs {
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Go on also where something is lost
    #[arg(long, short)]
    yes: bool,
}

/// What is done to a partition, or with no topic to the directory.
#[derive(Debug, Serialize)]
struct RepairRow<'a> {
    topic: Option<&'a str>,
    partition: Option<u32>,
    steps: Vec<String>,
    lost: Vec<LostRow>,
    /// Messages that can be read and are kept.
    records: Option<u64>,
    /// The offset that the next message gets.
    next: Option<u64>,
    /// What cannot be repaired.
    problems: Vec<ProblemRow>,
    dry_run: bool,
}

/// Messages that are lost.
#[derive(Debug, Serialize)]
struct LostRow {
    first: u64,
    end: u64,
    file: String,
    byte: u64,
    reason: String,
}

/// Shows what it takes, asks, and does it.
pub(super) async fn run(global: &Global, args: &RepairArgs, out: &mut Out) -> Result<Exit, CliError> {
    let address = Address::find(global, None)?;
    let root = address.directory()?;
    refuse_owner(&root, &address.url())?;
    let plan = repair(&address, &root, RepairMode::DryRun, out).await?;
    if plan.is_empty() {
        show(&plan, out)?;
        out.remark("there is nothing to repair")?;
        return Ok(exit(&plan));
    }
    if args.dry_run {
        show(&plan, out)?;
        out.remark("dry run: nothing was changed")?;
        return Ok(Exit::Done);
    }
    if !args.yes && out.form() == Form::Table {
        show(&plan, out)?;
        out.flush()?;
    }
    consent(&plan, args.yes.into(), out).await?;
    let done = repair(&address, &root, RepairMode::Apply, out).await?;
    if args.yes || out.form() == Form::Json {
        show(&done, out)?;
    }
    if let Some(file) = &done.file {
        out.remark(&format!(
            "done: {} says what was done, and beside it is what was put aside",
            file.display()
        ))?;
    }
    Ok(exit(&done))
}

/// What cannot be repaired stays damaged.
fn exit(report: &RepairReport) -> Exit {
    if report.problems.is_empty() {
        Exit::Done
    } else {
        Exit::Damaged
    }
}

fn refuse_owner(root: &Path, url: &str) -> Result<(), CliError> {
    let owned = is_owned(root).map_err(|error| CliError::Broker {
        url: url.to_owned(),
        error,
    })?;
    if !owned {
        return Ok(());
    }
    let pid = std::fs::read_to_string(root.join("LOCK")).unwrap_or_default();
    let owner = match pid.trim() {
        "" => "another process".to_owned(),
        pid => format!("the process {pid}"),
    };
    Err(CliError::Away {
        what: format!("{owner} owns {url}; nothing was changed"),
        cure: "stop it and try again; tidings log verify works beside it".to_owned(),
    })
}

async fn repair(
    address: &Address,
    root: &Path,
    mode: RepairMode,
    out: &Out,
) -> Result<RepairReport, CliError> {
    let (doing, left) = match mode {
        RepairMode::DryRun => ("reading", "nothing was changed"),
        RepairMode::Apply => ("repairing", "a second repair goes on where this one ended"),
    };
    let root = root.to_owned();
    let repaired = long(out.byte_progress(doing), left, move |progress| {
        repair_directory(&root, mode, &mut |far| {
            progress.set(far.bytes_done, far.bytes_total);
        })
    });
    repaired.await?.map_err(|error| CliError::Broker {
        url: address.url(),
        error,
    })
}

/// Asks whoever is there. On a thread of its own, so that ctrl-C is an answer too.
async fn consent(plan: &RepairReport, beforehand: Beforehand, out: &Out) -> Result<(), CliError> {
    let unattended = if plan.loses() {
        Unattended::Refused
    } else {
        Unattended::GoesOn
    };
    let what = what(plan);
    let asked = long(out.byte_progress("waiting"), "nothing was changed", move |_| {
        ask(beforehand, unattended, &what)
    });
    asked.await?
}

fn what(plan: &RepairReport) -> String {
    let partitions = plan.partitions.iter().filter(|one| !one.steps.is_empty()).count();
    let root = plan.root.display();
    let mut parts = vec![match partitions {
        0 => format!("repair {root}"),
        1 => format!("repair a partition of {root}"),
        many => format!("repair {many} partitions of {root}"),
    }];
    match plan.lost_records() {
        0 => {}
        1 => parts.push("give up a message that cannot be read".to_owned()),
        many => parts.push(format!("give up {many} messages that cannot be read")),
    }
    if plan.lost_notes > 0 {
        parts.push("lose positions of groups and messages for later".to_owned());
    }
    parts.join(" and ")
}

fn show(report: &RepairReport, out: &mut Out) -> Result<(), CliError> {
    if out.form() == Form::Table {
        if report.is_empty() && report.problems.is_empty() {
            return Ok(());
        }
        return out.text(&escape_lines(&report.to_string()));
    }
    let dry_run = report.mode == RepairMode::DryRun;
    if !report.notes.is_empty() || !report.problems.is_empty() {
        out.object(&RepairRow {
            topic: None,
            partition: None,
            steps: report.notes.clone(),
            lost: Vec::new(),
            records: None,
            next: None,
            problems: report.problems.iter().map(ProblemRow::from).collect(),
            dry_run,
        })?;
    }
    let changed = report.partitions.iter().filter(|one| !one.steps.is_empty());
    changed
        .map(|one| row(one, dry_run))
        .try_for_each(|row| out.object(&row))
}

fn row(one: &PartitionRepair, dry_run: bool) -> RepairRow<'_> {
    let lost = one.losses.iter().map(|loss| LostRow {
        first: loss.offsets.start,
        end: loss.offsets.end,
        file: loss.file.display().to_string(),
        byte: loss.position,
        reason: loss.reason.clone(),
    });
    RepairRow {
        topic: Some(&one.destination),
        partition: Some(one.partition),
        steps: one.steps.iter().map(ToString::to_string).collect(),
        lost: lost.collect(),
        records: Some(one.records),
        next: Some(one.next_offset),
        problems: Vec::new(),
        dry_run,
    }
}

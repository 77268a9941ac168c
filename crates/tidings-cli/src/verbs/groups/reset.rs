//! `tidings groups reset`.

use super::{group, is_retry_of, lag};
use crate::args::Global;
use crate::broker::{Broker, Intent};
use crate::confirm::confirm;
use crate::error::CliError;
use crate::exit::Exit;
use crate::names::unknown;
use crate::out::{Column, Out, Row};
use crate::place::Place;
use clap::Args;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use tidings_core::{GroupInfo, Progress};

/// What `groups reset` understands.
#[derive(Debug, Args)]
#[command(after_help = "\
The group must not run. Messages that wait in its retry topic stay there and are handled as well.

Example:
  tidings groups reset billing --topic orders --to 2h --dry-run")]
pub(super) struct ResetArgs {
    /// The group
    group: String,
    /// The channel or topic; needed if the group reads several
    #[arg(long, short, value_name = "CHANNEL")]
    topic: Option<String>,
    /// Where it goes on: earliest, latest, offset:42, a span like 2h (ago), or 2026-11-21T08:00:00Z
    #[arg(long, value_name = "PLACE")]
    to: Place,
    /// Only this partition
    #[arg(long, short, value_name = "NUMBER")]
    partition: Option<u32>,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    /// Go on also where messages would be skipped
    #[arg(long, short)]
    yes: bool,
}

/// A partition before and after.
#[derive(Debug, Serialize)]
struct ResetRow {
    group: String,
    topic: String,
    partition: u32,
    before: Option<u64>,
    after: u64,
    /// Messages that will be handled again.
    again: u64,
    /// Messages that will never be handled.
    skipped: u64,
    dry_run: bool,
}

impl Row for ResetRow {
    const COLUMNS: &'static [Column] = &[
        Column::left("TOPIC"),
        Column::right("PARTITION"),
        Column::right("BEFORE"),
        Column::right("AFTER"),
        Column::right("AGAIN"),
        Column::right("SKIPPED"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.topic.clone(),
            self.partition.to_string(),
            self.before
                .map_or_else(|| "-".to_owned(), |before| before.to_string()),
            self.after.to_string(),
            self.again.to_string(),
            self.skipped.to_string(),
        ]
    }
}

/// Puts a group elsewhere.
pub(super) async fn run(global: &Global, args: &ResetArgs, out: &mut Out) -> Result<Exit, CliError> {
    let intent = if args.dry_run {
        Intent::Read
    } else {
        Intent::Change
    };
    let broker = Broker::open(global, intent, args.topic.as_deref(), out).await?;
    let done = reset(&broker, args, out).await;
    let closed = broker.close().await;
    done.and(closed)?;
    Ok(Exit::Done)
}

async fn reset(broker: &Broker, args: &ResetArgs, out: &mut Out) -> Result<(), CliError> {
    let topic = match &args.topic {
        Some(topic) => Some(broker.topic(topic).await?.name),
        None => None,
    };
    if !broker.binder().capabilities().replay {
        return Err(CliError::refused(
            format!(
                "{} keeps nothing of what was handled: a group has no position that could be another",
                broker.url()
            ),
            "what waits is in its queues: tidings groups show GROUP --topic CHANNEL; what failed is among its dead letters: tidings dlq ls",
        ));
    }
    let group = group(broker, &args.group).await?;
    let topic = match topic {
        Some(topic) => topic,
        None => the_one(&group)?,
    };
    check_reads(&group, &topic, broker)?;
    let rows = plan(broker, args, &topic).await?;
    if !args.dry_run {
        check_stopped(&group, &topic, args, broker)?;
        let skipped: u64 = rows.iter().map(|row| row.skipped).sum();
        if skipped > 0 {
            let what = format!("skip {skipped} messages that {} has not handled", args.group);
            confirm(args.yes.into(), &what)?;
        }
        for row in &rows {
            let progress = Progress {
                watermark: row.after,
                ..Progress::default()
            };
            let stored = broker
                .binder()
                .store_progress(&topic, row.partition, &args.group, progress)
                .await;
            stored.map_err(|error| broker.failed(error))?;
        }
    }
    out.rows(&rows)?;
    out.remark(if args.dry_run {
        "dry run: nothing was changed"
    } else {
        "done: the group goes on there when it starts"
    })
}

/// The topic that a group reads, besides the one of its own waiting messages.
fn the_one(group: &GroupInfo) -> Result<Arc<str>, CliError> {
    let read = group.positions.iter().map(|position| &position.destination);
    let read: BTreeSet<_> = read.filter(|topic| !is_retry_of(topic, &group.name)).collect();
    if let (Some(topic), 1) = (read.first(), read.len()) {
        return Ok(Arc::clone(topic));
    }
    let names: Vec<&str> = read.iter().map(|topic| &***topic).collect();
    Err(CliError::usage(
        format!(
            "the group {} reads {} topics: {}",
            group.name,
            names.len(),
            names.join(", ")
        ),
        "say which one with --topic",
    ))
}

fn check_reads(group: &GroupInfo, topic: &str, broker: &Broker) -> Result<(), CliError> {
    let mut read = group.positions.iter().map(|position| &*position.destination);
    if read.any(|destination| destination == topic) {
        return Ok(());
    }
    let read = group.positions.iter().map(|position| &*position.destination);
    let place = format!("that the group {} has read in {}", group.name, broker.url());
    Err(unknown("topic", topic, place, read))
}

/// A server takes positions only for a group without any member; else those count that read what is moved.
fn check_stopped(group: &GroupInfo, topic: &str, args: &ResetArgs, broker: &Broker) -> Result<(), CliError> {
    let mut wanted = group.positions.iter().filter(|position| {
        let here =
            &*position.destination == topic && args.partition.is_none_or(|only| only == position.partition);
        here || broker.is_server()
    });
    let member = wanted.find_map(|position| Some((position.member.as_deref()?, &position.destination)));
    match member {
        None => Ok(()),
        Some((member, read)) => Err(CliError::refused(
            format!(
                "the group {} runs: its subscription {member} reads \"{read}\"; nothing was changed",
                group.name
            ),
            "stop the app (or pause and drain that subscription) and try again; --dry-run works while it runs",
        )),
    }
}

async fn plan(broker: &Broker, args: &ResetArgs, topic: &str) -> Result<Vec<ResetRow>, CliError> {
    let mut positions = broker.positions(topic, Some(&args.group)).await?;
    let count = positions.len();
    positions.retain(|at| args.partition.is_none_or(|only| only == at.partition));
    if positions.is_empty() {
        let wanted = args.partition.unwrap_or_default();
        return Err(CliError::missing(
            format!("no partition {wanted} in \"{topic}\""),
            format!("it has {count}, from 0 on"),
        ));
    }
    let mut rows = Vec::new();
    for at in positions {
        let after = args.to.offset(broker, topic, &at).await?;
        let moved = Progress {
            watermark: after,
            ..Progress::default()
        };
        let (before, then) = (lag(&at, at.progress.as_ref()), lag(&at, Some(&moved)));
        // What is open between the old and the new place, and lies before the new one, is skipped.
        let passed = tidings_core::PartitionPosition {
            end: after.max(at.first),
            ..at.clone()
        };
        let skipped = lag(&passed, at.progress.as_ref());
        rows.push(ResetRow {
            group: args.group.clone(),
            topic: topic.to_owned(),
            partition: at.partition,
            before: at.progress.as_ref().map(|progress| progress.watermark),
            after,
            again: then.saturating_sub(before.saturating_sub(skipped)),
            skipped,
            dry_run: args.dry_run,
        });
    }
    Ok(rows)
}

//! `tidings log snapshot`.

use crate::args::Global;
use crate::broker::{Address, Broker, Intent};
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::{Column, Out, Row, bytes};
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use tidings_manage::{SealedSegments, SnapshotCounts, SnapshotRequest, Way};

/// What `log snapshot` understands.
#[derive(Debug, Args)]
#[command(after_help = "\
The copy is a broker's directory: restoring it is opening it. It holds every message that was acknowledged before, and \
no position of a group beyond them. An app that runs copies itself and goes on meanwhile.

Example:
  tidings log snapshot --to /backup/monday")]
pub(super) struct SnapshotArgs {
    /// An empty directory, or one that does not exist yet
    #[arg(long, value_name = "DIRECTORY")]
    to: PathBuf,
    /// Copy also those files that could share their blocks with the original: for a copy that must survive the disk
    #[arg(long)]
    no_links: bool,
}

/// What was copied.
#[derive(Debug, Serialize)]
struct SnapshotRow {
    target: String,
    topics: u64,
    partitions: u64,
    segments: u64,
    linked: u64,
    bytes: u64,
}

impl Row for SnapshotRow {
    const COLUMNS: &'static [Column] = &[
        Column::right("TOPICS"),
        Column::right("PARTITIONS"),
        Column::right("SEGMENTS"),
        Column::right("LINKED"),
        Column::right("SIZE"),
        Column::left("COPY"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.topics.to_string(),
            self.partitions.to_string(),
            self.segments.to_string(),
            self.linked.to_string(),
            bytes(self.bytes),
            self.target.clone(),
        ]
    }
}

/// Copies everything.
pub(super) async fn run(global: &Global, args: &SnapshotArgs, out: &mut Out) -> Result<Exit, CliError> {
    let address = Address::find(global, None)?;
    let source = address.directory()?;
    let target = std::path::absolute(&args.to)
        .map_err(|error| CliError::io(format!("tell where {} is", args.to.display()), error))?;
    check(&source, &target, args)?;
    let broker = Broker::open_at(address, Intent::Change, out).await?;
    let request = SnapshotRequest {
        target,
        sealed: if args.no_links {
            SealedSegments::Copied
        } else {
            SealedSegments::Linked
        },
    };
    let counts = copy(&broker, request, args, out).await?;
    broker.close().await?;
    out.rows(&[SnapshotRow {
        target: args.to.display().to_string(),
        topics: counts.destinations,
        partitions: counts.partitions,
        segments: counts.segments,
        linked: counts.linked,
        bytes: counts.bytes,
    }])?;
    out.remark(&format!(
        "restore it by opening it: --url embedded:{0}, or url = \"embedded:{0}\"",
        args.to.display()
    ))?;
    Ok(Exit::Done)
}

/// Refuses a target that holds something, or lies within what is copied, before anything is opened.
fn check(source: &Path, target: &Path, args: &SnapshotArgs) -> Result<(), CliError> {
    let to = args.to.display();
    let refused = |problem: &str| {
        CliError::refused(
            format!("{to} {problem}; nothing was copied"),
            "name an empty directory, or one that does not exist yet",
        )
    };
    if target.exists() && !target.is_dir() {
        return Err(refused("is no directory"));
    }
    if target.is_dir() {
        let listed = std::fs::read_dir(target);
        let mut listed = listed.map_err(|error| CliError::io(format!("look into {to}"), error))?;
        if listed.next().is_some() {
            return Err(refused("is not empty"));
        }
    }
    // What is not there yet has no canonical path; what is above it has.
    let above = target.ancestors().find_map(|path| path.canonicalize().ok());
    let within = source
        .canonicalize()
        .ok()
        .zip(above)
        .is_some_and(|(source, above)| above.starts_with(source));
    if within {
        return Err(refused("is within the directory that is to be copied"));
    }
    Ok(())
}

async fn copy(
    broker: &Broker,
    request: SnapshotRequest,
    args: &SnapshotArgs,
    out: &Out,
) -> Result<SnapshotCounts, CliError> {
    let connection = broker.connection();
    let progress = out.byte_progress("copying");
    let watched = progress.share();
    let watch = Box::new(move |far: tidings_manage::SnapshotBytes| watched.set(far.done, far.total));
    tokio::select! {
        copied = connection.snapshot(request, watch) => Ok(copied?),
        _ = tokio::signal::ctrl_c() => {
            drop(progress);
            let to = args.to.display();
            let done = match connection.way() {
                Way::Running { app, .. } => format!("{app} goes on and completes the copy in {to}"),
                _ => format!("the copy in {to} is not complete and cannot be opened; delete it"),
            };
            Err(CliError::Interrupted { done })
        }
    }
}

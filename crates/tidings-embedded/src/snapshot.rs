//! A consistent copy of a running broker: [`EmbeddedBroker::snapshot`].
//!
//! The small state is frozen first, then the end of each partition: a position is stored only when everything before it
//! is on the disk, so no position in the copy is beyond its log. Between the two no delayed message changes from stored
//! to appended. From then on everything goes on; the files are copied up to those ends.

use crate::broker::{EmbeddedBroker, failed};
use crate::directory::{self, DirectoryLock};
use crate::keeper::Concern;
use crate::shared::Shared;
use crate::state_copy::StateView;
use crate::topics::{self, Topic};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidings_core::BinderError;
use tidings_log::{DiskFiles, Files, Frozen, LinkSealed};

/// How segments that get no more messages come into the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sealed {
    /// They share their blocks with the original where the file system can do that, which takes no time and no room.
    /// Nobody ever writes into such a file again: retention deletes its name, and compaction gives another file that
    /// name. What the disk itself damages is damaged in both.
    #[default]
    Linked,
    /// Their bytes are copied.
    Copied,
}

/// How a snapshot is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SnapshotOptions {
    /// How segments that get no more messages come into the copy.
    pub sealed: Sealed,
}

impl SnapshotOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How segments that get no more messages come into the copy; linked by default.
    #[must_use]
    pub fn sealed(mut self, sealed: Sealed) -> Self {
        self.sealed = sealed;
        self
    }
}

/// How far a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SnapshotProgress {
    /// Bytes of segments that are in the copy.
    pub bytes_done: u64,
    /// Bytes of all segments.
    pub bytes_total: u64,
}

/// What is in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotReport {
    /// Where it is.
    pub target: PathBuf,
    /// How many destinations.
    pub destinations: usize,
    /// How many partitions.
    pub partitions: usize,
    /// How many segment files.
    pub segments: usize,
    /// How many of them share their blocks with the original.
    pub linked: usize,
    /// Bytes of the segment files.
    pub bytes: u64,
}

impl EmbeddedBroker {
    /// Copies everything into an empty directory, or one that is made, while publishers and groups go on. The copy is a
    /// broker's directory: restoring it is opening it.
    ///
    /// It holds every message that was acknowledged before the call, delayed ones too, and no position of a group beyond
    /// them. It is complete when its file `format` is there, which comes last; until then nobody can open it.
    ///
    /// # Errors
    /// [`BinderError::Unsupported`] for a broker that was opened read-only: the positions of groups can only be read by
    /// the owner. [`BinderError::Failed`]: the target is not empty, a partition is damaged, the disk is full. What was
    /// copied until then stays; delete it.
    ///
    /// # Cancel safety
    /// A copy that nobody waits for any more is completed all the same.
    pub async fn snapshot(&self, target: &Path) -> Result<SnapshotReport, BinderError> {
        self.snapshot_with(target, SnapshotOptions::new(), |_| {}).await
    }

    /// The same with options. `progress` is called from another thread.
    ///
    /// # Errors
    /// As [`EmbeddedBroker::snapshot`].
    pub async fn snapshot_with(
        &self,
        target: &Path,
        options: SnapshotOptions,
        mut progress: impl FnMut(SnapshotProgress) + Send + 'static,
    ) -> Result<SnapshotReport, BinderError> {
        let shared = self.shared()?.clone();
        if shared.is_read_only() {
            return Err(BinderError::Unsupported {
                broker: "embedded, opened read-only,",
                feature: "snapshot",
                cure: "ask the process that owns the directory for it, or stop that process and open for writing",
            });
        }
        // Groups repeat less after a restore. That a position can't be stored now is no reason to refuse a copy.
        let _ = shared.keeper.commit(&shared, Concern::Everything).await;
        let doing = format!("copy the broker into {}", target.display());
        let target = target.to_owned();
        // Always on a thread that may block, also for a broker in memory: the copy goes to a disk.
        let again = shared.clone();
        let copied = shared.spawn_blocking(move || copy(&again, &target, options, &mut progress));
        let copied = copied
            .await
            .unwrap_or_else(|_| Err("the broker's runtime was shut down".to_owned()));
        copied.map_err(failed(doing))
    }
}

fn copy(
    shared: &Arc<Shared>,
    target: &Path,
    options: SnapshotOptions,
    progress: &mut dyn FnMut(SnapshotProgress),
) -> Result<SnapshotReport, String> {
    let _lock = begin(target)?;
    // Opening takes a while, so it is done before anything waits for us.
    open_all(shared, &shared.topics.all())?;
    let round = shared.timer.hold();
    let state = shared.keeper.state()?.view()?;
    // After the state: it may speak of a destination that was just made.
    let all = shared.topics.all();
    let mut frozen = Vec::new();
    for topic in &all {
        for partition in &topic.partitions {
            let log = partition
                .log(shared)
                .map_err(|error| format!("{}: {error}", partition.place()))?;
            frozen.push((topic, partition.index, log.freeze()));
        }
    }
    drop(round);
    let report = write(shared, target, options, (&state, &all, &frozen), progress)?;
    directory::write_format(target)?;
    Ok(report)
}

/// Takes the target, which must be empty.
fn begin(target: &Path) -> Result<DirectoryLock, String> {
    directory::create(target)?;
    let failed = |error: std::io::Error| format!("{}: {error}", target.display());
    if fs::read_dir(target).map_err(failed)?.next().is_some() {
        return Err(format!(
            "{} is not empty: name a directory that is, or none",
            target.display()
        ));
    }
    DirectoryLock::take(target)
}

fn open_all(shared: &Shared, all: &[Arc<Topic>]) -> Result<(), String> {
    for partition in all.iter().flat_map(|topic| &topic.partitions) {
        if let Err(error) = partition.log(shared) {
            return Err(format!("{}: {error}", partition.place()));
        }
    }
    Ok(())
}

/// A partition as it was: of which destination, its number, its log.
type FrozenPartition<'f> = (&'f Arc<Topic>, u32, Frozen<'f>);

fn write(
    shared: &Shared,
    target: &Path,
    options: SnapshotOptions,
    (state, all, frozen): (&StateView, &[Arc<Topic>], &[FrozenPartition<'_>]),
    progress: &mut dyn FnMut(SnapshotProgress),
) -> Result<SnapshotReport, String> {
    let disk: Arc<dyn Files> = Arc::new(DiskFiles);
    let link = match options.sealed {
        // Names of files in memory mean nothing on a disk.
        Sealed::Linked if !shared.is_in_memory() => LinkSealed::WherePossible,
        _ => LinkSealed::Never,
    };
    let mut report = SnapshotReport {
        target: target.to_owned(),
        destinations: all.len(),
        partitions: frozen.len(),
        ..SnapshotReport::default()
    };
    let mut done = SnapshotProgress {
        bytes_done: 0,
        bytes_total: frozen.iter().map(|(_, _, log)| log.bytes()).sum(),
    };
    for topic in all {
        topics::create_files(&*disk, target, &topic.name, topic.count())?;
    }
    for (topic, index, log) in frozen {
        let dir = crate::partition::directory(&topics::directory(target, &topic.name), *index);
        let copied = log.copy_to(&disk, &dir, link, |bytes| {
            done.bytes_done += bytes;
            progress(done);
        });
        let copied = copied.map_err(|error| error.to_string())?;
        report.segments += copied.segments;
        report.linked += copied.linked;
        report.bytes += copied.bytes;
    }
    state.copy_to(&target.join("state.redb"))?;
    Ok(report)
}

//! What a repair does, did, and could not save.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tidings_log::{Loss, Problem, RepairStep};

/// Whether a repair is only described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepairMode {
    /// Everything is read, and nothing is changed.
    DryRun,
    /// It is done.
    Apply,
}

/// What a repair would do to a directory, or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairReport {
    /// The directory.
    pub root: PathBuf,
    /// Whether it was done.
    pub mode: RepairMode,
    /// What is done outside of the partitions.
    pub notes: Vec<String>,
    /// How many of these notes are about positions of groups or messages for later that are lost.
    pub lost_notes: usize,
    /// Each partition.
    pub partitions: Vec<PartitionRepair>,
    /// What is beyond repair.
    pub problems: Vec<Problem>,
    /// Where files were put aside.
    pub aside: Vec<PathBuf>,
    /// The file that says all this, once it was done.
    pub file: Option<PathBuf>,
}

/// What a repair would do to a partition, or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRepair {
    /// The destination.
    pub destination: String,
    /// Its number.
    pub partition: u32,
    /// What is done, in this order.
    pub steps: Vec<RepairStep>,
    /// What is lost.
    pub losses: Vec<Loss>,
    /// How many records can be read, and are kept.
    pub records: u64,
    /// The offset that the next message gets.
    pub next_offset: u64,
}

impl RepairReport {
    pub(super) fn new(root: &Path, mode: RepairMode) -> Self {
        Self {
            root: root.to_owned(),
            mode,
            notes: Vec::new(),
            lost_notes: 0,
            partitions: Vec::new(),
            problems: Vec::new(),
            aside: Vec::new(),
            file: None,
        }
    }

    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// A note about something that is lost.
    pub(super) fn note_loss(&mut self, note: String) {
        self.lost_notes += 1;
        self.note(note);
    }

    /// Whether something is lost that could be read before, or that nobody can read any more: messages, positions of
    /// groups, messages for later.
    pub fn loses(&self) -> bool {
        self.lost_notes > 0 || self.partitions.iter().any(|one| !one.losses.is_empty())
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.notes.is_empty() && self.partitions.iter().all(|one| one.steps.is_empty())
    }

    /// How many offsets are lost.
    pub fn lost_records(&self) -> u64 {
        let losses = self.partitions.iter().flat_map(|one| &one.losses);
        losses
            .map(|loss| loss.offsets.end.saturating_sub(loss.offsets.start))
            .sum()
    }

    /// Writes it beside what was put aside.
    pub(super) fn write(&mut self) -> Result<(), String> {
        let folder = self.root.join(super::ASIDE);
        crate::directory::create(&folder)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let path = folder.join(format!("repair-{}.txt", now.as_millis()));
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(self.to_string().as_bytes())?;
            file.sync_all()?;
            File::open(&folder)?.sync_all()
        });
        written.map_err(|error| format!("{}: {error}", path.display()))?;
        self.file = Some(path);
        Ok(())
    }
}

impl fmt::Display for RepairReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = self.root.display();
        match self.mode {
            RepairMode::DryRun => writeln!(f, "what a repair of {root} would do")?,
            RepairMode::Apply => writeln!(f, "repair of {root}")?,
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "- {note}"))?;
        for one in self.partitions.iter().filter(|one| !one.steps.is_empty()) {
            let PartitionRepair {
                destination,
                partition,
                records,
                next_offset,
                ..
            } = one;
            writeln!(
                f,
                "{destination}/{partition}: {records} records are kept, the next one gets offset {next_offset}"
            )?;
            one.steps.iter().try_for_each(|step| writeln!(f, "  - {step}"))?;
            one.losses
                .iter()
                .try_for_each(|loss| writeln!(f, "  lost: {loss}"))?;
        }
        self.problems
            .iter()
            .try_for_each(|one| writeln!(f, "not repaired: {one}"))?;
        self.aside
            .iter()
            .try_for_each(|path| writeln!(f, "put aside: {}", path.display()))
    }
}

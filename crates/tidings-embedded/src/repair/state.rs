//! What a repair does with `state.redb`.

use super::{RepairReport, put_aside};
use crate::overlay::Overlay;
use crate::progress;
use crate::state::{DELAYED, PROGRESS, Stored, rows};
use crate::state_check::{self, RowKey, Unreadable};
use redb::Database;
use std::fmt::Write;
use std::path::Path;
use tidings_core::Progress;

/// Positions beyond this come from damage: no log gets there.
const HIGHEST: u64 = 1 << 62;

/// What the state says, and what of it must go.
#[derive(Debug, Default)]
pub(super) struct StateRepair {
    positions: Vec<Stored>,
    unreadable: Vec<Unreadable>,
    is_broken: bool,
}

/// A position that is set: destination, group, partition, offset.
type Set = (String, String, u32, u64);

impl StateRepair {
    pub(super) fn look(root: &Path, report: &mut RepairReport) -> Result<Self, String> {
        let path = root.join("state.redb");
        if !path.exists() {
            return Ok(Self::default());
        }
        let overlay = Overlay::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        match state_check::read(overlay) {
            Ok(read) => {
                for row in &read.unreadable {
                    report.note_loss(format!(
                        "take {} out of state.redb, into the folder `damaged`",
                        row.what
                    ));
                }
                Ok(Self {
                    positions: read.positions,
                    unreadable: read.unreadable,
                    is_broken: false,
                })
            }
            Err(reason) => {
                report.note_loss(format!(
                    "put state.redb aside ({reason}): the positions of all groups and all messages for later are lost; groups begin where their subscription says"
                ));
                Ok(Self {
                    is_broken: true,
                    ..Self::default()
                })
            }
        }
    }

    /// Below this offset a partition gave records to groups.
    pub(super) fn floor(&self, destination: &str, partition: u32) -> u64 {
        let of = self
            .positions
            .iter()
            .filter(|(name, _, index, _)| name == destination && *index == partition);
        let ends = of.map(|(_, _, _, progress)| progress::covered(progress));
        ends.filter(|end| *end < HIGHEST).max().unwrap_or(0)
    }

    /// Positions that no log can ever reach.
    pub(super) fn beyond_belief(&self, report: &RepairReport) -> Vec<Set> {
        let beyond = self
            .positions
            .iter()
            .filter(|(_, _, _, progress)| progress::covered(progress) >= HIGHEST);
        beyond
            .filter_map(|(destination, group, partition, _)| {
                let of = report
                    .partitions
                    .iter()
                    .find(|one| &one.destination == destination && one.partition == *partition)?;
                Some((destination.clone(), group.clone(), *partition, of.next_offset))
            })
            .collect()
    }

    pub(super) fn apply(&self, root: &Path, set: &[Set], report: &mut RepairReport) -> Result<(), String> {
        let path = root.join("state.redb");
        if self.is_broken {
            report.aside.push(put_aside(root, &path)?);
            return Ok(());
        }
        if self.unreadable.is_empty() && set.is_empty() {
            return Ok(());
        }
        // What is taken out is kept first.
        let rows = root.join("state-rows.txt");
        let kept = std::fs::write(&rows, self.text());
        let synced = kept.and_then(|()| std::fs::File::open(&rows)?.sync_all());
        synced.map_err(|error| format!("{}: {error}", rows.display()))?;
        report.aside.push(put_aside(root, &rows)?);
        self.change(&path, set)
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    /// The rows that go, in hexadecimal.
    fn text(&self) -> String {
        let mut text = String::new();
        for row in &self.unreadable {
            let _ = write!(text, "{}: ", row.what);
            for byte in &row.bytes {
                let _ = write!(text, "{byte:02x}");
            }
            text.push('\n');
        }
        text
    }

    fn change(&self, path: &Path, set: &[Set]) -> Result<(), redb::Error> {
        let database = Database::open(path)?;
        let writing = database.begin_write()?;
        {
            let mut positions = writing.open_table(PROGRESS)?;
            let mut delayed = writing.open_table(DELAYED)?;
            for row in &self.unreadable {
                match &row.row {
                    RowKey::Position(destination, group, partition) => {
                        positions.remove((destination.as_str(), group.as_str(), *partition))?;
                    }
                    RowKey::Delayed(due, sequence) => drop(delayed.remove((*due, *sequence))?),
                }
            }
            for (destination, group, partition, end) in set {
                let progress = Progress {
                    watermark: *end,
                    ..Progress::default()
                };
                let key = (destination.as_str(), group.as_str(), *partition);
                let sealed = rows::seal_group(key, progress::encode(&progress));
                positions.insert(key, sealed.as_slice())?;
            }
        }
        writing.commit()?;
        Ok(())
    }
}

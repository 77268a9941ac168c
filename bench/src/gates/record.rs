//! The recorded figures: [`Record`], and how a new one compares: [`Judgement`].

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::BenchError;

/// How far instructions may be above what is recorded; below it, it is said.
const TOLERANCE: f64 = 0.02;
/// Batches that end somewhere else by chance move the mean of allocations by less than this.
const ALLOCATIONS_TOLERANCE: f64 = 0.001;

const HEAD: &str = "\
# What a message costs in each single-threaded core: instructions under callgrind, allocations. Written by
# `cargo xtask gates --record`; `cargo xtask gates` fails above two percent more instructions or any more allocations.
";

/// What a message costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Cost {
    pub(super) instructions: f64,
    pub(super) allocations: f64,
}

/// The recorded figures by core.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(flatten)]
    cores: BTreeMap<String, Cost>,
}

/// How a figure compares with its record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Judgement {
    AsRecorded,
    /// By so many parts of what is recorded.
    Cheaper(f64),
    /// By so many parts of what is recorded.
    Dearer(f64),
    /// So many more allocations a message.
    Allocates(f64),
    Unrecorded,
}

impl Judgement {
    /// Whether the gate is passed.
    pub(super) fn holds(self) -> bool {
        matches!(self, Self::AsRecorded | Self::Cheaper(_))
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsRecorded => f.write_str("as recorded"),
            Self::Cheaper(part) => write!(f, "{:.1} % cheaper: record it", part * 100.0),
            Self::Dearer(part) => write!(f, "DEARER by {:.1} %", part * 100.0),
            Self::Allocates(more) => write!(f, "ALLOCATES {more:.4} more a message"),
            Self::Unrecorded => f.write_str("NOT RECORDED"),
        }
    }
}

impl Record {
    /// Reads the file; there may be none yet.
    pub(super) fn load(path: &Path) -> Result<Self, BenchError> {
        match std::fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map_err(BenchError::part("reading the recorded figures")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(BenchError::file(path)(error)),
        }
    }

    /// Writes the file.
    pub(super) fn store(&self, path: &Path) -> Result<(), BenchError> {
        let mut text = HEAD.to_owned();
        for (name, cost) in &self.cores {
            let Cost {
                instructions,
                allocations,
            } = cost;
            text.push_str(&format!(
                "\n[\"{name}\"]\ninstructions = {instructions:.1}\nallocations = {allocations:.4}\n"
            ));
        }
        std::fs::write(path, text).map_err(BenchError::file(path))
    }

    pub(super) fn put(&mut self, core: &str, cost: Cost) {
        self.cores.insert(core.to_owned(), cost);
    }

    pub(super) fn judge(&self, core: &str, cost: Cost) -> Judgement {
        let Some(recorded) = self.cores.get(core) else {
            return Judgement::Unrecorded;
        };
        let more = cost.allocations - recorded.allocations;
        if more > ALLOCATIONS_TOLERANCE {
            return Judgement::Allocates(more);
        }
        let part = (cost.instructions - recorded.instructions) / recorded.instructions.max(1.0);
        if part > TOLERANCE {
            Judgement::Dearer(part)
        } else if part < -TOLERANCE {
            Judgement::Cheaper(-part)
        } else {
            Judgement::AsRecorded
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(instructions: f64, allocations: f64) -> Cost {
        Cost {
            instructions,
            allocations,
        }
    }

    #[test]
    fn two_percent_and_any_allocation_are_the_limits() {
        let mut record = Record::default();
        record.put("core", cost(1_000.0, 1.0));
        for (found, holds) in [
            (cost(1_000.0, 1.0), true),
            (cost(1_019.0, 1.0), true),
            (cost(1_021.0, 1.0), false),
            (cost(500.0, 1.0), true),
            (cost(1_000.0, 1.01), false),
            (cost(500.0, 2.0), false),
            (cost(1_000.0, 0.5), true),
        ] {
            assert_eq!(record.judge("core", found).holds(), holds, "{found:?}");
        }
        assert_eq!(record.judge("other", cost(1.0, 0.0)), Judgement::Unrecorded);
        assert!(!Judgement::Unrecorded.holds());
    }

    #[test]
    fn what_is_stored_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gates.toml");
        assert_eq!(Record::load(&path).unwrap(), Record::default());
        let mut record = Record::default();
        record.put("engine, in turn", cost(123.5, 0.25));
        record.store(&path).unwrap();
        assert_eq!(Record::load(&path).unwrap(), record);
    }
}

//! Making a damaged log usable again, with what is lost being said: for an operator, never by itself.
//!
//! [`plan_repair`] reads everything and says what would be done and lost; [`RepairPlan::apply`] does it. Every record
//! whose checksums are right is kept at its offset, also behind damage. In place of the others the log says that these
//! offsets are lost: readers are told so once, by [`Chunk::lost`](crate::Chunk::lost), and go on behind them. Every file that
//! is changed is first put aside, whole, so that nothing is gone for good that might be read by other means.

mod apply;
mod plan;

pub use plan::plan_repair;

use crate::files::Files;
use crate::options::LogOptions;
use crate::place::Place;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// What is to be repaired. Nobody may have the log open.
#[derive(Debug)]
pub struct RepairRequest<'r> {
    /// The files.
    pub files: &'r Arc<dyn Files>,
    /// The directory of the log.
    pub dir: PathBuf,
    /// Where files are put aside, on the same file system if possible. It is made when it is needed.
    pub aside: PathBuf,
    /// Offsets below this were given to somebody, such as a group's position: no new record may get one of them, also
    /// when the segments that held them are gone.
    pub floor: u64,
}

/// Offsets that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The file.
    pub file: PathBuf,
    /// The byte where they stood.
    pub position: u64,
    /// How many bytes can't be read; 0 when the file is missing.
    pub bytes: u64,
    /// The offsets.
    pub offsets: Range<u64>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            position,
            bytes,
            offsets,
            reason,
        } = self;
        let file = file.display();
        write!(
            f,
            "records {}..{} ({bytes} bytes at byte {position} of {file}): {reason}",
            offsets.start, offsets.end
        )
    }
}

/// Something that a repair does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RepairStep {
    /// The end of the last segment holds nothing that can be read: it is put aside and cut off.
    Cut {
        /// The segment.
        file: PathBuf,
        /// Where it will end.
        position: u64,
        /// How many bytes go.
        bytes: u64,
    },
    /// The segment is put aside and what can be read of it is written again.
    Rewrite {
        /// The segment.
        file: PathBuf,
        /// The offsets that it stands for afterwards.
        offsets: Range<u64>,
        /// How many records are kept.
        records: u64,
    },
    /// A segment is made that says of offsets without a file that they are lost.
    Fill {
        /// The new segment.
        file: PathBuf,
        /// The offsets.
        offsets: Range<u64>,
    },
    /// An index that does not say what its segment says is put aside. It is made again when it is needed.
    RemoveIndex {
        /// The index.
        file: PathBuf,
    },
    /// A sync mark that cannot be read is put aside. The next sync makes it again.
    RemoveSyncMark {
        /// The mark.
        file: PathBuf,
    },
    /// A file that was never finished is removed.
    RemoveDraft {
        /// The file.
        file: PathBuf,
    },
}

impl fmt::Display for RepairStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut {
                file,
                position,
                bytes,
            } => {
                write!(
                    f,
                    "cut {} at byte {position} and put its last {bytes} bytes aside",
                    file.display()
                )
            }
            Self::Rewrite { file, records, .. } => {
                write!(
                    f,
                    "put {} aside and write the {records} records again that can be read",
                    file.display()
                )
            }
            Self::Fill { file, offsets } => {
                write!(
                    f,
                    "make {}, which says that the records {}..{} are lost",
                    file.display(),
                    offsets.start,
                    offsets.end
                )
            }
            Self::RemoveIndex { file } => write!(f, "put the index {} aside", file.display()),
            Self::RemoveSyncMark { file } => write!(f, "put the sync mark {} aside", file.display()),
            Self::RemoveDraft { file } => write!(f, "remove {}, which was never finished", file.display()),
        }
    }
}

/// What a repair would do to one log.
#[derive(Debug)]
pub struct RepairPlan {
    place: Place,
    aside: PathBuf,
    steps: Vec<RepairStep>,
    losses: Vec<Loss>,
    records: u64,
    next: u64,
}

impl RepairPlan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// What is done, in this order.
    pub fn steps(&self) -> &[RepairStep] {
        &self.steps
    }

    /// What is lost. Bytes without offsets were never a whole write.
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// How many records can be read, and are kept.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The offset that the next record gets afterwards.
    pub fn next_offset(&self) -> u64 {
        self.next
    }

    fn interval(&self) -> u32 {
        LogOptions::default().index_interval_bytes
    }
}

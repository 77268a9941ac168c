//! How a log is opened, what opening it found, and what it may delete.

use crate::files::Access;
use std::path::PathBuf;

/// How a log is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOptions {
    /// A segment file that would get larger than this is followed by a new one; 64 MiB by default. A frame that is
    /// larger than this gets a file of its own.
    pub segment_bytes: u64,
    /// One frame in so many bytes is in the index; 32 KiB by default. A lookup reads up to this much more, and an
    /// index takes 24 bytes of memory for each.
    pub index_interval_bytes: u32,
    /// The most bytes of a frame that is appended, at most 1 GiB; 16 MiB by default. Larger frames that are in the
    /// log are still read.
    pub max_frame_bytes: u32,
    /// What may be done with the log.
    pub access: Access,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            index_interval_bytes: 32 << 10,
            max_frame_bytes: 16 << 20,
            access: Access::ReadWrite,
        }
    }
}

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The oldest offset.
    pub first_offset: u64,
    /// The offset that the next record gets.
    pub next_offset: u64,
    /// How many segment files there are.
    pub segments: usize,
    /// How many bytes were read and verified: what the last segment holds beyond its checkpoint.
    pub verified_bytes: u64,
    /// What a crash had left behind and opening removed, or ignored when read only.
    pub cut: Option<Cut>,
}

/// The end of a file that was never completely written, and never promised to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub file: PathBuf,
    /// The byte at which it now ends.
    pub position: u64,
    /// The offset of the first record that was not complete.
    pub offset: u64,
    /// How many bytes there were behind that.
    pub bytes: u64,
    /// What was wrong.
    pub reason: String,
}

/// Which of the oldest segments may be deleted. The last segment always stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// A segment goes when all its records are older.
    pub max_age_ms: Option<u64>,
    /// A segment goes when the rest has at least so many bytes.
    pub max_bytes: Option<u64>,
    /// The present, in milliseconds since 1970.
    pub now_ms: i64,
    /// A segment with this offset or a later one stays.
    pub keep_from: u64,
}

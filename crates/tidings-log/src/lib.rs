//! The durable log of one partition: records with consecutive offsets, in checksummed segment files of one directory.
//!
//! ```
//! use std::path::Path;
//! use std::sync::Arc;
//! use tidings_log::{FrameBuilder, LogOptions, MemoryFiles, PartitionLog};
//!
//! let files = Arc::new(MemoryFiles::new()); // or DiskFiles
//! let (log, recovery) = PartitionLog::open(files, Path::new("orders/0"), LogOptions::default())?;
//! assert_eq!(recovery.next_offset, 0);
//!
//! let mut frame = FrameBuilder::default();
//! frame.push(1_700_000_000_000, Some(b"ada"), b"", Some(b"tea"))?;
//! frame.push(1_700_000_000_001, Some(b"bob"), b"", Some(b"milk"))?;
//! assert_eq!(log.append(&mut frame)?, 0..2);
//! assert_eq!(log.sync()?, 2); // from here on it outlives a crash of the machine
//!
//! let chunk = log.read(1, u64::MAX, 1 << 20)?;
//! let record = &chunk.records()[0];
//! assert_eq!((record.offset, chunk.payload(record)), (1, Some(&b"milk"[..])));
//! # Ok::<(), tidings_log::LogError>(())
//! ```
//!
//! # What it promises
//!
//! - What was synced is there after any crash, and nothing is delivered that was not appended: every byte of a record
//!   is covered by a checksum that is verified before the record leaves [`PartitionLog::read`].
//! - An append that was not finished is cut when the log is opened. Damage to what had been on the disk is a
//!   [`LogError::Corrupt`] that names file, place and cure; it is never skipped and never repaired by guessing.
//! - After one failed sync nothing more is acknowledged, until what is in doubt was verified, written once more and
//!   synced: by [`PartitionLog::recover`], or by opening the log again.
//! - Everything blocks, and everything takes `&self`. Reads never wait for a write or a sync.
//!
//! # What it is not
//!
//! It knows no topics, groups, threads or clocks, runs nothing in the background, syncs only when told to, and keeps
//! no lock file: whoever owns the directory sees to it that there is one owner. It does not compress, and it does not
//! delete single records. It needs a Unix system.
//!
//! # Limits
//!
//! A frame has at most [`LogOptions::max_frame_bytes`] (16 MiB, at most 1 GiB). A log that nobody uses takes about a
//! kilobyte of memory and one file descriptor; readers of older segments share two more, with their indexes of about
//! 50 KiB each. [`PooledFiles`] bounds the descriptors of many logs together.
//!
//! The bytes are described in `docs/log-format.md`.

mod builder;
mod chunk;
mod compaction;
mod damage;
mod error;
pub mod faults;
mod files;
mod format;
mod lock;
mod log;
mod options;
mod place;
mod recovery;
mod repair;
mod rewrite;
mod salvage;
mod scan;
mod segments;
mod verify;
mod walk;

pub use builder::FrameBuilder;
pub use chunk::{Chunk, Lost, RecordView, Span};
pub use compaction::{Compacted, Compaction, Throttle};
pub use error::LogError;
pub use files::{Access, DiskFiles, FileEntry, Files, LogFile, MemoryFiles, PooledFiles};
pub use log::{Copied, Frozen, LinkSealed, PartitionLog};
pub use options::{Cut, LogOptions, Recovery, Retention};
pub use repair::{Loss, RepairPlan, RepairRequest, RepairStep, plan_repair};
pub use verify::{LogReport, Neighbour, Problem, Severity, verify};

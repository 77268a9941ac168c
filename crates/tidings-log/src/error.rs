//! What can go wrong with a log, told apart by what the caller would do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why a log could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The operating system refused. [`LogError::is_storage_full`] tells a full disk, which can be tried again.
    #[error("can't {action} {}: {cause}: {}", file.display(), cure_of(cause))]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory.
        file: PathBuf,
        /// What the operating system said. It is in the message, and so not a source as well.
        cause: io::Error,
    },

    /// Bytes that were on the disk are not what was written. Nothing behind this place is delivered.
    #[error("{} is damaged at byte {position}, record {offset}: {reason}; {cure}", file.display())]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// The byte in the file.
        position: u64,
        /// The offset of the first record that can't be read.
        offset: u64,
        /// What is wrong there.
        reason: String,
        /// What an operator can do.
        cure: &'static str,
    },

    /// A newer release wrote this file.
    #[error(
        "{} has format version {found}, this build reads up to {supported}: \
         use the release that wrote it, or a newer one", file.display()
    )]
    NewerVersion {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u16,
        /// The newest version that this build reads.
        supported: u16,
    },

    /// The offset is not in the log: retention deleted it, or it was never written.
    #[error("offset {requested} is not in the log, which holds {first}..{next}: read from one of these")]
    OutOfRange {
        /// The offset that was asked for.
        requested: u64,
        /// The oldest offset that can be read.
        first: u64,
        /// The offset that the next record will get.
        next: u64,
    },

    /// An earlier failure left it open what is on the disk, so nothing may be acknowledged any more.
    #[error(
        "{} takes no more records until what is in doubt is written again, since {reason}: repair the disk, then \
         recover the log or open it again", dir.display()
    )]
    Poisoned {
        /// The log's directory.
        dir: PathBuf,
        /// The failure.
        reason: String,
    },

    /// The log was opened with [`Access::ReadOnly`](crate::Access::ReadOnly).
    #[error("{} was opened read only: open it for reading and writing", dir.display())]
    ReadOnly {
        /// The log's directory.
        dir: PathBuf,
    },

    /// A record that fits into no frame.
    #[error("a frame of {size} bytes is over the limit of {limit}: raise max_frame_bytes or send less")]
    TooLarge {
        /// Bytes of the frame that it would take.
        size: u64,
        /// The limit.
        limit: u64,
    },

    /// The frame has no room for this record, but an empty one has: append the frame, then push again.
    #[error("the frame is full, {size} bytes would be over its limit of {limit}: append it first")]
    FrameFull {
        /// Bytes that the frame would have.
        size: u64,
        /// The limit.
        limit: u64,
    },
}

/// What to do about damage. The log never repairs it, because that means to choose which records are lost.
const CURE: &str =
    "restore the file from a copy, or move the partition's directory away and begin with an empty one";

/// The error numbers of a process, and of a system, with too many open files.
const TOO_MANY_FILES: [i32; 2] = [24, 23];

/// What an operator can do about what the operating system refuses.
fn cure_of(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "make room on the disk"
        }
        io::ErrorKind::ReadOnlyFilesystem => "mount the file system for writing",
        io::ErrorKind::PermissionDenied => "give the user of this process access to it",
        io::ErrorKind::NotFound => "was it removed? restore it from a copy",
        _ if cause
            .raw_os_error()
            .is_some_and(|number| TOO_MANY_FILES.contains(&number)) =>
        {
            "raise the limit of open files (`ulimit -n`)"
        }
        _ => "look after the disk and at the system's log",
    }
}

impl LogError {
    /// Whether the disk, or a quota, is full: the log is unharmed and goes on when there is room again.
    pub fn is_storage_full(&self) -> bool {
        match self {
            Self::Io { cause, .. } => {
                matches!(
                    cause.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                )
            }
            _ => false,
        }
    }

    /// For `map_err`: names what was tried with which file.
    pub(crate) fn io(action: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let file = file.to_owned();
        move |cause| Self::Io { action, file, cause }
    }

    pub(crate) fn corrupt(file: &Path, position: u64, offset: u64, reason: impl ToString) -> Self {
        Self::Corrupt {
            file: file.to_owned(),
            position,
            offset,
            reason: reason.to_string(),
            cure: CURE,
        }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { cause, .. } if cause.kind() == io::ErrorKind::NotFound)
    }
}

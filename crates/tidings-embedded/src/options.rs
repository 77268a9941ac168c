//! How a broker is opened: [`EmbeddedOptions`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{BinderError, Clock};
use tidings_log::Files;

/// Where a broker keeps its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// In that directory. One process at a time owns it.
    Directory(PathBuf),
    /// In memory; gone when the last handle is dropped.
    Memory {
        /// Handles opened with the same name in one process are the same broker; without a name it is private.
        name: Option<String>,
    },
}

/// What may be done with a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Everything. The directory is locked for this process.
    #[default]
    ReadWrite,
    /// Reading, also beside a process that owns the directory. Nothing is written or repaired.
    ReadOnly,
}

/// When a message is on the disk and not only with the operating system.
///
/// A crash of the process never loses an acknowledged message, whatever is chosen here: this is about crashes of the
/// machine and loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Before it is acknowledged, and before any reader sees it. Messages that wait at the same time share one fsync.
    Always,
    /// At this interval, and before progress of a group is stored. A crash of the machine may lose what was
    /// acknowledged within the last interval.
    Interval(Duration),
    /// When the operating system writes it, and before progress of a group is stored. A crash of the machine may
    /// lose what was acknowledged within the last half minute or so.
    Os,
}

impl Default for Fsync {
    fn default() -> Self {
        Self::Interval(Duration::from_millis(10))
    }
}

/// What retention does with messages that a group has not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unread {
    /// They are kept, however old and large.
    #[default]
    Keep,
    /// They are deleted as any other; the group goes on at the oldest that is left.
    Drop,
}

/// How a broker is opened.
///
/// ```
/// # use tidings_embedded::{EmbeddedOptions, Fsync};
/// let options = EmbeddedOptions::from_url("embedded:./data")?.fsync(Fsync::Always).partitions(8);
/// # Ok::<(), tidings_core::BinderError>(())
/// ```
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    pub(crate) location: Location,
    pub(crate) access: Access,
    pub(crate) fsync: Fsync,
    pub(crate) segment_bytes: u64,
    pub(crate) max_message_bytes: usize,
    pub(crate) max_pending_bytes: usize,
    pub(crate) max_delayed_pending_bytes: usize,
    pub(crate) max_open_files: Option<u32>,
    pub(crate) max_marks: usize,
    pub(crate) retention_time: Option<Duration>,
    pub(crate) retention_bytes: Option<u64>,
    pub(crate) retention_interval: Duration,
    pub(crate) unread: Unread,
    pub(crate) tombstone_retention: Duration,
    pub(crate) compaction_interval: Duration,
    pub(crate) compaction_memory_bytes: usize,
    pub(crate) compaction_bytes_per_second: Option<u64>,
    pub(crate) partitions: u32,
    pub(crate) clock: Clock,
    pub(crate) files: Option<Arc<dyn Files>>,
}

impl EmbeddedOptions {
    /// The defaults for that place.
    pub fn new(location: Location) -> Self {
        Self {
            location,
            access: Access::default(),
            fsync: Fsync::default(),
            segment_bytes: 64 << 20,
            max_message_bytes: 1 << 20,
            max_pending_bytes: 64 << 20,
            max_delayed_pending_bytes: 64 << 20,
            max_open_files: None,
            max_marks: 16_384,
            retention_time: None,
            retention_bytes: None,
            retention_interval: Duration::from_secs(60),
            unread: Unread::default(),
            tombstone_retention: Duration::from_secs(24 * 3_600),
            compaction_interval: Duration::from_secs(60),
            compaction_memory_bytes: 32 << 20,
            compaction_bytes_per_second: Some(32 << 20),
            partitions: 4,
            clock: Clock::System,
            files: None,
        }
    }

    /// The defaults for `embedded:DIRECTORY`, `memory:` or `memory:NAME`.
    ///
    /// # Errors
    /// [`BinderError::Open`] for any other URL.
    pub fn from_url(url: &str) -> Result<Self, BinderError> {
        let refused = |reason: &str| BinderError::Open {
            url: url.to_owned(),
            reason: reason.to_owned(),
        };
        match url.split_once(':') {
            Some(("embedded", "")) => Err(refused("it names no directory: write `embedded:./data`")),
            Some(("embedded", directory)) if directory.starts_with("//") && !directory.starts_with("///") => {
                Err(refused(
                    "there is no host here: write `embedded:./data` or `embedded:/var/lib/shop`",
                ))
            }
            Some(("embedded", directory)) => Ok(Self::new(Location::Directory(directory.into()))),
            Some(("memory", name)) => Ok(Self::new(Location::Memory {
                name: (!name.is_empty()).then(|| name.to_owned()),
            })),
            _ => Err(refused(
                "this binder opens `embedded:DIRECTORY`, `memory:` and `memory:NAME`",
            )),
        }
    }

    /// What may be done with the directory.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// When messages are on the disk; 10 ms by default.
    #[must_use]
    pub fn fsync(mut self, fsync: Fsync) -> Self {
        self.fsync = fsync;
        self
    }

    /// How large a segment file gets before the next one is begun, in bytes; 64 MiB by default.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// The most bytes that key, payload and headers of a message may have together; 1 MiB by default. The engine's own
    /// headers do not count, so that a dead letter with its diagnosis fits wherever its message did.
    #[must_use]
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// How many bytes may wait to be written; 64 MiB by default. Beyond it a receipt waits for room, and its message
    /// is dropped if the receipt is dropped while it waits.
    #[must_use]
    pub fn max_pending_bytes(mut self, bytes: usize) -> Self {
        self.max_pending_bytes = bytes;
        self
    }

    /// How many bytes of messages for later may wait to be stored; 64 MiB by default. Beyond it a publish of one is
    /// refused until some are stored. One that is alone is taken however large it is.
    #[must_use]
    pub fn max_delayed_pending_bytes(mut self, bytes: usize) -> Self {
        self.max_delayed_pending_bytes = bytes;
        self
    }

    /// How many segment files are open at once; by default half of what the process may open, 16 at the least. The ones
    /// that were used longest ago are closed, and opened again when they are needed.
    #[must_use]
    pub fn max_open_files(mut self, files: u32) -> Self {
        self.max_open_files = Some(files);
        self
    }

    /// How many messages can be marked as being handled at a time, in the whole process; 16,384 by default, a million at
    /// the most. Others are handled unmarked, and not found out if they kill the process. Each takes 16 bytes of
    /// `running.marks`.
    #[must_use]
    pub fn max_marks(mut self, messages: usize) -> Self {
        self.max_marks = messages;
        self
    }

    /// Messages older than this may be deleted; none by default: kept for ever. A destination may set its own.
    ///
    /// It is for destinations that groups read. One in which no group has a position, as dead letters, keeps everything
    /// unless it sets its own, or [`Unread::Drop`] says that unread messages may go.
    #[must_use]
    pub fn retention_time(mut self, age: Option<Duration>) -> Self {
        self.retention_time = age;
        self
    }

    /// The oldest messages of a partition may be deleted beyond this many bytes; none by default. A destination may
    /// set its own. For which destinations it is: see [`retention_time`](Self::retention_time).
    #[must_use]
    pub fn retention_bytes(mut self, bytes: Option<u64>) -> Self {
        self.retention_bytes = bytes;
        self
    }

    /// How often retention looks; 60 s by default.
    #[must_use]
    pub fn retention_interval(mut self, interval: Duration) -> Self {
        self.retention_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// What retention does with messages that a group has not finished; they are kept by default.
    #[must_use]
    pub fn unread(mut self, unread: Unread) -> Self {
        self.unread = unread;
        self
    }

    /// How long a message with a key and no payload stays in a destination that is compacted, counted from when
    /// compaction has first seen it; 24 h by default. A destination may set its own. Whoever reads for longer than this
    /// may miss that a key was deleted.
    #[must_use]
    pub fn tombstone_retention(mut self, time: Duration) -> Self {
        self.tombstone_retention = time;
        self
    }

    /// How often compaction looks; 60 s by default. A partition is compacted when half of what could be is new.
    #[must_use]
    pub fn compaction_interval(mut self, interval: Duration) -> Self {
        self.compaction_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// How much memory compaction may take for the keys of a partition, in bytes; 32 MiB by default, which is enough for
    /// half a million keys. With more keys it reads the partition several times.
    #[must_use]
    pub fn compaction_memory_bytes(mut self, bytes: usize) -> Self {
        self.compaction_memory_bytes = bytes;
        self
    }

    /// How many bytes a second compaction may read and write; 32 MiB by default, none for no limit. In memory it is
    /// never slowed down.
    #[must_use]
    pub fn compaction_bytes_per_second(mut self, bytes: Option<u64>) -> Self {
        self.compaction_bytes_per_second = bytes;
        self
    }

    /// How many partitions a destination gets that asks for none; 4 by default.
    #[must_use]
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = partitions.max(1);
        self
    }

    /// Where timestamps and due times come from; the system's clock by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Another layer under the logs, for tests that inject faults. The lock file and the small state in `state.redb` do
    /// not pass through it. A broker in memory syncs such files as the fsync policy says.
    #[must_use]
    pub fn files(mut self, files: Arc<dyn Files>) -> Self {
        self.files = Some(files);
        self
    }

    /// How many segment files are open at once.
    pub(crate) fn open_files(&self) -> usize {
        let half = || {
            let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
            u32::try_from(limit.unwrap_or(u64::MAX) / 2).unwrap_or(u32::MAX)
        };
        self.max_open_files.unwrap_or_else(half).clamp(16, 1_000_000) as usize
    }

    /// The URL that opens this place.
    pub(crate) fn url(&self) -> String {
        match &self.location {
            Location::Directory(path) => format!("embedded:{}", path.display()),
            Location::Memory { name } => format!("memory:{}", name.as_deref().unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_directory_or_memory() {
        let directory = |path: &str| Location::Directory(path.into());
        let memory = |name: Option<&str>| Location::Memory {
            name: name.map(str::to_owned),
        };
        for (url, location) in [
            ("embedded:./data", directory("./data")),
            ("embedded:/var/lib/shop", directory("/var/lib/shop")),
            ("memory:", memory(None)),
            ("memory:test", memory(Some("test"))),
        ] {
            let options = EmbeddedOptions::from_url(url).unwrap();
            assert_eq!(options.location, location);
            assert_eq!(options.url(), url);
        }
    }

    #[test]
    fn other_urls_are_refused_with_the_cure() {
        for url in ["embedded:", "embedded://data", "kafka://h", "data", ""] {
            let refused = EmbeddedOptions::from_url(url).unwrap_err().to_string();
            assert!(refused.contains("embedded:"), "{refused}");
        }
    }
}

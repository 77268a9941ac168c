//! One partition: its log, who waits for it, and what is wrong with it.

use crate::lock::lock;
use crate::queue::Queue;
use crate::shared::Shared;
use crate::signal::News;
use crate::tail::Tail;
use crossbeam_utils::CachePadded;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use tidings_core::{Position, PublishError, SourceError};
use tidings_log::{FileEntry, LogError, PartitionLog};

/// A partition of a destination. Its log is opened when it is first needed, so that thousands of idle ones cost
/// nothing.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) topic: Arc<str>,
    pub(crate) index: u32,
    /// On a cache line of its own, as is `readers`: both change with every message that is published, while whoever
    /// reads looks at the rest.
    pub(crate) queue: CachePadded<Mutex<Queue>>,
    /// Used by a broker in memory only.
    pub(crate) tail: Tail,
    /// In a box: of ten thousand destinations most partitions are never opened.
    log: OnceLock<Box<PartitionLog>>,
    opening: Mutex<()>,
    /// Damage found while opening; looking again would cost a scan and find the same.
    damaged: OnceLock<Arc<LogError>>,
    /// With `Fsync::Always`: readers see nothing at or above this.
    synced: AtomicU64,
    /// On the list of those that the syncer visits.
    unsynced: AtomicBool,
    faulty: AtomicBool,
    /// It was looked at while it was closed, and has one segment at the most.
    single: AtomicBool,
    readers: CachePadded<Mutex<Vec<Arc<News>>>>,
}

impl Partition {
    pub(crate) fn new(topic: Arc<str>, index: u32) -> Self {
        Self {
            topic,
            index,
            queue: CachePadded::default(),
            tail: Tail::default(),
            log: OnceLock::new(),
            opening: Mutex::default(),
            damaged: OnceLock::new(),
            synced: AtomicU64::new(0),
            unsynced: AtomicBool::new(false),
            faulty: AtomicBool::new(false),
            single: AtomicBool::new(false),
            readers: CachePadded::default(),
        }
    }

    /// How errors and health name it.
    pub(crate) fn place(&self) -> String {
        format!("{}/{}", self.topic, self.index)
    }

    /// What a receipt says.
    pub(crate) fn position(&self, offset: u64) -> Position {
        Position::new(self.topic.clone(), self.index, offset)
    }

    /// The log if it is open.
    pub(crate) fn opened(&self) -> Option<&PartitionLog> {
        self.log.get().map(|log| &**log)
    }

    /// The log with everything that was published, opened if need be, which blocks.
    pub(crate) fn log(&self, shared: &Shared) -> Result<&PartitionLog, Arc<LogError>> {
        let log = self.log_without_tail(shared)?;
        if shared.is_volatile() {
            self.tail.close(log, &shared.frames).map_err(Arc::new)?;
        }
        Ok(log)
    }

    /// The same for who publishes: what stands in the tail stays there.
    pub(crate) fn log_without_tail(&self, shared: &Shared) -> Result<&PartitionLog, Arc<LogError>> {
        if let Some(log) = self.log.get() {
            return Ok(log);
        }
        self.open(shared)
    }

    #[cold]
    fn open(&self, shared: &Shared) -> Result<&PartitionLog, Arc<LogError>> {
        let _opening = lock(&self.opening);
        if let Some(log) = self.log.get() {
            return Ok(log);
        }
        if let Some(damage) = self.damaged.get() {
            return Err(damage.clone());
        }
        let opened = self.open_log(shared).map_err(|error| {
            let error = Arc::new(error);
            shared.health.report(&self.place(), &error.to_string());
            if matches!(*error, LogError::Corrupt { .. } | LogError::NewerVersion { .. }) {
                self.damaged.get_or_init(|| error.clone());
            } else {
                self.faulty.store(true, Ordering::Release);
            }
            error
        })?;
        self.succeeded(shared);
        Ok(self.log.get_or_init(|| Box::new(opened)))
    }

    fn open_log(&self, shared: &Shared) -> Result<PartitionLog, LogError> {
        let directory = shared.partition_directory(&self.topic, self.index);
        let (log, recovery) = PartitionLog::open(shared.files.clone(), &directory, shared.log_options())?;
        if recovery.cut.is_some() {
            tracing::warn!(place = %self.place(), ?recovery, "cut what a crash left unfinished at the end, or what it left there damaged with no proof that it was on the disk");
        }
        if shared.is_synced_first() {
            // What a killed process left unsynced becomes visible only now.
            self.synced.store(log.sync()?, Ordering::Release);
        }
        // Before anybody can append: the offsets from here on belong to messages that are still to come.
        shared
            .keeper
            .clip(shared, &self.topic, self.index, log.next_offset());
        Ok(log)
    }

    /// Whether there is nothing that retention could delete, because nobody has opened it and it has one segment at the
    /// most. That changes only when somebody opens it, so the directory is looked at once.
    pub(crate) fn is_settled(&self, shared: &Shared) -> bool {
        if self.log.get().is_some() {
            return false;
        }
        if self.single.load(Ordering::Relaxed) {
            return true;
        }
        let directory = shared.partition_directory(&self.topic, self.index);
        let segments = |entries: Vec<FileEntry>| {
            let segments = entries.iter().filter(|entry| entry.name.ends_with(".log"));
            segments.count()
        };
        let single = shared
            .files
            .list(&directory)
            .is_ok_and(|entries| segments(entries) <= 1);
        self.single.store(single, Ordering::Relaxed);
        single
    }

    /// The offset up to which readers may see.
    pub(crate) fn end(&self, shared: &Shared, log: &PartitionLog) -> u64 {
        if shared.is_synced_first() {
            self.synced.load(Ordering::Acquire)
        } else {
            log.next_offset()
        }
    }

    /// Everything below is on the disk: readers may see it.
    pub(crate) fn show(&self, end: u64) {
        self.synced.fetch_max(end, Ordering::AcqRel);
    }

    /// Tells whoever reads that there is more.
    pub(crate) fn wake(&self) {
        for reader in lock(&self.readers).iter() {
            reader.tell();
        }
    }

    /// Tells this reader from now on.
    pub(crate) fn watch(&self, reader: &Arc<News>) {
        lock(&self.readers).push(reader.clone());
    }

    /// No longer.
    pub(crate) fn unwatch(&self, reader: &Arc<News>) {
        let mut readers = lock(&self.readers);
        if let Some(place) = readers.iter().position(|other| Arc::ptr_eq(other, reader)) {
            readers.swap_remove(place);
        }
    }

    /// Read-only: looks what the owner has written since; blocks.
    pub(crate) fn refresh(&self, shared: &Shared) {
        if !shared.is_read_only() {
            return;
        }
        if let Ok(log) = self.log(shared)
            && let Err(error) = log.refresh()
        {
            // What was read before can still be read; reading on finds the same damage and reports it.
            self.faulty.store(true, Ordering::Release);
            shared.health.report(&self.place(), &error.to_string());
        }
    }

    /// Notes that there is something that was not synced; whether it is news.
    pub(crate) fn mark_unsynced(&self) -> bool {
        !self.unsynced.swap(true, Ordering::AcqRel)
    }

    /// It is about to be synced: what is appended from now on is news.
    pub(crate) fn unmark_unsynced(&self) {
        self.unsynced.store(false, Ordering::Release);
    }

    /// Syncs what was appended before; blocks.
    pub(crate) fn sync(&self, shared: &Shared) -> Result<(), LogError> {
        let Some(log) = self.log.get() else { return Ok(()) };
        if log.synced_offset() >= log.next_offset() {
            return Ok(());
        }
        match log.sync() {
            Ok(_) => Ok(()),
            Err(error) => {
                self.failed(shared, &error);
                Err(error)
            }
        }
    }

    /// Whether it takes nothing until what is in doubt is written again.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.log.get().is_some_and(|log| log.poisoned().is_some())
    }

    /// Writes again what a failed sync left in doubt, and syncs it. Then it takes messages again, and those that were
    /// refused because of the sync can be read.
    pub(crate) fn recover(&self, shared: &Shared) -> Result<(), LogError> {
        let Some(log) = self.log.get() else { return Ok(()) };
        match log.recover() {
            Ok(end) => {
                self.show(end);
                self.succeeded(shared);
                self.wake();
                Ok(())
            }
            Err(error) => {
                self.failed(shared, &error);
                Err(error)
            }
        }
    }

    /// Notes a failure, for health, and says it to who published.
    pub(crate) fn failed(&self, shared: &Shared, error: &LogError) -> PublishError {
        let reason = if error.is_storage_full() {
            format!("{error}, then it goes on by itself")
        } else {
            error.to_string()
        };
        self.faulty.store(true, Ordering::Release);
        shared.health.report(&self.place(), &reason);
        PublishError::Unavailable {
            destination: self.topic.clone(),
            reason,
        }
    }

    /// An append succeeded: an earlier failure is over.
    pub(crate) fn succeeded(&self, shared: &Shared) {
        if self.faulty.load(Ordering::Acquire) && self.faulty.swap(false, Ordering::AcqRel) {
            shared.health.clear(&self.place());
        }
    }

    /// What a reader is told.
    pub(crate) fn unreadable(&self, shared: &Shared, error: &LogError, offset: u64) -> SourceError {
        let damage = |offset, reason| SourceError::Corrupt {
            destination: self.topic.clone(),
            partition: self.index,
            offset,
            reason,
        };
        match error {
            LogError::Corrupt { offset, .. } => {
                shared.health.report(&self.place(), &error.to_string());
                damage(*offset, error.to_string())
            }
            LogError::NewerVersion { .. } => damage(offset, error.to_string()),
            _ => SourceError::Unavailable {
                reason: format!("{}: {error}", self.place()),
            },
        }
    }
}

/// The directory of a partition below that of its topic.
pub(crate) fn directory(topic: &Path, index: u32) -> std::path::PathBuf {
    topic.join(index.to_string())
}

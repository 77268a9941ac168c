//! The log of one partition.

mod append;
mod compact;
mod freeze;
mod hints;
mod read;
mod recover;
mod refresh;
mod retention;
mod time;

use crate::error::LogError;
use crate::files::{Access, Files, LogFile};
use crate::lock::{lock, read, write};
use crate::options::{LogOptions, Recovery};
use crate::place::Place;
use crate::recovery;
use crate::segments::{OpenedCache, View};
use append::Writer;
use crossbeam_utils::CachePadded;
pub use freeze::{Copied, Frozen, LinkSealed};
use hints::Hints;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};

/// The durable log of one partition: records with consecutive offsets, in segment files of one directory.
///
/// All methods block, and all take `&self`: put it into an `Arc` and share it. Appends exclude each other, and so do
/// syncs. Reads wait for neither: a reader sees a frame when it is written completely, and never a part of it.
///
/// The caller sees to it that one process at a time has a directory open for writing.
pub struct PartitionLog {
    place: Place,
    options: LogOptions,
    /// Replaced when a segment is begun or deleted; held for a moment, never while a file is read or written.
    view: RwLock<Arc<View>>,
    /// The first offset, and the next, for those who only ask whether there is news.
    first: AtomicU64,
    next: AtomicU64,
    synced: AtomicU64,
    /// Held while a frame is written. None before the first one. On a cache line of its own, for it changes with every
    /// append while readers look at its neighbours.
    writer: CachePadded<Mutex<Option<Writer>>>,
    /// Held while a file is synced. Taken after `writer`, never before it.
    syncing: Mutex<()>,
    /// The file of the sync mark, from the first sync on: to open and close it each time costs more than to write it.
    sync_mark: Mutex<Option<Arc<dyn LogFile>>>,
    /// Held while segments are deleted or get another file.
    deleting: Mutex<()>,
    /// Held while the log is compacted.
    compacting: Mutex<()>,
    /// How many are copying the log; none of its segments is deleted meanwhile.
    copying: AtomicUsize,
    /// Why nothing may be promised any more; the flag is for those who only ask whether.
    poison: Mutex<Option<String>>,
    is_poisoned: AtomicBool,
    opened: OpenedCache,
    hints: Mutex<Hints>,
}

impl PartitionLog {
    /// Opens the log in a directory, or begins one there. Only the end of the last segment is read.
    ///
    /// What a crash left unfinished at the end is cut, which [`Recovery`] tells. Read only, nothing is cut, and an
    /// empty directory is an empty log.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] when bytes that had been on the disk are missing or changed, [`LogError::NewerVersion`],
    /// and [`LogError::Io`].
    pub fn open(
        files: Arc<dyn Files>,
        dir: &Path,
        options: LogOptions,
    ) -> Result<(Self, Recovery), LogError> {
        let dir = dir.to_owned();
        let place = Place { files, dir };
        let (view, recovery) = recovery::recover(&place, &options)?;
        let log = Self {
            place,
            options,
            first: AtomicU64::new(view.first()),
            next: AtomicU64::new(view.next()),
            synced: AtomicU64::new(view.next()),
            view: RwLock::new(Arc::new(view)),
            writer: CachePadded::default(),
            syncing: Mutex::default(),
            sync_mark: Mutex::default(),
            deleting: Mutex::default(),
            compacting: Mutex::default(),
            copying: AtomicUsize::new(0),
            poison: Mutex::default(),
            is_poisoned: AtomicBool::new(false),
            opened: OpenedCache::default(),
            hints: Mutex::default(),
        };
        log.note_recovered(&recovery);
        Ok((log, recovery))
    }

    /// What opening had to write again is on the disk now, which is worth a mark as any other sync.
    fn note_recovered(&self, recovery: &Recovery) {
        let is_owner = self.options.access == Access::ReadWrite;
        let view = self.view();
        if let (true, true, Some(active)) = (is_owner, recovery.verified_bytes > 0, &view.active) {
            self.note_synced(active, active.mark());
        }
    }

    /// The oldest offset that can be read; the next one when there is no record.
    pub fn first_offset(&self) -> u64 {
        self.first.load(Ordering::Acquire)
    }

    /// The offset that the next record gets.
    pub fn next_offset(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// Every record below this offset is on the disk. A log that is opened read only does not know, and says the next
    /// offset.
    pub fn synced_offset(&self) -> u64 {
        match self.options.access {
            Access::ReadWrite => self.synced.load(Ordering::Acquire),
            Access::ReadOnly => self.next_offset(),
        }
    }

    /// Bytes of all segment files, without their indexes.
    pub fn bytes(&self) -> u64 {
        self.view().bytes()
    }

    /// How many segment files there are.
    pub fn segments(&self) -> usize {
        let view = self.view();
        view.sealed.len() + usize::from(view.active.is_some())
    }

    /// Where the log is.
    pub fn dir(&self) -> &Path {
        &self.place.dir
    }

    /// Why nothing can be appended any more, if so.
    pub fn poisoned(&self) -> Option<String> {
        match self.is_poisoned.load(Ordering::Acquire) {
            true => lock(&self.poison).clone(),
            false => None,
        }
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&read(&self.view))
    }

    /// Replaces the view by what `change` makes of it. `change` must not touch files.
    fn change_view(&self, change: impl FnOnce(&mut View)) {
        let mut view = write(&self.view);
        let mut changed = View::clone(&view);
        change(&mut changed);
        self.first.store(changed.first(), Ordering::Release);
        *view = Arc::new(changed);
    }

    fn check_writable(&self) -> Result<(), LogError> {
        let dir = || self.place.dir.clone();
        if self.options.access == Access::ReadOnly {
            return Err(LogError::ReadOnly { dir: dir() });
        }
        match self.poisoned() {
            None => Ok(()),
            Some(reason) => Err(LogError::Poisoned { dir: dir(), reason }),
        }
    }

    /// Nothing is taken for durable from now on. Gives the error back.
    fn poison(&self, error: LogError) -> LogError {
        // The first reason is the one to repair.
        lock(&self.poison).get_or_insert_with(|| error.to_string());
        self.is_poisoned.store(true, Ordering::Release);
        error
    }
}

impl Drop for PartitionLog {
    /// Writes a checkpoint of what is synced, so that the next opening does not read it again. Nothing is synced here:
    /// that can fail, and nobody would hear of it.
    fn drop(&mut self) {
        let _ = self.checkpoint();
    }
}

impl fmt::Debug for PartitionLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionLog")
            .field("dir", &self.place.dir)
            .field("first", &self.first_offset())
            .field("next", &self.next_offset())
            .field("synced", &self.synced_offset())
            .field("poisoned", &self.poisoned())
            .finish_non_exhaustive()
    }
}

//! Bounding how many files are open at once: [`PooledFiles`].

use super::{Access, FileEntry, Files, LogFile};
use crate::lock::{lock, read, write};
use std::cmp::Reverse;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock, Weak};

/// Other files, of which only so many are open at once. The ones that were used longest ago are closed, and opened again
/// when they are used: ten thousand logs then need as many descriptors as those that are in use.
///
/// A file with something unsynced is closed last, and synced before that, because a failure that nobody was told would
/// be lost with its descriptor. What such a sync fails with, the next sync of the file is told.
///
/// A [note](Files::note) stays open only where three quarters of the limit leave room for it, and is closed before any
/// other file and without a sync; one for which there is no room is opened for each write.
///
/// A file that was removed cannot be opened again: a reader that still has it may find it gone.
#[derive(Clone)]
pub struct PooledFiles {
    inner: Arc<dyn Files>,
    pool: Arc<Pool>,
}

struct Pool {
    limit: usize,
    open: AtomicUsize,
    /// Grows with each opening; what was used since the same opening counts as equally recent.
    clock: AtomicU64,
    /// Those that are open. Some may be gone.
    slots: Mutex<Vec<Weak<Slot>>>,
}

impl PooledFiles {
    /// At most `limit` files of those below are open at once, and at least one. Files in the midst of a call are not
    /// closed, so for a moment there can be as many more as threads.
    pub fn new(inner: Arc<dyn Files>, limit: usize) -> Self {
        Self {
            inner,
            pool: Arc::new(Pool {
                limit: limit.max(1),
                open: AtomicUsize::new(0),
                clock: AtomicU64::new(0),
                slots: Mutex::default(),
            }),
        }
    }

    /// How many files are open now.
    pub fn open_files(&self) -> usize {
        self.pool.open.load(Ordering::Relaxed)
    }

    fn slot(&self, path: &Path, access: Access, file: Arc<dyn LogFile>) -> Arc<dyn LogFile> {
        let slot = Arc::new(Slot {
            files: Arc::clone(&self.inner),
            pool: Arc::clone(&self.pool),
            path: path.to_owned(),
            kind: Kind::File(access),
            file: RwLock::new(Some(file)),
            used: AtomicU64::new(0),
            unsynced: AtomicBool::new(false),
            failure: Mutex::default(),
        });
        self.pool.opened(&slot);
        Arc::new(Pooled(slot))
    }
}

impl Pool {
    /// Whether a note may be opened to stay: closing some files makes more room than that, so those that were closed for
    /// want of room do not make way for notes.
    fn has_room_for_notes(&self) -> bool {
        self.open.load(Ordering::Relaxed) < self.limit - self.limit / 4
    }

    fn opened(&self, slot: &Arc<Slot>) {
        let now = self.clock.fetch_add(1, Ordering::Relaxed) + 1;
        slot.used.store(now, Ordering::Relaxed);
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        let mut slots = lock(&self.slots);
        slots.push(Arc::downgrade(slot));
        if open > self.limit {
            self.close_some(&mut slots, slot);
        }
    }

    /// Closes an eighth of them, so that this is rarely looked for.
    fn close_some(&self, slots: &mut Vec<Weak<Slot>>, except: &Arc<Slot>) {
        let mut alive: Vec<_> = slots.iter().filter_map(Weak::upgrade).collect();
        // The last ones go first: notes before all others, and those with something unsynced after them.
        alive.sort_by_cached_key(|slot| {
            let is_log = slot.kind != Kind::Note;
            let unsynced = slot.unsynced.load(Ordering::Relaxed);
            Reverse((is_log, unsynced, slot.used.load(Ordering::Relaxed)))
        });
        let target = self.limit - self.limit / 8;
        let mut candidates = alive.iter().rev().filter(|slot| !Arc::ptr_eq(slot, except));
        while self.open.load(Ordering::Relaxed) > target {
            let Some(slot) = candidates.next() else { break };
            slot.close();
        }
        *slots = alive
            .iter()
            .filter(|slot| Arc::ptr_eq(slot, except) || slot.is_open())
            .map(Arc::downgrade)
            .collect();
    }
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File(Access),
    Note,
}

/// One file, open or not.
struct Slot {
    files: Arc<dyn Files>,
    pool: Arc<Pool>,
    path: PathBuf,
    kind: Kind,
    /// Held for reading during every call, so that nobody closes it meanwhile.
    file: RwLock<Option<Arc<dyn LogFile>>>,
    /// The pool's clock when it was last used.
    used: AtomicU64,
    unsynced: AtomicBool,
    /// What a sync before closing failed with.
    failure: Mutex<Option<io::Error>>,
}

impl Slot {
    fn with<T>(self: &Arc<Self>, call: impl FnOnce(&dyn LogFile) -> io::Result<T>) -> io::Result<T> {
        let now = self.pool.clock.load(Ordering::Relaxed);
        if self.used.load(Ordering::Relaxed) != now {
            self.used.store(now, Ordering::Relaxed);
        }
        if let Some(file) = &*read(&self.file) {
            return call(&**file);
        }
        if self.kind == Kind::Note && !self.pool.has_room_for_notes() {
            return call(&*self.open()?);
        }
        self.open_again()?;
        // Whoever opened it made it the most recent one: it is closed again only after as many others were opened.
        match &*read(&self.file) {
            Some(file) => call(&**file),
            None => call(&*self.open()?),
        }
    }

    fn open(&self) -> io::Result<Arc<dyn LogFile>> {
        match self.kind {
            Kind::File(access) => self.files.open(&self.path, access),
            Kind::Note => self.files.note(&self.path),
        }
    }

    fn open_again(self: &Arc<Self>) -> io::Result<()> {
        {
            let mut file = write(&self.file);
            if file.is_some() {
                return Ok(());
            }
            *file = Some(self.open()?);
        }
        self.pool.opened(self);
        Ok(())
    }

    fn is_open(&self) -> bool {
        // Whoever holds it for writing opens it.
        self.file.try_read().is_ok_and(|file| file.is_some())
    }

    /// Closes it, unless it is in use or cannot be synced.
    fn close(&self) {
        let Ok(mut file) = self.file.try_write() else {
            return;
        };
        let Some(open) = &*file else { return };
        if self.unsynced.load(Ordering::Acquire) {
            if let Err(error) = open.sync_data() {
                lock(&self.failure).get_or_insert(error);
                return;
            }
            self.unsynced.store(false, Ordering::Release);
        }
        *file = None;
        self.pool.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if read(&self.file).is_some() {
            self.pool.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A handle: what the trait wants behind a shared reference needs the slot's own.
struct Pooled(Arc<Slot>);

impl LogFile for Pooled {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.with(|file| file.read_at(buffer, position))
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        self.0.with(|file| {
            let written = file.write_at(bytes, position);
            // Also after a failure: it may have written some. While this call lasts nobody closes it.
            if self.0.kind != Kind::Note {
                self.0.unsynced.store(true, Ordering::Release);
            }
            written
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.with(|file| {
            if let Some(error) = lock(&self.0.failure).take() {
                return Err(error);
            }
            // Before the sync: what is written during it must be marked again.
            let unsynced = self.0.unsynced.swap(false, Ordering::AcqRel);
            let synced = file.sync_data();
            if synced.is_err() && unsynced {
                self.0.unsynced.store(true, Ordering::Release);
            }
            synced
        })
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.with(|file| {
            let cut = file.truncate(len);
            self.0.unsynced.store(true, Ordering::Release);
            cut
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.0.with(|file| file.len())
    }
}

impl Files for PooledFiles {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<FileEntry>> {
        self.inner.list(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn LogFile>> {
        let file = self.inner.create(path)?;
        Ok(self.slot(path, Access::ReadWrite, file))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn LogFile>> {
        let file = self.inner.open(path, access)?;
        Ok(self.slot(path, access, file))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.remove_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    /// It is opened, and made, when it is first written.
    fn note(&self, path: &Path) -> io::Result<Arc<dyn LogFile>> {
        Ok(Arc::new(Pooled(Arc::new(Slot {
            files: Arc::clone(&self.inner),
            pool: Arc::clone(&self.pool),
            path: path.to_owned(),
            kind: Kind::Note,
            file: RwLock::default(),
            used: AtomicU64::new(0),
            unsynced: AtomicBool::new(false),
            failure: Mutex::default(),
        }))))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }
}

impl fmt::Debug for PooledFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledFiles")
            .field("inner", &self.inner)
            .field("limit", &self.pool.limit)
            .field("open", &self.open_files())
            .finish()
    }
}

impl fmt::Debug for Pooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pooled")
            .field("path", &self.0.path)
            .field("open", &self.0.is_open())
            .finish_non_exhaustive()
    }
}

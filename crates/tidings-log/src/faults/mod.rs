//! A file layer that fails and crashes on demand, **for tests**: ours, and those of whoever stores on this log.
//!
//! ```
//! # use std::sync::Arc;
//! # use std::path::Path;
//! use tidings_log::faults::{EIO, Fault, FaultyFiles, Loss, Operation};
//! use tidings_log::{FrameBuilder, LogOptions, MemoryFiles, PartitionLog};
//!
//! let files = Arc::new(FaultyFiles::new(Arc::new(MemoryFiles::new())));
//! let (log, _) = PartitionLog::open(files.clone(), Path::new("orders"), LogOptions::default())?;
//! let mut frame = FrameBuilder::default();
//! frame.push(0, None, b"", Some(b"kept"))?;
//! log.append(&mut frame)?;
//! log.sync()?;
//! frame.push(0, None, b"", Some(b"lost"))?;
//! log.append(&mut frame)?;
//! files.inject(Fault::fail(Operation::Sync, EIO));
//! assert!(log.sync().is_err());
//!
//! files.crash(Loss::Unsynced)?;
//! let (log, _) = PartitionLog::open(files, Path::new("orders"), LogOptions::default())?;
//! assert_eq!(log.next_offset(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod directories;
mod file;
mod plan;

pub use plan::{EIO, ENOSPC, Effect, Fault, Operation};

use crate::files::{Access, FileEntry, Files, LogFile};
use crate::lock::{lock, read, write};
use directories::{Change, Names};
use file::{Content, FaultyFile};
use plan::Plan;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

/// What a crash leaves of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// All of it: the process was killed, the machine goes on.
    Nothing,
    /// None of it: neither bytes nor names.
    Unsynced,
    /// Some of it. Sectors of 512 bytes are there or not, in any order; a file has any length between that which was
    /// synced and the present one; and a directory has the first few of its changes.
    Some {
        /// The same seed after the same calls leaves the same.
        seed: u64,
    },
    /// One of all the ways in which sectors, lengths and changes of directories can be there or not; a file has the
    /// length that was synced or the present one. Count up from 0 until [`FaultyFiles::crash`] says that it was the last.
    Chosen {
        /// Which one.
        number: u64,
    },
}

/// Files with faults. It tells what is on the disk from what only the system's memory holds, as POSIX does: bytes
/// are durable after a sync of their file, names after a sync of their directory, and bytes of a failed sync only
/// when they are written again.
///
/// Clones share the files and the faults.
#[derive(Clone)]
pub struct FaultyFiles {
    shared: Arc<Shared>,
}

type Hook = Arc<dyn Fn(&Path) + Send + Sync>;

struct Shared {
    inner: Arc<dyn Files>,
    plan: Mutex<Plan>,
    names: Mutex<Names>,
    before_sync: RwLock<Option<Hook>>,
    /// Counts crashes: a file that was opened before one is dead.
    life: AtomicU64,
}

impl FaultyFiles {
    /// Faults over other files. What these hold already counts as being on the disk.
    pub fn new(inner: Arc<dyn Files>) -> Self {
        Self {
            shared: Arc::new(Shared {
                inner,
                plan: Mutex::default(),
                names: Mutex::default(),
                before_sync: RwLock::default(),
                life: AtomicU64::new(0),
            }),
        }
    }

    /// Adds a fault. Faults are asked in the order in which they were added; the first that applies takes effect.
    pub fn inject(&self, fault: Fault) {
        lock(&self.shared.plan).add(fault);
    }

    /// Takes all faults back.
    pub fn heal(&self) {
        lock(&self.shared.plan).clear();
    }

    /// How often that was called until now, failures included.
    pub fn count(&self, operation: Operation) -> u64 {
        lock(&self.shared.plan).count(operation, |_| true)
    }

    /// The same for files whose names end with a dot and this.
    pub fn count_of(&self, operation: Operation, extension: &str) -> u64 {
        lock(&self.shared.plan).count(operation, |of| of == extension)
    }

    /// Calls this before each sync of a file, with its path. It may block, which makes a slow disk.
    pub fn before_sync(&self, hook: impl Fn(&Path) + Send + Sync + 'static) {
        *write(&self.shared.before_sync) = Some(Arc::new(hook));
    }

    /// Crashes: what was open is dead, and the files hold what the loss leaves. Open them again from here. Whether there
    /// are more ways than [`Loss::Chosen`] had chosen up to now.
    ///
    /// # Errors
    /// When the files below can't be brought into that state.
    pub fn crash(&self, loss: Loss) -> io::Result<bool> {
        let mut names = lock(&self.shared.names);
        self.shared.life.fetch_add(1, Ordering::SeqCst);
        names.crash(&*self.shared.inner, loss)
    }
}

impl Shared {
    fn allow(&self, operation: Operation, path: &Path) -> io::Result<()> {
        match lock(&self.plan).next(operation, path) {
            Some(effect) => Err(effect.error()),
            None => Ok(()),
        }
    }

    fn effect(&self, operation: Operation, path: &Path) -> Option<Effect> {
        lock(&self.plan).next(operation, path)
    }

    fn run_hook(&self, path: &Path) {
        let hook = read(&self.before_sync).clone();
        if let Some(hook) = hook {
            hook(path);
        }
    }

    fn is_alive(&self, life: u64) -> io::Result<()> {
        match self.life.load(Ordering::SeqCst) == life {
            true => Ok(()),
            false => Err(io::Error::other(
                "this file was opened before a crash: open it again",
            )),
        }
    }
}

impl FaultyFiles {
    fn handle(&self, content: Arc<Mutex<Content>>, inner: Arc<dyn LogFile>) -> Arc<dyn LogFile> {
        Arc::new(FaultyFile {
            shared: Arc::clone(&self.shared),
            content,
            inner,
            life: self.shared.life.load(Ordering::SeqCst),
        })
    }
}

impl Files for FaultyFiles {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut names = lock(&self.shared.names);
        let inner = &self.shared.inner;
        let is_missing = |dir: &&Path| !dir.as_os_str().is_empty() && !inner.exists(dir).unwrap_or(true);
        let missing: Vec<&Path> = dir.ancestors().take_while(is_missing).collect();
        inner.create_dir_all(dir)?;
        for dir in missing.into_iter().rev() {
            names.note(dir, Change::CreatedDirectory(dir.to_owned()));
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<FileEntry>> {
        self.shared.allow(Operation::List, dir)?;
        let mut entries = self.shared.inner.list(dir)?;
        entries.retain(|entry| !directories::is_hidden(&entry.name));
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.shared.inner.exists(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn LogFile>> {
        self.shared.allow(Operation::Create, path)?;
        let mut names = lock(&self.shared.names);
        let inner = self.shared.inner.create(path)?;
        let content = names.created(path);
        Ok(self.handle(content, inner))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn LogFile>> {
        self.shared.allow(Operation::Open, path)?;
        let mut names = lock(&self.shared.names);
        let inner = self.shared.inner.open(path, access)?;
        let content = names.content(path, inner.len()?);
        Ok(self.handle(content, inner))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.shared.allow(Operation::Remove, path)?;
        lock(&self.shared.names).remove(&*self.shared.inner, path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.shared.allow(Operation::Remove, dir)?;
        // What is hidden in it can't come back without it: a crash that undoes the removal is not modelled.
        lock(&self.shared.names).forget(&*self.shared.inner, dir)?;
        self.shared.inner.remove_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.shared.allow(Operation::Rename, from)?;
        lock(&self.shared.names).rename(&*self.shared.inner, from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.shared.allow(Operation::SyncDirectory, dir)?;
        lock(&self.shared.names).forget(&*self.shared.inner, dir)?;
        self.shared.inner.sync_dir(dir)
    }
}

impl fmt::Debug for FaultyFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyFiles")
            .field("inner", &self.shared.inner)
            .finish_non_exhaustive()
    }
}

/// Where the choices of a crash come from.
#[derive(Debug)]
enum Dice {
    /// Numbers from a seed (splitmix64): enough to choose what is lost, and the same on every machine.
    Seeded(u64),
    /// The digits of a number, each to the base of how many ways there are at its place.
    Counted {
        rest: u64,
        /// Every digit was the highest until now.
        is_last: bool,
    },
}

impl Dice {
    fn of(loss: Loss) -> Self {
        match loss {
            Loss::Some { seed } => Self::Seeded(seed),
            Loss::Chosen { number } => Self::Counted {
                rest: number,
                is_last: true,
            },
            Loss::Nothing | Loss::Unsynced => Self::Seeded(0),
        }
    }

    /// A number up to and including `most`.
    fn up_to(&mut self, most: u64) -> u64 {
        let ways = most.saturating_add(1).max(1);
        match self {
            Self::Seeded(state) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                (mixed ^ (mixed >> 31)) % ways
            }
            Self::Counted { rest, is_last } => {
                let digit = *rest % ways;
                *rest /= ways;
                *is_last &= digit == most;
                digit
            }
        }
    }

    fn choose<const N: usize>(&mut self, from: [u64; N]) -> u64 {
        let chosen = self.up_to(N as u64 - 1) as usize;
        from.get(chosen).copied().unwrap_or_default()
    }

    /// Whether there are choices that were not made with a lower number.
    fn has_more(&self) -> bool {
        matches!(self, Self::Counted { is_last: false, .. })
    }
}

//! Names as the process sees them, and as the disk has them: [`Names`].

use super::inode::Inode;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Where files live whose names are not on the disk yet; after a power cut nobody can reach them.
const LIMBO: &str = "limbo";
/// The small state beside the logs.
const STATE: &str = "state.redb";

/// Whether it is the small state, or a draft of it.
fn is_state(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(STATE))
}

/// A change of a directory that was not synced.
#[derive(Debug)]
enum Change {
    Directory(PathBuf),
    Created { path: PathBuf, limbo: PathBuf },
    Removed(PathBuf),
    Renamed { from: PathBuf, to: PathBuf },
}

/// The changes of one directory, in the order in which they were made.
#[derive(Debug, Default)]
struct Pending {
    changes: Vec<Change>,
    /// So many of them are on the disk as soon as the directory itself is.
    synced: usize,
}

/// A tree of files below one root.
#[derive(Debug)]
pub(super) struct Names {
    root: PathBuf,
    files: BTreeMap<PathBuf, Arc<Mutex<Inode>>>,
    directories: BTreeSet<PathBuf>,
    pending: BTreeMap<PathBuf, Pending>,
    limbo: u64,
}

impl Names {
    /// What the disk has. What never got a name is gone.
    pub(super) fn load(root: &Path) -> io::Result<Self> {
        let limbo = root.join(LIMBO);
        if limbo.exists() {
            fs::remove_dir_all(&limbo)?;
        }
        let mut names = Self {
            root: root.to_owned(),
            files: BTreeMap::new(),
            directories: root.ancestors().map(Path::to_owned).collect(),
            pending: BTreeMap::new(),
            limbo: 0,
        };
        names.load_directory(root)?;
        fs::create_dir_all(&limbo)?;
        Ok(names)
    }

    fn load_directory(&mut self, dir: &Path) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                self.load_directory(&path)?;
                self.directories.insert(path);
            } else if dir != self.root || is_state(&path) {
                // What else is in the root does not pass through this layer: the lock and the version.
                let disk = File::options().read(true).write(true).open(&path)?;
                self.files.insert(path, Arc::new(Mutex::new(Inode::new(disk)?)));
            }
        }
        Ok(())
    }

    pub(super) fn inode(&self, path: &Path) -> io::Result<Arc<Mutex<Inode>>> {
        let found = self.files.get(path).cloned();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        let outside = || path.parent() == Some(&self.root) && !is_state(path) && path.exists();
        self.files.contains_key(path) || self.directories.contains(path) || outside()
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<(String, Arc<Mutex<Inode>>)>> {
        if !self.directories.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = self.files.iter().filter(|(path, _)| path.parent() == Some(dir));
        let named = inside.filter_map(|(path, inode)| {
            let name = path.file_name()?.to_str()?.to_owned();
            Some((name, inode.clone()))
        });
        Ok(named.collect())
    }

    pub(super) fn create_dir_all(&mut self, dir: &Path) {
        let missing: Vec<_> = dir
            .ancestors()
            .take_while(|dir| !self.directories.contains(*dir))
            .map(Path::to_owned)
            .collect();
        for dir in missing.into_iter().rev() {
            self.note(&dir.clone(), Change::Directory(dir.clone()));
            self.directories.insert(dir);
        }
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<Arc<Mutex<Inode>>> {
        self.require_parent(path)?;
        if self.exists(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.limbo += 1;
        let limbo = self.root.join(LIMBO).join(self.limbo.to_string());
        let disk = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&limbo)?;
        let inode = Arc::new(Mutex::new(Inode::new(disk)?));
        self.files.insert(path.to_owned(), inode.clone());
        let path = path.to_owned();
        self.note(&path.clone(), Change::Created { path, limbo });
        Ok(inode)
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        self.files.remove(path).ok_or(io::ErrorKind::NotFound)?;
        self.note(path, Change::Removed(path.to_owned()));
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.require_parent(to)?;
        let inode = self.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        self.files.insert(to.to_owned(), inode);
        let (from, to) = (from.to_owned(), to.to_owned());
        self.note(&to.clone(), Change::Renamed { from, to });
        Ok(())
    }

    fn require_parent(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) if self.directories.contains(parent) => Ok(()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn note(&mut self, path: &Path, change: Change) {
        let dir = path.parent().unwrap_or(Path::new(""));
        self.pending
            .entry(dir.to_owned())
            .or_default()
            .changes
            .push(change);
    }

    /// All changes of the directory outlive a power cut, if the directory itself does.
    pub(super) fn sync(&mut self, dir: &Path) -> io::Result<()> {
        if !self.directories.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if let Some(pending) = self.pending.get_mut(dir) {
            pending.synced = pending.changes.len();
        }
        self.settle(dir)
    }

    /// The first few changes of the directory reach the disk by themselves.
    pub(super) fn write_back(&mut self, dir: &Path, dice: &mut fastrand::Rng) -> io::Result<()> {
        if let Some(pending) = self.pending.get_mut(dir) {
            pending.synced = pending.synced.max(dice.usize(..=pending.changes.len()));
        }
        self.settle(dir)
    }

    /// Brings to the disk what counts as synced, in order.
    fn settle(&mut self, dir: &Path) -> io::Result<()> {
        // A directory that is not on the disk holds nothing that is.
        let Some(pending) = self.pending.get_mut(dir).filter(|_| dir.is_dir()) else {
            return Ok(());
        };
        let changes: Vec<_> = pending.changes.drain(..pending.synced).collect();
        pending.synced = 0;
        for change in changes {
            match change {
                Change::Directory(dir) => {
                    fs::create_dir(&dir)?;
                    self.settle(&dir)?;
                }
                Change::Created { path, limbo } => fs::rename(limbo, path)?,
                Change::Removed(path) => fs::remove_file(path)?,
                Change::Renamed { from, to } => fs::rename(from, to)?,
            }
        }
        Ok(())
    }
}

//! Files of a directory that lose what was not synced when their process is killed: [`PowerFiles`].
//!
//! Killing a process takes nothing away from the system's memory, so a kill alone never shows what a power cut would.
//! Here writes stay in the process until they are synced, names until their directory is, as POSIX allows a system to
//! do. A SIGKILL is then a power cut.

use super::inode::Inode;
use super::lock;
use super::names::Names;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tidings_log::{Access, FileEntry, Files, LogFile};

/// What reaches the disk without a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writeback {
    /// Nothing.
    Never,
    /// Some of it, at any time and in any order: sectors of 512 bytes, and the first few changes of a directory.
    AtRandom {
        /// What happens when.
        seed: u64,
    },
}

/// Files below one directory, whose unsynced writes die with the process.
#[derive(Debug)]
pub struct PowerFiles {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    names: Mutex<Names>,
    dice: Option<Mutex<fastrand::Rng>>,
}

impl PowerFiles {
    /// What survived in the directory, which must exist.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn load(root: &Path, writeback: Writeback) -> io::Result<Self> {
        let dice = match writeback {
            Writeback::Never => None,
            Writeback::AtRandom { seed } => Some(Mutex::new(fastrand::Rng::with_seed(seed))),
        };
        let shared = Shared {
            names: Mutex::new(Names::load(root)?),
            dice,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    fn file(&self, path: &Path, access: Access, inode: Arc<Mutex<Inode>>) -> Arc<dyn LogFile> {
        Arc::new(PowerFile {
            shared: self.shared.clone(),
            dir: path.parent().map(Path::to_owned).unwrap_or_default(),
            access,
            inode,
        })
    }
}

impl Shared {
    /// One time in four the system writes something.
    fn write_back(&self, inode: &mut Inode) -> io::Result<()> {
        match &self.dice {
            Some(dice) => {
                let mut dice = lock(dice);
                if dice.u8(..4) == 0 {
                    inode.write_back(&mut dice)
                } else {
                    Ok(())
                }
            }
            None => Ok(()),
        }
    }

    fn write_back_names(&self, names: &mut Names, dir: &Path) -> io::Result<()> {
        match &self.dice {
            Some(dice) => names.write_back(dir, &mut lock(dice)),
            None => Ok(()),
        }
    }
}

impl Files for PowerFiles {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        lock(&self.shared.names).create_dir_all(dir);
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<FileEntry>> {
        let files = lock(&self.shared.names).list(dir)?;
        let entries = files.into_iter().map(|(name, inode)| FileEntry {
            name,
            len: lock(&inode).len(),
        });
        Ok(entries.collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(lock(&self.shared.names).exists(path))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn LogFile>> {
        let inode = lock(&self.shared.names).create(path)?;
        Ok(self.file(path, Access::ReadWrite, inode))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn LogFile>> {
        let inode = lock(&self.shared.names).inode(path)?;
        Ok(self.file(path, access, inode))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        lock(&self.shared.names).remove_file(path)
    }

    fn remove_dir(&self, _: &Path) -> io::Result<()> {
        // No campaign deletes a destination.
        Err(io::ErrorKind::Unsupported.into())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        lock(&self.shared.names).rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        lock(&self.shared.names).sync(dir)
    }
}

#[derive(Debug)]
struct PowerFile {
    shared: Arc<Shared>,
    dir: PathBuf,
    access: Access,
    inode: Arc<Mutex<Inode>>,
}

impl PowerFile {
    fn writable(&self) -> io::Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }
}

impl LogFile for PowerFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        Ok(lock(&self.inode).read(buffer, position))
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        self.writable()?;
        self.shared
            .write_back_names(&mut lock(&self.shared.names), &self.dir)?;
        let mut inode = lock(&self.inode);
        inode.write(bytes, position);
        self.shared.write_back(&mut inode)?;
        Ok(bytes.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        lock(&self.inode).sync()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.writable()?;
        lock(&self.inode).truncate(len);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.inode).len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a process that is killed now would leave, seen by the next one.
    fn survivors(root: &Path, dir: &Path) -> Vec<(String, u64)> {
        let files = PowerFiles::load(root, Writeback::Never).unwrap();
        let mut found: Vec<_> = match files.list(dir) {
            Ok(entries) => entries.into_iter().map(|entry| (entry.name, entry.len)).collect(),
            Err(_) => Vec::new(),
        };
        found.sort();
        found
    }

    #[test]
    fn only_what_was_synced_survives_bytes_names_and_directories() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let dir = root.join("topics/orders");
        let files = PowerFiles::load(root, Writeback::Never).unwrap();
        files.create_dir_all(&dir).unwrap();
        let file = files.create(&dir.join("a")).unwrap();
        file.write_at(b"kept", 0).unwrap();
        file.sync_data().unwrap();
        file.write_at(b"lost", 4).unwrap();
        files.sync_dir(&dir).unwrap();
        // The directory's own name is not on the disk, so nothing in it is.
        files.sync_dir(root).unwrap();
        assert!(!dir.exists());
        files.sync_dir(&root.join("topics")).unwrap();
        assert_eq!(std::fs::read(dir.join("a")).unwrap(), b"kept");
        files.rename(&dir.join("a"), &dir.join("b")).unwrap();
        files.create(&dir.join("c")).unwrap();
        assert_eq!(file.len().unwrap(), 8, "the process itself sees what it wrote");
        assert_eq!(survivors(root, &dir), [("a".to_owned(), 4)]);
    }

    #[test]
    fn a_synced_directory_has_its_changes_in_order() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let dir = root.join("log");
        let files = PowerFiles::load(root, Writeback::Never).unwrap();
        files.create_dir_all(&dir).unwrap();
        files.sync_dir(root).unwrap();
        files
            .create(&dir.join("a.new"))
            .unwrap()
            .write_at(b"1", 0)
            .unwrap();
        files.rename(&dir.join("a.new"), &dir.join("a")).unwrap();
        files.create(&dir.join("b")).unwrap();
        files.sync_dir(&dir).unwrap();
        files.remove_file(&dir.join("b")).unwrap();
        // The name of `a` was synced, its bytes were not.
        assert_eq!(survivors(root, &dir), [("a".to_owned(), 0), ("b".to_owned(), 0)]);
    }

    #[test]
    fn writing_at_random_leaves_some_of_it_torn() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let dir = root.join("log");
        let files = PowerFiles::load(root, Writeback::AtRandom { seed: 3 }).unwrap();
        files.create_dir_all(&dir).unwrap();
        files.sync_dir(root).unwrap();
        let file = files.create(&dir.join("a")).unwrap();
        files.sync_dir(&dir).unwrap();
        for round in 0..8 {
            file.write_at(&[1; 4_096], round * 4_096).unwrap();
        }
        let disk = std::fs::read(dir.join("a")).unwrap();
        let there = disk.chunks(512).filter(|sector| sector[0] == 1).count();
        assert!((1..64).contains(&there), "{there} of 64 sectors");
        assert!(disk.contains(&0), "a later sector came before an earlier one");
        file.sync_data().unwrap();
        assert_eq!(std::fs::read(dir.join("a")).unwrap(), [1; 8 * 4_096]);
    }
}

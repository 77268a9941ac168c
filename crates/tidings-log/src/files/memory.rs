//! Files in memory, with the semantics of a disk that never crashes.

use super::chunks::Chunks;
use super::{Access, FileEntry, Files, LogFile};
use crate::lock::{lock, read, write};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

/// Files in memory. Clones share them; they live as long as one clone or one open file does.
#[derive(Clone, Default)]
pub struct MemoryFiles {
    tree: Arc<Mutex<Tree>>,
}

#[derive(Default)]
struct Tree {
    directories: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, Arc<MemoryFile>>,
}

impl MemoryFiles {
    /// No files.
    pub fn new() -> Self {
        Self::default()
    }
}

impl fmt::Debug for MemoryFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = lock(&self.tree).files.len();
        f.debug_struct("MemoryFiles").field("files", &files).finish()
    }
}

impl Tree {
    fn has_directory(&self, dir: &Path) -> bool {
        dir.as_os_str().is_empty() || dir == Path::new("/") || self.directories.contains(dir)
    }

    /// Paths sort by their parts, so what is below a directory follows it without a gap.
    fn files_below<'a>(&'a self, dir: &'a Path) -> impl Iterator<Item = (&'a PathBuf, &'a Arc<MemoryFile>)> {
        let behind = self
            .files
            .range::<Path, _>((Bound::Excluded(dir), Bound::Unbounded));
        behind.take_while(move |(path, _)| path.starts_with(dir))
    }

    fn parent_exists(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) if self.has_directory(parent) => Ok(()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Files for MemoryFiles {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut tree = lock(&self.tree);
        if dir.ancestors().any(|path| tree.files.contains_key(path)) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        tree.directories.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<FileEntry>> {
        let tree = lock(&self.tree);
        if !tree.has_directory(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = tree
            .files_below(dir)
            .filter(|(path, _)| path.parent() == Some(dir));
        let entries = inside.filter_map(|(path, file)| {
            let name = path.file_name()?.to_str()?.to_owned();
            let len = read(&file.bytes).len();
            Some(FileEntry { name, len })
        });
        Ok(entries.collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let tree = lock(&self.tree);
        Ok(tree.has_directory(path) || tree.files.contains_key(path))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn LogFile>> {
        let mut tree = lock(&self.tree);
        tree.parent_exists(path)?;
        if tree.files.contains_key(path) || tree.directories.contains(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = Arc::new(MemoryFile::default());
        tree.files.insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn LogFile>> {
        let tree = lock(&self.tree);
        let file = tree.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(match access {
            Access::ReadWrite => Arc::clone(file) as Arc<dyn LogFile>,
            Access::ReadOnly => Arc::new(ReadOnlyFile(Arc::clone(file))),
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let removed = lock(&self.tree).files.remove(path);
        Ok(removed.map(drop).ok_or(io::ErrorKind::NotFound)?)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut tree = lock(&self.tree);
        let mut directories = tree
            .directories
            .range::<Path, _>((Bound::Excluded(dir), Bound::Unbounded));
        if tree.files_below(dir).next().is_some()
            || directories.next().is_some_and(|other| other.starts_with(dir))
        {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let removed = tree.directories.remove(dir);
        Ok(removed.then_some(()).ok_or(io::ErrorKind::NotFound)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = lock(&self.tree);
        tree.parent_exists(to)?;
        let file = tree.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        tree.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let exists = lock(&self.tree).has_directory(dir);
        Ok(exists.then_some(()).ok_or(io::ErrorKind::NotFound)?)
    }
}

#[derive(Default)]
struct MemoryFile {
    bytes: RwLock<Chunks>,
}

impl fmt::Debug for MemoryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryFile")
            .field("len", &read(&self.bytes).len())
            .finish()
    }
}

impl LogFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        Ok(read(&self.bytes).copy_to(buffer, position))
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        write(&self.bytes).write(bytes, position);
        Ok(bytes.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        write(&self.bytes).set_len(len);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(read(&self.bytes).len())
    }
}

#[derive(Debug)]
struct ReadOnlyFile(Arc<MemoryFile>);

impl LogFile for ReadOnlyFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buffer, position)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_names_the_files_of_one_directory_only() {
        let files = MemoryFiles::new();
        for path in ["a/x", "a/y", "a/b/z", "a-b/w"] {
            files.create_dir_all(Path::new(path).parent().unwrap()).unwrap();
            files.create(Path::new(path)).unwrap();
        }
        let names = |dir: &str| -> Vec<String> {
            files
                .list(Path::new(dir))
                .unwrap()
                .into_iter()
                .map(|entry| entry.name)
                .collect()
        };
        assert_eq!(names("a"), ["x", "y"]);
        assert_eq!(names("a/b"), ["z"]);
        assert_eq!(names("a-b"), ["w"]);
        assert_eq!(
            files.list(Path::new("b")).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert_eq!(
            files.remove_dir(Path::new("a")).unwrap_err().kind(),
            io::ErrorKind::DirectoryNotEmpty
        );
    }
}

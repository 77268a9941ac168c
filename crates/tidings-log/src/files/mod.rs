//! The file layer: what a log asks of a disk, so that tests can inject faults and memory can stand in for a disk.

mod chunks;
mod disk;
mod memory;
mod pool;

pub use disk::DiskFiles;
pub use memory::MemoryFiles;
pub use pool::PooledFiles;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Directories and files. Every call blocks.
pub trait Files: Send + Sync + Debug + 'static {
    /// Creates a directory and all that are missing above it; one that exists is fine.
    ///
    /// # Errors
    /// As the operating system reports them.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// The files of a directory, in no order. What is not a file, or has a name that is not UTF-8, is left out.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] for a directory that does not exist.
    fn list(&self, dir: &Path) -> io::Result<Vec<FileEntry>>;

    /// Whether there is a file or directory of that name.
    ///
    /// # Errors
    /// As the operating system reports them.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// A new, empty file, for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when there is one.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn LogFile>>;

    /// A file that exists.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when there is none.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn LogFile>>;

    /// Removes a file. Those who have it open can go on reading it.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when there is none.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory.
    ///
    /// # Errors
    /// [`io::ErrorKind::DirectoryNotEmpty`] when something is in it.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Gives a file another name, replacing what had it, at once.
    ///
    /// # Errors
    /// As the operating system reports them.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name on the same file system, where that is possible.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where it is not, which is the default: copy it then.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _ = (from, to);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// A small file that is written from its start on again and again, made if there is none. Nobody syncs it.
    ///
    /// # Errors
    /// As the operating system reports them.
    fn note(&self, path: &Path) -> io::Result<Arc<dyn LogFile>> {
        match self.open(path, Access::ReadWrite) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create(path),
            opened => opened,
        }
    }

    /// Makes what was created, renamed and removed in the directory outlive a crash of the machine.
    ///
    /// # Errors
    /// As the operating system reports them.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file. Reads and writes name their place, so a handle has no state and can be shared.
pub trait LogFile: Send + Sync + Debug {
    /// Reads into `buffer` from `position` on and returns how many bytes; 0 at the end of the file.
    ///
    /// # Errors
    /// As the operating system reports them.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes at `position` and returns how many bytes it took, which can be fewer than given.
    ///
    /// # Errors
    /// As the operating system reports them.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize>;

    /// Makes the bytes and the length outlive a crash of the machine.
    ///
    /// # Errors
    /// As the operating system reports them. After one, what is on the disk is open.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts the file to `len` bytes.
    ///
    /// # Errors
    /// As the operating system reports them.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// How many bytes it has.
    ///
    /// # Errors
    /// As the operating system reports them.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has no bytes.
    ///
    /// # Errors
    /// As the operating system reports them.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// One file of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Its name within the directory.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
}

/// What may be done with a log or a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Reading and writing; the caller sees to it that there is only one such owner.
    #[default]
    ReadWrite,
    /// Reading, also beside a running owner. Nothing is written, cut or removed.
    ReadOnly,
}

/// Writes all of it, however short the single writes are.
pub(crate) fn write_all_at(file: &dyn LogFile, mut bytes: &[u8], mut position: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                position += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends, and returns how many bytes it read.
pub(crate) fn read_full_at(file: &dyn LogFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, position + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

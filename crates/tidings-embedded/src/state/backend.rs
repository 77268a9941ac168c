//! The bytes of `state.redb`: [`Backend`], redb's storage over the broker's file layer.
//!
//! So the state meets the same faults in tests as the logs do, and the two can be crashed together.

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tidings_log::{Access, Files, LogFile};

/// How much is read and written at once when the file is written again.
const PIECE: usize = 1 << 20;

/// One opening of the file.
#[derive(Debug)]
pub(super) struct Backend {
    file: Arc<dyn LogFile>,
    /// redb's own locks, which keep other programs with redb away. None for a file that the system does not know.
    locks: Option<FileBackend>,
    /// A sync has failed: what the disk has of the file is open.
    doubtful: Arc<AtomicBool>,
}

impl Backend {
    /// Opens the file, or makes it. `doubtful` is set by a failed sync; set before, everything is written again first,
    /// because the system may take pages for written that the disk never got.
    pub(super) fn open(files: &dyn Files, path: &Path, doubtful: &Arc<AtomicBool>) -> io::Result<Self> {
        let file = match files.open(path, Access::ReadWrite) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(files, path)?,
            opened => opened?,
        };
        let locks = File::options().read(true).write(true).open(path).ok();
        let backend = Self {
            file,
            locks: locks.and_then(|file| FileBackend::new(file).ok()),
            doubtful: doubtful.clone(),
        };
        if doubtful.load(Ordering::Acquire) {
            backend.write_again()?;
            doubtful.store(false, Ordering::Release);
        }
        Ok(backend)
    }

    fn write_again(&self) -> io::Result<()> {
        let len = self.file.len()?;
        let mut buffer = vec![0; PIECE];
        let mut position = 0;
        while position < len {
            let wanted = usize::try_from(len - position).unwrap_or(PIECE).min(PIECE);
            let piece = buffer.get_mut(..wanted).unwrap_or_default();
            self.read(position, piece)?;
            self.write(position, piece)?;
            position += wanted as u64;
        }
        self.file.sync_data()
    }

    fn lock(
        &self,
        with: impl FnOnce(&FileBackend) -> Result<bool, BackendError>,
    ) -> Result<bool, BackendError> {
        self.locks.as_ref().map_or(Err(BackendError::Unsupported), with)
    }
}

fn create(files: &dyn Files, path: &Path) -> io::Result<Arc<dyn LogFile>> {
    let file = files.create(path)?;
    if let Some(directory) = path.parent() {
        files.sync_dir(directory)?;
    }
    Ok(file)
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while let Some(rest) = out.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + filled as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let synced = self.file.sync_data();
        if synced.is_err() {
            self.doubtful.store(true, Ordering::Release);
        }
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while let Some(rest) = data.get(written..).filter(|rest| !rest.is_empty()) {
            match self.file.write_at(rest, offset + written as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.locks.as_ref().map_or(Ok(()), StorageBackend::close)
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.lock(|locks| locks.try_lock_range(start, end))
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.lock(|locks| locks.try_lock_shared_range(start, end))
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.lock(|locks| locks.lock_range(start, end).map(|()| true))
            .map(drop)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.lock(|locks| locks.lock_shared_range(start, end).map(|()| true))
            .map(drop)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.lock(|locks| locks.unlock_range(start, end).map(|()| true))
            .map(drop)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.lock(|locks| locks.query_lock_range(start, end))
    }
}

//! Going on after a failed sync, without opening the log again.

use super::PartitionLog;
use crate::error::LogError;
use crate::files::Access;
use crate::lock::{lock, read, write};
use crate::recovery;
use crate::scan::{Scan, Step};
use crate::segments::Active;
use std::sync::atomic::Ordering;

impl PartitionLog {
    /// Writes once more what a failed sync left in doubt, and syncs it. When that succeeds, everything that was appended
    /// is on the disk, and the log takes records again; otherwise it stays as it is. Returns the offset below which all
    /// are durable. Does nothing while nothing has failed.
    ///
    /// It does what opening does, with the log in use: what is in doubt is read and verified, because a system may have
    /// dropped the pages that it could not write. What was dropped is lost, and then only opening the log again says
    /// from where on. Call it once in a while after a failure, not in a loop: each try writes.
    ///
    /// # Errors
    /// [`LogError::Io`] while the disk still fails, [`LogError::Corrupt`] when something is lost, [`LogError::ReadOnly`].
    pub fn recover(&self) -> Result<u64, LogError> {
        if self.options.access == Access::ReadOnly {
            return self.check_writable().map(|()| 0);
        }
        // In the order in which an append takes them.
        let mut writer = lock(&self.writer);
        let _syncing = lock(&self.syncing);
        if self.poisoned().is_none() {
            return Ok(self.synced_offset());
        }
        let view = self.view();
        if let Some(active) = &view.active {
            self.write_again(active)?;
            self.note_synced(active, active.mark());
        }
        // The next append asks again where the log ends.
        *writer = None;
        *lock(&self.poison) = None;
        self.is_poisoned.store(false, Ordering::Release);
        Ok(self.synced_offset())
    }

    fn write_again(&self, active: &Active) -> Result<(), LogError> {
        let path = self.place.segment(active.base);
        let (mark, synced) = {
            let tail = read(&active.tail);
            (tail.mark, tail.synced)
        };
        // What a failed write left behind the end.
        active
            .file
            .truncate(mark.position)
            .map_err(LogError::io("cut", &path))?;
        let start = (synced.position, synced.next);
        let mut scan = Scan::new(&*active.file, active.seed, start, mark.position);
        let mut at = start;
        loop {
            match scan.step().map_err(LogError::io("read", &path))? {
                Step::Frame { header } => at = (at.0 + header.total(), header.next()),
                Step::End => break,
                Step::Flaw(flaw) => return Err(LogError::corrupt(&path, at.0, at.1, flaw)),
            }
        }
        recovery::harden(&*active.file, synced.position, mark.position)
            .map_err(LogError::io("write again", &path))?;
        self.settle_names(active.base, mark.next)?;
        write(&active.tail).synced = mark;
        self.synced.fetch_max(mark.next, Ordering::AcqRel);
        Ok(())
    }

    /// A segment that could not be begun may still be there, empty; and a removal may not be on the disk.
    fn settle_names(&self, base: u64, next: u64) -> Result<(), LogError> {
        let path = self.place.segment(next);
        let exists = next != base
            && self
                .place
                .files
                .exists(&path)
                .map_err(LogError::io("look for", &path))?;
        if exists {
            self.place
                .files
                .remove_file(&path)
                .map_err(LogError::io("remove", &path))?;
        }
        self.place.sync_dir()
    }
}

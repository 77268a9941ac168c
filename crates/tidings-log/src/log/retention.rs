//! Deleting the oldest segments, and the whole log.

use super::PartitionLog;
use crate::error::LogError;
use crate::lock::lock;
use crate::options::Retention;
use crate::segments::{Sealed, View};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl PartitionLog {
    /// Deletes the oldest segments that the policy lets go, and returns the first offset that is left. Readers that
    /// are in the midst of one finish their chunk.
    ///
    /// # Errors
    /// [`LogError::ReadOnly`]; [`LogError::Io`] when the oldest segment can't be removed, which is then still there;
    /// [`LogError::Corrupt`] when the age of a segment can't be found out. A directory that can't be synced poisons
    /// the log, as any failed sync does.
    pub fn retain(&self, policy: &Retention) -> Result<u64, LogError> {
        // One at a time, because segments must go in order.
        let _deleting = lock(&self.deleting);
        self.check_writable()?;
        // Whoever copies the log needs all of it; the next turn deletes what this one leaves.
        while self.copying.load(Ordering::Acquire) == 0
            && let Some(oldest) = self.expired(policy)?
        {
            self.delete(&oldest)?;
        }
        Ok(self.first_offset())
    }

    fn expired(&self, policy: &Retention) -> Result<Option<Arc<Sealed>>, LogError> {
        let view = self.view();
        let Some(oldest) = view
            .sealed
            .first()
            .filter(|oldest| oldest.next <= policy.keep_from)
        else {
            return Ok(None);
        };
        let goes = is_beyond_size(&view, oldest, policy) || self.is_beyond_age(oldest, policy)?;
        Ok(goes.then(|| Arc::clone(oldest)))
    }

    fn is_beyond_age(&self, oldest: &Sealed, policy: &Retention) -> Result<bool, LogError> {
        let Some(max_age_ms) = policy.max_age_ms else {
            return Ok(false);
        };
        let newest = match oldest.max_timestamp.get() {
            Some(known) => *known,
            None => {
                let newest = self.open_sealed(oldest)?.mark.max_timestamp;
                // Nobody reads it: neither its index nor its file has to stay.
                self.opened.forget_below(oldest.next);
                newest
            }
        };
        Ok(newest < policy.now_ms.saturating_sub_unsigned(max_age_ms))
    }

    /// Deletes the oldest segment. Readers stop finding it first; the directory is synced before the next one goes,
    /// so that neither a crash nor a failure leaves an older segment without the one that follows it.
    fn delete(&self, oldest: &Arc<Sealed>) -> Result<(), LogError> {
        self.change_view(|view| view.sealed.retain(|sealed| !Arc::ptr_eq(sealed, oldest)));
        self.opened.forget_below(oldest.next);
        let path = self.place.segment(oldest.base);
        if let Err(error) = self.place.files.remove_file(&path) {
            self.change_view(|view| view.sealed.insert(0, Arc::clone(oldest)));
            return Err(LogError::io("remove", &path)(error));
        }
        // It may never have been written, and opening removes it when this fails.
        let _ = self.place.files.remove_file(&self.place.index(oldest.base));
        self.place.sync_dir().map_err(|error| self.poison(error))
    }

    /// Deletes the log and its directory, which must hold nothing else.
    ///
    /// # Errors
    /// [`LogError::ReadOnly`]; [`LogError::Io`], after which some of the segments may be left.
    pub fn remove(self) -> Result<(), LogError> {
        if self.options.access == crate::Access::ReadOnly {
            return self.check_writable();
        }
        // Nothing may come back while it goes, not even the checkpoint of the drop.
        lock(&self.poison).get_or_insert_with(|| "it was removed".to_owned());
        self.is_poisoned.store(true, Ordering::Release);
        let (files, dir) = (&self.place.files, &self.place.dir);
        let (segments, others): (Vec<_>, Vec<_>) = files
            .list(dir)
            .map_err(LogError::io("list", dir))?
            .into_iter()
            .partition(|entry| entry.name.ends_with(".log"));
        // An index without its segment is damage, so the indexes go first, for good.
        for names in [others, segments] {
            for path in names.iter().map(|entry| dir.join(&entry.name)) {
                files.remove_file(&path).map_err(LogError::io("remove", &path))?;
            }
            self.place.sync_dir()?;
        }
        files.remove_dir(dir).map_err(LogError::io("remove", dir))?;
        match dir.parent() {
            Some(parent) => files.sync_dir(parent).map_err(LogError::io("sync", parent)),
            None => Ok(()),
        }
    }
}

/// Whether enough is left without it.
fn is_beyond_size(view: &View, oldest: &Sealed, policy: &Retention) -> bool {
    policy
        .max_bytes
        .is_some_and(|max_bytes| view.bytes() - oldest.bytes >= max_bytes)
}

//! Following an owner that writes to the same directory.

use super::PartitionLog;
use super::hints::Hints;
use crate::error::LogError;
use crate::files::Access;
use crate::lock::{lock, read, write};
use crate::recovery::{self, LastSegment};
use crate::segments::{Active, Sealed, View};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl PartitionLog {
    /// Looks for frames and segments that the owner has written or deleted meanwhile, and returns the next offset.
    /// Does nothing for the owner itself.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] and [`LogError::Io`]; what could be read before can still be read.
    pub fn refresh(&self) -> Result<u64, LogError> {
        if self.options.access == Access::ReadWrite {
            return Ok(self.next_offset());
        }
        let _alone = lock(&self.writer);
        let segments = self.place.list()?.segments;
        let view = self.view();
        let last = segments.last().map(|(base, _)| *base);
        let active = match &view.active {
            Some(active) if last == Some(active.base) => {
                self.follow(active)?;
                Some(Arc::clone(active))
            }
            _ => self.open_new(last)?.map(|last| Arc::new(last.active)),
        };
        let fresh = View {
            sealed: keep_known(&view, &segments),
            active,
            empty_at: last.unwrap_or(view.empty_at),
        };
        let next = fresh.next();
        self.forget_deleted(&fresh);
        self.change_view(|view| *view = fresh);
        self.next.store(next, Ordering::Release);
        Ok(next)
    }

    /// Reads what was appended to the segment that is the last one still.
    fn follow(&self, active: &Active) -> Result<(), LogError> {
        let mut tail = read(&active.tail).clone();
        let position = tail.mark.position;
        let file = (&*active.file, active.seed);
        recovery::extend(&self.place, &self.options, file, (active.base, 0), &mut tail)?;
        if tail.mark.position > position {
            *write(&active.tail) = tail;
        }
        Ok(())
    }

    fn open_new(&self, base: Option<u64>) -> Result<Option<LastSegment>, LogError> {
        let opened = base
            .map(|base| recovery::open_last(&self.place, &self.options, base))
            .transpose();
        match opened {
            // Begun and deleted since the directory was listed; the next refresh sees what followed.
            Err(error) if error.is_not_found() => Ok(None),
            opened => Ok(opened?.flatten()),
        }
    }

    fn forget_deleted(&self, fresh: &View) {
        let first = fresh.first();
        if first > self.first_offset() {
            self.opened.forget_below(first);
            *lock(&self.hints) = Hints::default();
        }
    }
}

/// The sealed segments of a listing; those that are known keep what is known of them.
fn keep_known(view: &View, segments: &[(u64, u64)]) -> Vec<Arc<Sealed>> {
    let pairs = segments.iter().zip(segments.iter().skip(1));
    let sealed = pairs.map(|((base, bytes), (next, _))| {
        let at = view.sealed.binary_search_by_key(base, |sealed| sealed.base).ok();
        let known = at
            .and_then(|at| view.sealed.get(at))
            .filter(|sealed| sealed.next == *next);
        known
            .cloned()
            .unwrap_or_else(|| Arc::new(Sealed::new(*base, *next, *bytes)))
    });
    sealed.collect()
}

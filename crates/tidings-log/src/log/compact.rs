//! Compaction by key.
//!
//! A pass notes for each key in the segments that were not compacted yet, from their first on and as far as the table of
//! keys has room, the last offset. Then every segment from the log's first to there is written again without the records
//! that the table knows a later one for, in the order of the offsets, each on the disk before the next. So when a
//! segment counts as cleaned, nothing before it holds an older record of any of its keys, whatever crash came in
//! between; and then its tombstones may go once they are old enough.

use super::PartitionLog;
use crate::compaction::keys::KeyTable;
use crate::compaction::{Compacted, Compaction};
use crate::error::LogError;
use crate::files::Access;
use crate::format::frame::{Flaw, Layout};
use crate::format::segment;
use crate::lock::lock;
use crate::rewrite::{Draft, Kept, Rewriter};
use crate::segments::Sealed;
use crate::walk::{Frame, Walk, Walked};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why a walk over a segment ended early.
enum Halt {
    Failed(LogError),
    /// The throttle said so.
    Ended,
    /// Retention has deleted it.
    Gone,
    /// The table has no room for the key at this offset.
    Full(u64),
}

impl From<LogError> for Halt {
    fn from(error: LogError) -> Self {
        match error.is_not_found() {
            true => Self::Gone,
            false => Self::Failed(error),
        }
    }
}

/// What a pass goes by.
struct Pass<'p> {
    keys: &'p KeyTable,
    /// Below this offset the table knows every key.
    covered: u64,
    now_ms: i64,
    tombstone_retention_ms: u64,
}

impl PartitionLog {
    /// Removes records that a later one with the same key supersedes. Blocks for long; appends and reads go on, and
    /// readers that are in the midst of a segment finish their chunk. What is below a group's position or above it
    /// makes no difference: a reader that is far behind may find only the last record of a key.
    ///
    /// Ends early while the log is [copied](PartitionLog::freeze): a copy ends at the moment in which it began, and the
    /// record that supersedes may be behind that.
    ///
    /// # Errors
    /// [`LogError::ReadOnly`], [`LogError::Poisoned`]; [`LogError::Corrupt`] when a segment is damaged: those before it
    /// were compacted; [`LogError::Io`]. A directory that can't be synced poisons the log.
    pub fn compact(&self, compaction: Compaction<'_>) -> Result<Compacted, LogError> {
        let _compacting = lock(&self.compacting);
        self.check_writable()?;
        let mut compaction = compaction;
        let mut done = Compacted::default();
        if self.is_copied() {
            done.ended_early = true;
            return Ok(done);
        }
        match self.compact_all(&mut compaction, &mut done) {
            Ok(()) => Ok(done),
            Err(Halt::Failed(error)) => Err(error),
            Err(Halt::Ended | Halt::Gone | Halt::Full(_)) => {
                done.ended_early = true;
                Ok(done)
            }
        }
    }

    fn compact_all(&self, compaction: &mut Compaction<'_>, done: &mut Compacted) -> Result<(), Halt> {
        let sealed = self.view().sealed.clone();
        let mut clean = 0;
        while let Some(segment) = sealed.get(clean)
            && self.cleaned_at(segment)? > 0
        {
            clean += 1;
        }
        let Some(mut from) = sealed.get(clean).map(|segment| segment.base) else {
            return self.sweep(&sealed, compaction, done);
        };
        let bytes = |segments: &[Arc<Sealed>]| segments.iter().map(|one| one.bytes).sum::<u64>();
        let dirty = bytes(sealed.get(clean..).unwrap_or_default());
        if dirty.saturating_mul(100) < bytes(&sealed).saturating_mul(compaction.min_dirty_percent.into()) {
            return self.sweep(sealed.get(..clean).unwrap_or_default(), compaction, done);
        }
        let end = sealed.last().map_or(from, |last| last.next);
        while from < end {
            let (keys, covered) = self.note_keys(from, compaction)?;
            done.passes += 1;
            let pass = Pass {
                keys: &keys,
                covered,
                now_ms: compaction.now_ms,
                tombstone_retention_ms: compaction.tombstone_retention_ms,
            };
            // The segments as they are now: the pass before has replaced some.
            for segment in self.view().sealed.iter().filter(|segment| segment.base < covered) {
                self.clean(segment, &pass, compaction, done)?;
            }
            from = covered;
        }
        Ok(())
    }

    /// Removes tombstones whose time is over from segments that need nothing else.
    fn sweep(
        &self,
        sealed: &[Arc<Sealed>],
        compaction: &mut Compaction<'_>,
        done: &mut Compacted,
    ) -> Result<(), Halt> {
        let keys = KeyTable::new(0);
        let pass = Pass {
            keys: &keys,
            covered: 0,
            now_ms: compaction.now_ms,
            tombstone_retention_ms: compaction.tombstone_retention_ms,
        };
        for segment in sealed {
            if pass.is_over(self.cleaned_at(segment)?) && !segment.swept.load(Ordering::Relaxed) {
                done.passes = done.passes.max(1);
                self.clean(segment, &pass, compaction, done)?;
                segment.swept.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Whether somebody copies the log, who needs the segments as they were.
    fn is_copied(&self) -> bool {
        self.copying.load(Ordering::Acquire) > 0
    }

    fn cleaned_at(&self, segment: &Sealed) -> Result<u32, Halt> {
        if let Some(known) = segment.cleaned_at.get() {
            return Ok(*known);
        }
        let file = self.place.open(segment.base, Access::ReadOnly)?;
        let header = self.place.require_header(&*file, segment.base)?;
        Ok(*segment.cleaned_at.get_or_init(|| header.cleaned_at))
    }

    /// The last offset of each key from `from` on, and up to where there was room for all of them.
    fn note_keys(&self, from: u64, compaction: &mut Compaction<'_>) -> Result<(KeyTable, u64), Halt> {
        let mut keys = KeyTable::new(compaction.max_key_bytes);
        let mut covered = from;
        for segment in self.view().sealed.iter().filter(|segment| segment.next > from) {
            let noted = self.walk(segment, compaction, |frame| {
                for record in frame.records.iter().filter(|record| record.offset >= from) {
                    let key = record.key.map(|key| frame.bytes(key));
                    if key.is_some_and(|key| keys.note(key, record.offset).is_err()) {
                        return Err(Halt::Full(record.offset));
                    }
                }
                Ok(())
            });
            match noted {
                Ok(()) => covered = segment.next,
                Err(Halt::Full(offset)) => return Ok((keys, offset)),
                // Retention was faster; what it deleted needs no keys.
                Err(Halt::Gone) => {}
                Err(halt) => return Err(halt),
            }
        }
        Ok((keys, covered))
    }

    /// Hands out the frames of a segment.
    fn walk(
        &self,
        segment: &Sealed,
        compaction: &mut Compaction<'_>,
        mut each: impl FnMut(&Frame<'_>) -> Result<(), Halt>,
    ) -> Result<(), Halt> {
        let path = self.place.segment(segment.base);
        let file = self.place.open(segment.base, Access::ReadOnly)?;
        let header = self.place.require_header(&*file, segment.base)?;
        let end = file.len().map_err(LogError::io("read", &path))?;
        let start = (segment::LEN as u64, segment.base);
        let mut walk = Walk::new(&*file, header.seed, start, end);
        loop {
            let (position, offset) = walk.place();
            let frame = match walk.step().map_err(LogError::io("read", &path))? {
                Walked::Frame(frame) => frame,
                Walked::End if offset == segment.next => return Ok(()),
                Walked::End => {
                    return Err(LogError::corrupt(&path, position, offset, Flaw::Incomplete).into());
                }
                Walked::Flaw(flaw) => return Err(LogError::corrupt(&path, position, offset, flaw).into()),
            };
            each(&frame)?;
            if (compaction.throttle)(frame.header.total()) == ControlFlow::Break(()) {
                return Err(Halt::Ended);
            }
        }
    }

    /// Writes a segment again, if anything goes or if it counts as cleaned from now on.
    fn clean(
        &self,
        segment: &Arc<Sealed>,
        pass: &Pass<'_>,
        compaction: &mut Compaction<'_>,
        done: &mut Compacted,
    ) -> Result<(), Halt> {
        let cleaned_at = match self.cleaned_at(segment) {
            Err(Halt::Gone) => return Ok(()),
            cleaned_at => cleaned_at?,
        };
        let becomes_clean = cleaned_at == 0 && segment.next <= pass.covered;
        let mut removed = 0;
        let counted = self.walk(segment, compaction, |frame| {
            removed += pass.removed(frame, cleaned_at);
            Ok(())
        });
        match counted {
            Err(Halt::Gone) => return Ok(()),
            counted => counted?,
        }
        if removed == 0 && !becomes_clean {
            return Ok(());
        }
        let at = if becomes_clean {
            seconds(pass.now_ms)
        } else {
            cleaned_at
        };
        let Some(draft) = self.write_kept(segment, pass, (cleaned_at, at), compaction)? else {
            return Ok(());
        };
        if self.replace_segment(segment, draft, at)? {
            done.segments += 1;
            done.removed += removed;
            done.bytes_before += segment.bytes;
            let view = self.view();
            let found = view.sealed.iter().find(|one| one.base == segment.base);
            done.bytes_after += found.map_or(0, |one| one.bytes);
        }
        Ok(())
    }

    /// None when retention deleted the segment meanwhile.
    fn write_kept(
        &self,
        segment: &Sealed,
        pass: &Pass<'_>,
        (cleaned_at, at): (u32, u32),
        compaction: &mut Compaction<'_>,
    ) -> Result<Option<Draft>, Halt> {
        let interval = self.options.index_interval_bytes;
        let mut rewriter = Rewriter::begin(&self.place, segment.base, at, interval)?;
        let written = self.walk(segment, compaction, |frame| {
            if frame.header.layout == Layout::Lost {
                let reason = String::from_utf8_lossy(frame.body);
                return Ok(rewriter.lose(frame.header.base..frame.header.next(), &reason)?);
            }
            for kept in kept(frame).filter(|kept| !pass.removes(kept, cleaned_at)) {
                rewriter.keep(&kept)?;
            }
            Ok(())
        });
        match written {
            Ok(()) => {}
            Err(halt) => {
                rewriter.give_up();
                return match halt {
                    Halt::Gone => Ok(None),
                    halt => Err(halt),
                };
            }
        }
        let draft = self.place.draft(segment.base);
        rewriter.finish(segment.next).map(Some).map_err(|error| {
            let _ = self.place.files.remove_file(&draft);
            error.into()
        })
    }

    /// Gives the draft the segment's name, which is one step on the disk: a crash leaves the one or the other. False
    /// when retention has deleted the segment.
    fn replace_segment(&self, segment: &Arc<Sealed>, draft: Draft, cleaned_at: u32) -> Result<bool, Halt> {
        // No copy begins while this is held.
        let _deleting = lock(&self.deleting);
        self.check_writable()?;
        if self.is_copied() {
            let _ = self.place.files.remove_file(&draft.path);
            return Err(Halt::Ended);
        }
        let is_there = self.view().sealed.iter().any(|one| Arc::ptr_eq(one, segment));
        if !is_there {
            let _ = self.place.files.remove_file(&draft.path);
            return Ok(false);
        }
        let path = self.place.segment(segment.base);
        if let Err(error) = self.place.files.rename(&draft.path, &path) {
            let _ = self.place.files.remove_file(&draft.path);
            return Err(LogError::io("rename", &draft.path)(error).into());
        }
        let index = draft.index();
        let fresh = Sealed::new(segment.base, segment.next, index.mark.position);
        let _ = fresh.max_timestamp.set(index.mark.max_timestamp);
        let _ = fresh.cleaned_at.set(cleaned_at);
        let fresh = Arc::new(Sealed {
            swept: AtomicBool::new(segment.swept.load(Ordering::Relaxed)),
            ..fresh
        });
        self.change_view(|view| {
            for one in view.sealed.iter_mut().filter(|one| Arc::ptr_eq(one, segment)) {
                *one = Arc::clone(&fresh);
            }
        });
        self.opened.forget(segment.base);
        // A later segment must not lose a tombstone while a crash could still bring back what it deleted.
        self.place.sync_dir().map_err(|error| self.poison(error))?;
        // The index of the old file does not fit; without a new one the segment is read once more.
        let _ = self.place.write_index(segment.base, &index);
        Ok(true)
    }
}

impl Pass<'_> {
    fn removes(&self, record: &Kept<'_>, cleaned_at: u32) -> bool {
        let Some(key) = record.key else { return false };
        if record.offset < self.covered && self.keys.is_superseded(key, record.offset) {
            return true;
        }
        record.payload.is_none() && self.is_over(cleaned_at) && self.is_old(record.timestamp_ms)
    }

    fn removed(&self, frame: &Frame<'_>, cleaned_at: u32) -> u64 {
        kept(frame)
            .filter(|record| self.removes(record, cleaned_at))
            .count() as u64
    }

    fn is_old(&self, time_ms: i64) -> bool {
        time_ms.saturating_add_unsigned(self.tombstone_retention_ms) <= self.now_ms
    }

    /// Whether tombstones of a segment that was cleaned then have been there long enough.
    fn is_over(&self, cleaned_at: u32) -> bool {
        cleaned_at > 0 && self.is_old(i64::from(cleaned_at).saturating_mul(1_000))
    }
}

fn kept<'f>(frame: &'f Frame<'_>) -> impl Iterator<Item = Kept<'f>> {
    frame.records.iter().map(|record| Kept::of(frame, record))
}

/// Rounded up, so that nothing goes too early, and never 0.
fn seconds(now_ms: i64) -> u32 {
    u32::try_from(now_ms / 1_000 + 1).unwrap_or(1).max(1)
}

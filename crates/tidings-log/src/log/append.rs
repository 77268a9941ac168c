//! Appending, syncing, and beginning the next segment.

use super::PartitionLog;
use crate::builder::FrameBuilder;
use crate::error::LogError;
use crate::files::{LogFile, write_all_at};
use crate::format::index::{Index, Kind, Mark};
use crate::format::segment;
use crate::format::synced::SyncMark;
use crate::lock::{lock, read, write};
use crate::scan::Tail;
use crate::segments::{Active, Opened, Sealed};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What the appending thread knows by itself: nobody else moves the end of the last segment. Were it to ask for these,
/// every append would take four locks more, on cache lines that readers want too.
#[derive(Debug)]
pub(super) struct Writer {
    active: Arc<Active>,
    end: Mark,
}

impl Writer {
    fn new(active: Arc<Active>) -> Self {
        let end = active.mark();
        Self { active, end }
    }
}

impl PartitionLog {
    /// Appends the records with the offsets that follow, in one write, clears the builder and returns the offsets.
    /// The records can be read when this returns; they are durable after the next [`PartitionLog::sync`].
    ///
    /// # Errors
    /// The builder is unchanged then, and none of its records is in the log. [`LogError::Io`] can be tried again, as
    /// when the disk was full; [`LogError::Poisoned`] can't. [`LogError::TooLarge`] when the builder has a higher
    /// limit than the log, [`LogError::ReadOnly`].
    pub fn append(&self, frame: &mut FrameBuilder) -> Result<Range<u64>, LogError> {
        self.check_writable()?;
        // The checksum of the records is made before the lock is taken.
        let Some(mut header) = frame.header() else {
            let next = self.next_offset();
            return Ok(next..next);
        };
        let (size, limit) = (header.total(), u64::from(self.options.max_frame_bytes));
        if size > limit {
            return Err(LogError::TooLarge { size, limit });
        }
        let mut writer = lock(&self.writer);
        self.check_writable()?;
        let Writer { active, end } = self.segment_with_room(&mut writer, size)?;
        header.base = end.next;
        header.synced = active.synced_position();
        let bytes = frame.finish(&header, active.seed);
        write_all_at(&*active.file, bytes, end.position).map_err(|error| self.cut_back(active, error))?;
        *end = write(&active.tail).push(&header, self.options.index_interval_bytes);
        self.next.store(header.next(), Ordering::Release);
        frame.clear();
        Ok(header.base..header.next())
    }

    /// Removes what a failed write left. If that fails too, it is open what the file holds behind its end, and what a
    /// later append would write before it: so there is no later append.
    fn cut_back(&self, active: &Active, error: io::Error) -> LogError {
        let path = self.place.segment(active.base);
        if let Err(error) = active.file.truncate(active.mark().position) {
            return self.poison(LogError::io("cut back a failed write to", &path)(error));
        }
        LogError::io("write", &path)(error)
    }

    fn segment_with_room<'w>(
        &self,
        writer: &'w mut Option<Writer>,
        bytes: u64,
    ) -> Result<&'w mut Writer, LogError> {
        let writer = writer.get_or_insert_with(|| {
            let active = self.view().active.clone();
            Writer::new(active.expect("a log that was opened for writing has an active segment"))
        });
        let position = writer.end.position;
        if position > segment::LEN as u64 && position + bytes > self.options.segment_bytes {
            *writer = Writer::new(self.roll(&writer.active)?);
        }
        Ok(writer)
    }

    /// Begins the next segment. The order is what recovery relies on: the old file is on the disk before the new one
    /// is there, so only the last file can be torn; and the new one is on the disk before the old one's index says
    /// that there is one, so a last file that was deleted is noticed.
    fn roll(&self, active: &Arc<Active>) -> Result<Arc<Active>, LogError> {
        self.sync_segment(active)?;
        let Tail { mark, entries, .. } = read(&active.tail).clone();
        let (file, header) = self
            .place
            .create_segment(mark.next)
            .map_err(|error| self.abandon(mark.next, error))?;
        let begun = Arc::new(Active::new(file, header, Tail::new(mark.next)));
        let sealed = Sealed::new(active.base, mark.next, mark.position);
        let _ = sealed.max_timestamp.set(mark.max_timestamp);
        self.opened.put(Arc::new(Opened {
            base: active.base,
            seed: active.seed,
            file: Arc::clone(&active.file),
            mark,
            entries: entries.clone(),
        }));
        self.change_view(|view| {
            view.sealed.push(Arc::new(sealed));
            view.active = Some(Arc::clone(&begun));
        });
        let index = Index {
            kind: Kind::Sealed,
            seed: active.seed,
            mark,
            entries,
        };
        // Without it the segment is read once more when somebody needs the index: no reason to refuse records.
        let _ = self.place.write_index(active.base, &index);
        Ok(begun)
    }

    /// A segment that could not be begun. On a full disk the next append tries again; after a failed sync nothing may
    /// be promised any more. The file must be gone for good before that: a later append may fit into the old segment,
    /// and an empty file that begins with the same offset would hide its records after a crash.
    fn abandon(&self, base: u64, error: LogError) -> LogError {
        let path = self.place.segment(base);
        let removed = match self.place.files.remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(LogError::io("remove", &path)(error)),
            Ok(()) => self.place.sync_dir(),
        };
        match (removed, &error) {
            (_, LogError::Io { action: "sync", .. }) => self.poison(error),
            (Err(remains), _) => self.poison(remains),
            (Ok(()), _) => error,
        }
    }

    /// Makes every record that was appended before the call outlive a crash of the machine, and returns the offset
    /// below which all are durable.
    ///
    /// # Errors
    /// [`LogError::Io`] when the disk fails. What reached it is open then, and a second try would succeed without
    /// having written anything: so every later append and sync fails with [`LogError::Poisoned`] until the log is
    /// opened again, which writes what is in doubt once more.
    pub fn sync(&self) -> Result<u64, LogError> {
        self.check_writable()?;
        let view = self.view();
        if let Some(active) = &view.active {
            self.sync_segment(active)?;
        }
        Ok(self.synced_offset())
    }

    /// The system reports a failure to one caller only: so syncs exclude each other, and whoever comes second sees
    /// the poison.
    fn sync_segment(&self, active: &Active) -> Result<(), LogError> {
        let _syncing = lock(&self.syncing);
        self.check_writable()?;
        let (mark, synced) = {
            let tail = read(&active.tail);
            (tail.mark, tail.synced)
        };
        if mark.position > synced.position {
            let failed = |error| LogError::io("sync", &self.place.segment(active.base))(error);
            active
                .file
                .sync_data()
                .map_err(|error| self.poison(failed(error)))?;
            active.set_synced(mark);
            self.note_synced(active, mark);
        }
        self.synced.fetch_max(mark.next, Ordering::AcqRel);
        Ok(())
    }

    /// Writes the sync mark: from here on a killed process leaves the proof that these bytes had been on the disk. The
    /// mark itself is not synced, because that would double the price of each sync; the system writes it when it
    /// likes. Without it there is a proof less, and nothing is wrong: so a failure is no reason to fail.
    pub(super) fn note_synced(&self, active: &Active, mark: Mark) {
        let noted = SyncMark {
            seed: active.seed,
            base: active.base,
            position: mark.position,
            next: mark.next,
        };
        let mut kept = lock(&self.sync_mark);
        if self.write_mark(&mut kept, &noted.encode()).is_err() {
            // The next sync opens it anew.
            *kept = None;
        }
    }

    fn write_mark(&self, kept: &mut Option<Arc<dyn LogFile>>, bytes: &[u8]) -> io::Result<()> {
        let file = match kept {
            Some(file) => file,
            None => kept.insert(self.place.files.note(&self.place.sync_mark())?),
        };
        write_all_at(&**file, bytes, 0)
    }

    /// Notes beside the last segment up to where it is synced, so that the next opening begins there and takes
    /// anything missing before it for damage. Costs a small write without a sync; dropping the log does it too.
    ///
    /// # Errors
    /// [`LogError::Io`]; the log is unharmed, and opening it takes longer.
    pub fn checkpoint(&self) -> Result<(), LogError> {
        let Some(active) = self.view().active.clone() else {
            return Ok(());
        };
        let _writing = lock(&self.writer);
        let is_last = self
            .view()
            .active
            .as_ref()
            .is_some_and(|last| Arc::ptr_eq(last, &active));
        if !is_last || self.check_writable().is_err() {
            return Ok(());
        }
        if let Some(index) = active.new_checkpoint() {
            self.place.write_index(active.base, &index)?;
            active.set_checkpoint(index.mark.position);
        }
        Ok(())
    }
}

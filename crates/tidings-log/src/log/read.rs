//! Reading whole frames, verified before anything is delivered.

use super::PartitionLog;
use super::hints::Hint;
use crate::chunk::{Chunk, Lost, RecordView};
use crate::error::LogError;
use crate::files::{Access, LogFile, read_full_at};
use crate::format::frame::{self, Flaw, FrameHeader, Layout};
use crate::format::index::{self, Entry};
use crate::format::{record, segment};
use crate::lock::{lock, read};
use crate::scan::Tail;
use crate::segments::{Opened, Sealed, View};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// The least that is read at once: a page, so that a small limit does not take two reads for each frame.
const LEAST_READ: usize = 4 << 10;
/// The most, so that spans of 32 bits reach every byte.
const MOST_READ: usize = frame::MOST_BYTES as usize;

/// A segment as far as it can be read.
pub(super) struct Readable {
    pub(super) base: u64,
    pub(super) seed: u32,
    pub(super) file: Arc<dyn LogFile>,
    /// The byte behind the last frame.
    pub(super) end: u64,
    /// The offset that follows the last record.
    pub(super) next: u64,
    /// A frame to begin with.
    pub(super) start: Entry,
}

impl PartitionLog {
    /// The records from `from` on that are below `up_to`: as many whole frames as fit into `max_bytes`, and at least
    /// one, so a chunk can be larger than that. Empty when there is none. A chunk ends at the end of a segment at the
    /// latest: read again from its [`Chunk::next_offset`] until it is empty.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] when `from` is below the first offset or above the next, [`LogError::Corrupt`] when
    /// bytes have changed or are missing, [`LogError::Io`].
    pub fn read(&self, from: u64, up_to: u64, max_bytes: usize) -> Result<Chunk, LogError> {
        let view = self.view();
        let (first, next) = (view.first(), view.next());
        if from < first || from > next {
            return Err(LogError::OutOfRange {
                requested: from,
                first,
                next,
            });
        }
        let mut wanted = from..up_to.min(next);
        let mut lost = Vec::new();
        while !wanted.is_empty() {
            let mut chunk = self.read_segment(&view, wanted.clone(), max_bytes)?;
            lost.append(&mut chunk.take_lost());
            if !chunk.is_empty() {
                return Ok(chunk.with_lost(lost));
            }
            // Compaction left no record here: the first one may be in another segment.
            wanted.start = chunk.next_offset();
        }
        Ok(Chunk::empty(wanted.start).with_lost(lost))
    }

    /// What the segment with the first of these offsets has of them.
    fn read_segment(&self, view: &View, wanted: Range<u64>, max_bytes: usize) -> Result<Chunk, LogError> {
        let from = wanted.start;
        let segment = match self.readable(view, from) {
            Err(error) if error.is_not_found() => return Err(self.explain_missing(from, error)),
            segment => segment?,
        };
        let mut reading = Reading::new(self, &segment, wanted);
        match reading.run(max_bytes.clamp(1, MOST_READ)) {
            // A file that was closed to make room for others, and removed meanwhile.
            Err(error) if error.is_not_found() => return Err(self.explain_missing(from, error)),
            read => read?,
        }
        lock(&self.hints).remember(Hint {
            segment: segment.base,
            seed: segment.seed,
            offset: reading.expected,
            position: reading.position(),
        });
        Ok(reading.finish())
    }

    /// The segment with that offset, and the best place to begin at.
    pub(super) fn readable(&self, view: &View, from: u64) -> Result<Readable, LogError> {
        if let Some(sealed) = view.sealed_with(from) {
            let opened = self.open_sealed(sealed)?;
            return Ok(self.readable_sealed(&opened, from));
        }
        let active = view
            .active
            .as_ref()
            .expect("an offset below the next one is in a segment");
        let tail = read(&active.tail);
        Ok(Readable {
            base: active.base,
            seed: active.seed,
            file: Arc::clone(&active.file),
            end: tail.mark.position,
            next: tail.mark.next,
            start: self.start((active.base, active.seed), &tail.entries, from),
        })
    }

    fn readable_sealed(&self, opened: &Opened, from: u64) -> Readable {
        Readable {
            base: opened.base,
            seed: opened.seed,
            file: Arc::clone(&opened.file),
            end: opened.mark.position,
            next: opened.mark.next,
            start: self.start((opened.base, opened.seed), &opened.entries, from),
        }
    }

    fn start(&self, (base, seed): (u64, u32), entries: &[Entry], from: u64) -> Entry {
        let hint = lock(&self.hints).find((base, seed), from);
        hint.or_else(|| index::find_offset(entries, from))
            .unwrap_or(Entry {
                offset: base,
                position: segment::LEN as u64,
                max_before: i64::MIN,
            })
    }

    /// Opens a sealed segment, with its index. Without an index file the segment is read once.
    pub(super) fn open_sealed(&self, sealed: &Sealed) -> Result<Arc<Opened>, LogError> {
        if let Some(opened) = self.opened.get(sealed.base) {
            return Ok(opened);
        }
        let path = self.place.segment(sealed.base);
        let file = self.place.open(sealed.base, Access::ReadOnly)?;
        let seed = self.place.require_header(&*file, sealed.base)?.seed;
        let len = file.len().map_err(LogError::io("read", &path))?;
        let index = self
            .place
            .read_index(sealed.base, seed, len)
            .filter(|index| index.mark.position == len);
        let (mark, entries) = match index {
            Some(index) => (index.mark, index.entries),
            None => {
                let tail = self.rebuild_index((&*file, seed), sealed.base, len)?;
                (tail.mark, tail.entries)
            }
        };
        if mark.next != sealed.next {
            let reason = format!(
                "the next file begins with record {}, and those before it are missing",
                sealed.next
            );
            return Err(LogError::corrupt(&path, mark.position, mark.next, reason));
        }
        let _ = sealed.max_timestamp.set(mark.max_timestamp);
        let opened = Arc::new(Opened {
            base: sealed.base,
            seed,
            file,
            mark,
            entries,
        });
        self.opened.put(Arc::clone(&opened));
        Ok(opened)
    }

    fn rebuild_index(
        &self,
        (file, seed): (&dyn LogFile, u32),
        base: u64,
        len: u64,
    ) -> Result<Tail, LogError> {
        let path = self.place.segment(base);
        let mut tail = Tail::new(base);
        let interval = self.options.index_interval_bytes;
        let flaw = tail
            .extend((file, seed), len, interval, &mut 0)
            .map_err(LogError::io("read", &path))?;
        match flaw {
            // Whatever it is, it had been on the disk before the next segment was begun.
            Some(flaw) => Err(LogError::corrupt(&path, tail.mark.position, tail.mark.next, flaw)),
            None => {
                self.save_index(base, seed, &tail);
                Ok(tail)
            }
        }
    }

    fn save_index(&self, base: u64, seed: u32, tail: &Tail) {
        if self.check_writable().is_ok() {
            // Whoever needs it next can make it again.
            let _ = self.place.write_index(
                base,
                &index::Index {
                    kind: index::Kind::Sealed,
                    seed,
                    mark: tail.mark,
                    entries: tail.entries.clone(),
                },
            );
        }
    }

    /// A segment file that is not there: retention was faster, which is no damage.
    fn explain_missing(&self, from: u64, error: LogError) -> LogError {
        if self.options.access == Access::ReadOnly {
            let _ = self.refresh();
        }
        let (requested, first, next) = (from, self.first_offset(), self.next_offset());
        if from < first {
            return LogError::OutOfRange {
                requested,
                first,
                next,
            };
        }
        match error {
            LogError::Io { file, .. } => LogError::corrupt(&file, 0, from, "the segment file is missing"),
            other => other,
        }
    }
}

/// One read in progress: a piece of the file in memory, and a place in it.
struct Reading<'a> {
    log: &'a PartitionLog,
    segment: &'a Readable,
    wanted: Range<u64>,
    /// The offset that the frame at the place must begin with.
    expected: u64,
    buffer: Vec<u8>,
    /// Where the buffer begins in the file.
    buffer_at: u64,
    /// The place, in the buffer.
    cursor: usize,
    /// Where the first frame that is delivered begins in the buffer.
    start: usize,
    records: Vec<RecordView>,
    lost: Vec<Lost>,
}

impl<'a> Reading<'a> {
    fn new(log: &'a PartitionLog, segment: &'a Readable, wanted: Range<u64>) -> Self {
        Self {
            log,
            segment,
            wanted,
            expected: segment.start.offset,
            buffer: Vec::new(),
            buffer_at: segment.start.position,
            cursor: 0,
            start: 0,
            records: Vec::new(),
            lost: Vec::new(),
        }
    }

    fn position(&self) -> u64 {
        self.buffer_at + self.cursor as u64
    }

    fn corrupt(&self, reason: impl ToString) -> LogError {
        let path = self.log.place.segment(self.segment.base);
        LogError::corrupt(&path, self.position(), self.expected, reason)
    }

    /// Reads from the place on; what was in memory is gone.
    fn fill(&mut self, bytes: usize) -> Result<(), LogError> {
        self.buffer_at = self.position();
        self.cursor = 0;
        let left = usize::try_from(self.segment.end - self.buffer_at).unwrap_or(usize::MAX);
        // Fresh memory comes zeroed from the system, which costs less than clearing what was there.
        self.buffer = vec![0; bytes.min(left)];
        let read = read_full_at(&*self.segment.file, &mut self.buffer, self.buffer_at);
        let path = || self.log.place.segment(self.segment.base);
        let read = read.map_err(|error| LogError::io("read", &path())(error))?;
        if read < self.buffer.len() {
            return Err(self.corrupt("the file has become shorter"));
        }
        Ok(())
    }

    fn run(&mut self, max_bytes: usize) -> Result<(), LogError> {
        // An index entry may be some frames early; what they take must not be missing for those that are wanted.
        let early = if self.expected < self.wanted.start {
            self.log.options.index_interval_bytes as usize
        } else {
            0
        };
        self.fill(max_bytes.max(LEAST_READ).saturating_add(early).min(MOST_READ))?;
        while self.position() < self.segment.end && self.expected < self.wanted.end {
            let Some(header) = self.header(max_bytes)? else {
                break;
            };
            let total = usize::try_from(header.total()).unwrap_or(usize::MAX);
            if header.next() <= self.wanted.start {
                self.cursor = self.cursor.saturating_add(total);
            } else if !self.take(&header, total, max_bytes)? {
                break;
            }
            self.expected = header.next();
        }
        match self.records.is_empty() && self.expected <= self.wanted.start {
            true => Err(self.corrupt("the file ends before this record")),
            false => Ok(()),
        }
    }

    /// The header at the place. None when it is not in memory and there are records to deliver already.
    fn header(&mut self, max_bytes: usize) -> Result<Option<FrameHeader>, LogError> {
        if self.buffer.len() < self.cursor.saturating_add(frame::LEN) {
            if !self.records.is_empty() {
                return Ok(None);
            }
            self.fill(max_bytes.max(LEAST_READ))?;
        }
        let bytes = self.buffer.get(self.cursor..).unwrap_or_default();
        let header = frame::decode(bytes, self.segment.seed).map_err(|flaw| self.corrupt(flaw))?;
        if header.base != self.expected {
            return Err(self.corrupt(Flaw::Order { found: header.base }));
        }
        if header.total() > self.segment.end - self.position() || header.next() > self.segment.next {
            return Err(self.corrupt(Flaw::Incomplete));
        }
        Ok(Some(header))
    }

    /// Verifies a frame and takes its records. False when it has to wait for the next read.
    fn take(&mut self, header: &FrameHeader, total: usize, max_bytes: usize) -> Result<bool, LogError> {
        if self.records.is_empty() {
            if self.buffer.len() - self.cursor < total {
                self.fill(total.max(max_bytes))?;
            }
            self.start = self.cursor;
        } else if self.buffer.len() - self.cursor < total || self.cursor + total - self.start > max_bytes {
            return Ok(false);
        }
        let body = self
            .buffer
            .get(self.cursor + frame::LEN..self.cursor + total)
            .unwrap_or_default();
        if crc32c::crc32c(body) != header.body_crc {
            return Err(self.corrupt(Flaw::Body));
        }
        let at = self.cursor + frame::LEN - self.start;
        let decoded = record::decode((body, at), header, self.wanted.clone(), &mut self.records);
        decoded.map_err(|flaw| self.corrupt(flaw))?;
        if header.layout == Layout::Lost {
            let reason = String::from_utf8_lossy(body).into_owned();
            self.note_lost(header, reason);
        }
        self.cursor += total;
        Ok(true)
    }

    #[cold]
    fn note_lost(&mut self, header: &FrameHeader, reason: String) {
        let offsets = header.base.max(self.wanted.start)..header.next().min(self.wanted.end);
        self.lost.push(Lost { offsets, reason });
    }

    fn finish(mut self) -> Chunk {
        let next = self.expected.min(self.wanted.end);
        if self.records.is_empty() {
            return Chunk::empty(next).with_lost(self.lost);
        }
        let used = self.cursor - self.start;
        // A chunk may live long: it does not hold on to much more memory than it shows.
        let memory = if used < self.buffer.len() / 2 {
            Bytes::copy_from_slice(self.buffer.get(self.start..self.cursor).unwrap_or_default())
        } else {
            self.buffer.truncate(self.cursor);
            Bytes::from(self.buffer).slice(self.start..)
        };
        Chunk::new(memory, self.records, next).with_lost(self.lost)
    }
}

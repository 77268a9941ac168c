//! Writing a segment again with fewer records: into a draft beside it, which takes its name when it is on the disk.

use crate::chunk::RecordView;
use crate::error::LogError;
use crate::files::{LogFile, write_all_at};
use crate::format::frame::{self, FrameHeader, Layout};
use crate::format::index::{Index, Kind};
use crate::format::record::{self, Parts};
use crate::format::segment::{self, SegmentHeader};
use crate::place::Place;
use crate::scan::Tail;
use crate::walk::Frame;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// A frame gets no record more once it has this many bytes.
const FRAME_BYTES: usize = 128 << 10;
/// A record larger than this has a frame for itself, in the layout that it came in: so whatever fitted into a frame
/// before fits again.
const LARGE: usize = 64 << 20;

/// A record as the rewriter takes it.
#[derive(Clone, Copy)]
pub(crate) struct Kept<'a> {
    pub(crate) offset: u64,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) headers: &'a [u8],
    pub(crate) payload: Option<&'a [u8]>,
}

impl<'a> Kept<'a> {
    /// A record of a frame.
    pub(crate) fn of(frame: &'a Frame<'_>, record: &RecordView) -> Self {
        Self {
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(|key| frame.bytes(key)),
            headers: frame.bytes(record.headers),
            payload: record.payload.map(|payload| frame.bytes(payload)),
        }
    }
}

/// A segment file in the making. Offsets ascend; those that are passed over have no record in it.
pub(crate) struct Rewriter<'a> {
    place: &'a Place,
    draft: PathBuf,
    file: Arc<dyn LogFile>,
    header: SegmentHeader,
    tail: Tail,
    index_interval_bytes: u32,
    pending: Pending,
}

/// The records of the frame that is written next.
#[derive(Default)]
struct Pending {
    /// The offset that follows the last record, or the first of the frame.
    next: u64,
    first_timestamp: i64,
    max_timestamp: i64,
    /// The records as a dense frame has them.
    body: Vec<u8>,
    /// For each: how many offsets before it have none, and how many bytes it takes.
    records: Vec<(u64, usize)>,
}

/// What became of a draft that is on the disk, under its own name still.
pub(crate) struct Draft {
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
    pub(crate) tail: Tail,
}

impl Draft {
    /// The index of the segment that it will be.
    pub(crate) fn index(&self) -> Index {
        Index {
            kind: Kind::Sealed,
            seed: self.header.seed,
            mark: self.tail.mark,
            entries: self.tail.entries.clone(),
        }
    }
}

impl<'a> Rewriter<'a> {
    /// A draft of the segment that begins with `base`.
    pub(crate) fn begin(
        place: &'a Place,
        base: u64,
        cleaned_at: u32,
        index_interval_bytes: u32,
    ) -> Result<Self, LogError> {
        let draft = place.draft(base);
        // An earlier attempt may have left one.
        match place.files.remove_file(&draft) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(LogError::io("remove", &draft)(error));
            }
            _ => {}
        }
        let file = place
            .files
            .create(&draft)
            .map_err(LogError::io("create", &draft))?;
        let (bytes, header) = segment::encode_rewritten(base, cleaned_at);
        let rewriter = Self {
            place,
            draft,
            file,
            header,
            tail: Tail::new(base),
            index_interval_bytes,
            pending: Pending {
                next: base,
                max_timestamp: i64::MIN,
                ..Pending::default()
            },
        };
        write_all_at(&*rewriter.file, &bytes, 0).map_err(LogError::io("write", &rewriter.draft))?;
        Ok(rewriter)
    }

    /// Adds a record.
    pub(crate) fn keep(&mut self, kept: &Kept<'_>) -> Result<(), LogError> {
        let mut parts = Parts {
            delta: 0,
            key: kept.key,
            headers: kept.headers,
            payload: kept.payload,
        };
        let large = parts.size() > LARGE;
        let span = (kept.offset - self.tail.mark.next).saturating_add(1);
        if large || self.pending.body.len() >= FRAME_BYTES || span > u64::from(u32::MAX) {
            self.flush(kept.offset)?;
        }
        let pending = &mut self.pending;
        if pending.records.is_empty() {
            pending.first_timestamp = kept.timestamp_ms;
        }
        parts.delta = kept.timestamp_ms.wrapping_sub(pending.first_timestamp);
        let before = pending.body.len();
        parts.encode(&mut pending.body);
        pending
            .records
            .push((kept.offset - pending.next, pending.body.len() - before));
        pending.max_timestamp = pending.max_timestamp.max(kept.timestamp_ms);
        pending.next = kept.offset + 1;
        if large {
            self.flush(kept.offset + 1)?;
        }
        Ok(())
    }

    /// Says for these offsets that their records were lost, and why.
    pub(crate) fn lose(&mut self, offsets: Range<u64>, reason: &str) -> Result<(), LogError> {
        self.flush(offsets.start)?;
        let most = reason.floor_char_boundary(frame::MOST_NOTE_BYTES as usize);
        let note = reason.as_bytes().get(..most).unwrap_or_default();
        while self.tail.mark.next < offsets.end {
            self.write(Layout::Lost, offsets.end, note)?;
        }
        Ok(())
    }

    /// Writes what is pending, and says for the offsets behind it, up to `next`, that they have no record.
    fn flush(&mut self, next: u64) -> Result<(), LogError> {
        let fits = next - self.tail.mark.next <= u64::from(u32::MAX);
        if !self.pending.records.is_empty() {
            let body = self.pending.body(fits && next > self.pending.next);
            let (layout, body) = body;
            let end = if fits { next } else { self.pending.next };
            self.write(layout, end, &body)?;
        }
        while self.tail.mark.next < next {
            self.write(Layout::Sparse, next, &[0])?;
        }
        Ok(())
    }

    /// Writes a frame that stands for the offsets up to `next`, or as many as a frame can stand for.
    fn write(&mut self, layout: Layout, next: u64, body: &[u8]) -> Result<(), LogError> {
        let mark = self.tail.mark;
        let has_records = layout != Layout::Lost && !self.pending.records.is_empty();
        let header = FrameHeader {
            body_crc: crc32c::crc32c(body),
            body_len: body.len() as u32,
            base: mark.next,
            count: u32::try_from(next - mark.next).unwrap_or(u32::MAX),
            layout,
            first_timestamp: if has_records {
                self.pending.first_timestamp
            } else {
                0
            },
            max_timestamp: if has_records {
                self.pending.max_timestamp
            } else {
                i64::MIN
            },
            // The file is synced as a whole before anybody reads it.
            synced: mark.position,
        };
        let mut bytes = vec![0; frame::LEN];
        bytes.extend_from_slice(body);
        header.encode(self.header.seed, &mut bytes);
        write_all_at(&*self.file, &bytes, mark.position).map_err(LogError::io("write", &self.draft))?;
        self.tail.push(&header, self.index_interval_bytes);
        self.pending = Pending {
            next: self.tail.mark.next,
            max_timestamp: i64::MIN,
            ..Pending::default()
        };
        Ok(())
    }

    /// Completes the segment, which ends before `next`, and syncs it.
    pub(crate) fn finish(mut self, next: u64) -> Result<Draft, LogError> {
        self.flush(next)?;
        self.file.sync_data().map_err(LogError::io("sync", &self.draft))?;
        Ok(Draft {
            path: self.draft,
            header: self.header,
            tail: self.tail,
        })
    }

    /// Removes the draft again, as well as that goes: opening removes it too.
    pub(crate) fn give_up(self) {
        let _ = self.place.files.remove_file(&self.draft);
    }
}

impl Pending {
    /// The layout that these records need, and the body in it. `trailing` says that offsets without records follow.
    fn body(&mut self, trailing: bool) -> (Layout, Vec<u8>) {
        let dense = std::mem::take(&mut self.body);
        if !trailing && self.records.iter().all(|(gap, _)| *gap == 0) {
            return (Layout::Dense, dense);
        }
        let mut body = Vec::with_capacity(dense.len() + self.records.len() + 8);
        record::encode_count(self.records.len() as u64, &mut body);
        let mut rest = dense.as_slice();
        for (gap, len) in &self.records {
            record::encode_gap(*gap, &mut body);
            let (bytes, after) = rest.split_at_checked(*len).unwrap_or((rest, &[]));
            body.extend_from_slice(bytes);
            rest = after;
        }
        (Layout::Sparse, body)
    }
}

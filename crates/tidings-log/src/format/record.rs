//! The records of a frame.

use super::frame::{Flaw, FrameHeader, Layout};
use super::varint;
use crate::chunk::{RecordView, Span};
use std::ops::Range;

/// Bytes of the shortest record: four numbers of one byte.
pub(crate) const SHORTEST: usize = 4;

/// The most bytes that the numbers of a record take.
const MOST_NUMBERS: usize = 4 * varint::LONGEST;

/// What a record is made of.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) delta: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) headers: &'a [u8],
    pub(crate) payload: Option<&'a [u8]>,
}

/// Absent is 0, and a length is one more than it is: an empty key is not a missing one.
fn optional_len(part: Option<&[u8]>) -> u64 {
    part.map_or(0, |part| part.len() as u64 + 1)
}

impl Parts<'_> {
    /// How many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        let (key, payload) = (optional_len(self.key), optional_len(self.payload));
        let lengths = varint::size(key) + varint::size(payload) + varint::size(self.headers.len() as u64);
        let bytes =
            self.key.map_or(0, <[u8]>::len) + self.headers.len() + self.payload.map_or(0, <[u8]>::len);
        varint::size(varint::zigzag(self.delta)) + lengths + bytes
    }

    /// At least as many bytes as it takes, and found out with less work.
    pub(crate) fn most(&self) -> usize {
        let contents = self.key.map_or(0, <[u8]>::len) + self.headers.len();
        MOST_NUMBERS + contents + self.payload.map_or(0, <[u8]>::len)
    }

    /// Appends it. The vector should have room for [`Parts::most`].
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let (key, payload) = (optional_len(self.key), optional_len(self.payload));
        let numbers = [
            varint::zigzag(self.delta),
            key,
            self.headers.len() as u64,
            payload,
        ];
        varint::write_four(out, numbers);
        out.extend_from_slice(self.key.unwrap_or_default());
        out.extend_from_slice(self.headers);
        out.extend_from_slice(self.payload.unwrap_or_default());
    }
}

/// Takes consecutive spans off a body.
struct Cursor<'a> {
    rest: &'a [u8],
    /// Where the body ends in the memory that the spans are for.
    end: usize,
}

impl Cursor<'_> {
    fn number(&mut self) -> Option<u64> {
        varint::take(&mut self.rest)
    }

    fn span(&mut self, len: u64) -> Option<Span> {
        let start = self.end - self.rest.len();
        let len = usize::try_from(len).ok()?;
        self.rest = self.rest.get(len..)?;
        Some(Span {
            start: u32::try_from(start).ok()?,
            len: u32::try_from(len).ok()?,
        })
    }

    fn optional(&mut self, len: u64) -> Option<Option<Span>> {
        match len.checked_sub(1) {
            None => Some(None),
            Some(len) => self.span(len).map(Some),
        }
    }

    // The reader's innermost loop: with two callers it would be a call for each record.
    #[inline(always)]
    fn record(&mut self, offset: u64, first_timestamp: i64) -> Option<RecordView> {
        let delta = varint::unzigzag(self.number()?);
        let (key, headers, payload) = (self.number()?, self.number()?, self.number()?);
        Some(RecordView {
            offset,
            timestamp_ms: first_timestamp.wrapping_add(delta),
            key: self.optional(key)?,
            headers: self.span(headers)?,
            payload: self.optional(payload)?,
        })
    }
}

/// Reads the records of a body that lies at `start` of the memory that the spans are for, and keeps those whose
/// offset is in `wanted`.
pub(crate) fn decode(
    (body, start): (&[u8], usize),
    header: &FrameHeader,
    wanted: Range<u64>,
    out: &mut Vec<RecordView>,
) -> Result<(), Flaw> {
    match header.layout {
        Layout::Dense => {}
        Layout::Sparse => return decode_sparse((body, start), header, wanted, out),
        Layout::Lost => return Ok(()),
    }
    let mut cursor = Cursor {
        rest: body,
        end: start + body.len(),
    };
    // A record takes at least four bytes, and the header's count was checked against the body's length: this is
    // bounded by bytes that are there.
    out.reserve(header.count as usize);
    for offset in header.base..header.next() {
        let record = cursor.record(offset, header.first_timestamp);
        let record = record.ok_or(Flaw::Shape("a record is longer than its frame"))?;
        if wanted.contains(&offset) {
            out.push(record);
        }
    }
    match cursor.rest {
        [] => Ok(()),
        _ => Err(Flaw::Shape("there are bytes behind the last record of the frame")),
    }
}

/// The same for a frame that has records for some of its offsets only: their number comes first, and before each record
/// the number of offsets that have none since the record before.
#[cold]
fn decode_sparse(
    (body, start): (&[u8], usize),
    header: &FrameHeader,
    wanted: Range<u64>,
    out: &mut Vec<RecordView>,
) -> Result<(), Flaw> {
    let mut cursor = Cursor {
        rest: body,
        end: start + body.len(),
    };
    const CUT: Flaw = Flaw::Shape("a record is longer than its frame");
    let count = cursor.number().ok_or(CUT)?;
    if count > header.count.into() {
        return Err(Flaw::Shape("the frame has more records than offsets"));
    }
    let mut next = header.base;
    for _ in 0..count {
        let gap = cursor.number().ok_or(CUT)?;
        let offset = next.checked_add(gap).filter(|offset| *offset < header.next());
        let offset = offset.ok_or(Flaw::Shape("a record has an offset behind its frame"))?;
        let record = cursor.record(offset, header.first_timestamp).ok_or(CUT)?;
        if wanted.contains(&offset) {
            out.push(record);
        }
        next = offset + 1;
    }
    match cursor.rest {
        [] => Ok(()),
        _ => Err(Flaw::Shape("there are bytes behind the last record of the frame")),
    }
}

/// What a sparse frame begins with: the number of its records.
pub(crate) fn encode_count(count: u64, out: &mut Vec<u8>) {
    varint::write(out, count);
}

/// What stands before a record of a sparse frame: how many offsets before it have none.
pub(crate) fn encode_gap(gap: u64, out: &mut Vec<u8>) {
    varint::write(out, gap);
}

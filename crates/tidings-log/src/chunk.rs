//! What a read gives: records that share one piece of memory.

use bytes::Bytes;
use std::fmt;

/// A stretch of a chunk's memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// Number of bytes.
    pub len: u32,
}

/// One record, and where its parts are in the memory of its chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView {
    /// Its offset in the log.
    pub offset: u64,
    /// Its timestamp, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The key, if it has one.
    pub key: Option<Span>,
    /// The header block.
    pub headers: Span,
    /// The payload; none is a tombstone.
    pub payload: Option<Span>,
}

/// Offsets whose records are gone for good, because an operator had the log repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The offsets.
    pub offsets: std::ops::Range<u64>,
    /// What the repair noted.
    pub reason: String,
}

/// Records in the order of their offsets. All keys, headers and payloads are views into one memory with one reference count.
#[derive(Clone)]
pub struct Chunk {
    memory: Bytes,
    records: Vec<RecordView>,
    next: u64,
    lost: Vec<Lost>,
}

impl Chunk {
    pub(crate) fn new(memory: Bytes, records: Vec<RecordView>, next: u64) -> Self {
        Self {
            memory,
            records,
            next,
            lost: Vec::new(),
        }
    }

    pub(crate) fn with_lost(mut self, lost: Vec<Lost>) -> Self {
        self.lost = lost;
        self
    }

    pub(crate) fn take_lost(&mut self) -> Vec<Lost> {
        std::mem::take(&mut self.lost)
    }

    /// No records; reading goes on at `next`.
    pub(crate) fn empty(next: u64) -> Self {
        Self::new(Bytes::new(), Vec::new(), next)
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The offset to read from next.
    pub fn next_offset(&self) -> u64 {
        self.next
    }

    /// How many bytes of memory it keeps alive, without the list of records.
    pub fn memory_bytes(&self) -> usize {
        self.memory.len()
    }

    /// What was lost between where the read began and [`Chunk::next_offset`]. Empty unless the log was repaired.
    pub fn lost(&self) -> &[Lost] {
        &self.lost
    }

    /// The records, in the order of their offsets. Offsets are missing where compaction removed a record, and where one
    /// was [lost](Chunk::lost).
    pub fn records(&self) -> &[RecordView] {
        &self.records
    }

    /// The bytes of a span of a record of this chunk; empty for a span of another one that does not fit.
    pub fn bytes(&self, span: Span) -> &[u8] {
        let start = span.start as usize;
        self.memory
            .get(start..start + span.len as usize)
            .unwrap_or_default()
    }

    /// As [`Chunk::bytes`], sharing the memory.
    pub fn slice(&self, span: Span) -> Bytes {
        match self.bytes(span) {
            [] => Bytes::new(),
            bytes => self.memory.slice_ref(bytes),
        }
    }

    /// The key of a record of this chunk.
    pub fn key(&self, record: &RecordView) -> Option<&[u8]> {
        record.key.map(|span| self.bytes(span))
    }

    /// The header block of a record of this chunk.
    pub fn headers(&self, record: &RecordView) -> &[u8] {
        self.bytes(record.headers)
    }

    /// The payload of a record of this chunk.
    pub fn payload(&self, record: &RecordView) -> Option<&[u8]> {
        record.payload.map(|span| self.bytes(span))
    }

    /// The memory, and the records with their spans in it.
    pub fn into_parts(self) -> (Bytes, Vec<RecordView>) {
        (self.memory, self.records)
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk")
            .field("records", &self.records.len())
            .field("next", &self.next)
            .field("memory_bytes", &self.memory.len())
            .field("lost", &self.lost)
            .finish()
    }
}

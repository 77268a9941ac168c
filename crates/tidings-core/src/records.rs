//! What a broker hands over: a [`RecordBatch`] of one lane that owns its memory.

use crate::headers::{self, HeaderView, Headers};
use crate::message::{Message, Timestamp};
use bytes::Bytes;
use std::fmt;

/// What is ordered: a partition, or a queue's channel. Given by the source, unique within it, counted from 0 and used
/// again after a lane was released: the engine uses it as an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(pub u32);

/// Which assignment of a lane a piece of work belongs to. It grows with every assignment, so late work is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// A stretch of a batch's memory: start and length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// Number of bytes.
    pub len: u32,
}

/// One record: where it is in the lane, and where its parts are in the batch's memory.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    /// The offset in the lane.
    pub offset: u64,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// The key.
    pub key: Option<Span>,
    /// The header block, see [`crate::headers`].
    pub headers: Span,
    /// The payload; none is a tombstone.
    pub payload: Option<Span>,
}

impl Span {
    fn end(self) -> usize {
        self.start as usize + self.len as usize
    }

    fn moved(self, by: usize) -> Self {
        let start = (self.start as usize).saturating_sub(by) as u32;
        Self { start, ..self }
    }
}

impl Record {
    fn spans(&self) -> impl Iterator<Item = Span> {
        let spans = [self.key, Some(self.headers), self.payload];
        // An empty span may stand anywhere.
        spans.into_iter().flatten().filter(|span| span.len > 0)
    }

    /// Where its first byte is.
    fn start(&self) -> usize {
        let starts = self.spans().map(|span| span.start as usize);
        starts.min().unwrap_or_default()
    }

    /// Where its last byte is, and one more.
    fn end(&self) -> usize {
        self.spans().map(Span::end).max().unwrap_or_default()
    }

    /// The same record in memory that begins so many bytes later.
    fn moved(self, by: usize) -> Self {
        Self {
            key: self.key.map(|span| span.moved(by)),
            headers: self.headers.moved(by),
            payload: self.payload.map(|span| span.moved(by)),
            ..self
        }
    }
}

/// Consecutive records of one lane and one epoch. Key, headers and payload are views into one memory.
pub struct RecordBatch {
    lane: LaneId,
    epoch: Epoch,
    memory: Bytes,
    records: Vec<Record>,
    next: u64,
}

/// Makes a batch of what a source without a log was handed, at consecutive offsets: straight into the batch's memory.
#[derive(Debug)]
pub struct BatchBuilder {
    lane: LaneId,
    epoch: Epoch,
    next: u64,
    memory: Vec<u8>,
    records: Vec<Record>,
}

impl BatchBuilder {
    /// A batch of a lane whose first record is at that offset.
    pub fn new(lane: LaneId, epoch: Epoch, first: u64) -> Self {
        Self {
            lane,
            epoch,
            next: first,
            memory: Vec::new(),
            records: Vec::new(),
        }
    }

    /// Makes room for so many more records, which take about so many bytes.
    pub fn reserve(&mut self, records: usize, bytes: usize) {
        self.records.reserve(records);
        self.memory.reserve(bytes);
    }

    /// The offset of the next record.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Whether there is no record yet.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// How many bytes its records take.
    pub fn size(&self) -> usize {
        self.memory.len()
    }

    /// Adds a record with headers in their order, as they came from outside.
    pub fn push<'h>(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        headers: impl IntoIterator<Item = (&'h str, impl AsRef<[u8]>)>,
        payload: Option<&[u8]>,
    ) {
        let write = |memory: &mut Vec<u8>| {
            for (name, value) in headers {
                headers::write(memory, name, value.as_ref());
            }
        };
        self.add(timestamp, key, write, payload);
    }

    fn add(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        headers: impl FnOnce(&mut Vec<u8>),
        payload: Option<&[u8]>,
    ) {
        let memory = &mut self.memory;
        let mut put = |write: &mut dyn FnMut(&mut Vec<u8>)| {
            let start = memory.len();
            write(memory);
            Span {
                start: start as u32,
                len: (memory.len() - start) as u32,
            }
        };
        let mut headers = Some(headers);
        self.records.push(Record {
            offset: self.next,
            timestamp,
            key: key.map(|key| put(&mut |memory| memory.extend_from_slice(key))),
            headers: put(&mut |memory| {
                if let Some(headers) = headers.take() {
                    headers(memory);
                }
            }),
            payload: payload.map(|payload| put(&mut |memory| memory.extend_from_slice(payload))),
        });
        self.next += 1;
    }

    /// The batch.
    pub fn finish(self) -> RecordBatch {
        RecordBatch::new(self.lane, self.epoch, self.memory.into(), self.records, self.next)
    }
}

impl RecordBatch {
    /// A batch. `next` is the offset at which the lane goes on: offsets up to it that are missing among the records
    /// (compaction, transaction markers) hold nothing to handle. Records must ascend; a span that does not fit into
    /// the memory is read as empty.
    pub fn new(lane: LaneId, epoch: Epoch, memory: Bytes, records: Vec<Record>, next: u64) -> Self {
        debug_assert!(records.is_sorted_by_key(|record| record.offset));
        Self {
            lane,
            epoch,
            memory,
            records,
            next,
        }
    }

    /// A batch made of messages, at consecutive offsets from `first` on; for tests and for sources without a log.
    pub fn from_messages(lane: LaneId, epoch: Epoch, first: u64, messages: &[Message]) -> Self {
        let mut builder = BatchBuilder::new(lane, epoch, first);
        builder.reserve(messages.len(), messages.iter().map(Message::size).sum());
        for message in messages {
            let headers = |memory: &mut Vec<u8>| memory.extend_from_slice(message.headers().as_block());
            let (key, payload) = (message.key(), message.payload());
            builder.add(
                message.timestamp().unwrap_or_default(),
                key.map(|key| &key[..]),
                headers,
                payload.map(|payload| &payload[..]),
            );
        }
        builder.finish()
    }

    /// This batch if its memory is at most so large, or it has one record; otherwise the records in front that take no
    /// more, at least one, and a batch of the others. Both share the memory.
    pub fn split(self, max_bytes: usize) -> (Self, Option<Self>) {
        if self.memory.len() <= max_bytes {
            return (self, None);
        }
        let limit = self
            .records
            .first()
            .map_or(0, Record::start)
            .saturating_add(max_bytes);
        let fits = self.records.iter().take_while(|record| record.end() <= limit);
        let count = fits.count().max(1);
        let Some(second) = self.records.get(count).map(|record| record.offset) else {
            return (self, None);
        };
        let mut front = self.records;
        let behind = front.split_off(count);
        let part = |records: Vec<Record>, next| {
            let start = records.first().map_or(0, Record::start).min(self.memory.len());
            let end = records.iter().map(Record::end).max().unwrap_or(start);
            let memory = self.memory.slice(start..end.clamp(start, self.memory.len()));
            let records = records.into_iter().map(|record| record.moved(start)).collect();
            Self::new(self.lane, self.epoch, memory, records, next)
        };
        (part(front, second), Some(part(behind, self.next)))
    }

    /// The lane that it belongs to.
    pub fn lane(&self) -> LaneId {
        self.lane
    }

    /// The assignment that it belongs to.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The offset at which the lane goes on after this batch.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// How many records it holds.
    #[inline]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of memory that it keeps alive.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        self.memory.len()
    }

    /// The records in order.
    #[inline]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    #[inline]
    fn bytes(&self, span: Span) -> &[u8] {
        let start = span.start as usize;
        self.memory
            .get(start..start + span.len as usize)
            .unwrap_or_default()
    }

    #[inline]
    fn slice(&self, span: Span) -> Bytes {
        let start = span.start as usize;
        let end = start + span.len as usize;
        if end <= self.memory.len() {
            self.memory.slice(start..end)
        } else {
            Bytes::new()
        }
    }

    /// The key of a record of this batch.
    #[inline]
    pub fn key(&self, record: &Record) -> Option<&[u8]> {
        record.key.map(|span| self.bytes(span))
    }

    /// The payload of a record of this batch.
    #[inline]
    pub fn payload(&self, record: &Record) -> Option<&[u8]> {
        record.payload.map(|span| self.bytes(span))
    }

    /// The headers of a record of this batch.
    #[inline]
    pub fn headers(&self, record: &Record) -> HeaderView<'_> {
        HeaderView::new(self.bytes(record.headers))
    }

    /// The key, sharing this batch's memory.
    #[inline]
    pub fn key_bytes(&self, record: &Record) -> Option<Bytes> {
        record.key.map(|span| self.slice(span))
    }

    /// The payload, sharing this batch's memory.
    #[inline]
    pub fn payload_bytes(&self, record: &Record) -> Option<Bytes> {
        record.payload.map(|span| self.slice(span))
    }

    /// The whole message, sharing this batch's memory.
    pub fn message(&self, record: &Record) -> Message {
        Message::default()
            .with_optional_key(self.key_bytes(record))
            .with_payload(self.payload_bytes(record))
            .with_headers(Headers::from_trusted_block(self.slice(record.headers)))
            .with_timestamp(record.timestamp)
    }
}

impl fmt::Debug for RecordBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordBatch")
            .field("lane", &self.lane)
            .field("epoch", &self.epoch)
            .field("records", &self.records.len())
            .field("next", &self.next)
            .field("memory_bytes", &self.memory.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(payloads: &[usize]) -> RecordBatch {
        let message = |(number, len): (usize, &usize)| {
            let message = Message::new(vec![number as u8; *len]).with_key(vec![b'k', number as u8]);
            message.with_header("number", [number as u8]).unwrap()
        };
        let messages: Vec<_> = payloads.iter().enumerate().map(message).collect();
        RecordBatch::from_messages(LaneId(1), Epoch(2), 10, &messages)
    }

    fn messages(batch: &RecordBatch) -> Vec<(u64, Message)> {
        let records = batch.records().iter();
        records
            .map(|record| (record.offset, batch.message(record)))
            .collect()
    }

    #[test]
    fn a_batch_that_is_split_has_the_same_records_in_parts_that_are_small_enough() {
        let sizes = [30, 0, 500, 40, 40, 40, 7];
        let whole = messages(&batch(&sizes));
        for max_bytes in [0, 1, 60, 100, 200, 1_000_000] {
            let (mut parts, mut rest) = (Vec::new(), Some(batch(&sizes)));
            let mut next = 10;
            while let Some(batch) = rest {
                let part;
                (part, rest) = batch.split(max_bytes);
                assert!(part.memory_bytes() <= max_bytes || part.len() == 1);
                assert_eq!((part.lane(), part.epoch()), (LaneId(1), Epoch(2)));
                next += part.len() as u64;
                assert_eq!(part.next(), next);
                parts.extend(messages(&part));
            }
            assert_eq!(parts, whole, "{max_bytes}");
        }
    }
}

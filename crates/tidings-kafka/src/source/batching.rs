//! Messages of librdkafka grouped into batches, a lane each: [`Batching`].
//!
//! A batch owns its memory, and a message's key, headers and payload are copied into it once: librdkafka keeps payloads
//! in the buffers of fetch responses, several of which a batch spans, and headers have to be written anew anyway. The
//! copy is a small part of what librdkafka's own work on a message costs, see docs/performance.md.

use super::memory::Pool;
use super::wire;
use crate::native::{Layout, Message};
use std::borrow::Cow;
use tidings_core::{Epoch, LaneId, Record, RecordBatch, Span, Timestamp};

/// A batch that grows.
struct Growing {
    lane: LaneId,
    epoch: Epoch,
    memory: Vec<u8>,
    records: Vec<Record>,
    next: u64,
}

/// Batches under way, one a lane, until the messages at hand are through.
pub(crate) struct Batching<'a> {
    pool: &'a Pool,
    max_bytes: usize,
    growing: Vec<Growing>,
}

/// Which lane a run of messages is for, and from which offset on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) lane: LaneId,
    pub(crate) epoch: Epoch,
    pub(crate) next: u64,
}

impl<'a> Batching<'a> {
    pub(crate) fn new(pool: &'a Pool, max_bytes: usize) -> Self {
        Self {
            pool,
            max_bytes,
            growing: Vec::new(),
        }
    }

    /// Adds a run of messages of one partition. Batches that are full go to `full`.
    pub(crate) fn add(&mut self, target: Target, run: &[Message<'_>], full: &mut Vec<RecordBatch>) {
        let index = self.growing_of(target);
        let layout = run.first().map_or(Layout::Unknown, Message::layout);
        let mut rest = run;
        while let Some((message, after)) = rest.split_first() {
            let Some(growing) = self.growing.get_mut(index) else {
                return;
            };
            let Some(offset) = u64::try_from(message.offset())
                .ok()
                .filter(|at| *at >= growing.next)
            else {
                // Seen before a seek or a pause: librdkafka may give a few messages again.
                rest = after;
                continue;
            };
            if growing.records.is_empty() {
                growing.reserve(rest, self.max_bytes, self.pool);
            }
            if !growing.records.is_empty() && growing.memory.len() + size(message) > self.max_bytes {
                full.push(growing.finish(self.pool));
                continue;
            }
            growing.put(message, offset, layout);
            rest = after;
        }
    }

    /// The batches that are left.
    pub(crate) fn finish(mut self, full: &mut Vec<RecordBatch>) {
        let left = self.growing.iter_mut();
        full.extend(
            left.filter(|growing| !growing.records.is_empty())
                .map(|growing| growing.finish(self.pool)),
        );
    }

    fn growing_of(&mut self, target: Target) -> usize {
        let found = self
            .growing
            .iter()
            .position(|growing| growing.lane == target.lane);
        found.unwrap_or_else(|| {
            self.growing.push(Growing {
                lane: target.lane,
                epoch: target.epoch,
                memory: Vec::new(),
                records: Vec::new(),
                next: target.next,
            });
            self.growing.len() - 1
        })
    }
}

/// Key and payload; headers are not known before they are read.
fn size(message: &Message<'_>) -> usize {
    message.key().map_or(0, <[u8]>::len) + message.payload().map_or(0, <[u8]>::len)
}

impl Growing {
    /// Room for what comes, as far as it goes into one batch.
    fn reserve(&mut self, run: &[Message<'_>], max_bytes: usize, pool: &Pool) {
        let mut bytes = 0;
        let mut count = 0;
        for message in run {
            let size = size(message);
            if count > 0 && bytes + size > max_bytes {
                break;
            }
            bytes += size;
            count += 1;
        }
        self.memory = pool.take(bytes);
        self.records.reserve(count);
    }

    fn put(&mut self, message: &Message<'_>, offset: u64, layout: Layout) {
        let start = self.memory.len();
        let mut write = |name: &[u8], value: &[u8]| write_header(&mut self.memory, name, value);
        match message.raw_headers(layout) {
            Some(raw) if wire::each(raw, &mut write) => {}
            // As librdkafka does: of headers that are malformed there is none.
            Some(_) => self.memory.truncate(start),
            None => message.each_header(write),
        }
        let headers = self.span(start);
        let record = Record {
            offset,
            timestamp: Timestamp::from_millis(message.timestamp().unwrap_or_default()),
            key: message.key().map(|key| self.copy(key)),
            headers,
            payload: message.payload().map(|payload| self.copy(payload)),
        };
        self.records.push(record);
        self.next = offset + 1;
    }

    fn copy(&mut self, bytes: &[u8]) -> Span {
        let start = self.memory.len();
        self.memory.extend_from_slice(bytes);
        self.span(start)
    }

    /// From there to the end. A batch is far below 4 GiB: a message is below 2, and comes alone then.
    fn span(&self, start: usize) -> Span {
        Span {
            start: start as u32,
            len: (self.memory.len() - start) as u32,
        }
    }

    fn finish(&mut self, pool: &Pool) -> RecordBatch {
        let memory = pool.share(std::mem::take(&mut self.memory));
        let records = std::mem::take(&mut self.records);
        RecordBatch::new(self.lane, self.epoch, memory, records, self.next)
    }
}

/// One entry of a header block: see `tidings_core::headers`. What another client has written as a name may be no UTF-8,
/// at which a reader of the block would stop; it is made readable.
fn write_header(block: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let name = match name.is_ascii() {
        true => Cow::Borrowed(name),
        false => Cow::Owned(String::from_utf8_lossy(name).into_owned().into_bytes()),
    };
    let (Ok(name_length), Ok(value_length)) = (u16::try_from(name.len()), u32::try_from(value.len())) else {
        return;
    };
    block.extend_from_slice(&name_length.to_le_bytes());
    block.extend_from_slice(&name);
    block.extend_from_slice(&value_length.to_le_bytes());
    block.extend_from_slice(value);
}

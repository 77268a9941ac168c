//! Reading without a group: what a console, the CLI and a redrive look at.

use super::consumer::OwnConsumer;
use super::fetching::{Fetched, Fetcher};
use crate::background::Held;
use crate::client::ClientState;
use crate::lock::lock;
use crate::options::ClientOptions;
use crate::trouble::Fault;
use rdkafka::error::RDKafkaErrorCode as Code;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidings_core::{Epoch, LaneId, Record, RecordBatch, Span};

/// A span counts in 32 bits.
const MAX_BATCH_BYTES: usize = 1 << 30;

/// A reader whose consumer is kept from one call to the next: the next mostly goes on where the last ended.
pub(super) struct Reader {
    consumer: OwnConsumer,
    kept: Mutex<Option<Kept>>,
}

/// The consumer and what it gives next.
struct Kept {
    /// A message that did not fit into the batch before. It goes before the consumer does.
    left: Option<Fetched>,
    fetcher: Held<Fetcher>,
    at: Option<Place>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    topic: String,
    partition: i32,
    offset: u64,
}

/// What is to be read.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: u32,
    pub(super) from: u64,
    /// The offset after the last that can be read. Something is there before it.
    pub(super) end: u64,
    pub(super) max_bytes: usize,
    pub(super) deadline: Instant,
}

impl Reader {
    pub(super) fn new(options: &ClientOptions, state: Arc<ClientState>) -> Self {
        Self {
            consumer: OwnConsumer::new(options, state),
            kept: Mutex::default(),
        }
    }

    /// The records of a partition from an offset on. Blocks, at most until the deadline.
    pub(super) fn read(&self, wanted: &Wanted<'_>) -> Result<RecordBatch, Fault> {
        let mut kept = lock(&self.kept);
        let mut one = match kept.take() {
            Some(one) => one,
            None => self.open()?,
        };
        let read = one.read(wanted);
        match read {
            Ok(_) => *kept = Some(one),
            // Nobody knows what the consumer gives next: the next call makes another.
            Err(_) => self.consumer.forget(),
        }
        read
    }

    /// Lets go of the consumer, and does not wait until it is gone: that may take a while.
    pub(super) fn close(&self) {
        // Somebody who reads now keeps it; then it goes with this.
        let kept = self.kept.try_lock().ok().and_then(|mut kept| kept.take());
        drop(kept);
        self.consumer.forget();
    }

    fn open(&self) -> Result<Kept, Fault> {
        Ok(Kept {
            left: None,
            fetcher: self.consumer.get()?,
            at: None,
        })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

impl Kept {
    fn read(&mut self, wanted: &Wanted<'_>) -> Result<RecordBatch, Fault> {
        let mut place = Place {
            topic: wanted.topic.to_owned(),
            partition: i32::try_from(wanted.partition).unwrap_or(i32::MAX),
            offset: wanted.from,
        };
        if self.at.take().as_ref() != Some(&place) {
            self.left = None;
            let offset = i64::try_from(wanted.from).unwrap_or(i64::MAX);
            self.fetcher.assign(&place.topic, place.partition, offset)?;
        }
        let mut batch = Gathered::default();
        let next = loop {
            let Some(found) = self.next(&place, wanted.deadline)? else {
                break wanted.end.max(batch.next);
            };
            if !batch.fits(&found, wanted.max_bytes.min(MAX_BATCH_BYTES)) {
                self.left = Some(found);
                break batch.next;
            }
            batch.add(&found);
            if batch.next >= wanted.end {
                break batch.next;
            }
        };
        place.offset = next;
        self.at = Some(place);
        Ok(batch.finish(next))
    }

    /// The next message of the partition; none at its end.
    fn next(&mut self, place: &Place, deadline: Instant) -> Result<Option<Fetched>, Fault> {
        if let Some(left) = self.left.take() {
            return Ok(Some(left));
        }
        let mut last = Fault::new(Code::OperationTimedOut, String::new());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(last);
            }
            let Some(found) = self.fetcher.next(left.min(Duration::from_millis(100))) else {
                continue;
            };
            match found.fault().map(|fault| self.fetcher.explained(&fault)) {
                None if found.is_of(&place.topic, place.partition) => return Ok(Some(found)),
                Some(fault) if fault.code == Code::PartitionEOF => {
                    match found.is_of(&place.topic, place.partition) {
                        true => return Ok(None),
                        // Of a partition that was read before.
                        false => continue,
                    }
                }
                // Errors of connections end by themselves; others are known to last until the deadline.
                Some(fault) if fault.is_away() || fault.is_connection() => last = fault,
                // The group that has no members may be one that this user must not see.
                Some(fault) if fault.code == Code::GroupAuthorizationFailed => {}
                Some(fault) => return Err(fault),
                None => {}
            }
        }
    }
}

/// The records of a batch and their memory.
#[derive(Default)]
struct Gathered {
    memory: Vec<u8>,
    records: Vec<Record>,
    next: u64,
}

impl Gathered {
    /// Whether a message may be added: the first one always, so that a large one comes alone.
    fn fits(&self, found: &Fetched, max_bytes: usize) -> bool {
        let size = found.key().map_or(0, <[u8]>::len) + found.payload().map_or(0, <[u8]>::len);
        self.records.is_empty() || self.memory.len() + size <= max_bytes
    }

    fn add(&mut self, found: &Fetched) {
        let headers = found.headers().finish_received();
        let record = Record {
            offset: found.offset(),
            timestamp: found.timestamp(),
            key: found.key().map(|key| self.put(key)),
            headers: self.put(headers.as_block()),
            payload: found.payload().map(|payload| self.put(payload)),
        };
        self.next = record.offset + 1;
        self.records.push(record);
    }

    fn put(&mut self, bytes: &[u8]) -> Span {
        let start = self.memory.len() as u32;
        self.memory.extend_from_slice(bytes);
        Span {
            start,
            len: bytes.len() as u32,
        }
    }

    fn finish(self, next: u64) -> RecordBatch {
        RecordBatch::new(LaneId(0), Epoch(0), self.memory.into(), self.records, next)
    }
}

/// A batch without records.
pub(super) fn nothing(next: u64) -> RecordBatch {
    Gathered::default().finish(next)
}

//! One queue that is read, and what is acknowledged of it: [`Lane`].
//!
//! Delivery tags count up from 1 on each channel, and each queue is read on a channel of its own. So a tag is an offset
//! less where the channel began, and the engine's watermark is one acknowledgement of everything up to a tag.

use super::acks::Acks;
use super::stream::StreamPlace;
use crate::message::{read_into, recounted};
use lapin::message::Delivery;
use lapin::{Channel, Consumer};
use std::collections::VecDeque;
use std::sync::Arc;
use tidings_core::{Assignment, BatchBuilder, Epoch, LaneId, LaneRole, Progress, RecordBatch};
use tokio::runtime::Handle;

/// About what the headers of a message take; where they take more, the memory of a batch grows.
const HEADER_BYTES: usize = 64;

/// A channel that is closed when its owner goes, also one that goes in the middle of asking for something on it: a
/// consumer that is left there would be handed messages which nobody ever finishes.
#[derive(Debug)]
pub(super) struct OwnChannel {
    pub(super) channel: Channel,
    pub(super) runtime: Handle,
}

impl Drop for OwnChannel {
    fn drop(&mut self) {
        if self.channel.status().connected() {
            let channel = self.channel.clone();
            self.runtime.spawn(async move {
                let _ = channel.close(200, "OK".into()).await;
            });
        }
    }
}

/// A queue on its channel.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) channel: OwnChannel,
    pub(super) consumer: Consumer,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) id: LaneId,
    pub(super) destination: Arc<str>,
    pub(super) queue: Arc<str>,
    pub(super) role: LaneRole,
    pub(super) partner: Option<LaneId>,
    pub(super) epoch: Epoch,
    /// The offset of the next message.
    pub(super) next: u64,
    /// The offset of tag 1.
    base: u64,
    pub(super) paused: bool,
    pub(super) acks: Acks,
    /// What came and was not given on.
    pub(super) kept: VecDeque<Delivery>,
    pub(super) reading: Option<Reading>,
    /// Where it is in its stream, if it reads one.
    pub(super) stream: Option<StreamPlace>,
}

impl Lane {
    pub(super) fn new(id: LaneId, destination: &Arc<str>, queue: &Arc<str>, role: LaneRole) -> Self {
        Self {
            id,
            destination: destination.clone(),
            queue: queue.clone(),
            role,
            partner: None,
            epoch: Epoch(0),
            next: 0,
            base: 0,
            paused: false,
            acks: Acks::default(),
            kept: VecDeque::new(),
            reading: None,
            stream: None,
        }
    }

    /// It is read on that channel from now on.
    pub(super) fn begin(&mut self, reading: Reading, epoch: Epoch) -> Assignment {
        self.reading = Some(reading);
        self.epoch = epoch;
        self.base = self.next;
        self.paused = false;
        self.acks = Acks::default();
        Assignment {
            lane: self.id,
            epoch,
            destination: self.destination.clone(),
            partition: 0,
            role: self.role,
            partner: self.partner,
            next: self.next,
            end: self.next,
            finished: Vec::new(),
            attempts: Vec::new(),
            deaths: Vec::new(),
            marks: None,
        }
    }

    /// Its channel is no more: the server gives everything that was not acknowledged to somebody again.
    pub(super) fn end(&mut self) {
        self.reading = None;
        self.kept.clear();
    }

    pub(super) fn report(&mut self, progress: &Progress) {
        if let Some(stream) = &mut self.stream {
            stream.finished(progress.watermark);
        }
        let tag = |offset: u64| offset.saturating_sub(self.base);
        let finished = progress
            .finished
            .iter()
            .map(|range| tag(range.start)..tag(range.end));
        self.acks.report(tag(progress.watermark), finished);
    }

    /// What is kept, as far as a batch should hold.
    pub(super) fn batch(&mut self, max_bytes: usize) -> Option<RecordBatch> {
        let mut batch = BatchBuilder::new(self.id, self.epoch, self.next);
        let (records, bytes) = self.fitting(max_bytes);
        batch.reserve(records, bytes);
        while let Some(delivery) = self.kept.front() {
            if !batch.is_empty() && batch.size() + delivery.data.len() > max_bytes {
                break;
            }
            // Freed one by one: the next ones get memory that is at hand.
            let Some(delivery) = self.kept.pop_front() else {
                break;
            };
            if let Some(stream) = &mut self.stream {
                stream.handed_on(batch.next(), &delivery.properties);
            }
            let properties = match self.role {
                LaneRole::Retry => recounted(delivery.properties, &self.queue),
                _ => delivery.properties,
            };
            read_into(&mut batch, &properties, &delivery.data);
        }
        self.next = batch.next();
        (!batch.is_empty()).then(|| batch.finish())
    }

    /// About how many of those that are kept fit into a batch, and what they take.
    fn fitting(&self, max_bytes: usize) -> (usize, usize) {
        let (mut records, mut bytes) = (0, 0);
        for delivery in &self.kept {
            bytes += delivery.data.len() + HEADER_BYTES;
            if bytes > max_bytes {
                return (records, bytes.min(max_bytes));
            }
            records += 1;
        }
        (records, bytes)
    }
}

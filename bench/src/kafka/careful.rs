//! Consume, change, produce by hand with what makes at least once worth something: every output is kept until it is
//! delivered, so that it could be sent again in its place, has an id that is the same when its input is handled again,
//! and an input's offset is stored when its own output and all before it are delivered. Nothing is tried again here:
//! it is the least that a handler's output costs whoever wants that, a bound for W4.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use rdkafka::ClientContext;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use sha1::{Digest, Sha1};
use uuid::fmt::Hyphenated;

use super::produce::{all_delivered, broken, headers, producer, send};
use super::read::{Reader, Stores};
use super::transform::priced;
use crate::apart::job::{Job, Outcome, gauge};
use crate::error::BenchError;
use crate::order::Order;

/// Outputs that may be under way at the same time.
const OPEN: usize = 1 << 15;
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Which outputs are delivered, by their number.
#[derive(Debug)]
struct Delivered(Arc<[AtomicBool]>);

impl ClientContext for Delivered {}

impl ProducerContext for Delivered {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        if let (Ok(_), Some(delivered)) = (result, self.0.get(number % OPEN)) {
            delivered.store(true, Relaxed);
        }
    }
}

/// An output that could be sent again.
struct Kept {
    key: Bytes,
    payload: Bytes,
    id: [u8; Hyphenated::LENGTH],
    partition: i32,
    offset: i64,
}

struct Loop {
    reader: Reader,
    producer: BaseProducer<Delivered>,
    delivered: Arc<[AtomicBool]>,
    kept: VecDeque<Kept>,
    /// The number of the first that is kept.
    first: usize,
}

pub(super) fn by_hand(job: &Job) -> Result<Outcome, BenchError> {
    let delivered: Arc<[AtomicBool]> = (0..OPEN).map(|_| AtomicBool::new(false)).collect();
    let context = Delivered(delivered.clone());
    let mut the_loop = Loop {
        reader: Reader::new(job, Stores::Later)?,
        producer: producer(job, context)?,
        delivered,
        kept: VecDeque::new(),
        first: 0,
    };
    let gauge = gauge(job);
    let mut json = Vec::with_capacity(512);
    while !gauge.is_done() {
        let Loop {
            reader,
            producer,
            kept,
            first,
            ..
        } = &mut the_loop;
        reader.batch(|message| {
            let order: Order =
                serde_json::from_slice(message.payload()).map_err(BenchError::part("decoding"))?;
            let sum = order.checksum();
            json.clear();
            serde_json::to_writer(&mut json, &priced(order)).map_err(BenchError::part("encoding"))?;
            let (partition, offset) = message.place();
            let one = Kept {
                key: Bytes::copy_from_slice(message.key()),
                payload: Bytes::copy_from_slice(&json),
                id: id_of(&job.topic, partition, offset),
                partition,
                offset,
            };
            let id = std::str::from_utf8(&one.id).map_err(BenchError::part("writing an id"))?;
            let record = BaseRecord::with_opaque_to(&job.out, *first + kept.len())
                .key(&one.key[..])
                .payload(&one.payload[..])
                .headers(headers(id, TRACE));
            send(producer, record)?;
            kept.push_back(one);
            gauge.hit(sum);
            Ok(())
        })?;
        the_loop.producer.poll(Duration::ZERO);
        the_loop.settle();
        // A batch of librdkafka's is smaller than the room that is left.
        while the_loop.kept.len() > OPEN / 2 {
            the_loop.producer.poll(Duration::from_millis(1));
            the_loop.settle();
        }
    }
    the_loop.producer.flush(Duration::from_secs(60)).map_err(broken)?;
    the_loop.settle();
    all_delivered(
        gauge,
        "the careful loop by hand",
        the_loop.kept.len(),
        "outputs were",
    )
}

impl Loop {
    /// Stores the offsets of inputs whose outputs are delivered, in order.
    fn settle(&mut self) {
        while let Some(one) = self.kept.front() {
            let Some(delivered) = self.delivered.get(self.first % OPEN) else {
                return;
            };
            if !delivered.swap(false, Relaxed) {
                return;
            }
            self.reader.store(one.partition, one.offset);
            self.kept.pop_front();
            self.first += 1;
        }
    }
}

/// The same for the same input: a UUID of version 5.
fn id_of(topic: &str, partition: i32, offset: i64) -> [u8; Hyphenated::LENGTH] {
    let mut hash = Sha1::new();
    for part in [topic.as_bytes(), &partition.to_be_bytes(), &offset.to_be_bytes()] {
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    let mut text = [0; Hyphenated::LENGTH];
    let id = uuid::Builder::from_sha1_bytes(bytes).into_uuid();
    id.hyphenated().encode_lower(&mut text);
    text
}

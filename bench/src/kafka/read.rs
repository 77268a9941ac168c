//! Loops that a careful person writes to consume from Kafka.
#![allow(
    unsafe_code,
    reason = "librdkafka's batch call, the floor of all others, is C; each block says why it is sound"
)]

use std::ptr::null_mut;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::bindings as c;
use rdkafka::consumer::{BaseConsumer, Consumer, StreamConsumer};
use rdkafka::types::RDKafkaRespErr;

use super::knobs;
use crate::apart::job::{Job, Outcome, gauge};
use crate::error::BenchError;

/// Messages that one call takes.
const CHUNK: usize = 512;

/// librdkafka's batch call: 512 messages a call, offsets stored where the partition changes.
pub(super) fn batch_loop(job: &Job) -> Result<Outcome, BenchError> {
    let gauge = gauge(job);
    let reader = Reader::new(job, Stores::AtOnce)?;
    while !gauge.is_done() {
        reader.batch(|message| {
            gauge.hit(job.work.sum(message.payload())?);
            Ok(())
        })?;
    }
    Outcome::of(&gauge.reading()?)
}

/// A consumer with the batch call. It is left to the end of the process.
pub(super) struct Reader {
    queue: *mut c::rd_kafka_queue_t,
    topic: *mut c::rd_kafka_topic_t,
    stores: Stores,
}

// SAFETY: queues and topics of librdkafka have locks of their own; any thread may use them.
unsafe impl Send for Reader {}

/// When offsets are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stores {
    /// With each batch.
    AtOnce,
    /// When the caller says so.
    Later,
}

/// A message as long as its batch.
pub(super) struct Taken<'a>(&'a c::rd_kafka_message_t);

impl Taken<'_> {
    #[inline]
    pub(super) fn payload(&self) -> &[u8] {
        if self.0.payload.is_null() {
            return &[];
        }
        // SAFETY: librdkafka's own pointer and length, alive as long as the message.
        unsafe { std::slice::from_raw_parts(self.0.payload.cast(), self.0.len) }
    }

    #[inline]
    pub(super) fn key(&self) -> &[u8] {
        if self.0.key.is_null() {
            return &[];
        }
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(self.0.key.cast(), self.0.key_len) }
    }

    pub(super) fn place(&self) -> (i32, i64) {
        (self.0.partition, self.0.offset)
    }
}

impl Reader {
    pub(super) fn new(job: &Job, stores: Stores) -> Result<Self, BenchError> {
        let config = knobs::consumer(job).create_native_config();
        let config = config.map_err(BenchError::part("configuring the consumer"))?;
        let topic = knobs::c_string(&job.topic);
        // SAFETY: the configuration belongs to the client from here on; the client, its queue and the list are alive at
        // every call, and the list is destroyed once.
        let (queue, topic) = unsafe {
            let kind = c::rd_kafka_type_t::RD_KAFKA_CONSUMER;
            let config = std::mem::ManuallyDrop::new(config);
            let client = c::rd_kafka_new(kind, config.ptr(), null_mut(), 0);
            if client.is_null() {
                return Err(BenchError::part("the consumer")("it was refused"));
            }
            c::rd_kafka_poll_set_consumer(client);
            let topics = c::rd_kafka_topic_partition_list_new(1);
            c::rd_kafka_topic_partition_list_add(topics, topic.as_ptr(), -1);
            c::rd_kafka_subscribe(client, topics);
            c::rd_kafka_topic_partition_list_destroy(topics);
            let topic = c::rd_kafka_topic_new(client, topic.as_ptr(), null_mut());
            (c::rd_kafka_queue_get_consumer(client), topic)
        };
        Ok(Self { queue, topic, stores })
    }

    /// Stores that a partition is handled up to this offset.
    pub(super) fn store(&self, partition: i32, offset: i64) {
        // SAFETY: the topic lives to the end of the process.
        unsafe { c::rd_kafka_offset_store(self.topic, partition, offset) };
    }

    /// Takes a batch, sees each message, stores offsets, gives the batch back.
    pub(super) fn batch(
        &self,
        mut see: impl FnMut(Taken<'_>) -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        let mut messages = [null_mut::<c::rd_kafka_message_t>(); CHUNK];
        // SAFETY: the queue lives to the end of the process, and the array has room for as many as is said.
        let taken = unsafe { c::rd_kafka_consume_batch_queue(self.queue, 100, messages.as_mut_ptr(), CHUNK) };
        let messages = messages
            .get(..usize::try_from(taken).unwrap_or_default())
            .unwrap_or_default();
        let mut result = Ok(());
        for (place, message) in messages.iter().enumerate() {
            // SAFETY: librdkafka fills the array with messages that live until they are destroyed below.
            let message = unsafe { &**message };
            if message.err != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                result = Err(BenchError::part("the batch loop")(format!("{:?}", message.err)));
                break;
            }
            result = see(Taken(message));
            if result.is_err() {
                break;
            }
            // SAFETY: as above.
            let next = messages.get(place + 1).map(|next| unsafe { (**next).partition });
            if self.stores == Stores::AtOnce && next != Some(message.partition) {
                self.store(message.partition, message.offset);
            }
        }
        for message in messages {
            // SAFETY: each is destroyed once, after its last use.
            unsafe { c::rd_kafka_message_destroy(*message) };
        }
        result
    }
}

/// One message a call, its offset stored each time.
pub(super) fn poll_loop(job: &Job) -> Result<Outcome, BenchError> {
    let gauge = gauge(job);
    let consumer: BaseConsumer = knobs::consumer(job).create().map_err(broken)?;
    consumer.subscribe(&[&job.topic]).map_err(broken)?;
    while !gauge.is_done() {
        let Some(polled) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = polled.map_err(broken)?;
        gauge.hit(job.work.sum(message.payload().unwrap_or_default())?);
        consumer.store_offset_from_message(&message).map_err(broken)?;
    }
    Outcome::of(&gauge.reading()?)
}

/// The stream that most services contain, on the same runtime as ours.
pub(super) async fn stream_consumer(job: &Job) -> Result<Outcome, BenchError> {
    let gauge = gauge(job);
    let consumer: StreamConsumer = knobs::consumer(job).create().map_err(broken)?;
    consumer.subscribe(&[&job.topic]).map_err(broken)?;
    while !gauge.is_done() {
        let message = consumer.recv().await.map_err(broken)?;
        gauge.hit(job.work.sum(message.payload().unwrap_or_default())?);
        consumer.store_offset_from_message(&message).map_err(broken)?;
    }
    Outcome::of(&gauge.reading()?)
}

pub(super) fn broken(error: rdkafka::error::KafkaError) -> BenchError {
    BenchError::part("a consumer by hand")(error)
}

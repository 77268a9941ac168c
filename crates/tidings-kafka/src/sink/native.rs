//! The calls into librdkafka that the `rdkafka` crate has no fast form of: publishing to a topic that is looked up
//! once, and delivery reports by the batch.
#![allow(unsafe_code)]

use super::context::SinkContext;
use crate::error::KafkaError;
use crate::security::{self, Attached};
use crate::trouble::Fault;
use rdkafka::ClientConfig;
use rdkafka::bindings as c;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as NativeError, RDKafkaErrorCode};
use rdkafka::types::{RDKafkaRespErr, RDKafkaType};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::ptr::{NonNull, null, null_mut};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidings_core::Message;
use tidings_core::headers::HeaderView;

/// The partition that librdkafka chooses by the key.
const UNASSIGNED: i32 = -1;

/// How long reports that are left are waited for when a producer goes.
const LAST_REPORTS: Duration = Duration::from_millis(500);

/// A producer and the queue of its reports.
pub(crate) struct Producer {
    queue: NonNull<c::rd_kafka_queue_t>,
    /// Tokens are given to the client. Dropped before it.
    _attached: Option<Attached>,
    client: Client<SinkContext>,
}

// SAFETY: librdkafka's handles may be used from any thread, at the same time.
unsafe impl Send for Producer {}
// SAFETY: as above.
unsafe impl Sync for Producer {}

/// A topic of a producer.
pub(super) struct Topic {
    handle: NonNull<c::rd_kafka_topic_t>,
    /// Lives longer than the handle.
    producer: Arc<Producer>,
}

// SAFETY: librdkafka's handles may be used from any thread, at the same time.
unsafe impl Send for Topic {}
// SAFETY: as above.
unsafe impl Sync for Topic {}

/// What became of a message.
#[derive(Debug)]
pub(super) struct Delivery<'a> {
    /// The number that it carried.
    pub(super) number: usize,
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    /// Its offset, or why it was not kept.
    pub(super) result: Result<i64, RDKafkaErrorCode>,
    /// Whether it cannot be in the topic in spite of the error.
    pub(super) surely_not_kept: bool,
    /// Bytes of key and payload.
    pub(super) size: usize,
}

/// What a call of [`Producer::serve`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    Nothing,
    Something,
}

impl Producer {
    pub(super) fn new(config: &ClientConfig, context: SinkContext) -> Result<Arc<Self>, KafkaError> {
        let refused = |error| KafkaError::Client {
            role: "producer",
            reason: client_words(error),
        };
        let native = config.create_native_config().map_err(refused)?;
        security::watch::<SinkContext>(&native, config);
        // SAFETY: the configuration lives and is not given away yet. Reports and errors come as events.
        unsafe {
            c::rd_kafka_conf_set_events(native.ptr(), c::RD_KAFKA_EVENT_DR | c::RD_KAFKA_EVENT_ERROR);
        }
        let client = Client::new(config, native, RDKafkaType::RD_KAFKA_PRODUCER, context).map_err(refused)?;
        // SAFETY: the client lives; the reference to its queue is given back in `drop`, before the client goes.
        let queue = unsafe { c::rd_kafka_queue_get_main(client.native_ptr()) };
        let queue = NonNull::new(queue).ok_or_else(|| KafkaError::Client {
            role: "producer",
            reason: "it has no queue of reports".to_owned(),
        })?;
        // SAFETY: it is dropped before the client, which this holds.
        let attached = unsafe { client.context().common.state().attach(client.native_ptr()) };
        Ok(Arc::new(Self {
            queue,
            _attached: attached,
            client,
        }))
    }

    pub(super) fn context(&self) -> &SinkContext {
        self.client.context()
    }

    /// The error after which this producer takes nothing more.
    pub(crate) fn fatal(&self) -> Option<Fault> {
        let (code, reason) = self.client.fatal_error()?;
        Some(Fault::new(code, reason))
    }

    /// Makes the client believe that it cannot go on.
    #[cfg(test)]
    pub(super) fn fail(&self) {
        // SAFETY: the client lives; the text is copied.
        unsafe {
            let code = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
            c::rd_kafka_test_fatal_error(self.handle(), code, c"a test says so".as_ptr());
        }
    }

    /// How many messages wait for their report.
    pub(super) fn under_way(&self) -> usize {
        // SAFETY: the client lives.
        usize::try_from(unsafe { c::rd_kafka_outq_len(self.handle()) }).unwrap_or(0)
    }

    /// Gives up on everything under way; each message gets its report.
    pub(super) fn give_up(&self) {
        let all = c::RD_KAFKA_PURGE_F_QUEUE | c::RD_KAFKA_PURGE_F_INFLIGHT;
        // SAFETY: the client lives. These flags are never refused.
        unsafe { c::rd_kafka_purge(self.handle(), all) };
    }

    /// The client itself, for the calls of others.
    pub(crate) fn handle(&self) -> *mut c::rd_kafka_t {
        self.client.native_ptr()
    }

    /// How many partitions a topic has; none if there is no such topic. Waits for the broker.
    pub(crate) fn partitions(&self, topic: &str, timeout: Duration) -> Result<Option<u32>, Fault> {
        Ok(self.look_at(topic, timeout)?.map(|(count, _)| count))
    }

    /// How many partitions a topic has, if each has a leader: it can be used. Waits for the broker.
    pub(crate) fn led_partitions(&self, topic: &str, timeout: Duration) -> Result<Option<u32>, Fault> {
        let seen = self.look_at(topic, timeout)?;
        Ok(seen.filter(|(_, led)| *led).map(|(count, _)| count))
    }

    fn look_at(&self, topic: &str, timeout: Duration) -> Result<Option<(u32, bool)>, Fault> {
        let metadata = self.client.fetch_metadata(Some(topic), timeout);
        let metadata = metadata.map_err(fault)?;
        let Some(topic) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Ok(None);
        };
        if let Some(code) = topic.error() {
            return match code.into() {
                RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => Ok(None),
                // Its partitions have no leaders yet.
                RDKafkaErrorCode::LeaderNotAvailable => Ok(None),
                code => Err(Fault::new(code, String::new())),
            };
        }
        let led = topic.partitions().iter().all(|partition| partition.leader() >= 0);
        let count = u32::try_from(topic.partitions().len()).unwrap_or(0);
        Ok(Some((count, led)).filter(|(count, _)| *count > 0))
    }

    /// All topics with their partitions. Waits for the broker.
    pub(crate) fn topics(&self, timeout: Duration) -> Result<Vec<(String, u32)>, Fault> {
        let metadata = self.client.fetch_metadata(None, timeout).map_err(fault)?;
        let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
        let named = topics.map(|topic| {
            let count = u32::try_from(topic.partitions().len()).unwrap_or(0);
            (topic.name().to_owned(), count)
        });
        Ok(named.collect())
    }

    /// Whether any broker answers in time.
    pub(super) fn reaches_a_broker(&self, timeout: Duration) -> bool {
        let mut metadata: *const c::rd_kafka_metadata = null();
        // SAFETY: the client lives; what the call gives is destroyed once, and only if it gave something.
        unsafe {
            let client = self.client.native_ptr();
            let answer = c::rd_kafka_metadata(client, 0, null_mut(), &mut metadata, millis(timeout));
            if !metadata.is_null() {
                c::rd_kafka_metadata_destroy(metadata);
            }
            answer == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
        }
    }

    /// Ends a [`serve`](Self::serve) that waits.
    pub(super) fn interrupt(&self) {
        // SAFETY: the queue lives as long as this.
        unsafe { c::rd_kafka_queue_yield(self.queue.as_ptr()) }
    }

    /// Waits for one event of the client and serves it. Reports of messages go to `report`, all of an event in one go.
    pub(super) fn serve(&self, timeout: Duration, mut report: impl FnMut(Delivery<'_>)) -> Served {
        // SAFETY: the queue lives as long as this; the event is destroyed once, after its last use.
        unsafe {
            let event = c::rd_kafka_queue_poll(self.queue.as_ptr(), millis(timeout));
            if event.is_null() {
                return Served::Nothing;
            }
            match c::rd_kafka_event_type(event) {
                c::RD_KAFKA_EVENT_DR => reports(event, &mut report),
                c::RD_KAFKA_EVENT_ERROR => self.error(event),
                c::RD_KAFKA_EVENT_LOG => self.log(event),
                _ => {}
            }
            c::rd_kafka_event_destroy(event);
        }
        Served::Something
    }

    /// # Safety
    /// The event lives and is an error.
    unsafe fn error(&self, event: *mut c::rd_kafka_event_t) {
        // SAFETY: both calls read from the event.
        let (code, reason) = unsafe {
            (
                c::rd_kafka_event_error(event),
                text(c::rd_kafka_event_error_string(event)),
            )
        };
        self.context()
            .error(NativeError::Global(code.into()), reason.trim());
    }

    /// # Safety
    /// The event lives and is a log line.
    unsafe fn log(&self, event: *mut c::rd_kafka_event_t) {
        let (mut facility, mut line, mut level): (*const c_char, *const c_char, c_int) = (null(), null(), 0);
        // SAFETY: the strings belong to the event.
        unsafe {
            if c::rd_kafka_event_log(event, &mut facility, &mut line, &mut level) == 0 {
                let level = log_level(level);
                self.context()
                    .log(level, text(facility).trim(), text(line).trim());
            }
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Producer")
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // What nobody has taken the report of; it is there as soon as it was given up.
        self.give_up();
        let deadline = Instant::now() + LAST_REPORTS;
        while self.under_way() > 0 && Instant::now() < deadline {
            self.serve(Duration::from_millis(10), |delivery| {
                self.context().last(&delivery)
            });
        }
        // SAFETY: the reference was taken in `new` and is given back once; the client is dropped after this.
        unsafe { c::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

impl Topic {
    /// None for a name that cannot be one.
    pub(super) fn new(producer: &Arc<Producer>, name: &str) -> Option<Self> {
        let name = CString::new(name).ok()?;
        let client = producer.client.native_ptr();
        // SAFETY: the client lives as long as the topic, which holds it.
        let handle = unsafe { c::rd_kafka_topic_new(client, name.as_ptr(), null_mut()) };
        Some(Self {
            handle: NonNull::new(handle)?,
            producer: producer.clone(),
        })
    }

    /// Puts a message into librdkafka's buffer, which copies it. Without a partition the key decides.
    pub(super) fn send(
        &self,
        message: &Message,
        partition: Option<i32>,
        number: usize,
    ) -> Result<(), RDKafkaErrorCode> {
        let (key, key_length) = pointer(message.key().map(|key| &key[..]));
        let (payload, payload_length) = pointer(message.payload().map(|payload| &payload[..]));
        let headers = headers(message.headers().view());
        // Zero would be the time of now, which is what a message without a time gets.
        let timestamp = message.timestamp().map_or(0, |time| time.as_millis());
        let partition = partition.unwrap_or(UNASSIGNED);
        if headers.is_null() && timestamp == 0 {
            // The same with only what every message has: reading the arguments is a good part of the other call.
            // SAFETY: client and topic live; key and payload are copied within the call.
            unsafe {
                let refused = c::rd_kafka_produce(
                    self.handle.as_ptr(),
                    partition,
                    c::RD_KAFKA_MSG_F_COPY as c_int,
                    payload,
                    payload_length,
                    key,
                    key_length,
                    number as *mut c_void,
                );
                return match refused {
                    0 => Ok(()),
                    _ => Err(c::rd_kafka_last_error().into()),
                };
            }
        }
        // SAFETY: client and topic live; key and payload are copied within the call. On success the headers belong to
        // the library, otherwise they are destroyed here. Each argument has the type that its tag asks for.
        unsafe {
            use c::rd_kafka_vtype_t as tag;
            let code = c::rd_kafka_producev(
                self.producer.client.native_ptr(),
                tag::RD_KAFKA_VTYPE_RKT,
                self.handle.as_ptr(),
                tag::RD_KAFKA_VTYPE_PARTITION,
                partition,
                tag::RD_KAFKA_VTYPE_MSGFLAGS,
                c::RD_KAFKA_MSG_F_COPY as c_int,
                tag::RD_KAFKA_VTYPE_VALUE,
                payload,
                payload_length,
                tag::RD_KAFKA_VTYPE_KEY,
                key,
                key_length,
                tag::RD_KAFKA_VTYPE_OPAQUE,
                number as *mut c_void,
                tag::RD_KAFKA_VTYPE_TIMESTAMP,
                timestamp,
                tag::RD_KAFKA_VTYPE_HEADERS,
                headers,
                tag::RD_KAFKA_VTYPE_END,
            );
            if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Ok(());
            }
            if !headers.is_null() {
                c::rd_kafka_headers_destroy(headers);
            }
            Err(code.into())
        }
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: made in `new`, destroyed once, before the client.
        unsafe { c::rd_kafka_topic_destroy(self.handle.as_ptr()) }
    }
}

/// Headers straight out of the block: the library copies each into a list of its own.
fn headers(view: HeaderView<'_>) -> *mut c::rd_kafka_headers_t {
    let count = view.raw().count();
    if count == 0 {
        return null_mut();
    }
    // SAFETY: the list is new; names and values are copied, with the lengths that are given.
    unsafe {
        let list = c::rd_kafka_headers_new(count);
        for (name, value) in view.raw() {
            let value_pointer = value.as_ptr().cast();
            let name_pointer = name.as_ptr().cast();
            c::rd_kafka_header_add(
                list,
                name_pointer,
                name.len() as isize,
                value_pointer,
                value.len() as isize,
            );
        }
        list
    }
}

/// Nothing is a null pointer; what is empty is not, so that an empty payload is no tombstone.
fn pointer(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    bytes.map_or((null_mut(), 0), |bytes| {
        (bytes.as_ptr().cast_mut().cast(), bytes.len())
    })
}

/// # Safety
/// The event lives and holds reports.
unsafe fn reports(event: *mut c::rd_kafka_event_t, report: &mut impl FnMut(Delivery<'_>)) {
    let (mut topic_of, mut topic) = (null_mut(), "");
    loop {
        // SAFETY: messages and the names of their topics belong to the event.
        unsafe {
            let pointer = c::rd_kafka_event_message_next(event);
            let Some(message) = pointer.as_ref() else {
                return;
            };
            if message.rkt != topic_of {
                topic_of = message.rkt;
                topic = text(c::rd_kafka_topic_name(topic_of));
            }
            let kept = message.err == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
            report(Delivery {
                number: message._private as usize,
                topic,
                partition: message.partition,
                result: match kept {
                    true => confirmed(message.offset),
                    false => Err(message.err.into()),
                },
                surely_not_kept: !kept && surely_not_kept(pointer),
                size: message.len + message.key_len + if kept { 0 } else { headers_size(pointer) },
            });
        }
    }
}

/// A success with an offset is the broker's; one without is librdkafka's own conclusion, from the success of a later
/// batch or because the broker called it a duplicate, and it may be wrong.
///
/// Of two batches that are under way to a partition in which the broker knows nothing of this producer, it may refuse the
/// first, because it is about to become the leader, and take the second a moment later: it asks for no order there.
/// librdkafka then takes the first for kept ("implicitly acked"), and its messages are nowhere.
fn confirmed(offset: i64) -> Result<i64, RDKafkaErrorCode> {
    match offset {
        0.. => Ok(offset),
        _ => Err(RDKafkaErrorCode::OutOfOrderSequenceNumber),
    }
}

/// Bytes of the headers of a message, as its limit counts them.
///
/// # Safety
/// The message lives.
unsafe fn headers_size(message: *const c::rd_kafka_message_t) -> usize {
    let mut headers = null_mut();
    let mut size = 0;
    // SAFETY: headers and names belong to the message; the places outlive the calls.
    unsafe {
        if c::rd_kafka_message_headers(message, &raw mut headers)
            != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            return 0;
        }
        for index in 0.. {
            let (mut name, mut value, mut length) = (null(), null(), 0);
            let code =
                c::rd_kafka_header_get_all(headers, index, &raw mut name, &raw mut value, &raw mut length);
            if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
                break;
            }
            size += 6 + CStr::from_ptr(name).count_bytes() + length;
        }
    }
    size
}

/// # Safety
/// The message lives.
unsafe fn surely_not_kept(message: *const c::rd_kafka_message_t) -> bool {
    // SAFETY: it reads a field.
    let status = unsafe { c::rd_kafka_message_status(message) };
    status == c::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED
}

/// Text of the library; what is not UTF-8 is left out.
///
/// # Safety
/// Null, or a string with a zero at its end that outlives the result.
unsafe fn text<'a>(pointer: *const c_char) -> &'a str {
    if pointer.is_null() {
        return "";
    }
    // SAFETY: as asked for above.
    unsafe { CStr::from_ptr(pointer) }.to_str().unwrap_or_default()
}

fn millis(duration: Duration) -> c_int {
    c_int::try_from(duration.as_millis()).unwrap_or(c_int::MAX)
}

fn log_level(level: c_int) -> RDKafkaLogLevel {
    use RDKafkaLogLevel as Level;
    match level {
        ..=2 => Level::Critical,
        3 => Level::Error,
        4 => Level::Warning,
        5 => Level::Notice,
        6 => Level::Info,
        _ => Level::Debug,
    }
}

/// The words of the library about a client that it does not make, without what a property holds.
fn client_words(error: NativeError) -> String {
    match error {
        NativeError::ClientCreation(reason) => reason,
        NativeError::ClientConfig(_, _, name, _) => format!("the property \"{name}\" is refused"),
        other => other.to_string(),
    }
}

fn fault(error: NativeError) -> Fault {
    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
    Fault::new(code, String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_that_the_broker_has_not_confirmed_by_a_place_is_none() {
        assert_eq!(confirmed(0), Ok(0));
        assert_eq!(confirmed(i64::MAX), Ok(i64::MAX));
        let doubtful = Err(RDKafkaErrorCode::OutOfOrderSequenceNumber);
        // RD_KAFKA_OFFSET_INVALID, and what the protocol says for no offset.
        for offset in [-1001, -1] {
            assert_eq!(confirmed(offset), doubtful);
        }
    }
}

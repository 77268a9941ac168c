//! A consumer without a group that reads one partition: the calls into librdkafka.
//!
//! The `rdkafka` crate's own consumer cannot be used: it panics at a header whose name is not UTF-8.
#![allow(unsafe_code, reason = "librdkafka is C; each block says why it is sound")]

use crate::client::{Context, cause};
use crate::security::{self, Attached, Verifies};
use crate::trouble::Fault;
use rdkafka::ClientConfig;
use rdkafka::bindings as c;
use rdkafka::client::Client;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::types::{RDKafkaRespErr, RDKafkaType};
use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr::{NonNull, null, null_mut};
use std::time::Duration;
use tidings_core::Timestamp;
use tidings_core::headers::HeaderWriter;

/// A consumer without a group.
pub(super) struct Fetcher {
    /// Tokens are given to the client. Dropped before it.
    _attached: Option<Attached>,
    client: Client<Context>,
}

/// A message in librdkafka's memory, destroyed with this.
pub(super) struct Fetched(NonNull<c::rd_kafka_message_t>);

// SAFETY: a message belongs to who took it, and may be looked at and destroyed by any one thread.
unsafe impl Send for Fetched {}

impl Fetcher {
    pub(super) fn new(config: &ClientConfig, context: Context) -> KafkaResult<Self> {
        let native = config.create_native_config()?;
        security::watch::<Context>(&native, config);
        // SAFETY: the configuration lives and is not given away yet. Without a callback no log line goes to the
        // terminal; what is to be known is in the errors.
        unsafe { c::rd_kafka_conf_set_log_cb(native.ptr(), None) };
        let client = Client::new(config, native, RDKafkaType::RD_KAFKA_CONSUMER, context)?;
        // SAFETY: the client lives.
        unsafe { c::rd_kafka_poll_set_consumer(client.native_ptr()) };
        // SAFETY: it is dropped before the client, which this holds.
        let attached = unsafe { client.context().state().attach(client.native_ptr()) };
        Ok(Self {
            _attached: attached,
            client,
        })
    }

    /// The client itself, which lives as long as this.
    pub(super) fn handle(&self) -> *mut c::rd_kafka_t {
        self.client.native_ptr()
    }

    /// Reads that partition from that offset on, and nothing else any more.
    pub(super) fn assign(&self, topic: &str, partition: i32, offset: i64) -> Result<(), Fault> {
        let topic = CString::new(topic).map_err(|_| Fault::new(Code::InvalidTopic, String::new()))?;
        // SAFETY: the list is ours, and destroyed once after the call, which copies it; so is the name.
        unsafe {
            let list = c::rd_kafka_topic_partition_list_new(1);
            if let Some(at) = c::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), partition).as_mut() {
                at.offset = offset;
            }
            let code = c::rd_kafka_assign(self.client.native_ptr(), list);
            c::rd_kafka_topic_partition_list_destroy(list);
            Fault::check(code)
        }
    }

    /// The next message or error, if one comes in time.
    pub(super) fn next(&self, timeout: Duration) -> Option<Fetched> {
        let timeout = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the client lives; the message is ours.
        NonNull::new(unsafe { c::rd_kafka_consumer_poll(self.client.native_ptr(), timeout) }).map(Fetched)
    }
}

impl Fetcher {
    /// A fault in words, with what is known of the broker's certificate.
    pub(super) fn explained(&self, fault: &Fault) -> Fault {
        let context = self.client.context();
        let explained = Fault::new(fault.code, cause(&fault.reason, context.certificate()));
        context.state().failed(explained.code, &explained.reason);
        explained
    }
}

impl Fetched {
    fn native(&self) -> &c::rd_kafka_message_t {
        // SAFETY: it lives as long as this, and nobody changes it.
        unsafe { self.0.as_ref() }
    }

    /// What is reported in place of a message, if so.
    pub(super) fn fault(&self) -> Option<Fault> {
        if self.native().err == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        // SAFETY: the text belongs to the message and ends with a zero.
        let reason = unsafe {
            let text = c::rd_kafka_message_errstr(self.0.as_ptr());
            let text = (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned());
            text.unwrap_or_default()
        };
        Some(Fault::new(self.native().err.into(), reason))
    }

    /// Whether it is of that partition: a report of one that was read before may come late.
    pub(super) fn is_of(&self, topic: &str, partition: i32) -> bool {
        let of = self.native().rkt;
        // SAFETY: a message holds its topic; the name ends with a zero.
        self.native().partition == partition
            && (of.is_null()
                || unsafe { CStr::from_ptr(c::rd_kafka_topic_name(of)) }.to_bytes() == topic.as_bytes())
    }

    pub(super) fn offset(&self) -> u64 {
        u64::try_from(self.native().offset).unwrap_or(0)
    }

    pub(super) fn key(&self) -> Option<&[u8]> {
        // SAFETY: librdkafka's own pointer and length, which live as long as this.
        unsafe { bytes(self.native().key, self.native().key_len) }
    }

    /// The payload; none is a tombstone.
    pub(super) fn payload(&self) -> Option<&[u8]> {
        // SAFETY: as above.
        unsafe { bytes(self.native().payload, self.native().len) }
    }

    pub(super) fn timestamp(&self) -> Timestamp {
        // SAFETY: the message lives; nobody asks for the kind of its timestamp.
        let time = unsafe { c::rd_kafka_message_timestamp(self.0.as_ptr(), null_mut()) };
        Timestamp::from_millis(time.max(0))
    }

    /// The headers as a block. What is not UTF-8 in a name is replaced; a header without a value has an empty one.
    pub(super) fn headers(&self) -> HeaderWriter {
        let mut writer = HeaderWriter::default();
        let mut headers = null_mut();
        // SAFETY: message and place live; this thread is the only one that looks at the message.
        let code = unsafe { c::rd_kafka_message_headers(self.0.as_ptr(), &raw mut headers) };
        if Fault::check(code).is_err() || headers.is_null() {
            return writer;
        }
        for index in 0.. {
            let (mut name, mut value, mut size) = (null(), null::<c_void>(), 0);
            // SAFETY: the headers belong to the message, and the three places outlive the call.
            let code = unsafe {
                c::rd_kafka_header_get_all(headers, index, &raw mut name, &raw mut value, &raw mut size)
            };
            if Fault::check(code).is_err() || name.is_null() {
                break;
            }
            // SAFETY: librdkafka's own pointers, which live as long as the message; a name ends with a zero.
            let (name, value) = unsafe { (CStr::from_ptr(name), bytes(value.cast_mut(), size)) };
            writer = writer.append(&name.to_string_lossy(), value.unwrap_or_default());
        }
        writer
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nobody looks at it any more.
        unsafe { c::rd_kafka_message_destroy(self.0.as_ptr()) }
    }
}

/// # Safety
/// The pointer is null, or so many bytes live there.
unsafe fn bytes<'a>(start: *mut c_void, length: usize) -> Option<&'a [u8]> {
    let start = NonNull::new(start.cast::<u8>())?;
    // SAFETY: as the caller says.
    Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), length) })
}

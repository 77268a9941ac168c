//! A message in librdkafka's memory: [`Message`].

use super::inside::{Layout, raw_headers};
use crate::trouble::Fault;
use rdkafka::bindings as c;
use rdkafka::error::RDKafkaErrorCode;
use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr::{NonNull, null, null_mut};
use std::slice;

const FINE: c::rd_kafka_resp_err_t = c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;

/// A message, or a report of its partition, as long as the call that took it.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    native: NonNull<c::rd_kafka_message_t>,
    of: PhantomData<&'a c::rd_kafka_message_t>,
}

impl<'a> Message<'a> {
    /// Views of messages that the caller destroys afterwards.
    pub(super) fn of_all(taken: &'a [*mut c::rd_kafka_message_t]) -> &'a [Self] {
        debug_assert!(taken.iter().all(|message| !message.is_null()));
        // SAFETY: a `Message` is laid out as the one pointer that it is. librdkafka fills the array with pointers that
        // are not null, and the slice that is borrowed keeps them from being destroyed.
        unsafe { slice::from_raw_parts(taken.as_ptr().cast::<Self>(), taken.len()) }
    }

    fn native(&self) -> &'a c::rd_kafka_message_t {
        // SAFETY: the message is alive for `'a`, and nothing changes it meanwhile.
        unsafe { self.native.as_ref() }
    }

    /// What is reported instead of a message, if so.
    pub(crate) fn fault(&self) -> Option<Fault> {
        let code = Fault::check(self.native().err).err()?.code;
        if code == RDKafkaErrorCode::PartitionEOF {
            return Some(Fault::new(code, String::new()));
        }
        // SAFETY: the message is alive, and its text with it.
        let text = unsafe { NonNull::new(c::rd_kafka_message_errstr(self.native.as_ptr()).cast_mut()) };
        // SAFETY: as above; it ends with a zero.
        let text = text.map(|text| unsafe { CStr::from_ptr(text.as_ptr()) });
        let text = text.map(|text| text.to_string_lossy().into_owned());
        Some(Fault::new(code, text.unwrap_or_default()))
    }

    pub(crate) fn is_report(&self) -> bool {
        self.native().err != FINE
    }

    /// The topic as a number: the same for two messages of one topic, so that its name is looked up once a run.
    pub(crate) fn topic_number(&self) -> usize {
        self.native().rkt.addr()
    }

    pub(crate) fn topic(&self) -> &'a str {
        let topic = self.native().rkt;
        if topic.is_null() {
            return "";
        }
        // SAFETY: the message holds a reference to its topic, whose name ends with a zero.
        let name = unsafe { CStr::from_ptr(c::rd_kafka_topic_name(topic)) };
        name.to_str().unwrap_or("")
    }

    pub(crate) fn partition(&self) -> i32 {
        self.native().partition
    }

    pub(crate) fn offset(&self) -> i64 {
        self.native().offset
    }

    pub(crate) fn key(&self) -> Option<&'a [u8]> {
        // SAFETY: librdkafka's own pointer and length, alive for `'a`.
        unsafe { bytes(self.native().key, self.native().key_len) }
    }

    /// The payload; none is a tombstone.
    pub(crate) fn payload(&self) -> Option<&'a [u8]> {
        // SAFETY: as above.
        unsafe { bytes(self.native().payload, self.native().len) }
    }

    /// Milliseconds since 1970; none for messages of before Kafka 0.10.
    pub(crate) fn timestamp(&self) -> Option<i64> {
        // SAFETY: the message is alive; nobody asks for the kind of its timestamp.
        let time = unsafe { c::rd_kafka_message_timestamp(self.native.as_ptr(), null_mut()) };
        (time >= 0).then_some(time)
    }

    /// The headers as they came over the wire, with their count. None if they have to be asked for one by one.
    ///
    /// `known` is [`Self::layout`] of a message of the same call.
    pub(crate) fn raw_headers(&self, known: Layout) -> Option<&'a [u8]> {
        if known == Layout::Unknown || self.is_report() {
            return None;
        }
        // SAFETY: it is a message and alive for `'a`, and messages of one library look alike.
        unsafe { raw_headers(self.native) }
    }

    /// Whether headers can be had as they came.
    pub(crate) fn layout(&self) -> Layout {
        if self.is_report() {
            return Layout::Unknown;
        }
        // SAFETY: it is a message and alive.
        unsafe { Layout::of(self.native) }
    }

    /// Sees each header in order.
    pub(crate) fn each_header(&self, mut see: impl FnMut(&[u8], &[u8])) {
        let mut headers = null_mut();
        // SAFETY: the message is alive, and this thread is the only one that looks at it: librdkafka parses the
        // headers into it at the first call.
        let code = unsafe { c::rd_kafka_message_headers(self.native.as_ptr(), &raw mut headers) };
        // Most messages have none: no error is made of that.
        if code != FINE || headers.is_null() {
            return;
        }
        for index in 0.. {
            let (mut name, mut value, mut size) = (null(), null::<c_void>(), 0);
            // SAFETY: the headers belong to the message, and the three places outlive the call.
            let code = unsafe {
                c::rd_kafka_header_get_all(headers, index, &raw mut name, &raw mut value, &raw mut size)
            };
            if code != FINE || name.is_null() {
                return;
            }
            // SAFETY: librdkafka's own pointers, alive as long as the message; a name ends with a zero.
            let (name, value) = unsafe { (CStr::from_ptr(name), bytes(value.cast_mut(), size)) };
            see(name.to_bytes(), value.unwrap_or_default());
        }
    }
}

/// # Safety
/// The pointer is null, or so many bytes can be read there for `'a`.
unsafe fn bytes<'a>(start: *mut c_void, length: usize) -> Option<&'a [u8]> {
    let start = NonNull::new(start.cast::<u8>())?;
    // SAFETY: as the caller says.
    Some(unsafe { slice::from_raw_parts(start.as_ptr(), length) })
}

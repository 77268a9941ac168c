//! Memory of librdkafka's that is ours to free, and what lies in answers.
#![allow(unsafe_code, reason = "librdkafka is C; each block says why it is sound")]

use super::At;
use crate::trouble::Fault;
use rdkafka::bindings as c;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::types::RDKafkaRespErr;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::null_mut;
use std::time::Duration;

/// Something of librdkafka's that is destroyed by us.
pub(super) struct Owned<T>(pub(super) *mut T, pub(super) unsafe extern "C" fn(*mut T));

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: it is ours, and nobody uses it any more.
            unsafe { (self.1)(self.0) }
        }
    }
}

/// An answer.
pub(super) struct Event(pub(super) *mut c::rd_kafka_event_t);

impl Drop for Event {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: it is ours, and nobody uses it any more.
            unsafe { c::rd_kafka_event_destroy(self.0) }
        }
    }
}

/// A list of partitions.
pub(super) struct List(pub(super) *mut c::rd_kafka_topic_partition_list_t);

impl List {
    pub(super) fn of(all: &[At]) -> Result<Self, Fault> {
        // SAFETY: the list is new; names are copied. The metadata is one that the list frees, by C's own allocator.
        unsafe {
            let count = c_int::try_from(all.len()).unwrap_or(c_int::MAX);
            let list = Self(c::rd_kafka_topic_partition_list_new(count));
            for at in all {
                let topic = zero_ended(&at.topic)?;
                let partition = i32::try_from(at.partition).unwrap_or(i32::MAX);
                let added = c::rd_kafka_topic_partition_list_add(list.0, topic.as_ptr(), partition);
                if let Some(added) = added.as_mut() {
                    added.offset = at.offset;
                    if !at.metadata.is_empty() {
                        added.metadata = copy(&at.metadata);
                        added.metadata_size = at.metadata.len();
                    }
                }
            }
            Ok(list)
        }
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nobody uses it any more.
        unsafe { c::rd_kafka_topic_partition_list_destroy(self.0) }
    }
}

/// A copy that librdkafka may free.
///
/// # Safety
/// There is at least one byte.
pub(super) unsafe fn copy(bytes: &[u8]) -> *mut c_void {
    // SAFETY: the place has as many bytes as are copied.
    unsafe {
        let place = c::rd_kafka_mem_malloc(null_mut(), bytes.len());
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), place.cast::<u8>(), bytes.len());
        place
    }
}
/// # Safety
/// The list lives, or there is none.
pub(super) unsafe fn partitions<'a>(
    list: *const c::rd_kafka_topic_partition_list_t,
) -> &'a [c::rd_kafka_topic_partition_t] {
    // SAFETY: as asked for; the count is that of the elements.
    unsafe {
        let Some(list) = list.as_ref().filter(|list| !list.elems.is_null()) else {
            return &[];
        };
        std::slice::from_raw_parts(list.elems, usize::try_from(list.cnt).unwrap_or(0))
    }
}

/// # Safety
/// The element lives.
pub(super) unsafe fn one(at: &c::rd_kafka_topic_partition_t) -> Result<At, Fault> {
    Fault::check(at.err)?;
    // SAFETY: name and metadata belong to the element.
    unsafe {
        let metadata = match at.metadata.is_null() {
            true => Vec::new(),
            false => std::slice::from_raw_parts(at.metadata.cast::<u8>(), at.metadata_size).to_vec(),
        };
        Ok(At {
            topic: text(at.topic),
            partition: u32::try_from(at.partition).unwrap_or(0),
            offset: at.offset,
            metadata,
        })
    }
}

/// # Safety
/// The error lives, or there is none.
pub(super) unsafe fn fault_of(error: *const c::rd_kafka_error_t) -> Option<Fault> {
    // SAFETY: as asked for.
    unsafe {
        let code = c::rd_kafka_error_code(error.as_ref()?);
        (code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR)
            .then(|| Fault::new(code.into(), text(c::rd_kafka_error_string(error))))
    }
}

/// # Safety
/// As many elements live as are said, or there are none.
pub(super) unsafe fn slice<'a, T>(first: *mut T, count: usize) -> &'a [T] {
    if first.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: as asked for.
    unsafe { std::slice::from_raw_parts(first, count) }
}

/// # Safety
/// Null, or a string with a zero at its end.
pub(super) unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: as asked for.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

pub(super) fn zero_ended(text: &str) -> Result<CString, Fault> {
    CString::new(text).map_err(|_| Fault::new(Code::InvalidArgument, "a name has a zero byte".to_owned()))
}

pub(super) fn millis(duration: Duration) -> c_int {
    c_int::try_from(duration.as_millis()).unwrap_or(c_int::MAX)
}

//! What tells topics of one name apart: [`Consumer::topic_ids`].

use super::{Consumer, Queue, millis};
use crate::trouble::Fault;
use rdkafka::bindings as c;
use rdkafka::error::RDKafkaErrorCode as Code;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char};
use std::ptr::NonNull;
use std::time::Duration;

/// How much longer than the question's own time the answer is waited for: librdkafka gives one in any case.
const SLACK: Duration = Duration::from_secs(2);

/// As much of a topic's id as is kept beside each offset. Ids are random.
const ID_BITS: i64 = (1 << 48) - 1;

/// Something of librdkafka's that is destroyed by us.
struct Owned<T>(NonNull<T>, unsafe extern "C" fn(*mut T));

impl<T> Owned<T> {
    fn new(native: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Result<Self, Fault> {
        let native = NonNull::new(native).ok_or_else(|| Fault::new(Code::Fail, String::new()))?;
        Ok(Self(native, destroy))
    }

    fn ptr(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nobody uses it any more.
        unsafe { (self.1)(self.0.as_ptr()) }
    }
}

impl Consumer {
    /// A number for each topic that another one of the same name does not have: who deletes a topic and makes it again
    /// makes another. Empty where the brokers are too old to tell. Waits for the broker.
    pub(crate) fn topic_ids(&self, names: &[&str], timeout: Duration) -> Result<HashMap<String, u64>, Fault> {
        match self.describe(names, timeout) {
            Err(fault) if matches!(fault.code, Code::UnsupportedFeature | Code::UnsupportedVersion) => {
                Ok(HashMap::new())
            }
            answer => answer,
        }
    }

    fn describe(&self, names: &[&str], timeout: Duration) -> Result<HashMap<String, u64>, Fault> {
        let names: Vec<CString> = names.iter().filter_map(|name| CString::new(*name).ok()).collect();
        let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        let kind = c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        // SAFETY: the client lives. The names outlive the call, which copies them. Everything that is made is destroyed
        // once, after its last use. A refused option leaves its default.
        let event = unsafe {
            let topics = Owned::new(
                c::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()),
                c::rd_kafka_TopicCollection_destroy,
            )?;
            let options = Owned::new(
                c::rd_kafka_AdminOptions_new(self.handle(), kind),
                c::rd_kafka_AdminOptions_destroy,
            )?;
            let mut reason = [0; 512];
            let (text, room) = (reason.as_mut_ptr(), reason.len());
            c::rd_kafka_AdminOptions_set_request_timeout(options.ptr(), millis(timeout), text, room);
            let queue = Queue::new(c::rd_kafka_queue_new(self.handle()))
                .ok_or_else(|| Fault::new(Code::Fail, String::new()))?;
            c::rd_kafka_DescribeTopics(self.handle(), topics.ptr(), options.ptr(), queue.0.as_ptr());
            let event = c::rd_kafka_queue_poll(queue.0.as_ptr(), millis(timeout + SLACK));
            if event.is_null() {
                return Err(Fault::new(Code::OperationTimedOut, String::new()));
            }
            Owned::new(event, c::rd_kafka_event_destroy)?
        };
        // SAFETY: the event lives, and is of this kind if it is no error.
        unsafe {
            Fault::check(c::rd_kafka_event_error(event.ptr()))?;
            Ok(ids(&event))
        }
    }
}

/// # Safety
/// The event describes topics.
unsafe fn ids(event: &Owned<c::rd_kafka_event_t>) -> HashMap<String, u64> {
    let mut ids = HashMap::new();
    let mut count = 0;
    // SAFETY: what the event holds lives as long as it does; there are as many topics as are said.
    unsafe {
        let result = c::rd_kafka_event_DescribeTopics_result(event.ptr());
        let topics = c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        for index in 0..count {
            let topic = *topics.add(index);
            // A topic that is not there, or that this user may not see, has none.
            if !is_fine(c::rd_kafka_TopicDescription_error(topic)) {
                continue;
            }
            let id = c::rd_kafka_TopicDescription_topic_id(topic);
            let name = c::rd_kafka_TopicDescription_name(topic);
            if id.is_null() || name.is_null() {
                continue;
            }
            let number = c::rd_kafka_Uuid_least_significant_bits(id) & ID_BITS;
            if number != 0 {
                let name = CStr::from_ptr(name).to_string_lossy().into_owned();
                ids.insert(name, number.cast_unsigned());
            }
        }
    }
    ids
}

/// # Safety
/// The error lives, or there is none.
unsafe fn is_fine(error: *const c::rd_kafka_error_t) -> bool {
    // SAFETY: as asked for.
    error.is_null() || Fault::check(unsafe { c::rd_kafka_error_code(error) }).is_ok()
}

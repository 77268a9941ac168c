//! librdkafka's transactions as calls that wait: each is made on the thread of [`crate::transactions`] only, except for
//! [`Producer::begin`], which asks nobody but the client itself.
#![allow(unsafe_code, reason = "librdkafka is C; each block says why it is sound")]

use super::native::Producer;
use crate::native::{GroupMetadata, List};
use crate::trouble::Fault;
use rdkafka::bindings as c;
use std::ffi::{CStr, c_int};
use std::fmt;
use std::ptr::NonNull;
use std::time::Duration;

/// Why a call of a transaction failed.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    pub(crate) fault: Fault,
    /// The same call again goes on with what it has begun.
    pub(crate) goes_on: bool,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl Producer {
    /// Gets the right to the transactional id. What another producer has left open under it is given up, and whatever
    /// that one still sends is refused.
    pub(crate) fn init(&self, within: Duration) -> Result<(), Failed> {
        // SAFETY: the client lives; the error is ours.
        unsafe { check(c::rd_kafka_init_transactions(self.handle(), millis(within))) }
    }

    /// Begins a transaction, without asking the broker.
    pub(super) fn begin(&self) -> Result<(), Failed> {
        // SAFETY: as above.
        unsafe { check(c::rd_kafka_begin_transaction(self.handle())) }
    }

    /// Makes offsets of a group part of the transaction. The broker refuses them from who is no member any more.
    pub(crate) fn send_offsets(
        &self,
        offsets: &List,
        group: &GroupMetadata,
        within: Duration,
    ) -> Result<(), Failed> {
        // SAFETY: all three live, and are copied.
        unsafe {
            check(c::rd_kafka_send_offsets_to_transaction(
                self.handle(),
                offsets.ptr(),
                group.ptr(),
                millis(within),
            ))
        }
    }

    /// Commits. Reports of messages are taken meanwhile by the thread of reports.
    pub(crate) fn commit(&self, within: Duration) -> Result<(), Failed> {
        // SAFETY: the client lives; the error is ours.
        unsafe { check(c::rd_kafka_commit_transaction(self.handle(), millis(within))) }
    }

    /// Gives the transaction up. Reports are taken meanwhile as for a commit.
    pub(crate) fn abort(&self, within: Duration) -> Result<(), Failed> {
        // SAFETY: as above.
        unsafe { check(c::rd_kafka_abort_transaction(self.handle(), millis(within))) }
    }
}

/// Takes over an error of librdkafka.
///
/// # Safety
/// Null, or an error that belongs to the caller and is used no more.
unsafe fn check(error: *mut c::rd_kafka_error_t) -> Result<(), Failed> {
    let Some(error) = NonNull::new(error) else {
        return Ok(());
    };
    // SAFETY: the error lives until it is destroyed here, once; its text ends with a zero and is copied before.
    unsafe {
        let code = c::rd_kafka_error_code(error.as_ptr()).into();
        let reason = CStr::from_ptr(c::rd_kafka_error_string(error.as_ptr()));
        let reason = reason.to_string_lossy().into_owned();
        let goes_on = c::rd_kafka_error_is_retriable(error.as_ptr()) == 1
            && c::rd_kafka_error_txn_requires_abort(error.as_ptr()) == 0
            && c::rd_kafka_error_is_fatal(error.as_ptr()) == 0;
        c::rd_kafka_error_destroy(error.as_ptr());
        Err(Failed {
            fault: Fault::new(code, reason),
            goes_on,
        })
    }
}

fn millis(duration: Duration) -> c_int {
    c_int::try_from(duration.as_millis()).unwrap_or(c_int::MAX)
}

//! What librdkafka calls.

use super::list::found;
use crate::client::is_known;
use crate::source::inbox::{Inbox, News};
use crate::trouble::Fault;
use rdkafka::bindings as c;
use rdkafka::error::RDKafkaErrorCode;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{NonNull, null};

/// # Safety
/// The opaque of a client that is alive: its inbox.
unsafe fn inbox<'a>(opaque: *const c_void) -> Option<&'a Inbox> {
    // SAFETY: as the caller says. An inbox is shared: it is changed behind its own lock only.
    unsafe { opaque.cast::<Inbox>().as_ref() }
}

/// # Safety
/// Null, or a text that ends with a zero.
unsafe fn text(start: *const c_char) -> String {
    if start.is_null() {
        return String::new();
    }
    // SAFETY: as the caller says.
    unsafe { CStr::from_ptr(start) }.to_string_lossy().into_owned()
}

/// Takes over an error of librdkafka.
///
/// # Safety
/// Null, or an error that belongs to the caller and is used no more.
pub(super) unsafe fn check(error: *mut c::rd_kafka_error_t) -> Result<(), Fault> {
    let Some(error) = NonNull::new(error) else {
        return Ok(());
    };
    // SAFETY: as the caller says.
    unsafe {
        let code: RDKafkaErrorCode = c::rd_kafka_error_code(error.as_ptr()).into();
        let reason = text(c::rd_kafka_error_string(error.as_ptr()));
        c::rd_kafka_error_destroy(error.as_ptr());
        Err(Fault::new(code, reason))
    }
}

/// A queue is no longer empty. Called on any thread.
pub(super) unsafe extern "C" fn on_event(_: *mut c::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: the opaque was set together with this callback, which is taken away before the inbox goes.
    if let Some(inbox) = unsafe { inbox(opaque) } {
        inbox.wake();
    }
}

/// Partitions come or go. Called within [`super::Consumer::consume`].
pub(super) unsafe extern "C" fn on_rebalance(
    client: *mut c::rd_kafka_t,
    code: c::rd_kafka_resp_err_t,
    partitions: *mut c::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    use c::rd_kafka_resp_err_t as Code;
    // SAFETY: the list is alive during the call, and the opaque as long as the client.
    let (places, inbox) = unsafe { (found(partitions), inbox(opaque)) };
    let Some(inbox) = inbox else { return };
    let places = places.into_iter().map(|place| (place.topic, place.partition));
    match code {
        Code::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => inbox.tell(News::Assigned(places.collect())),
        Code::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
            // SAFETY: the client is the one that calls.
            let lost = unsafe { c::rd_kafka_assignment_lost(client) } == 1;
            inbox.tell(News::Revoked {
                places: places.collect(),
                lost,
            });
        }
        // As librdkafka asks for.
        _ => {
            // SAFETY: as above; null gives everything back.
            unsafe { c::rd_kafka_assign(client, null()) };
        }
    }
}

/// A commit was answered. Called within [`super::Consumer::serve_replies`].
pub(super) unsafe extern "C" fn on_commit(
    client: *mut c::rd_kafka_t,
    code: c::rd_kafka_resp_err_t,
    partitions: *mut c::rd_kafka_topic_partition_list_t,
    number: *mut c_void,
) {
    // SAFETY: the client is alive, its opaque is the inbox, and the list is alive during the call.
    let (inbox, places) = unsafe { (inbox(c::rd_kafka_opaque(client)), found(partitions)) };
    let of_place = || {
        places.into_iter().find_map(|place| {
            let fault = place.fault?;
            let reason = format!("{}/{}: {}", place.topic, place.partition, fault.reason);
            Some(Fault::new(fault.code, reason))
        })
    };
    if let Some(inbox) = inbox {
        inbox.tell(News::Stored {
            number: number.addr(),
            fault: Fault::check(code).err().or_else(of_place),
        });
    }
}

/// Something is wrong with the connection or the client. Called within [`super::Consumer::consume`].
pub(super) unsafe extern "C" fn on_error(
    _: *mut c::rd_kafka_t,
    code: c_int,
    reason: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: the text is alive during the call, the opaque as long as the client.
    let (inbox, reason) = unsafe { (inbox(opaque), text(reason)) };
    let code = c::rd_kafka_resp_err_t::try_from(code).map_or(RDKafkaErrorCode::Unknown, Into::into);
    if let Some(inbox) = inbox {
        inbox.note(Fault::new(code, reason));
    }
}

/// A log line. It never holds a payload.
pub(super) unsafe extern "C" fn on_log(
    _: *const c::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    line: *const c_char,
) {
    // SAFETY: both are alive during the call.
    let (facility, line) = unsafe { (text(facility), text(line)) };
    match level {
        // A broker that is away or refuses says the same every second; the source tells it once, with the cure.
        ..=6 if is_known(&facility) => tracing::debug!(target: "librdkafka", %facility, "{line}"),
        ..=3 => tracing::error!(target: "librdkafka", %facility, "{line}"),
        4 => tracing::warn!(target: "librdkafka", %facility, "{line}"),
        5 | 6 => tracing::info!(target: "librdkafka", %facility, "{line}"),
        _ => tracing::debug!(target: "librdkafka", %facility, "{line}"),
    }
}

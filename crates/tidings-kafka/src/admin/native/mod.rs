//! Questions to the cluster that the `rdkafka` crate has no form of, or only one whose client serves no errors and no
//! tokens. All of them go through the producer's client.
#![allow(unsafe_code, reason = "librdkafka is C; each block says why it is sound")]

mod groups;
mod memory;
mod topics;

use crate::sink::Producer;
use crate::trouble::Fault;
pub(super) use groups::OfGroups;
use memory::{Event, Owned, millis, text};
use rdkafka::bindings as c;
use rdkafka::error::RDKafkaErrorCode as Code;
use std::time::{Duration, Instant};
pub(super) use topics::NewTopic;
pub(crate) use topics::Outcome;

/// How much longer than the question's own time the answer is waited for: librdkafka gives one in any case.
const SLACK: Duration = Duration::from_secs(2);
/// How long after a coordinator was not ready, or a leader not known, it is asked again.
const AGAIN_WAIT: Duration = Duration::from_millis(100);

/// A partition, an offset or a question for one, and the text beside a stored offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At {
    pub(super) topic: String,
    pub(super) partition: u32,
    pub(super) offset: i64,
    pub(super) metadata: Vec<u8>,
}

/// What [`At::offset`] asks for.
pub(super) const FIRST: i64 = -2;
pub(super) const END: i64 = -1;

impl At {
    pub(super) fn new(topic: &str, partition: u32, offset: i64) -> Self {
        Self {
            topic: topic.to_owned(),
            partition,
            offset,
            metadata: Vec::new(),
        }
    }
}

/// Which end of a partition counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Messages {
    /// All that there are.
    All,
    /// Up to the first transaction that is not decided.
    Decided,
}

/// Asks, with a deadline. What it asks blocks: it is called where that is allowed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) producer: &'a Producer,
    pub(super) timeout: Duration,
}

impl Asking<'_> {
    /// Asks one question and waits for its answer.
    ///
    /// # Safety
    /// `call` starts the question that `kind` names, with what it is given.
    unsafe fn ask(
        self,
        kind: c::rd_kafka_admin_op_t,
        messages: Messages,
        call: impl FnOnce(*mut c::rd_kafka_t, *const c::rd_kafka_AdminOptions_t, *mut c::rd_kafka_queue_t),
    ) -> Result<Event, Fault> {
        let question = Question {
            client: self.producer.handle(),
            kind,
            messages,
            within: self.timeout,
            patience: self.timeout + SLACK,
        };
        // SAFETY: as the caller says; the producer lives.
        unsafe { ask(&question, call) }
    }
}

/// Asks again, after a moment, as long as what is in the way passes by itself and there is time.
fn while_it_passes<T>(
    timeout: Duration,
    passes: impl Fn(&Fault) -> bool,
    mut question: impl FnMut() -> Result<T, Fault>,
) -> Result<T, Fault> {
    let deadline = Instant::now() + timeout;
    loop {
        match question() {
            Err(fault) if passes(&fault) && Instant::now() + AGAIN_WAIT < deadline => {
                std::thread::sleep(AGAIN_WAIT);
            }
            answer => return answer,
        }
    }
}

/// What is asked, and through which client.
struct Question {
    client: *mut c::rd_kafka_t,
    kind: c::rd_kafka_admin_op_t,
    messages: Messages,
    /// The time that librdkafka is given.
    within: Duration,
    /// How long the answer is waited for.
    patience: Duration,
}

/// Asks one question and waits for its answer.
///
/// # Safety
/// The client lives, and `call` starts the question that `kind` names, with what it is given.
unsafe fn ask(
    question: &Question,
    call: impl FnOnce(*mut c::rd_kafka_t, *const c::rd_kafka_AdminOptions_t, *mut c::rd_kafka_queue_t),
) -> Result<Event, Fault> {
    let (client, kind, within) = (question.client, question.kind, millis(question.within));
    // SAFETY: the client lives. Queue and options are destroyed once, after their last use. A refused option
    // leaves its default; the text of a refusal has as much room as is said.
    unsafe {
        let queue = Owned(c::rd_kafka_queue_new(client), c::rd_kafka_queue_destroy);
        let options = Owned(
            c::rd_kafka_AdminOptions_new(client, kind),
            c::rd_kafka_AdminOptions_destroy,
        );
        let mut reason = [0; 512];
        c::rd_kafka_AdminOptions_set_request_timeout(options.0, within, reason.as_mut_ptr(), reason.len());
        if matches!(kind, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS) {
            let text = reason.as_mut_ptr();
            c::rd_kafka_AdminOptions_set_operation_timeout(options.0, within, text, reason.len());
        }
        if matches!(kind, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS) {
            let level = match question.messages {
                Messages::All => c::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
                Messages::Decided => c::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
            };
            let refused = c::rd_kafka_AdminOptions_set_isolation_level(options.0, level);
            if !refused.is_null() {
                c::rd_kafka_error_destroy(refused);
            }
        }
        call(client, options.0, queue.0);
        let event = Event(c::rd_kafka_queue_poll(queue.0, millis(question.patience)));
        if event.0.is_null() {
            return Err(Fault::new(Code::OperationTimedOut, String::new()));
        }
        let code = c::rd_kafka_event_error(event.0);
        let reason = text(c::rd_kafka_event_error_string(event.0));
        Fault::check(code).map_err(|fault| Fault::new(fault.code, reason))?;
        Ok(event)
    }
}

//! The consuming side of librdkafka as safe calls. `unsafe` is allowed in this module only; each block says why it is
//! sound.
//!
//! The `rdkafka` crate's own consumers hand over one message at a time through an event each, which costs twice as much
//! as librdkafka's batch call. So its `Client` is used for the handle, and what it does not offer is called here.

#![allow(unsafe_code, reason = "librdkafka is C; see above")]

mod callbacks;
mod inside;
mod list;
mod membership;
mod message;
#[cfg(test)]
mod tests;
mod topics;

pub(crate) use inside::Layout;
pub(crate) use list::{Found, List};
pub(crate) use membership::GroupMetadata;
pub(crate) use message::Message;

use crate::client::ClientState;
use crate::lock::lock;
use crate::security::{self, Attached};
use crate::source::inbox::Inbox;
use crate::trouble::Fault;
use rdkafka::ClientConfig;
use rdkafka::bindings as c;
use rdkafka::client::Client;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaType;
use std::ffi::{CStr, CString, c_int, c_void};
use std::fmt;
use std::ptr::{NonNull, null, null_mut};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How many messages one call takes from librdkafka.
pub(crate) const CHUNK: usize = 512;

/// A queue of librdkafka. Destroyed before the client that it belongs to.
struct Queue(NonNull<c::rd_kafka_queue_t>);

// SAFETY: queues of librdkafka have locks of their own; any thread may use them.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    fn new(queue: *mut c::rd_kafka_queue_t) -> Option<Self> {
        NonNull::new(queue).map(Self)
    }

    /// Lets the inbox be told whenever the queue is no longer empty.
    fn tell(&self, inbox: &Arc<Inbox>) {
        // SAFETY: the queue is alive. The inbox outlives it: the client that owns the inbox is destroyed after its
        // queues, and `Drop` takes the callback away.
        unsafe {
            c::rd_kafka_queue_cb_event_enable(
                self.0.as_ptr(),
                Some(callbacks::on_event),
                Arc::as_ptr(inbox).cast::<c_void>().cast_mut(),
            );
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the reference is ours and is given back once. librdkafka holds the queue's lock while it calls back,
        // so after the first call no callback runs any more.
        unsafe {
            c::rd_kafka_queue_cb_event_enable(self.0.as_ptr(), None, null_mut());
            c::rd_kafka_queue_destroy(self.0.as_ptr());
        }
    }
}

/// A consumer of librdkafka. Fields are dropped in this order: what belongs to the client before it.
pub(crate) struct Consumer {
    /// Messages, errors, rebalances and log lines.
    queue: Queue,
    /// Answers to commits, apart from messages so that somebody can wait for one without taking the others.
    replies: Queue,
    /// Tokens are given to the client.
    _attached: Option<Attached>,
    client: Client<Inbox>,
    /// It has a `group.instance.id`: its place in the group is kept for it when it goes.
    is_static: bool,
    /// It is leaving its group. Locked while a commit is handed over: one that librdkafka meets when it has just left
    /// ends the process (seen in 2.12, an assertion), so none may follow the request to leave.
    leaving: Mutex<bool>,
}

/// How partitions are taken and given back in the running group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// All at once.
    Eager,
    /// What changes.
    Incremental,
}

impl Consumer {
    /// Makes the client; it connects by itself.
    pub(crate) fn new(config: &ClientConfig, inbox: Inbox, state: &ClientState) -> KafkaResult<Self> {
        let native = config.create_native_config()?;
        security::watch::<Inbox>(&native, config);
        // SAFETY: the configuration is alive and not yet given away. The callbacks have the signatures that librdkafka
        // asks for, and find the inbox that `Client::new` sets as the opaque.
        unsafe {
            c::rd_kafka_conf_set_rebalance_cb(native.ptr(), Some(callbacks::on_rebalance));
            c::rd_kafka_conf_set_error_cb(native.ptr(), Some(callbacks::on_error));
            c::rd_kafka_conf_set_log_cb(native.ptr(), Some(callbacks::on_log));
        }
        let client = Client::new(config, native, RDKafkaType::RD_KAFKA_CONSUMER, inbox)?;
        let handle = client.native_ptr();
        // SAFETY: the client is alive. Each call gives a reference of our own, or nothing.
        let queues = unsafe {
            c::rd_kafka_poll_set_consumer(handle);
            let queue = Queue::new(c::rd_kafka_queue_get_consumer(handle));
            queue.zip(Queue::new(c::rd_kafka_queue_new(handle)))
        };
        let (queue, replies) = queues.ok_or_else(|| {
            rdkafka::error::KafkaError::ClientCreation("no consumer queue: set group.id".to_owned())
        })?;
        // SAFETY: it is dropped before the client, which this holds.
        let attached = unsafe { state.attach(handle) };
        queue.tell(client.context());
        replies.tell(client.context());
        Ok(Self {
            queue,
            replies,
            _attached: attached,
            client,
            is_static: config.get("group.instance.id").is_some(),
            leaving: Mutex::new(false),
        })
    }

    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        self.client.context()
    }

    pub(crate) fn client(&self) -> &Client<Inbox> {
        &self.client
    }

    fn handle(&self) -> *mut c::rd_kafka_t {
        self.client.native_ptr()
    }

    /// Takes what the queue holds, without waiting: `look` sees the messages, callbacks fill the inbox. How many
    /// messages there were; with [`CHUNK`] there may be more.
    pub(crate) fn consume(&self, mut look: impl FnMut(&[Message<'_>])) -> usize {
        let mut messages = [null_mut::<c::rd_kafka_message_t>(); CHUNK];
        // SAFETY: the queue is alive, and the array has room for as many pointers as is said.
        let taken = unsafe {
            c::rd_kafka_consume_batch_queue(self.queue.0.as_ptr(), 0, messages.as_mut_ptr(), CHUNK)
        };
        // Negative is an error of the arguments, which are right.
        let taken = usize::try_from(taken).unwrap_or(0).min(CHUNK);
        let guard = Taken(&messages[..taken]);
        look(Message::of_all(guard.0));
        taken
    }

    /// Serves answers to commits, which go to the inbox.
    pub(crate) fn serve_replies(&self) {
        // SAFETY: the queue is alive; the callback of a commit needs nothing but the inbox.
        unsafe { c::rd_kafka_queue_poll_callback(self.replies.0.as_ptr(), 0) };
    }

    /// Joins the group.
    pub(crate) fn subscribe<'a>(&self, topics: impl Iterator<Item = &'a str>) -> Result<(), Fault> {
        let list = List::of_topics(topics);
        if list.is_empty() {
            // SAFETY: the client is alive.
            return Fault::check(unsafe { c::rd_kafka_unsubscribe(self.handle()) });
        }
        // SAFETY: client and list are alive; the list is copied.
        Fault::check(unsafe { c::rd_kafka_subscribe(self.handle(), list.ptr()) })
    }

    /// How the group that this member is in moves partitions.
    pub(crate) fn protocol(&self) -> Protocol {
        // SAFETY: the client is alive; the text lives as long as the library.
        let name = unsafe {
            let name = c::rd_kafka_rebalance_protocol(self.handle());
            NonNull::new(name.cast_mut()).map(|name| CStr::from_ptr(name.as_ptr()))
        };
        match name.map(CStr::to_bytes) {
            Some(b"EAGER") => Protocol::Eager,
            _ => Protocol::Incremental,
        }
    }

    /// Reads these partitions from their offsets on: all there are in an eager group, some more in others.
    pub(crate) fn assign(&self, list: &List) -> Result<(), Fault> {
        // SAFETY: client and list are alive; the list is copied. The error is ours.
        unsafe {
            match self.protocol() {
                Protocol::Eager => Fault::check(c::rd_kafka_assign(self.handle(), list.ptr())),
                Protocol::Incremental => {
                    callbacks::check(c::rd_kafka_incremental_assign(self.handle(), list.ptr()))
                }
            }
        }
    }

    /// Gives partitions back: all there are in an eager group, these in others.
    pub(crate) fn unassign(&self, list: &List) -> Result<(), Fault> {
        // SAFETY: as above.
        unsafe {
            match self.protocol() {
                Protocol::Eager => Fault::check(c::rd_kafka_assign(self.handle(), null())),
                Protocol::Incremental => {
                    callbacks::check(c::rd_kafka_incremental_unassign(self.handle(), list.ptr()))
                }
            }
        }
    }

    /// Answers an assignment with nothing.
    pub(crate) fn assign_nothing(&self) {
        if let Err(fault) = self.assign(&List::new()) {
            tracing::debug!(reason = %fault, "an empty assignment was refused");
        }
    }

    /// What it reads.
    fn assigned(&self) -> Vec<Found> {
        let mut all = null_mut();
        // SAFETY: client and place outlive the call, which makes a list of our own.
        let code = unsafe { c::rd_kafka_assignment(self.handle(), &raw mut all) };
        if Fault::check(code).is_err() {
            return Vec::new();
        }
        // SAFETY: the list is ours, and given back once.
        unsafe {
            let found = list::found(all);
            c::rd_kafka_topic_partition_list_destroy(all);
            found
        }
    }

    /// Gives everything back.
    pub(crate) fn unassign_all(&self) {
        let mut list = List::new();
        for found in self.assigned() {
            list.add(&found.topic, found.partition);
        }
        if let Err(fault) = self.unassign(&list) {
            tracing::debug!(reason = %fault, "giving everything back was refused");
        }
    }

    /// Stops reading partitions; what was fetched of them is thrown away.
    pub(crate) fn pause(&self, list: &List) -> Result<(), Fault> {
        // SAFETY: client and list are alive; results are written into the list, which nobody else sees.
        Fault::check(unsafe { c::rd_kafka_pause_partitions(self.handle(), list.ptr()) })
    }

    /// Reads paused partitions again.
    pub(crate) fn resume(&self, list: &List) -> Result<(), Fault> {
        // SAFETY: as above.
        Fault::check(unsafe { c::rd_kafka_resume_partitions(self.handle(), list.ptr()) })
    }

    /// Goes on at other offsets, without waiting. What was fetched before is not given any more.
    pub(crate) fn seek(&self, list: &List) -> Result<(), Fault> {
        // SAFETY: as above; the error is ours.
        unsafe { callbacks::check(c::rd_kafka_seek_partitions(self.handle(), list.ptr(), 0)) }
    }

    /// Starts to store offsets; the answer goes to the inbox with this number. Refused when the member is leaving.
    pub(crate) fn commit(&self, list: &List, number: usize) -> Result<(), Fault> {
        let leaving = lock(&self.leaving);
        if *leaving {
            let reason = "the member leaves its group".to_owned();
            return Err(Fault::new(RDKafkaErrorCode::BrokerDestroy, reason));
        }
        // SAFETY: all three are alive; the list is copied. The opaque is a number and never read as a pointer.
        Fault::check(unsafe {
            c::rd_kafka_commit_queue(
                self.handle(),
                list.ptr(),
                self.replies.0.as_ptr(),
                Some(callbacks::on_commit),
                std::ptr::without_provenance_mut(number),
            )
        })
    }

    /// Fills in what the group has stored. Waits for the broker.
    pub(crate) fn committed(&self, list: &mut List, timeout: Duration) -> Result<(), Fault> {
        // SAFETY: client and list are alive; the list is borrowed mutably while it is written.
        Fault::check(unsafe { c::rd_kafka_committed(self.handle(), list.ptr(), millis(timeout)) })
    }

    /// Fills in the offsets of times, -2 being the first and -1 the end. Waits for the broker.
    pub(crate) fn offsets_for_times(&self, list: &mut List, timeout: Duration) -> Result<(), Fault> {
        // SAFETY: as above.
        Fault::check(unsafe { c::rd_kafka_offsets_for_times(self.handle(), list.ptr(), millis(timeout)) })
    }

    /// The first and the next offset of a partition. Waits for the broker.
    pub(crate) fn watermarks(
        &self,
        topic: &str,
        partition: u32,
        timeout: Duration,
    ) -> Result<(u64, u64), Fault> {
        let bad = |_| {
            Fault::new(
                RDKafkaErrorCode::InvalidTopic,
                "the name holds a zero byte".to_owned(),
            )
        };
        let topic = CString::new(topic).map_err(bad)?;
        let (mut low, mut high) = (0, 0);
        // SAFETY: the client, the name and both places outlive the call.
        Fault::check(unsafe {
            c::rd_kafka_query_watermark_offsets(
                self.handle(),
                topic.as_ptr(),
                partition.cast_signed(),
                &raw mut low,
                &raw mut high,
                millis(timeout),
            )
        })?;
        Ok((low.max(0).cast_unsigned(), high.max(0).cast_unsigned()))
    }

    /// Why the client can never work again, if so.
    pub(crate) fn fatal(&self) -> Option<Fault> {
        let mut text = [0; 512];
        // SAFETY: the client is alive, and the text has as much room as is said.
        let code = unsafe { c::rd_kafka_fatal_error(self.handle(), text.as_mut_ptr(), text.len()) };
        // SAFETY: librdkafka ends the text with a zero within its room; without an error it is still all zeros.
        let reason = unsafe { CStr::from_ptr(text.as_ptr()) };
        Fault::check(code)
            .err()
            .map(|fault| Fault::new(fault.code, reason.to_string_lossy().into_owned()))
    }

    /// Starts to leave the group, once. The queue has to be consumed until [`Consumer::is_closed`].
    ///
    /// A member without partitions would not tell its group: librdkafka sends that with the last partition only, and
    /// leaves it out when there is none to give back. The group would then wait for the member's session to run out,
    /// and nobody would read what it was about to be given. So such a member unsubscribes first.
    pub(crate) fn start_close(&self) -> Result<(), Fault> {
        if std::mem::replace(&mut *lock(&self.leaving), true) {
            return Ok(());
        }
        if !self.is_static && self.assigned().is_empty() {
            // SAFETY: the client is alive.
            Fault::check(unsafe { c::rd_kafka_unsubscribe(self.handle()) })?;
        }
        // SAFETY: client and queue are alive; the error is ours.
        unsafe {
            callbacks::check(c::rd_kafka_consumer_close_queue(
                self.handle(),
                self.queue.0.as_ptr(),
            ))
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        // SAFETY: the client is alive.
        unsafe { c::rd_kafka_consumer_closed(self.handle()) == 1 }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Consumer")
    }
}

fn millis(duration: Duration) -> c_int {
    c_int::try_from(duration.as_millis()).unwrap_or(c_int::MAX)
}

/// Messages that were taken, destroyed in any case.
struct Taken<'a>(&'a [*mut c::rd_kafka_message_t]);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for message in self.0 {
            // SAFETY: librdkafka gave it to us, and it is destroyed here only, when no view of it is left.
            unsafe { c::rd_kafka_message_destroy(*message) };
        }
    }
}

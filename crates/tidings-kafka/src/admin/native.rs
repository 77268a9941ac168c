//! Questions to the cluster that the `rdkafka` crate has no form of, or only one whose client serves no errors and no
//! tokens. All of them go through the producer's client.
#![allow(unsafe_code, reason = "librdkafka is C; each block says why it is sound")]

use crate::sink::Producer;
use crate::trouble::Fault;
use rdkafka::bindings as c;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::types::RDKafkaRespErr;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};

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

/// A topic to be made.
#[derive(Debug)]
pub(super) struct NewTopic<'a> {
    pub(super) name: &'a str,
    pub(super) partitions: u32,
    /// None is the broker's choice.
    pub(super) replication: Option<u16>,
    pub(super) settings: &'a [(String, String)],
}

/// A member of a group and what it reads.
#[derive(Debug, Clone)]
pub(super) struct MemberFound {
    pub(super) client: String,
    pub(super) reads: Vec<At>,
}

/// Asks, with a deadline. What it asks blocks: it is called where that is allowed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) producer: &'a Producer,
    pub(super) timeout: Duration,
}

impl Asking<'_> {
    /// Asks a group's coordinator, again as long as it has just become that: on a fresh Kafka it is made with the first
    /// question, and librdkafka hands its refusals on.
    pub(super) fn of_group<T>(self, question: impl Fn(Self) -> Result<T, Fault>) -> Result<T, Fault> {
        self.while_it_passes(Fault::is_of_coordinator, || question(self))
    }

    /// Asks again, after a moment, as long as what is in the way passes by itself and there is time.
    fn while_it_passes<T>(
        self,
        passes: impl Fn(&Fault) -> bool,
        mut question: impl FnMut() -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match question() {
                Err(fault) if passes(&fault) && Instant::now() + AGAIN_WAIT < deadline => {
                    std::thread::sleep(AGAIN_WAIT);
                }
                answer => return answer,
            }
        }
    }

    /// Makes a topic.
    pub(super) fn create_topic(self, topic: &NewTopic<'_>) -> Result<(), Fault> {
        let name = zero_ended(topic.name)?;
        let mut reason = [0; 512];
        let partitions = c_int::try_from(topic.partitions).unwrap_or(c_int::MAX);
        let replication = topic.replication.map_or(-1, c_int::from);
        // SAFETY: the name outlives the call, which copies it; the text has as much room as is said. The topic is
        // destroyed once, after its last use.
        let event = unsafe {
            let new = c::rd_kafka_NewTopic_new(
                name.as_ptr(),
                partitions,
                replication,
                reason.as_mut_ptr(),
                reason.len(),
            );
            if new.is_null() {
                return Err(Fault::new(Code::InvalidArgument, text(reason.as_ptr())));
            }
            let _owned = Owned(new, c::rd_kafka_NewTopic_destroy);
            for (name, value) in topic.settings {
                let (name, value) = (zero_ended(name)?, zero_ended(value)?);
                Fault::check(c::rd_kafka_NewTopic_set_config(
                    new,
                    name.as_ptr(),
                    value.as_ptr(),
                ))?;
            }
            let mut topics = [new];
            self.ask(
                c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS,
                Messages::All,
                |client, options, queue| {
                    c::rd_kafka_CreateTopics(client, topics.as_mut_ptr(), 1, options, queue);
                },
            )?
        };
        // SAFETY: the event is of this kind; what it holds lives as long as it does.
        unsafe {
            let result = c::rd_kafka_event_CreateTopics_result(event.0);
            let mut count = 0;
            let topics = c::rd_kafka_CreateTopics_result_topics(result, &raw mut count);
            for topic in slice(topics, count) {
                let code = c::rd_kafka_topic_result_error(*topic);
                let reason = text(c::rd_kafka_topic_result_error_string(*topic));
                Fault::check(code).map_err(|fault| Fault::new(fault.code, reason))?;
            }
        }
        Ok(())
    }

    /// The settings of a topic.
    pub(super) fn topic_settings(self, topic: &str) -> Result<BTreeMap<String, String>, Fault> {
        let name = zero_ended(topic)?;
        // SAFETY: the name outlives the call, which copies it. The resource is destroyed once, after its last use.
        let event = unsafe {
            let kind = c::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
            let resource = c::rd_kafka_ConfigResource_new(kind, name.as_ptr());
            let _owned = Owned(resource, c::rd_kafka_ConfigResource_destroy);
            let mut resources = [resource];
            self.ask(
                c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS,
                Messages::All,
                |client, options, queue| {
                    c::rd_kafka_DescribeConfigs(client, resources.as_mut_ptr(), 1, options, queue);
                },
            )?
        };
        let mut settings = BTreeMap::new();
        // SAFETY: the event is of this kind; what it holds lives as long as it does.
        unsafe {
            let result = c::rd_kafka_event_DescribeConfigs_result(event.0);
            let mut count = 0;
            let resources = c::rd_kafka_DescribeConfigs_result_resources(result, &raw mut count);
            for resource in slice(resources, count) {
                let reason = text(c::rd_kafka_ConfigResource_error_string(*resource));
                Fault::check(c::rd_kafka_ConfigResource_error(*resource))
                    .map_err(|fault| Fault::new(fault.code, reason))?;
                let mut count = 0;
                let entries = c::rd_kafka_ConfigResource_configs(*resource, &raw mut count);
                for entry in slice(entries, count) {
                    let name = text(c::rd_kafka_ConfigEntry_name(*entry));
                    settings.insert(name, text(c::rd_kafka_ConfigEntry_value(*entry)));
                }
            }
        }
        Ok(settings)
    }

    /// The offsets that are asked for: [`FIRST`], [`END`] or a time in each. One question for each broker.
    ///
    /// Asked again with fresh knowledge where leaders have changed. librdkafka 2.12 does not look for them here, neither
    /// after `FENCED_LEADER_EPOCH` nor where nobody led a partition when it looked last: it would go on with what it
    /// knows until its metadata are refreshed, which is every five minutes.
    pub(super) fn offsets(self, wanted: &[At], messages: Messages) -> Result<Vec<At>, Fault> {
        let changed = |fault: &Fault| fault.is_of_leader() || fault.code == Code::NoEnt;
        let mut again = false;
        self.while_it_passes(changed, || {
            if std::mem::replace(&mut again, true) {
                let topics: BTreeSet<&str> = wanted.iter().map(|at| &*at.topic).collect();
                for topic in topics {
                    self.producer.partitions(topic, self.timeout)?;
                }
            }
            self.offsets_once(wanted, messages)
        })
    }

    fn offsets_once(self, wanted: &[At], messages: Messages) -> Result<Vec<At>, Fault> {
        let list = List::of(wanted)?;
        // SAFETY: the list is copied.
        let event = unsafe {
            self.ask(
                c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS,
                messages,
                |client, options, queue| c::rd_kafka_ListOffsets(client, list.0, options, queue),
            )?
        };
        let mut found = Vec::with_capacity(wanted.len());
        // SAFETY: the event is of this kind; what it holds lives as long as it does.
        unsafe {
            let result = c::rd_kafka_event_ListOffsets_result(event.0);
            let mut count = 0;
            let infos = c::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
            for info in slice(infos, count) {
                let at = c::rd_kafka_ListOffsetsResultInfo_topic_partition(*info);
                if let Some(at) = at.as_ref() {
                    found.push(one(at)?);
                }
            }
        }
        Ok(found)
    }

    /// What a group has stored, in all partitions.
    pub(super) fn stored(self, group: &str) -> Result<Vec<At>, Fault> {
        let group = zero_ended(group)?;
        // SAFETY: the name outlives the call, which copies it. The request is destroyed once, after its last use.
        let event = unsafe {
            let request = c::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), null());
            let _owned = Owned(request, c::rd_kafka_ListConsumerGroupOffsets_destroy);
            let mut requests = [request];
            self.ask(
                c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS,
                Messages::All,
                |client, options, queue| {
                    c::rd_kafka_ListConsumerGroupOffsets(client, requests.as_mut_ptr(), 1, options, queue);
                },
            )?
        };
        // SAFETY: the event is of this kind; what it holds lives as long as it does.
        unsafe {
            let result = c::rd_kafka_event_ListConsumerGroupOffsets_result(event.0);
            let mut count = 0;
            let groups = c::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &raw mut count);
            of_group(slice(groups, count))
        }
    }

    /// Stores offsets for a group that has no members.
    pub(super) fn store(self, group: &str, at: &[At]) -> Result<(), Fault> {
        let (group, list) = (zero_ended(group)?, List::of(at)?);
        // SAFETY: name and list outlive the call, which copies them. The request is destroyed once, after its last use.
        let event = unsafe {
            let request = c::rd_kafka_AlterConsumerGroupOffsets_new(group.as_ptr(), list.0);
            let _owned = Owned(request, c::rd_kafka_AlterConsumerGroupOffsets_destroy);
            let mut requests = [request];
            self.ask(
                c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS,
                Messages::All,
                |client, options, queue| {
                    c::rd_kafka_AlterConsumerGroupOffsets(client, requests.as_mut_ptr(), 1, options, queue);
                },
            )?
        };
        // SAFETY: the event is of this kind; what it holds lives as long as it does.
        unsafe {
            let result = c::rd_kafka_event_AlterConsumerGroupOffsets_result(event.0);
            let mut count = 0;
            let groups = c::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &raw mut count);
            of_group(slice(groups, count)).map(drop)
        }
    }

    /// Forgets what a group has stored in these partitions.
    pub(super) fn forget(self, group: &str, at: &[At]) -> Result<(), Fault> {
        let (group, list) = (zero_ended(group)?, List::of(at)?);
        // SAFETY: name and list outlive the call, which copies them. The request is destroyed once, after its last use.
        let event = unsafe {
            let request = c::rd_kafka_DeleteConsumerGroupOffsets_new(group.as_ptr(), list.0);
            let _owned = Owned(request, c::rd_kafka_DeleteConsumerGroupOffsets_destroy);
            let mut requests = [request];
            self.ask(
                c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETECONSUMERGROUPOFFSETS,
                Messages::All,
                |client, options, queue| {
                    c::rd_kafka_DeleteConsumerGroupOffsets(client, requests.as_mut_ptr(), 1, options, queue);
                },
            )?
        };
        // SAFETY: the event is of this kind; what it holds lives as long as it does.
        unsafe {
            let result = c::rd_kafka_event_DeleteConsumerGroupOffsets_result(event.0);
            let mut count = 0;
            let groups = c::rd_kafka_DeleteConsumerGroupOffsets_result_groups(result, &raw mut count);
            of_group(slice(groups, count)).map(drop)
        }
    }

    /// The names of all groups.
    pub(super) fn groups(self) -> Result<Vec<String>, Fault> {
        // SAFETY: nothing but what `ask` hands over is used.
        let event = unsafe {
            self.ask(
                c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS,
                Messages::All,
                |client, options, queue| c::rd_kafka_ListConsumerGroups(client, options, queue),
            )?
        };
        // SAFETY: the event is of this kind; what it holds lives as long as it does.
        unsafe {
            let result = c::rd_kafka_event_ListConsumerGroups_result(event.0);
            let mut count = 0;
            let errors = c::rd_kafka_ListConsumerGroups_result_errors(result, &raw mut count);
            // A list without the groups of one broker is no list.
            slice(errors, count)
                .iter()
                .try_for_each(|error| fault_of(*error).map_or(Ok(()), Err))?;
            let valid = c::rd_kafka_ListConsumerGroups_result_valid(result, &raw mut count);
            let groups = slice(valid, count).iter();
            Ok(groups
                .map(|group| text(c::rd_kafka_ConsumerGroupListing_group_id(*group)))
                .collect())
        }
    }

    /// The members of groups, by the group's name.
    pub(super) fn members(self, groups: &[String]) -> Result<BTreeMap<String, Vec<MemberFound>>, Fault> {
        let names: Result<Vec<CString>, Fault> = groups.iter().map(|group| zero_ended(group)).collect();
        let names = names?;
        let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: the names outlive the call, which copies them.
        let event = unsafe {
            self.ask(
                c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
                Messages::All,
                |client, options, queue| {
                    let count = pointers.len();
                    c::rd_kafka_DescribeConsumerGroups(client, pointers.as_mut_ptr(), count, options, queue);
                },
            )?
        };
        let mut found = BTreeMap::new();
        // SAFETY: the event is of this kind; what it holds lives as long as it does.
        unsafe {
            let result = c::rd_kafka_event_DescribeConsumerGroups_result(event.0);
            let mut count = 0;
            let groups = c::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
            for group in slice(groups, count) {
                if let Some(fault) = fault_of(c::rd_kafka_ConsumerGroupDescription_error(*group)) {
                    // It may have gone since it was listed.
                    if matches!(fault.code, Code::GroupIdNotFound) {
                        continue;
                    }
                    return Err(fault);
                }
                let name = text(c::rd_kafka_ConsumerGroupDescription_group_id(*group));
                found.insert(name, members_of(*group));
            }
        }
        Ok(found)
    }

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
        let client = self.producer.handle();
        // SAFETY: the client lives. Queue and options are destroyed once, after their last use. A refused option
        // leaves its default; the text of a refusal has as much room as is said.
        unsafe {
            let queue = Owned(c::rd_kafka_queue_new(client), c::rd_kafka_queue_destroy);
            let options = Owned(
                c::rd_kafka_AdminOptions_new(client, kind),
                c::rd_kafka_AdminOptions_destroy,
            );
            let mut reason = [0; 512];
            c::rd_kafka_AdminOptions_set_request_timeout(
                options.0,
                millis(self.timeout),
                reason.as_mut_ptr(),
                reason.len(),
            );
            if matches!(kind, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS) {
                let text = reason.as_mut_ptr();
                c::rd_kafka_AdminOptions_set_operation_timeout(
                    options.0,
                    millis(self.timeout),
                    text,
                    reason.len(),
                );
            }
            if matches!(kind, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS) {
                let level = match messages {
                    Messages::All => c::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
                    Messages::Decided => {
                        c::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED
                    }
                };
                let refused = c::rd_kafka_AdminOptions_set_isolation_level(options.0, level);
                if !refused.is_null() {
                    c::rd_kafka_error_destroy(refused);
                }
            }
            call(client, options.0, queue.0);
            let event = Event(c::rd_kafka_queue_poll(queue.0, millis(self.timeout + SLACK)));
            if event.0.is_null() {
                return Err(Fault::new(Code::OperationTimedOut, String::new()));
            }
            let code = c::rd_kafka_event_error(event.0);
            let reason = text(c::rd_kafka_event_error_string(event.0));
            Fault::check(code).map_err(|fault| Fault::new(fault.code, reason))?;
            Ok(event)
        }
    }
}

/// Something of librdkafka's that is destroyed by us.
struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: it is ours, and nobody uses it any more.
            unsafe { (self.1)(self.0) }
        }
    }
}

/// An answer.
struct Event(*mut c::rd_kafka_event_t);

impl Drop for Event {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: it is ours, and nobody uses it any more.
            unsafe { c::rd_kafka_event_destroy(self.0) }
        }
    }
}

/// A list of partitions.
struct List(*mut c::rd_kafka_topic_partition_list_t);

impl List {
    fn of(all: &[At]) -> Result<Self, Fault> {
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
unsafe fn copy(bytes: &[u8]) -> *mut c_void {
    // SAFETY: the place has as many bytes as are copied.
    unsafe {
        let place = c::rd_kafka_mem_malloc(null_mut(), bytes.len());
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), place.cast::<u8>(), bytes.len());
        place
    }
}

/// What an answer about one group says of its partitions.
///
/// # Safety
/// The results live.
unsafe fn of_group(groups: &[*const c::rd_kafka_group_result_t]) -> Result<Vec<At>, Fault> {
    let mut all = Vec::new();
    for group in groups {
        // SAFETY: what a result holds lives as long as it does.
        unsafe {
            if let Some(fault) = fault_of(c::rd_kafka_group_result_error(*group)) {
                return Err(fault);
            }
            for at in partitions(c::rd_kafka_group_result_partitions(*group)) {
                all.push(one(at)?);
            }
        }
    }
    Ok(all)
}

/// # Safety
/// The group lives.
unsafe fn members_of(group: *const c::rd_kafka_ConsumerGroupDescription_t) -> Vec<MemberFound> {
    let mut members = Vec::new();
    // SAFETY: what a group holds lives as long as it does.
    unsafe {
        for index in 0..c::rd_kafka_ConsumerGroupDescription_member_count(group) {
            let member = c::rd_kafka_ConsumerGroupDescription_member(group, index);
            let assignment = c::rd_kafka_MemberDescription_assignment(member);
            let list = match assignment.is_null() {
                true => null(),
                false => c::rd_kafka_MemberAssignment_partitions(assignment),
            };
            members.push(MemberFound {
                client: text(c::rd_kafka_MemberDescription_client_id(member)),
                reads: partitions(list).iter().filter_map(|at| one(at).ok()).collect(),
            });
        }
    }
    members
}

/// # Safety
/// The list lives, or there is none.
unsafe fn partitions<'a>(
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
unsafe fn one(at: &c::rd_kafka_topic_partition_t) -> Result<At, Fault> {
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
unsafe fn fault_of(error: *const c::rd_kafka_error_t) -> Option<Fault> {
    // SAFETY: as asked for.
    unsafe {
        let code = c::rd_kafka_error_code(error.as_ref()?);
        (code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR)
            .then(|| Fault::new(code.into(), text(c::rd_kafka_error_string(error))))
    }
}

/// # Safety
/// As many elements live as are said, or there are none.
unsafe fn slice<'a, T>(first: *mut T, count: usize) -> &'a [T] {
    if first.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: as asked for.
    unsafe { std::slice::from_raw_parts(first, count) }
}

/// # Safety
/// Null, or a string with a zero at its end.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: as asked for.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

fn zero_ended(text: &str) -> Result<CString, Fault> {
    CString::new(text).map_err(|_| Fault::new(Code::InvalidArgument, "a name has a zero byte".to_owned()))
}

fn millis(duration: Duration) -> c_int {
    c_int::try_from(duration.as_millis()).unwrap_or(c_int::MAX)
}

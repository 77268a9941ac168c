//! Questions about groups.
#![allow(unsafe_code, reason = "librdkafka is C; each block says why it is sound")]

use super::memory::{Event, List, Owned, fault_of, one, partitions, slice, text, zero_ended};
use super::{At, Messages, Question, ask, while_it_passes};
use crate::admin::consumer::OwnConsumer;
use crate::admin::fetching::Fetcher;
use crate::background::Held;
use crate::trouble::Fault;
use rdkafka::bindings as c;
use rdkafka::error::RDKafkaErrorCode as Code;
use std::collections::BTreeMap;
use std::ffi::{CString, c_char};
use std::ptr::null;
use std::time::Duration;

/// A member of a group and what it reads.
#[derive(Debug, Clone)]
pub(in crate::admin) struct MemberFound {
    pub(in crate::admin) client: String,
    pub(in crate::admin) reads: Vec<At>,
}

/// Longer than anybody waits, and the longest that librdkafka takes.
const NEVER: Duration = Duration::from_secs(3_600);

/// Asks the coordinators of groups.
///
/// Through a consumer of its own: where a coordinator has moved, librdkafka 2.12 dereferences the client's own group, and
/// a producer has none (issue 5040). And librdkafka's own time for such a question must never be over: one that runs out
/// before a coordinator is found frees what the same question uses again as soon as there is one, which ends the process.
/// So the time is ours, and a client that has not answered in it is thrown away with its question.
#[derive(Debug, Clone, Copy)]
pub(in crate::admin) struct OfGroups<'a> {
    pub(in crate::admin) consumer: &'a OwnConsumer,
    pub(in crate::admin) timeout: Duration,
}

/// An answer, and the client that has asked, which lives longer.
struct Answered {
    answer: Event,
    _client: Held<Fetcher>,
}

/// librdkafka's calls for one kind of question about one group.
struct AboutOne<T> {
    kind: c::rd_kafka_admin_op_t,
    destroy: unsafe extern "C" fn(*mut T),
    call: unsafe extern "C" fn(
        *mut c::rd_kafka_t,
        *mut *mut T,
        usize,
        *const c::rd_kafka_AdminOptions_t,
        *mut c::rd_kafka_queue_t,
    ),
    /// The groups of an answer, and how many there are.
    groups: unsafe fn(*mut c::rd_kafka_event_t, *mut usize) -> *mut *const c::rd_kafka_group_result_t,
}

impl OfGroups<'_> {
    /// Asks again as long as a coordinator has just become that: on a fresh Kafka it is made with the first question, and
    /// librdkafka hands its refusals on.
    pub(in crate::admin) fn settled<T>(
        self,
        question: impl Fn(Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        while_it_passes(self.timeout, Fault::is_of_coordinator, || question(self))
    }

    /// Asks one question and waits for its answer.
    ///
    /// # Safety
    /// As for [`ask`].
    unsafe fn ask(
        self,
        kind: c::rd_kafka_admin_op_t,
        call: impl FnOnce(*mut c::rd_kafka_t, *const c::rd_kafka_AdminOptions_t, *mut c::rd_kafka_queue_t),
    ) -> Result<Answered, Fault> {
        let consumer = self.consumer.get()?;
        let question = Question {
            client: consumer.handle(),
            kind,
            messages: Messages::All,
            within: NEVER,
            patience: self.timeout,
        };
        // SAFETY: as the caller says; the client lives.
        let answer = unsafe { ask(&question, call) };
        if matches!(&answer, Err(fault) if fault.code == Code::OperationTimedOut) {
            self.consumer.forget();
        }
        Ok(Answered {
            answer: answer?,
            _client: consumer,
        })
    }

    /// Asks about one group, and gives what the answer says of its partitions.
    ///
    /// # Safety
    /// The request is a new one that `about` destroys, asks and finds in its answer.
    unsafe fn about_one<T>(self, request: *mut T, about: AboutOne<T>) -> Result<Vec<At>, Fault> {
        let owned = Owned(request, about.destroy);
        let mut requests = [owned.0];
        // SAFETY: as the caller says. The request is destroyed once, after its last use; the event is of this kind, and
        // what it holds lives as long as it does.
        unsafe {
            let event = self.ask(about.kind, |client, options, queue| {
                (about.call)(client, requests.as_mut_ptr(), 1, options, queue);
            })?;
            let mut count = 0;
            let groups = (about.groups)(event.answer.0, &raw mut count);
            of_group(slice(groups, count))
        }
    }

    /// What a group has stored, in all partitions.
    pub(in crate::admin) fn stored(self, group: &str) -> Result<Vec<At>, Fault> {
        let group = zero_ended(group)?;
        // SAFETY: the name outlives the call, which copies it.
        unsafe {
            let request = c::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), null());
            let about = AboutOne {
                kind: c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS,
                destroy: c::rd_kafka_ListConsumerGroupOffsets_destroy,
                call: c::rd_kafka_ListConsumerGroupOffsets,
                groups: |event, count| {
                    let result = c::rd_kafka_event_ListConsumerGroupOffsets_result(event);
                    c::rd_kafka_ListConsumerGroupOffsets_result_groups(result, count)
                },
            };
            self.about_one(request, about)
        }
    }

    /// Stores offsets for a group that has no members.
    pub(in crate::admin) fn store(self, group: &str, at: &[At]) -> Result<(), Fault> {
        let (group, list) = (zero_ended(group)?, List::of(at)?);
        // SAFETY: name and list outlive the call, which copies them.
        unsafe {
            let request = c::rd_kafka_AlterConsumerGroupOffsets_new(group.as_ptr(), list.0);
            let about = AboutOne {
                kind: c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS,
                destroy: c::rd_kafka_AlterConsumerGroupOffsets_destroy,
                call: c::rd_kafka_AlterConsumerGroupOffsets,
                groups: |event, count| {
                    let result = c::rd_kafka_event_AlterConsumerGroupOffsets_result(event);
                    c::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, count)
                },
            };
            self.about_one(request, about).map(drop)
        }
    }

    /// Forgets what a group has stored in these partitions.
    pub(in crate::admin) fn forget(self, group: &str, at: &[At]) -> Result<(), Fault> {
        let (group, list) = (zero_ended(group)?, List::of(at)?);
        // SAFETY: name and list outlive the call, which copies them.
        unsafe {
            let request = c::rd_kafka_DeleteConsumerGroupOffsets_new(group.as_ptr(), list.0);
            let about = AboutOne {
                kind: c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETECONSUMERGROUPOFFSETS,
                destroy: c::rd_kafka_DeleteConsumerGroupOffsets_destroy,
                call: c::rd_kafka_DeleteConsumerGroupOffsets,
                groups: |event, count| {
                    let result = c::rd_kafka_event_DeleteConsumerGroupOffsets_result(event);
                    c::rd_kafka_DeleteConsumerGroupOffsets_result_groups(result, count)
                },
            };
            self.about_one(request, about).map(drop)
        }
    }

    /// The names of all groups.
    pub(in crate::admin) fn groups(self) -> Result<Vec<String>, Fault> {
        // SAFETY: nothing but what `ask` hands over is used.
        let event = unsafe {
            self.ask(
                c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS,
                |client, options, queue| c::rd_kafka_ListConsumerGroups(client, options, queue),
            )?
        };
        // SAFETY: the event is of this kind; what it holds lives as long as it does.
        unsafe {
            let result = c::rd_kafka_event_ListConsumerGroups_result(event.answer.0);
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
    pub(in crate::admin) fn members(
        self,
        groups: &[String],
    ) -> Result<BTreeMap<String, Vec<MemberFound>>, Fault> {
        let names: Result<Vec<CString>, Fault> = groups.iter().map(|group| zero_ended(group)).collect();
        let names = names?;
        let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: the names outlive the call, which copies them.
        let event = unsafe {
            self.ask(
                c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
                |client, options, queue| {
                    let count = pointers.len();
                    c::rd_kafka_DescribeConsumerGroups(client, pointers.as_mut_ptr(), count, options, queue);
                },
            )?
        };
        let mut found = BTreeMap::new();
        // SAFETY: the event is of this kind; what it holds lives as long as it does.
        unsafe {
            let result = c::rd_kafka_event_DescribeConsumerGroups_result(event.answer.0);
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

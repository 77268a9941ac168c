//! Questions about topics and what is in them.
#![allow(unsafe_code, reason = "librdkafka is C; each block says why it is sound")]

use super::memory::{List, Owned, one, partitions, slice, text, zero_ended};
use super::{Asking, At, Messages, while_it_passes};
use crate::trouble::Fault;
use rdkafka::bindings as c;
use rdkafka::error::RDKafkaErrorCode as Code;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_int;

/// A topic to be made.
#[derive(Debug)]
pub(in crate::admin) struct NewTopic<'a> {
    pub(in crate::admin) name: &'a str,
    pub(in crate::admin) partitions: u32,
    /// None is the broker's choice.
    pub(in crate::admin) replication: Option<u16>,
    pub(in crate::admin) settings: &'a [(String, String)],
}

/// What came of trimming one partition.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) topic: String,
    pub(crate) partition: u32,
    /// Where it begins now.
    pub(crate) before: i64,
    pub(crate) refused: Option<Code>,
}

impl Asking<'_> {
    /// Makes a topic.
    pub(in crate::admin) fn create_topic(self, topic: &NewTopic<'_>) -> Result<(), Fault> {
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
    pub(in crate::admin) fn topic_settings(self, topic: &str) -> Result<BTreeMap<String, String>, Fault> {
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
    pub(in crate::admin) fn offsets(self, wanted: &[At], messages: Messages) -> Result<Vec<At>, Fault> {
        let changed = |fault: &Fault| fault.is_of_leader() || fault.code == Code::NoEnt;
        let mut again = false;
        while_it_passes(self.timeout, changed, || {
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

    /// Deletes the records of partitions that lie before the offsets. What came of each.
    pub(in crate::admin) fn delete_records(self, before: &[At]) -> Result<Vec<Outcome>, Fault> {
        let list = List::of(before)?;
        // SAFETY: the list is copied. The request is destroyed once, after its last use.
        let event = unsafe {
            let request = c::rd_kafka_DeleteRecords_new(list.0);
            let _owned = Owned(request, c::rd_kafka_DeleteRecords_destroy);
            let mut requests = [request];
            self.ask(
                c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETERECORDS,
                Messages::All,
                |client, options, queue| {
                    c::rd_kafka_DeleteRecords(client, requests.as_mut_ptr(), 1, options, queue);
                },
            )?
        };
        // SAFETY: the event is of this kind; what it holds lives as long as it does.
        unsafe {
            let result = c::rd_kafka_event_DeleteRecords_result(event.0);
            let list = c::rd_kafka_DeleteRecords_result_offsets(result);
            let outcomes = partitions(list).iter().map(|at| Outcome {
                topic: text(at.topic),
                partition: u32::try_from(at.partition).unwrap_or(0),
                before: at.offset,
                refused: Fault::check(at.err).err().map(|fault| fault.code),
            });
            Ok(outcomes.collect())
        }
    }
}

//! Partitions with offsets, as librdkafka takes them: [`List`].

use crate::trouble::Fault;
use rdkafka::bindings as c;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::ffi::CStr;
use std::slice;

/// Partitions with offsets. Wraps the list of the `rdkafka` crate, which panics on metadata that is no UTF-8.
pub(crate) struct List(TopicPartitionList);

/// One partition of a list that librdkafka has filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) topic: String,
    pub(crate) partition: u32,
    /// Negative: nothing is stored, or there is nothing of that time.
    pub(crate) offset: i64,
    pub(crate) metadata: Vec<u8>,
    pub(crate) fault: Option<Fault>,
}

impl List {
    pub(crate) fn new() -> Self {
        Self(TopicPartitionList::new())
    }

    pub(super) fn of_topics<'a>(topics: impl Iterator<Item = &'a str>) -> Self {
        let mut list = TopicPartitionList::new();
        for topic in topics {
            list.add_topic_unassigned(topic);
        }
        Self(list)
    }

    /// Adds a partition without an offset.
    pub(crate) fn add(&mut self, topic: &str, partition: u32) {
        self.0.add_partition(topic, partition.cast_signed());
    }

    /// Adds a partition with an offset; -1 and -2 ask for the end and the first where times are asked for.
    pub(crate) fn add_at(&mut self, topic: &str, partition: u32, offset: i64) {
        self.add_with(topic, partition, offset, "");
    }

    /// Adds a partition with an offset and metadata to store.
    pub(crate) fn add_with(&mut self, topic: &str, partition: u32, offset: i64, metadata: &str) {
        let mut added = self.0.add_partition(topic, partition.cast_signed());
        // Fails for offsets that cannot be written only, and none is made of those.
        let set = added.set_offset(Offset::from_raw(offset));
        debug_assert!(set.is_ok(), "offset {offset}");
        if !metadata.is_empty() {
            added.set_metadata(metadata);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.count() == 0
    }

    pub(crate) fn ptr(&self) -> *mut c::rd_kafka_topic_partition_list_t {
        self.0.ptr()
    }

    /// What librdkafka has filled in.
    pub(crate) fn found(&self) -> Vec<Found> {
        // SAFETY: the list is alive and borrowed, so nobody writes into it.
        unsafe { found(self.0.ptr()) }
    }
}

/// # Safety
/// The list is null or alive, and nobody writes into it.
pub(super) unsafe fn found(list: *const c::rd_kafka_topic_partition_list_t) -> Vec<Found> {
    // SAFETY: as the caller says.
    let Some(list) = (unsafe { list.as_ref() }) else {
        return Vec::new();
    };
    let count = usize::try_from(list.cnt).unwrap_or(0);
    if count == 0 || list.elems.is_null() {
        return Vec::new();
    }
    // SAFETY: librdkafka keeps so many elements there.
    let elements = unsafe { slice::from_raw_parts(list.elems, count) };
    let copy = |element: &c::rd_kafka_topic_partition_t| {
        // SAFETY: the name of a topic ends with a zero; metadata is as long as is said, or null.
        let (topic, metadata) = unsafe {
            let metadata = element.metadata.cast::<u8>();
            let size = if metadata.is_null() {
                0
            } else {
                element.metadata_size
            };
            let metadata = match size {
                0 => &[],
                size => slice::from_raw_parts(metadata, size),
            };
            (CStr::from_ptr(element.topic), metadata)
        };
        Found {
            topic: topic.to_string_lossy().into_owned(),
            partition: u32::try_from(element.partition).unwrap_or(u32::MAX),
            offset: element.offset,
            metadata: metadata.to_vec(),
            fault: Fault::check(element.err).err(),
        }
    };
    elements.iter().map(copy).collect()
}

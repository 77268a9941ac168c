//! What a member of a group shows when it commits in a transaction: [`GroupMetadata`].

use super::Consumer;
use rdkafka::bindings as c;
use std::ffi::CStr;
use std::fmt;
use std::ptr::NonNull;

/// As which member of which generation of its group a consumer reads.
pub(crate) struct GroupMetadata(NonNull<c::rd_kafka_consumer_group_metadata_t>);

// SAFETY: it is a copy that nothing changes, and nothing of it belongs to a thread.
unsafe impl Send for GroupMetadata {}

impl Consumer {
    /// As which member it reads now; none if it is out of its group.
    ///
    /// A broker takes offsets without a member's name in a transaction from anybody. So who has none must not ask.
    pub(crate) fn membership(&self) -> Option<GroupMetadata> {
        // SAFETY: the client is alive; what it gives is a copy of our own.
        let metadata = unsafe { c::rd_kafka_consumer_group_metadata(self.handle()) };
        let metadata = GroupMetadata(NonNull::new(metadata)?);
        metadata.is_member().then_some(metadata)
    }
}

impl GroupMetadata {
    fn is_member(&self) -> bool {
        // SAFETY: the copy lives; the name ends with a zero and belongs to it.
        unsafe {
            let name = c::rd_kafka_consumer_group_metadata_member_id(self.ptr());
            let is_named = !name.is_null() && !CStr::from_ptr(name).is_empty();
            is_named && c::rd_kafka_consumer_group_metadata_generation_id(self.ptr()) >= 0
        }
    }

    pub(crate) fn ptr(&self) -> *const c::rd_kafka_consumer_group_metadata_t {
        self.0.as_ptr()
    }
}

impl Drop for GroupMetadata {
    fn drop(&mut self) {
        // SAFETY: it is ours, and destroyed once.
        unsafe { c::rd_kafka_consumer_group_metadata_destroy(self.0.as_ptr()) }
    }
}

impl fmt::Debug for GroupMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GroupMetadata")
    }
}

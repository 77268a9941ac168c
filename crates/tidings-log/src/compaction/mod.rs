//! Compaction by key: what it may do, and what it did.

pub(crate) mod keys;

use std::fmt;
use std::ops::ControlFlow;

/// Told how many bytes were just read or written. It may wait, so that others get their share of the disk, and it may
/// end the compaction.
pub type Throttle<'a> = &'a mut dyn FnMut(u64) -> ControlFlow<()>;

/// How a log is compacted: of the records with the same key the last one stays, offsets are kept.
///
/// Only segments that get no more records are looked at, so superseded records in the last segment stay until the
/// next one is begun. Records without a key stay. A record with a key and no payload is a tombstone: it stays for
/// `tombstone_retention_ms` after everything older of its key is gone, so that whoever reads the log in that time
/// learns of the deletion, and goes then.
pub struct Compaction<'a> {
    /// How long a tombstone stays, counted from the later of its timestamp and the first compaction that saw it.
    pub tombstone_retention_ms: u64,
    /// The present, in milliseconds since 1970.
    pub now_ms: i64,
    /// The most bytes of memory for the table of keys. With more keys than fit (about one in 64 bytes) the log is
    /// walked several times.
    pub max_key_bytes: usize,
    /// Nothing is done before this much of the sealed bytes, in percent, has not been compacted. Tombstones whose
    /// time is over go in any case.
    pub min_dirty_percent: u8,
    /// Slows it down or ends it.
    pub throttle: Throttle<'a>,
}

impl fmt::Debug for Compaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compaction")
            .field("tombstone_retention_ms", &self.tombstone_retention_ms)
            .field("now_ms", &self.now_ms)
            .field("max_key_bytes", &self.max_key_bytes)
            .field("min_dirty_percent", &self.min_dirty_percent)
            .finish_non_exhaustive()
    }
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// How often the keys did not fit into memory at once, plus one; 0 when there was nothing to do.
    pub passes: u32,
    /// How many segments were written again.
    pub segments: u64,
    /// How many records are gone.
    pub removed: u64,
    /// Bytes of the segments that were written again, before.
    pub bytes_before: u64,
    /// And after.
    pub bytes_after: u64,
    /// The throttle ended it before everything was done.
    pub ended_early: bool,
}

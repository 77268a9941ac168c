//! The segments of a log in memory.

use crate::files::LogFile;
use crate::format::index::{Entry, Index, Kind, Mark};
use crate::format::segment::SegmentHeader;
use crate::lock::{read, write};
use crate::scan::Tail;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

/// All segments at one moment. It is replaced, never changed, so that readers keep what they began with.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// Those that get no more frames, in order.
    pub(crate) sealed: Vec<Arc<Sealed>>,
    /// The last one. A reader has none until the owner has created it.
    pub(crate) active: Option<Arc<Active>>,
    /// The next offset when there is no active segment.
    pub(crate) empty_at: u64,
}

impl View {
    pub(crate) fn first(&self) -> u64 {
        let active = self.active.as_ref().map_or(self.empty_at, |active| active.base);
        self.sealed.first().map_or(active, |sealed| sealed.base)
    }

    pub(crate) fn next(&self) -> u64 {
        self.active
            .as_ref()
            .map_or(self.empty_at, |active| active.mark().next)
    }

    pub(crate) fn bytes(&self) -> u64 {
        let active = self.active.as_ref().map_or(0, |active| active.mark().position);
        self.sealed.iter().map(|sealed| sealed.bytes).sum::<u64>() + active
    }

    /// The sealed segment with that offset, which must not be below the first.
    pub(crate) fn sealed_with(&self, offset: u64) -> Option<&Arc<Sealed>> {
        let after = self.sealed.partition_point(|sealed| sealed.next <= offset);
        self.sealed.get(after)
    }
}

/// A segment that is complete and on the disk. Its file is opened when somebody reads it.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) base: u64,
    /// The offset that follows its last record: the next segment's first.
    pub(crate) next: u64,
    pub(crate) bytes: u64,
    /// Known once it was opened.
    pub(crate) max_timestamp: OnceLock<i64>,
    /// When compaction had first looked at all of it; known once compaction has asked.
    pub(crate) cleaned_at: OnceLock<u32>,
    /// Whether it was looked through for tombstones since their time was over.
    pub(crate) swept: AtomicBool,
}

impl Sealed {
    pub(crate) fn new(base: u64, next: u64, bytes: u64) -> Self {
        Self {
            base,
            next,
            bytes,
            max_timestamp: OnceLock::new(),
            cleaned_at: OnceLock::new(),
            swept: AtomicBool::new(false),
        }
    }
}

/// The segment that is appended to.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) base: u64,
    pub(crate) seed: u32,
    pub(crate) file: Arc<dyn LogFile>,
    /// Held for a moment only, never while a file is read or written.
    pub(crate) tail: RwLock<Tail>,
    /// The position up to which it is synced, for the appending thread, which asks with every frame.
    synced: AtomicU64,
    /// The position in its index file.
    checkpoint: AtomicU64,
}

impl Active {
    pub(crate) fn new(file: Arc<dyn LogFile>, header: SegmentHeader, tail: Tail) -> Self {
        Self {
            base: header.base,
            seed: header.seed,
            file,
            synced: AtomicU64::new(tail.synced.position),
            tail: RwLock::new(tail),
            checkpoint: AtomicU64::new(0),
        }
    }

    pub(crate) fn mark(&self) -> Mark {
        read(&self.tail).mark
    }

    /// Everything before that position is on the disk.
    pub(crate) fn synced_position(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    /// It was synced up to there.
    pub(crate) fn set_synced(&self, mark: Mark) {
        write(&self.tail).synced = mark;
        self.synced.fetch_max(mark.position, Ordering::AcqRel);
    }

    pub(crate) fn set_checkpoint(&self, position: u64) {
        self.checkpoint.store(position, Ordering::Relaxed);
    }

    /// The index as far as it is on the disk, unless that is what its file says already.
    pub(crate) fn new_checkpoint(&self) -> Option<Index> {
        let tail = read(&self.tail);
        let mark = tail.synced;
        let entries = tail
            .entries
            .iter()
            .take_while(|entry| entry.position < mark.position);
        let is_new = !tail.entries.is_empty() && mark.position > self.checkpoint.load(Ordering::Relaxed);
        is_new.then(|| Index {
            kind: Kind::Checkpoint,
            seed: self.seed,
            mark,
            entries: entries.copied().collect(),
        })
    }
}

/// A sealed segment whose file is open and whose index is in memory.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) base: u64,
    pub(crate) seed: u32,
    pub(crate) file: Arc<dyn LogFile>,
    pub(crate) mark: Mark,
    pub(crate) entries: Vec<Entry>,
}

/// The sealed segments that were read last. Few, so that neither descriptors nor indexes pile up when a large log is
/// replayed; more than one, because a group that replays and one that is a little behind are common together.
#[derive(Debug, Default)]
pub(crate) struct OpenedCache {
    recent: Mutex<Vec<Arc<Opened>>>,
}

const MOST_OPENED: usize = 2;

impl OpenedCache {
    pub(crate) fn get(&self, base: u64) -> Option<Arc<Opened>> {
        let mut recent = crate::lock::lock(&self.recent);
        let at = recent.iter().position(|opened| opened.base == base)?;
        let opened = recent.remove(at);
        recent.push(Arc::clone(&opened));
        Some(opened)
    }

    pub(crate) fn put(&self, opened: Arc<Opened>) {
        let mut recent = crate::lock::lock(&self.recent);
        recent.retain(|other| other.base != opened.base);
        if recent.len() >= MOST_OPENED {
            recent.remove(0);
        }
        recent.push(opened);
    }

    /// Closes the segment, which has got another file.
    pub(crate) fn forget(&self, base: u64) {
        crate::lock::lock(&self.recent).retain(|opened| opened.base != base);
    }

    /// Closes what is below the offset.
    pub(crate) fn forget_below(&self, offset: u64) {
        crate::lock::lock(&self.recent).retain(|opened| opened.base >= offset);
    }
}

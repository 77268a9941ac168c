//! Remembering where readers are.

use crate::format::index::Entry;

/// Where recent reads ended, so that the next one begins there without a lookup and without reading what comes before.
#[derive(Debug, Default)]
pub(super) struct Hints {
    ends: [Hint; 8],
    oldest: usize,
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Hint {
    /// The base of the segment.
    pub(super) segment: u64,
    /// Its seed: compaction gives the segment another file, in which positions are different.
    pub(super) seed: u32,
    pub(super) offset: u64,
    /// 0 is no place of a frame.
    pub(super) position: u64,
}

impl Hints {
    pub(super) fn find(&self, (segment, seed): (u64, u32), offset: u64) -> Option<Entry> {
        let fits = |hint: &&Hint| {
            hint.position > 0 && hint.segment == segment && hint.seed == seed && hint.offset == offset
        };
        // The last one first: of many logs that are read in turn the others are in no cache any more.
        let (newer, older) = self.ends.split_at_checked(self.oldest)?;
        let mut from_last = newer.iter().rev().chain(older.iter().rev());
        let Hint { position, .. } = *from_last.find(|hint| fits(hint))?;
        Some(Entry {
            offset,
            position,
            max_before: i64::MIN,
        })
    }

    pub(super) fn remember(&mut self, hint: Hint) {
        if let Some(slot) = self.ends.get_mut(self.oldest) {
            *slot = hint;
        }
        self.oldest = (self.oldest + 1) % self.ends.len();
    }
}

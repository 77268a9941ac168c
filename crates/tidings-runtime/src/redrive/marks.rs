//! Which letters of a partition need no further look: [`Marks`].

use std::ops::Range;
use tidings_core::Progress;

/// A watermark and ranges above it, ascending and apart from each other.
#[derive(Debug)]
pub(super) struct Marks {
    watermark: u64,
    finished: Vec<Range<u64>>,
    changed: bool,
}

impl Marks {
    /// What was stored; without it everything from `first` on is open.
    pub(super) fn new(first: u64, stored: Option<&Progress>) -> Self {
        let stored = stored.cloned().unwrap_or_default();
        let mut marks = Self {
            watermark: stored.watermark.max(first),
            finished: Vec::new(),
            changed: false,
        };
        let mut ranges = stored.finished;
        ranges.sort_by_key(|range| range.start);
        ranges.into_iter().for_each(|range| marks.add(range));
        marks
    }

    pub(super) fn watermark(&self) -> u64 {
        self.watermark
    }

    pub(super) fn contains(&self, offset: u64) -> bool {
        let above = self.finished.partition_point(|range| range.end <= offset);
        offset < self.watermark
            || self
                .finished
                .get(above)
                .is_some_and(|range| range.contains(&offset))
    }

    pub(super) fn finish(&mut self, offset: u64) {
        if !self.contains(offset) {
            self.add(offset..offset.saturating_add(1));
            self.changed = true;
        }
    }

    fn add(&mut self, new: Range<u64>) {
        if new.end <= self.watermark || new.is_empty() {
            return;
        }
        let from = self.finished.partition_point(|range| range.end < new.start);
        let to = self.finished.partition_point(|range| range.start <= new.end);
        let touched = self.finished.get(from..to).unwrap_or_default();
        let start = touched
            .first()
            .map_or(new.start, |range| range.start.min(new.start));
        let end = touched.last().map_or(new.end, |range| range.end.max(new.end));
        self.finished
            .splice(from..to.max(from), std::iter::once(start..end));
        if self
            .finished
            .first()
            .is_some_and(|range| range.start <= self.watermark)
        {
            self.watermark = self.finished.remove(0).end;
        }
    }

    /// Whether anything was finished since this was last asked.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn progress(&self) -> Progress {
        Progress {
            watermark: self.watermark,
            finished: self.finished.clone(),
            attempts: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn marks_are_a_set_of_offsets(first in 0u64..5, offsets in prop::collection::vec(0u64..40, 0..60)) {
            let mut marks = Marks::new(first, None);
            let mut model: BTreeSet<u64> = (0..first).collect();
            for offset in offsets {
                marks.finish(offset);
                model.insert(offset);
                let restored = Marks::new(0, Some(&marks.progress()));
                for probe in 0..45 {
                    prop_assert_eq!(marks.contains(probe), model.contains(&probe));
                    prop_assert_eq!(restored.contains(probe), model.contains(&probe));
                }
                let open = (0..).find(|probe| !model.contains(probe));
                prop_assert_eq!(Some(marks.watermark()), open);
                prop_assert!(marks.finished.iter().is_sorted_by(|a, b| a.end < b.start));
            }
        }
    }
}

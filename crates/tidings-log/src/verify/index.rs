//! Whether an index says what its segment says.

use super::{Problem, Severity};
use crate::format::frame::FrameHeader;
use crate::format::index::{Entry, Index, Kind, Mark};
use crate::place::Place;
use crate::scan::Tail;
use std::path::PathBuf;

/// The index of a segment that has become shorter is read all the same, if it could be that of one of this length: a
/// larger one is not taken into memory.
const LEAST_SEGMENT: u64 = 128 << 20;

/// Compares the index of a segment with its frames, one after the other.
pub(super) struct IndexCheck {
    path: PathBuf,
    index: Option<Index>,
    entries: std::vec::IntoIter<Entry>,
    expected: Option<Entry>,
    marked: bool,
    problems: Vec<Problem>,
}

impl IndexCheck {
    /// Reads the index, if there is one.
    pub(super) fn new(place: &Place, base: u64, seed: u32, segment_bytes: u64) -> Self {
        let path = place.index(base);
        let exists = place.files.exists(&path).unwrap_or(false);
        let index = place.read_index(base, seed, segment_bytes.max(LEAST_SEGMENT));
        let mut entries = index
            .as_ref()
            .map_or_else(Vec::new, |index| index.entries.clone())
            .into_iter();
        let mut check = Self {
            path,
            expected: entries.next(),
            entries,
            index,
            marked: false,
            problems: Vec::new(),
        };
        if exists && check.index.is_none() {
            check.problems.push(Problem {
                file: check.path.clone(),
                position: None,
                offset: Some(base),
                severity: Severity::Harmless,
                what: "the index is damaged, of another version or of another file".to_owned(),
                cure: "nothing needs to be done: it is ignored, and made again from the segment".to_owned(),
            });
        }
        check
    }

    /// Up to there the segment had been on the disk.
    pub(super) fn synced(&self) -> u64 {
        self.index.as_ref().map_or(0, |index| index.mark.position)
    }

    fn wrong(&mut self, position: u64, offset: u64, what: impl Into<String>) {
        self.problems.push(Problem {
            file: self.path.clone(),
            position: Some(position),
            offset: Some(offset),
            severity: Severity::Damage,
            what: what.into(),
            cure: "stop the owner and delete this file: it is made again from the segment".to_owned(),
        });
    }

    /// The segment has this frame, behind what the tail describes.
    pub(super) fn frame(&mut self, header: &FrameHeader, before: &Tail) {
        let Mark {
            position,
            max_timestamp,
            ..
        } = before.mark;
        self.mark(before);
        while let Some(entry) = self.expected.filter(|entry| entry.position <= position) {
            let right = Entry {
                offset: header.base,
                position,
                max_before: max_timestamp,
            };
            if entry != right {
                self.wrong(
                    entry.position,
                    entry.offset,
                    "the index has an entry that is not so in the segment",
                );
            }
            self.expected = self.entries.next();
        }
    }

    /// Whether the mark is at this place.
    fn mark(&mut self, tail: &Tail) {
        let Some(mark) = self.index.as_ref().map(|index| index.mark) else {
            return;
        };
        if mark.position == tail.mark.position {
            self.marked = true;
            if mark != tail.mark {
                self.wrong(
                    mark.position,
                    mark.next,
                    "the index's mark is not so in the segment",
                );
            }
        }
    }

    /// The segment is at its end, with damage before it or not.
    pub(super) fn end(mut self, tail: &Tail, is_whole: bool) -> (Option<Index>, Vec<Problem>) {
        self.mark(tail);
        // Behind damage nothing can be compared.
        if let (true, Some(index)) = (is_whole, self.index.clone()) {
            let mark = index.mark;
            if let Some(entry) = self.expected {
                self.wrong(
                    entry.position,
                    entry.offset,
                    "the index has an entry behind the segment's frames",
                );
            }
            if !self.marked && mark.position < tail.mark.position {
                self.wrong(
                    mark.position,
                    mark.next,
                    "the index's mark is not at the end of a frame",
                );
            }
            if index.kind == Kind::Sealed && mark.position < tail.mark.position {
                self.wrong(
                    mark.position,
                    mark.next,
                    "the segment goes on behind the end that its index speaks of",
                );
            }
        }
        (self.index, self.problems)
    }
}

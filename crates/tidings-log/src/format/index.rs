//! The sparse index of a segment, and its file. An index holds nothing that a scan of the segment would not find
//! again, so a missing, damaged or newer one is no error.

use super::{number_at, put};

/// One frame in some kilobytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The offset of the frame's first record.
    pub(crate) offset: u64,
    /// Where the frame begins in the file.
    pub(crate) position: u64,
    /// The greatest timestamp of the frames before this one in the file.
    pub(crate) max_before: i64,
}

/// A place between two frames, and what stands before it in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The byte.
    pub(crate) position: u64,
    /// The offset of the record that would follow.
    pub(crate) next: u64,
    /// The greatest timestamp before, or [`i64::MIN`].
    pub(crate) max_timestamp: i64,
}

/// When an index was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// While the segment was the last one. The mark was on the disk; frames may follow it.
    Checkpoint,
    /// After the next segment was begun, and that was on the disk: the mark is the segment's end.
    Sealed,
}

/// The contents of an index file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) kind: Kind,
    /// The seed of the segment that it belongs to.
    pub(crate) seed: u32,
    pub(crate) mark: Mark,
    pub(crate) entries: Vec<Entry>,
}

const MAGIC: &[u8; 8] = b"TIDINGSX";
const VERSION: u16 = 1;
const HEADER: usize = 40;
const ENTRY: usize = 24;

/// The most bytes an index file of a segment with so many bytes can have: it never has more entries than frames.
pub(crate) fn most_bytes(segment_bytes: u64) -> u64 {
    let frames = segment_bytes / super::frame::LEN as u64;
    HEADER as u64 + frames * ENTRY as u64 + 4
}

impl Index {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        put(&mut bytes, 0, *MAGIC);
        put(&mut bytes, 8, VERSION.to_le_bytes());
        put(&mut bytes, 10, u16::from(self.kind == Kind::Sealed).to_le_bytes());
        put(&mut bytes, 12, self.seed.to_le_bytes());
        put(&mut bytes, 16, self.mark.position.to_le_bytes());
        put(&mut bytes, 24, self.mark.next.to_le_bytes());
        put(&mut bytes, 32, self.mark.max_timestamp.to_le_bytes());
        bytes.reserve_exact(self.entries.len() * ENTRY + 4);
        for entry in &self.entries {
            bytes.extend_from_slice(&entry.offset.to_le_bytes());
            bytes.extend_from_slice(&entry.position.to_le_bytes());
            bytes.extend_from_slice(&entry.max_before.to_le_bytes());
        }
        let sum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// None unless it is a whole index of this version for the segment with that seed.
    pub(crate) fn decode(bytes: &[u8], seed: u32) -> Option<Self> {
        let (content, sum) = bytes.split_last_chunk::<4>()?;
        let ours =
            content.starts_with(MAGIC) && content.len() >= HEADER && number_at!(content, 8, u16) == VERSION;
        let whole =
            crc32c::crc32c(content) == u32::from_le_bytes(*sum) && number_at!(content, 12, u32) == seed;
        let kind = match number_at!(content, 10, u16) {
            0 => Kind::Checkpoint,
            1 => Kind::Sealed,
            _ => return None,
        };
        let (entries, rest) = content.get(HEADER..)?.as_chunks::<ENTRY>();
        (ours && whole && rest.is_empty()).then(|| Self {
            kind,
            seed,
            mark: Mark {
                position: number_at!(content, 16, u64),
                next: number_at!(content, 24, u64),
                max_timestamp: number_at!(content, 32, i64),
            },
            entries: entries.iter().map(decode_entry).collect(),
        })
    }
}

fn decode_entry(bytes: &[u8; ENTRY]) -> Entry {
    Entry {
        offset: number_at!(bytes, 0, u64),
        position: number_at!(bytes, 8, u64),
        max_before: number_at!(bytes, 16, i64),
    }
}

/// The last entry at or before the offset.
pub(crate) fn find_offset(entries: &[Entry], offset: u64) -> Option<Entry> {
    let after = entries.partition_point(|entry| entry.offset <= offset);
    entries.get(after.checked_sub(1)?).copied()
}

/// The last entry before which every timestamp is less than that: the first frame that reaches it is at or after it.
pub(crate) fn find_time(entries: &[Entry], timestamp_ms: i64) -> Option<Entry> {
    let after = entries.partition_point(|entry| entry.max_before < timestamp_ms);
    entries.get(after.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Index {
        let entry = |offset| Entry {
            offset,
            position: 32 + offset * 100,
            max_before: if offset == 0 { i64::MIN } else { offset as i64 * 10 },
        };
        Index {
            kind: Kind::Sealed,
            seed: 5,
            mark: Mark {
                position: 3_032,
                next: 30,
                max_timestamp: 300,
            },
            entries: vec![entry(0), entry(10), entry(20)],
        }
    }

    #[test]
    fn an_index_comes_back_and_neither_a_flipped_bit_nor_a_cut_passes() {
        let bytes = example().encode();
        assert_eq!(Index::decode(&bytes, 5), Some(example()));
        assert_eq!(Index::decode(&bytes, 6), None);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Index::decode(&flipped, 5), None, "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(Index::decode(&bytes[..len], 5), None, "cut at {len}");
        }
    }

    #[test]
    fn a_lookup_finds_the_frame_at_or_before() {
        let entries = example().entries;
        for (offset, found) in [(0, 0), (9, 0), (10, 10), (19, 10), (20, 20), (99, 20)] {
            assert_eq!(find_offset(&entries, offset).unwrap().offset, found);
        }
        for (time, found) in [(-1, 0), (100, 0), (101, 10), (200, 10), (201, 20), (999, 20)] {
            assert_eq!(find_time(&entries, time).unwrap().offset, found);
        }
        assert_eq!(find_offset(&[], 0), None);
        assert_eq!(find_time(&[], 0), None);
    }
}

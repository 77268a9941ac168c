//! The header of a frame. A frame is what one append writes: a header and the records.

use super::{number_at, put};
use std::fmt;

/// Bytes of the header.
pub(crate) const LEN: usize = 56;
/// What a frame begins with. No byte of it is zero, so a lost write is never taken for its beginning.
pub(crate) const MAGIC: [u8; 4] = [0x9d, b'T', b'F', 0xf1];
/// The most bytes of a frame in this format, whatever the options say.
pub(crate) const MOST_BYTES: u32 = 1 << 30;

/// The most bytes of the note in a frame of lost offsets.
pub(crate) const MOST_NOTE_BYTES: u32 = 4 << 10;

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    Incomplete,
    Magic,
    Header,
    Body,
    Order { found: u64 },
    Shape(&'static str),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => f.write_str("the frame is longer than the file"),
            Self::Magic => f.write_str("there is no frame here"),
            Self::Header => f.write_str("the checksum of the frame header does not match"),
            Self::Body => f.write_str("the checksum of the records does not match"),
            Self::Order { found } => write!(f, "the frame here begins with record {found}"),
            Self::Shape(what) => f.write_str(what),
        }
    }
}

/// How the body of a frame is to be read. Only segments of version 2 have others than the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Layout {
    /// A record for each offset.
    #[default]
    Dense,
    /// Records for some of the offsets: compaction removed the others.
    Sparse,
    /// No records: repair took them out. The body says why.
    Lost,
}

impl Layout {
    fn code(self) -> u32 {
        match self {
            Self::Dense => 0,
            Self::Sparse => 1,
            Self::Lost => 2,
        }
    }

    fn of_code(code: u32) -> Option<Self> {
        match code {
            0 => Some(Self::Dense),
            1 => Some(Self::Sparse),
            2 => Some(Self::Lost),
            _ => None,
        }
    }
}

/// A frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Checksum of the body.
    pub(crate) body_crc: u32,
    /// Bytes of the body.
    pub(crate) body_len: u32,
    /// The first offset that the frame stands for. The next frame goes on where this one ends, whatever the layout.
    pub(crate) base: u64,
    /// How many offsets it stands for, at least one; in a dense frame, how many records there are.
    pub(crate) count: u32,
    pub(crate) layout: Layout,
    /// The timestamp that the records' own are relative to.
    pub(crate) first_timestamp: i64,
    /// The greatest timestamp of a record.
    pub(crate) max_timestamp: i64,
    /// All bytes of the file before this position were on the disk when this frame was written. Recovery needs it to
    /// tell damage from what a crash may leave behind.
    pub(crate) synced: u64,
}

impl FrameHeader {
    /// Bytes of header and body.
    pub(crate) fn total(&self) -> u64 {
        LEN as u64 + u64::from(self.body_len)
    }

    /// The offset that follows the last one. [`decode`] has checked that it is a number.
    pub(crate) fn next(&self) -> u64 {
        self.base.saturating_add(u64::from(self.count))
    }

    /// Whether what it says can be in a body of that length.
    fn has_room(&self) -> bool {
        match self.layout {
            Layout::Dense => {
                u64::from(self.body_len) >= u64::from(self.count) * super::record::SHORTEST as u64
            }
            Layout::Sparse => self.body_len >= 1,
            Layout::Lost => self.body_len <= MOST_NOTE_BYTES,
        }
    }

    /// Writes it over the first bytes of a frame.
    pub(crate) fn encode(&self, seed: u32, frame: &mut [u8]) {
        put(frame, 0, MAGIC);
        put(frame, 8, self.body_crc.to_le_bytes());
        put(frame, 12, self.body_len.to_le_bytes());
        put(frame, 16, self.base.to_le_bytes());
        put(frame, 24, self.count.to_le_bytes());
        put(frame, 28, self.layout.code().to_le_bytes());
        put(frame, 32, self.first_timestamp.to_le_bytes());
        put(frame, 40, self.max_timestamp.to_le_bytes());
        put(frame, 48, self.synced.to_le_bytes());
        let sum = checksum(seed, frame);
        put(frame, 4, sum.to_le_bytes());
    }
}

fn checksum(seed: u32, frame: &[u8]) -> u32 {
    crc32c::crc32c_append(seed, frame.get(8..LEN).unwrap_or_default())
}

/// Reads a header from the front of `bytes`.
pub(crate) fn decode(bytes: &[u8], seed: u32) -> Result<FrameHeader, Flaw> {
    if bytes.len() < LEN {
        return Err(Flaw::Incomplete);
    }
    if !bytes.starts_with(&MAGIC) {
        return Err(Flaw::Magic);
    }
    if number_at!(bytes, 4, u32) != checksum(seed, bytes) {
        return Err(Flaw::Header);
    }
    const NONSENSE: Flaw = Flaw::Shape("the frame header makes no sense");
    let header = FrameHeader {
        body_crc: number_at!(bytes, 8, u32),
        body_len: number_at!(bytes, 12, u32),
        base: number_at!(bytes, 16, u64),
        count: number_at!(bytes, 24, u32),
        layout: Layout::of_code(number_at!(bytes, 28, u32)).ok_or(NONSENSE)?,
        first_timestamp: number_at!(bytes, 32, i64),
        max_timestamp: number_at!(bytes, 40, i64),
        synced: number_at!(bytes, 48, u64),
    };
    let possible = header.count > 0
        && header.has_room()
        && header.total() <= u64::from(MOST_BYTES)
        && header.base.checked_add(u64::from(header.count)).is_some();
    possible.then_some(header).ok_or(NONSENSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> FrameHeader {
        FrameHeader {
            body_crc: 7,
            body_len: 400,
            base: 1_000,
            count: 100,
            layout: Layout::Dense,
            first_timestamp: -5,
            max_timestamp: 17,
            synced: 32,
        }
    }

    #[test]
    fn a_header_comes_back_and_no_flipped_bit_passes() {
        let mut bytes = [0; LEN];
        example().encode(99, &mut bytes);
        assert_eq!(decode(&bytes, 99), Ok(example()));
        for bit in 0..LEN * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped, 99).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_header_of_another_file_is_refused() {
        let mut bytes = [0; LEN];
        example().encode(99, &mut bytes);
        assert_eq!(decode(&bytes, 98), Err(Flaw::Header));
    }

    #[test]
    fn every_layout_comes_back_and_an_unknown_one_is_refused() {
        for layout in [Layout::Dense, Layout::Sparse, Layout::Lost] {
            let header = FrameHeader { layout, ..example() };
            let mut bytes = [0; LEN];
            header.encode(1, &mut bytes);
            assert_eq!(decode(&bytes, 1), Ok(header));
            put(&mut bytes, 28, 3_u32.to_le_bytes());
            let sum = checksum(1, &bytes);
            put(&mut bytes, 4, sum.to_le_bytes());
            assert!(matches!(decode(&bytes, 1), Err(Flaw::Shape(_))));
        }
    }

    #[test]
    fn impossible_counts_and_offsets_are_refused() {
        let wrong = [
            FrameHeader {
                count: 0,
                ..example()
            },
            FrameHeader {
                count: 101,
                ..example()
            },
            FrameHeader {
                base: u64::MAX - 99,
                ..example()
            },
            FrameHeader {
                body_len: u32::MAX,
                ..example()
            },
        ];
        for header in wrong {
            let mut bytes = [0; LEN];
            header.encode(1, &mut bytes);
            assert!(matches!(decode(&bytes, 1), Err(Flaw::Shape(_))), "{header:?}");
        }
    }
}

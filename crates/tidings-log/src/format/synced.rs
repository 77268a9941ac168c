//! The sync mark of a log: up to where its last segment is known to be on the disk. It claims nothing that is not so,
//! and may claim too little: so a missing, damaged or newer one is no error.

use super::{number_at, put};

/// Up to where a segment was synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SyncMark {
    /// The seed of the segment, which tells it from another file of the same name.
    pub(crate) seed: u32,
    /// The first offset of the segment.
    pub(crate) base: u64,
    /// All bytes of the segment before this position were on the disk.
    pub(crate) position: u64,
    /// The offset that follows the last record before it.
    pub(crate) next: u64,
}

const MAGIC: &[u8; 8] = b"TIDINGSM";
const VERSION: u16 = 1;
/// Less than a sector, so that every disk writes all of it or nothing.
pub(crate) const LEN: usize = 44;
const CONTENT: usize = 40;

impl SyncMark {
    pub(crate) fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        put(&mut bytes, 0, *MAGIC);
        put(&mut bytes, 8, VERSION.to_le_bytes());
        put(&mut bytes, 12, self.seed.to_le_bytes());
        put(&mut bytes, 16, self.base.to_le_bytes());
        put(&mut bytes, 24, self.position.to_le_bytes());
        put(&mut bytes, 32, self.next.to_le_bytes());
        let sum = crc32c::crc32c(bytes.get(..CONTENT).unwrap_or_default());
        put(&mut bytes, CONTENT, sum.to_le_bytes());
        bytes
    }

    /// None unless it is a whole mark of this version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let content = bytes.get(..CONTENT).filter(|_| bytes.len() == LEN)?;
        let is_ours = content.starts_with(MAGIC) && number_at!(content, 8, u16) == VERSION;
        let is_whole = crc32c::crc32c(content) == number_at!(bytes, CONTENT, u32);
        (is_ours && is_whole).then(|| Self {
            seed: number_at!(content, 12, u32),
            base: number_at!(content, 16, u64),
            position: number_at!(content, 24, u64),
            next: number_at!(content, 32, u64),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_and_neither_a_flipped_bit_nor_a_cut_passes() {
        let mark = SyncMark {
            seed: 7,
            base: 40,
            position: 4_096,
            next: 52,
        };
        let bytes = mark.encode();
        assert_eq!(SyncMark::decode(&bytes), Some(mark));
        for bit in 0..LEN * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SyncMark::decode(&flipped), None, "bit {bit}");
        }
        for len in 0..LEN {
            assert_eq!(SyncMark::decode(&bytes[..len]), None, "cut at {len}");
        }
    }
}

//! The header of a segment file.

use super::{number_at, put};
use std::hash::{BuildHasher, Hasher, RandomState};

/// The format that this build writes, and the newest that it reads.
pub(crate) const VERSION: u16 = 1;
/// Bytes of the header.
pub(crate) const LEN: usize = 32;

const MAGIC: &[u8; 8] = b"TIDINGSL";

/// What stands at the start of every segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// The offset of the first record.
    pub(crate) base: u64,
    /// The checksum of this header. It goes into the checksum of each frame header, and as the header holds a random
    /// number it is different in every file: bytes of another file, of a file that was here before, or of a payload
    /// that somebody crafted are never taken for a frame.
    pub(crate) seed: u32,
}

/// Why a header is not one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFlaw {
    Damaged,
    Newer(u16),
}

/// A new header, with a random number of its own.
pub(crate) fn encode(base: u64) -> ([u8; LEN], SegmentHeader) {
    // The standard library's hasher keys are random; nothing here needs more than being different and unknown.
    let salt = RandomState::new().build_hasher().finish();
    let mut bytes = [0; LEN];
    put(&mut bytes, 0, *MAGIC);
    put(&mut bytes, 8, VERSION.to_le_bytes());
    put(&mut bytes, 12, base.to_le_bytes());
    put(&mut bytes, 20, salt.to_le_bytes());
    let seed = checksum(&bytes);
    put(&mut bytes, 28, seed.to_le_bytes());
    (bytes, SegmentHeader { base, seed })
}

/// Reads a header. The checksum comes first: it is at the same place in every version, so a flipped bit is never
/// taken for a newer version.
pub(crate) fn decode(bytes: &[u8; LEN]) -> Result<SegmentHeader, HeaderFlaw> {
    let seed = number_at!(bytes, 28, u32);
    if !bytes.starts_with(MAGIC) || seed != checksum(bytes) {
        return Err(HeaderFlaw::Damaged);
    }
    let base = number_at!(bytes, 12, u64);
    match number_at!(bytes, 8, u16) {
        VERSION => Ok(SegmentHeader { base, seed }),
        0 => Err(HeaderFlaw::Damaged),
        newer => Err(HeaderFlaw::Newer(newer)),
    }
}

fn checksum(bytes: &[u8; LEN]) -> u32 {
    crc32c::crc32c(bytes.get(..28).unwrap_or_default())
}

/// A header of another version, for tests of what a newer release could have written.
#[cfg(test)]
pub(crate) fn encode_version(base: u64, version: u16) -> [u8; LEN] {
    let (mut bytes, _) = encode(base);
    put(&mut bytes, 8, version.to_le_bytes());
    let sum = checksum(&bytes);
    put(&mut bytes, 28, sum.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_and_no_flipped_bit_passes() {
        let (bytes, header) = encode(42);
        assert_eq!(decode(&bytes), Ok(header));
        assert_eq!(header.base, 42);
        for bit in 0..LEN * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), Err(HeaderFlaw::Damaged), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        assert_eq!(decode(&encode_version(0, 2)), Err(HeaderFlaw::Newer(2)));
    }

    #[test]
    fn two_files_never_share_a_seed() {
        assert_ne!(encode(0).1.seed, encode(0).1.seed);
    }
}

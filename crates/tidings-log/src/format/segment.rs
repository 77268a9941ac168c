//! The header of a segment file.

use super::{number_at, put};
use std::hash::{BuildHasher, Hasher, RandomState};

/// The format of the segments that are appended to.
pub(crate) const VERSION: u16 = 1;
/// The format of segments that compaction or repair has written again: their frames may stand for offsets without a
/// record. The newest that this build reads.
pub(crate) const REWRITTEN: u16 = 2;
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
    pub(crate) version: u16,
    /// When compaction had first looked at every record of it, in seconds since 1970; 0 when it has not. How long its
    /// tombstones stay counts from there.
    pub(crate) cleaned_at: u32,
}

/// Why a header is not one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFlaw {
    Damaged,
    Newer(u16),
}

/// A new header, with a random number of its own.
pub(crate) fn encode(base: u64) -> ([u8; LEN], SegmentHeader) {
    sealed(base, VERSION, salt())
}

/// The same for a segment that is written again. Half of the random number gives its place to a time.
pub(crate) fn encode_rewritten(base: u64, cleaned_at: u32) -> ([u8; LEN], SegmentHeader) {
    let random = salt() & u64::from(u32::MAX);
    sealed(base, REWRITTEN, random | u64::from(cleaned_at) << 32)
}

fn salt() -> u64 {
    // The standard library's hasher keys are random; nothing here needs more than being different and unknown.
    RandomState::new().build_hasher().finish()
}

fn sealed(base: u64, version: u16, salt: u64) -> ([u8; LEN], SegmentHeader) {
    let mut bytes = [0; LEN];
    put(&mut bytes, 0, *MAGIC);
    put(&mut bytes, 8, version.to_le_bytes());
    put(&mut bytes, 12, base.to_le_bytes());
    put(&mut bytes, 20, salt.to_le_bytes());
    let seed = checksum(&bytes);
    put(&mut bytes, 28, seed.to_le_bytes());
    (bytes, header(&bytes, seed))
}

fn header(bytes: &[u8; LEN], seed: u32) -> SegmentHeader {
    let version = number_at!(bytes, 8, u16);
    SegmentHeader {
        base: number_at!(bytes, 12, u64),
        seed,
        version,
        cleaned_at: match version {
            REWRITTEN => number_at!(bytes, 24, u32),
            _ => 0,
        },
    }
}

/// The seeds with which the frames behind a damaged header may have been written.
pub(crate) fn guess(bytes: &[u8; LEN]) -> [u32; 2] {
    [number_at!(bytes, 28, u32), checksum(bytes)]
}

/// Reads a header. The checksum comes first: it is at the same place in every version, so a flipped bit is never
/// taken for a newer version.
pub(crate) fn decode(bytes: &[u8; LEN]) -> Result<SegmentHeader, HeaderFlaw> {
    let seed = number_at!(bytes, 28, u32);
    if !bytes.starts_with(MAGIC) || seed != checksum(bytes) {
        return Err(HeaderFlaw::Damaged);
    }
    match number_at!(bytes, 8, u16) {
        VERSION | REWRITTEN => Ok(header(bytes, seed)),
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
        assert_eq!(decode(&encode_version(0, 3)), Err(HeaderFlaw::Newer(3)));
    }

    #[test]
    fn a_rewritten_segment_says_when_it_was_cleaned() {
        let (bytes, header) = encode_rewritten(42, 77);
        assert_eq!(decode(&bytes), Ok(header));
        assert_eq!(
            (header.version, header.base, header.cleaned_at),
            (REWRITTEN, 42, 77)
        );
        assert_eq!(encode(42).1.cleaned_at, 0);
        assert_ne!(encode_rewritten(0, 7).1.seed, encode_rewritten(0, 7).1.seed);
    }

    #[test]
    fn two_files_never_share_a_seed() {
        assert_ne!(encode(0).1.seed, encode(0).1.seed);
    }
}

//! The bytes of a segment file: pure functions from bytes to values and back. `docs/log-format.md` describes them.

pub(crate) mod frame;
pub(crate) mod index;
pub(crate) mod record;
pub(crate) mod segment;
pub(crate) mod synced;
mod varint;

/// Reads a little-endian number at a fixed place; 0 where there are too few bytes, which the callers have excluded.
macro_rules! number_at {
    ($bytes:expr, $at:expr, $number:ty) => {{
        let mut array = [0; size_of::<$number>()];
        if let Some(slice) = $bytes.get($at..$at + size_of::<$number>()) {
            array.copy_from_slice(slice);
        }
        <$number>::from_le_bytes(array)
    }};
}
pub(crate) use number_at;

/// Writes a little-endian number at a fixed place of a buffer that is long enough.
pub(crate) fn put<const N: usize>(bytes: &mut [u8], at: usize, number: [u8; N]) {
    if let Some(slice) = bytes.get_mut(at..at + N) {
        slice.copy_from_slice(&number);
    }
}

//! Rows with a checksum. redb verifies its pages only when it repairs them, and a flipped bit in a position would skip
//! messages without a word.

/// A checksum of a row's key and value, put behind the value.
pub(super) fn seal(key: &[&[u8]], mut value: Vec<u8>) -> Vec<u8> {
    let sum = checksum(key, &value);
    value.extend_from_slice(&sum.to_le_bytes());
    value
}

/// The value of a row that is as it was written.
pub(super) fn unseal<'v>(key: &[&[u8]], sealed: &'v [u8]) -> Option<&'v [u8]> {
    let (value, sum) = sealed.split_last_chunk::<4>()?;
    (u32::from_le_bytes(*sum) == checksum(key, value)).then_some(value)
}

/// Each part with its length, so that no byte can move from one to the next.
fn checksum(key: &[&[u8]], value: &[u8]) -> u32 {
    let parts = key.iter().chain(std::iter::once(&value));
    parts.fold(0, |sum, part| {
        let sum = crc32c::crc32c_append(sum, &(part.len() as u64).to_le_bytes());
        crc32c::crc32c_append(sum, part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_a_row_is_found() {
        let key: [&[u8]; 2] = [b"orders", b"billing"];
        let sealed = seal(&key, b"position".to_vec());
        assert_eq!(unseal(&key, &sealed), Some(b"position".as_slice()));
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(&key, &flipped), None, "bit {bit}");
        }
        assert_eq!(unseal(&[b"ordersb", b"illing"], &sealed), None);
        assert_eq!(unseal(&key, b""), None);
    }
}

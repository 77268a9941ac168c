//! How the deaths of messages are stored: one row for each group and partition that has any.

use tidings_core::{Deaths, Progress};

/// The version of an encoded row.
const VERSION: u8 = 1;
/// The bytes of one message's deaths.
const BYTES: usize = 24;

/// Whether a message is still to be handled, as far as that progress says.
pub(crate) fn is_open(progress: &Progress, offset: u64) -> bool {
    offset >= progress.watermark && !progress.finished.iter().any(|range| range.contains(&offset))
}

/// The bytes that are stored: version, then offset and four counts for each message; numbers are little endian. No bytes
/// for no message.
pub(crate) fn encode(deaths: &[Deaths]) -> Vec<u8> {
    if deaths.is_empty() {
        return Vec::new();
    }
    let mut bytes = Vec::with_capacity(1 + deaths.len() * BYTES);
    bytes.push(VERSION);
    for of_one in deaths {
        bytes.extend_from_slice(&of_one.offset.to_le_bytes());
        let counts = [
            of_one.executing,
            of_one.waiting,
            of_one.executing_alone,
            of_one.waiting_alone,
        ];
        counts
            .iter()
            .for_each(|count| bytes.extend_from_slice(&count.to_le_bytes()));
    }
    bytes
}

/// Reads what [`encode`] wrote; none for anything else.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<Deaths>> {
    let (version, rest) = bytes.split_first()?;
    let (rows, left) = rest.as_chunks::<BYTES>();
    if *version != VERSION || !left.is_empty() {
        return None;
    }
    rows.iter().map(decode_one).collect()
}

fn decode_one(row: &[u8; BYTES]) -> Option<Deaths> {
    let (offset, counts) = row.split_first_chunk::<8>()?;
    let (counts, _) = counts.as_chunks::<4>();
    let [executing, waiting, executing_alone, waiting_alone] = *counts else {
        return None;
    };
    Some(Deaths {
        offset: u64::from_le_bytes(*offset),
        executing: u32::from_le_bytes(executing),
        waiting: u32::from_le_bytes(waiting),
        executing_alone: u32::from_le_bytes(executing_alone),
        waiting_alone: u32::from_le_bytes(waiting_alone),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_was_encoded_is_decoded_and_nothing_shorter(counts in prop::collection::vec(any::<(u64, [u32; 4])>(), 1..5)) {
            let deaths: Vec<_> = counts
                .into_iter()
                .map(|(offset, [executing, waiting, executing_alone, waiting_alone])| Deaths {
                    offset, executing, waiting, executing_alone, waiting_alone,
                })
                .collect();
            let bytes = encode(&deaths);
            prop_assert_eq!(decode(&bytes), Some(deaths));
            for length in (0..bytes.len()).filter(|length| length % BYTES != 1) {
                prop_assert_eq!(decode(&bytes[..length]), None);
            }
        }

        #[test]
        fn any_bytes_are_decoded_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&bytes);
        }
    }
}

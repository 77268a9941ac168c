//! Messages for later: the rows in which they are stored.

use bytes::Bytes;
use std::sync::Arc;
use tidings_core::headers::Headers;
use tidings_core::{Message, Timestamp};

/// The version of an encoded row.
const VERSION: u8 = 1;

/// Which delayed message: when it is due, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) due: i64,
    pub(crate) sequence: u64,
}

/// A stored row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) due: Due,
    pub(crate) bytes: Bytes,
}

/// A delayed message read back.
#[derive(Debug)]
pub(crate) struct Delayed {
    pub(crate) destination: Arc<str>,
    pub(crate) partition: u32,
    pub(crate) message: Message,
}

/// The bytes of a row: version, partition, timestamp, then destination, headers, key and payload, each with its
/// length. A key or payload that is absent has the length `u32::MAX`.
pub(crate) fn encode(destination: &str, partition: u32, timestamp: Timestamp, message: &Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(message.size() + destination.len() + 32);
    bytes.push(VERSION);
    bytes.extend_from_slice(&partition.to_le_bytes());
    bytes.extend_from_slice(&timestamp.as_millis().to_le_bytes());
    let parts = [
        Some(destination.as_bytes()),
        Some(message.headers().as_block()),
        message.key().map(Bytes::as_ref),
        message.payload().map(Bytes::as_ref),
    ];
    for part in parts {
        let length = part.map_or(u32::MAX, |part| part.len() as u32);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(part.unwrap_or_default());
    }
    bytes
}

/// Reads what [`encode`] wrote; none for anything else.
pub(crate) fn decode(bytes: &Bytes) -> Option<Delayed> {
    let (version, rest) = bytes.split_first_chunk::<1>()?;
    let (partition, rest) = rest.split_first_chunk::<4>()?;
    let (timestamp, mut rest) = rest.split_first_chunk::<8>()?;
    if *version != [VERSION] {
        return None;
    }
    let mut part = || -> Option<Option<Bytes>> {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length);
        if length == u32::MAX {
            rest = after;
            return Some(None);
        }
        let (part, after) = after.split_at_checked(length as usize)?;
        rest = after;
        Some(Some(bytes.slice_ref(part)))
    };
    let (destination, headers, key, payload) = (part()??, part()??, part()?, part()?);
    if !rest.is_empty() {
        return None;
    }
    let message = Message::default()
        .with_optional_key(key)
        .with_payload(payload)
        .with_headers(Headers::from_block(headers).ok()?)
        .with_timestamp(Timestamp::from_millis(i64::from_le_bytes(*timestamp)));
    Some(Delayed {
        destination: std::str::from_utf8(&destination).ok()?.into(),
        partition: u32::from_le_bytes(*partition),
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_was_encoded_is_decoded_and_nothing_shorter(
            partition: u32,
            time: i64,
            key in prop::option::of(prop::collection::vec(any::<u8>(), 0..9)),
            payload in prop::option::of(prop::collection::vec(any::<u8>(), 0..9))
        ) {
            let message = Message::default()
                .with_optional_key(key.map(Bytes::from))
                .with_payload(payload.map(Bytes::from))
                .with_header("name", "value").unwrap()
                .with_timestamp(Timestamp::from_millis(time));
            let bytes = Bytes::from(encode("orders", partition, Timestamp::from_millis(time), &message));
            let delayed = decode(&bytes).unwrap();
            prop_assert_eq!(delayed.message, message);
            prop_assert_eq!((&*delayed.destination, delayed.partition), ("orders", partition));
            for length in 0..bytes.len() {
                prop_assert!(decode(&bytes.slice(..length)).is_none());
            }
        }

        #[test]
        fn any_bytes_are_decoded_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&bytes.into());
        }
    }
}

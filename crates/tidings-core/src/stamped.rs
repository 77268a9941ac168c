//! The headers of a message that begins something: id, correlation and trace are new, so the block that they make
//! always has the same length and differs in its values only.

use crate::headers::{Headers, HeadersError};
use crate::hexadecimal::long_digits;
use crate::message::Timestamp;
use crate::names;
use crate::trace::TraceParent;

/// Characters of a message id.
pub(crate) const ID_LENGTH: usize = uuid::fmt::Hyphenated::LENGTH;
/// Bytes of an entry beside its name and its value.
const LENGTHS: usize = 6;

const ID_AT: usize = LENGTHS + names::MESSAGE_ID.len();
const CORRELATION_AT: usize = ID_AT + ID_LENGTH + LENGTHS + names::CORRELATION_ID.len();
const TRACE_AT: usize = CORRELATION_AT + ID_LENGTH + LENGTHS + names::TRACEPARENT.len();
const LENGTH: usize = TRACE_AT + TraceParent::LENGTH;

/// The entries with zeros for values.
const BLANK: [u8; LENGTH] = {
    let block = entry([0; LENGTH], 0, names::MESSAGE_ID, ID_LENGTH);
    let block = entry(block, ID_AT + ID_LENGTH, names::CORRELATION_ID, ID_LENGTH);
    entry(
        block,
        CORRELATION_AT + ID_LENGTH,
        names::TRACEPARENT,
        TraceParent::LENGTH,
    )
};

const fn entry(mut block: [u8; LENGTH], at: usize, name: &str, value: usize) -> [u8; LENGTH] {
    let name = name.as_bytes();
    // Names and values are far shorter than 256 bytes: the other bytes of both lengths are zero.
    block[at] = name.len() as u8;
    let mut place = 0;
    while place < name.len() {
        block[at + 2 + place] = name[place];
        place += 1;
    }
    block[at + 2 + name.len()] = value as u8;
    block
}

/// These headers, a new id, the same id for what is correlated with it, and a new trace.
pub(crate) fn begin(headers: &Headers, now: Timestamp) -> Result<Headers, HeadersError> {
    let mut random = fastrand::Rng::new();
    let mut block = BLANK;
    let (ids, rest) = block.split_at_mut(CORRELATION_AT);
    let (correlation, trace) = rest.split_at_mut(TRACE_AT - CORRELATION_AT);
    let id = new_message_id(now, &mut random);
    ids[ID_AT..ID_AT + ID_LENGTH].copy_from_slice(&id);
    correlation[..ID_LENGTH].copy_from_slice(&id);
    trace.copy_from_slice(&TraceParent::next(None, &mut random).encode());
    headers.followed_by(&block)
}

/// A UUID of version 7 (RFC 9562): sorted by time, 74 random bits.
pub(crate) fn new_message_id(now: Timestamp, random: &mut fastrand::Rng) -> [u8; ID_LENGTH] {
    let mut bytes = [0; 10];
    bytes.copy_from_slice(&random.u128(..).to_le_bytes()[..10]);
    let millis = u64::try_from(now.as_millis()).unwrap_or(0);
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid();
    hyphenated(id.as_u128())
}

/// Digits in groups of 8, 4, 4, 4 and 12.
fn hyphenated(id: u128) -> [u8; ID_LENGTH] {
    let digits = long_digits(id);
    let mut text = [b'-'; ID_LENGTH];
    text[..8].copy_from_slice(&digits[..8]);
    text[9..13].copy_from_slice(&digits[8..12]);
    text[14..18].copy_from_slice(&digits[12..16]);
    text[19..23].copy_from_slice(&digits[16..20]);
    text[24..].copy_from_slice(&digits[20..]);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_has_an_id_that_it_is_correlated_with_and_a_trace() {
        let mut own = Headers::new();
        own.set("type", "order.placed").unwrap();
        let now = Timestamp::from_millis(1_700_000_000_000);
        let headers = begin(&own, now).unwrap();
        let names: Vec<_> = headers.iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            [
                "type",
                names::MESSAGE_ID,
                names::CORRELATION_ID,
                names::TRACEPARENT
            ]
        );
        let id = headers.get_str(names::MESSAGE_ID).unwrap();
        assert_eq!(headers.get_str(names::CORRELATION_ID), Some(id));
        let parsed: uuid::Uuid = id.parse().unwrap();
        assert_eq!(parsed.to_string(), id);
        assert_eq!(parsed.get_version_num(), 7);
        assert_eq!(parsed.get_timestamp().unwrap().to_unix().0, 1_700_000_000);
        assert!(TraceParent::parse(headers.get_str(names::TRACEPARENT).unwrap()).is_some());
        let other = begin(&own, now).unwrap();
        for name in [names::MESSAGE_ID, names::TRACEPARENT] {
            assert_ne!(headers.get(name), other.get(name), "{name}");
        }
        assert_eq!(
            Headers::from_block(headers.as_block().to_vec().into()).unwrap(),
            headers
        );
    }
}

//! Progress beyond the watermark, in the metadata of an offset commit.
//!
//! Kafka keeps up to 4 KiB of text beside each committed offset. It holds what is finished above the watermark and the
//! attempts of messages that wait in a retry lane, so that a restart handles less again. Nothing depends on it: what
//! does not fit is left out, and what cannot be read is as if it were not there. Only in transactions the ranges are
//! depended on, and there are never more than fit.
//!
//! The text is `tidings1:` and, in base64url, numbers of variable length (7 bits a byte, the lowest first): the
//! watermark; how many attempts; for each its distance from the one before and the attempts; how many ranges; for each
//! its distance from the end of the one before and its length. The first distances are from the watermark. Then comes
//! how many partitions the topic had when the group began, for a group that did not begin at the first message, and 0
//! for others; and a part of the topic's id, because a commit that is under way while a topic is deleted and made again
//! is one for the new topic to Kafka, which would then be read from the old one's offset. Zeros at the end are left out.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::ops::Range;
use tidings_core::Progress;

/// What a broker takes by default: offset.metadata.max.bytes.
const MAX_METADATA_BYTES: usize = 4096;

const MARK: &str = "tidings1:";
const MAX_BEGINNING_BYTES: usize = 15;
/// Of a number of 64 bits, seven a byte.
const MAX_NUMBER_BYTES: usize = 10;

/// How many bytes of text a broker takes beside an offset, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(MAX_METADATA_BYTES)
    }
}

impl Room {
    pub(crate) fn bytes(self) -> usize {
        self.0
    }

    /// The broker has refused so much: its `offset.metadata.max.bytes` is below the default.
    pub(crate) fn shrink(&mut self) {
        self.0 /= 2;
        tracing::debug!(bytes = self.0, "the broker takes less text beside an offset");
    }
}

/// Where a group began with a topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Beginning {
    /// How many partitions the topic had, for a group that did not begin at the first message.
    pub(crate) partitions: Option<u32>,
    /// Of the topic's id, where that is known.
    pub(crate) topic: Option<u64>,
}

impl Beginning {
    /// Whether it is of another topic, which had the same name.
    pub(crate) fn is_of_other_than(self, topic: Option<u64>) -> bool {
        self.topic.zip(topic).is_some_and(|(one, other)| one != other)
    }
}

/// A broker that takes less than this is given none.
const LEAST_METADATA_BYTES: usize = 64;

/// The metadata for a commit at the progress's watermark; empty if there is nothing above it.
pub(crate) fn encode(progress: &Progress) -> String {
    encode_within(MAX_METADATA_BYTES, progress, Beginning::default())
}

/// The same in so many bytes, with what the group began with.
pub(crate) fn encode_within(max_bytes: usize, progress: &Progress, began_with: Beginning) -> String {
    encode_first(First::Attempts, max_bytes, progress, began_with)
}

/// The same for a transaction, whose correctness depends on the ranges: they come first, and [`whole_ranges`] of them fit
/// whatever their numbers.
pub(crate) fn encode_whole(max_bytes: usize, progress: &Progress, began_with: Beginning) -> String {
    encode_first(First::Ranges, max_bytes, progress, began_with)
}

/// How many ranges fit into so many bytes of text, whatever their numbers.
pub(crate) fn whole_ranges(max_bytes: usize) -> usize {
    let room = room_for_numbers(max_bytes).unwrap_or(MAX_NUMBER_BYTES);
    (room - MAX_NUMBER_BYTES) / (2 * MAX_NUMBER_BYTES)
}

/// How many bytes watermark, attempts and ranges may take in so many bytes of text; none if nothing is written.
fn room_for_numbers(max_bytes: usize) -> Option<usize> {
    // Four characters carry three bytes.
    (max_bytes >= LEAST_METADATA_BYTES).then(|| (max_bytes - MARK.len()) / 4 * 3 - MAX_BEGINNING_BYTES)
}

/// What has the first right to the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// Lost ranges mean that something is handled again, lost attempts that it is tried too often.
    Attempts,
    Ranges,
}

fn encode_first(first: First, max_bytes: usize, progress: &Progress, began_with: Beginning) -> String {
    let nothing =
        progress.finished.is_empty() && progress.attempts.is_empty() && began_with == Beginning::default();
    let Some(room) = room_for_numbers(max_bytes).filter(|_| !nothing) else {
        return String::new();
    };
    let mut numbers = Vec::with_capacity(256);
    put(&mut numbers, progress.watermark);
    let room = room - numbers.len();
    let (attempts, ranges) = (attempts(progress), ranges(progress));
    let (attempts, ranges) = match first {
        First::Attempts => {
            let attempts = fitting(&attempts, room);
            let ranges = fitting(&ranges, room - attempts.len());
            (attempts, ranges)
        }
        First::Ranges => {
            let ranges = fitting(&ranges, room);
            (fitting(&attempts, room - ranges.len()), ranges)
        }
    };
    numbers.extend(attempts);
    numbers.extend(ranges);
    let partitions = began_with.partitions.unwrap_or(0);
    if partitions > 0 || began_with.topic.is_some() {
        put(&mut numbers, u64::from(partitions));
    }
    if let Some(topic) = began_with.topic {
        put(&mut numbers, topic);
    }
    format!("{MARK}{}", URL_SAFE_NO_PAD.encode(numbers))
}

/// The progress that was stored with an offset.
pub(crate) fn decode(watermark: u64, metadata: &[u8]) -> Progress {
    // An offset that somebody else has set is none that this belongs to.
    let ours = read(metadata).filter(|(progress, _)| progress.watermark == watermark);
    ours.map_or_else(
        || Progress {
            watermark,
            ..Progress::default()
        },
        |(progress, _)| progress,
    )
}

/// What the group began with, as far as that is known.
pub(crate) fn began_with(metadata: &[u8]) -> Beginning {
    read(metadata).map_or_else(Beginning::default, |(_, began_with)| began_with)
}

fn attempts(progress: &Progress) -> Vec<(u64, u64)> {
    let mut sorted = progress.attempts.clone();
    sorted.sort_unstable();
    let mut last = progress.watermark;
    let above = sorted
        .into_iter()
        .filter(|(offset, _)| *offset >= progress.watermark);
    above
        .map(|(offset, attempts)| (offset - std::mem::replace(&mut last, offset), u64::from(attempts)))
        .collect()
}

fn ranges(progress: &Progress) -> Vec<(u64, u64)> {
    let mut sorted: Vec<Range<u64>> = progress.finished.clone();
    sorted.sort_unstable_by_key(|range| range.start);
    let mut last = progress.watermark;
    let above = sorted
        .into_iter()
        .filter(|range| range.start >= progress.watermark && !range.is_empty());
    let pairs = above.filter_map(|range| {
        // Ranges that overlap are none of ours.
        let distance = range.start.checked_sub(last)?;
        last = range.end;
        Some((distance, range.end - range.start))
    });
    pairs.collect()
}

/// How many pairs follow, and as many of the pairs as there is room for.
fn fitting(pairs: &[(u64, u64)], room: usize) -> Vec<u8> {
    // The count, and room for the count of what follows.
    const COUNTS: usize = 6;
    let mut written = Vec::new();
    let mut count = 0;
    for (one, other) in pairs {
        let before = written.len();
        put(&mut written, *one);
        put(&mut written, *other);
        if written.len() + COUNTS > room {
            written.truncate(before);
            break;
        }
        count += 1;
    }
    let mut all = Vec::with_capacity(written.len() + 3);
    put(&mut all, count);
    all.extend(written);
    all
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number as u8) | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        number |= part
            .checked_shl(shift)
            .filter(|shifted| shifted >> shift == part)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn read(metadata: &[u8]) -> Option<(Progress, Beginning)> {
    let text = std::str::from_utf8(metadata).ok()?;
    if text.len() > MAX_METADATA_BYTES {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(MARK)?).ok()?;
    let mut rest = bytes.as_slice();
    let watermark = take(&mut rest)?;
    let mut progress = Progress {
        watermark,
        ..Progress::default()
    };
    let mut last = watermark;
    for _ in 0..take(&mut rest)? {
        last = last.checked_add(take(&mut rest)?)?;
        let attempts = u32::try_from(take(&mut rest)?).ok()?;
        progress.attempts.push((last, attempts));
    }
    last = watermark;
    for _ in 0..take(&mut rest)? {
        let start = last.checked_add(take(&mut rest)?)?;
        last = start.checked_add(take(&mut rest)?)?;
        progress.finished.push(start..last);
    }
    let mut began_with = Beginning::default();
    if !rest.is_empty() {
        let partitions = u32::try_from(take(&mut rest)?).ok()?;
        began_with.partitions = Some(partitions).filter(|partitions| *partitions > 0);
    }
    if !rest.is_empty() {
        began_with.topic = Some(take(&mut rest)?);
    }
    rest.is_empty().then_some((progress, began_with))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn progress(watermark: u64, finished: Vec<Range<u64>>, attempts: Vec<(u64, u32)>) -> Progress {
        Progress {
            watermark,
            finished,
            attempts,
        }
    }

    #[test]
    fn progress_without_anything_above_the_watermark_needs_no_metadata() {
        assert_eq!(encode(&progress(7, vec![], vec![])), "");
        assert_eq!(decode(7, b""), progress(7, vec![], vec![]));
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init, reason = "one range is meant")]
    fn metadata_of_others_and_of_another_offset_is_ignored() {
        let ours = encode(&progress(7, vec![9..10, 11..12], vec![(8, 3)]));
        for (watermark, metadata) in [
            (8, ours.as_bytes()),
            (7, b"host-1/app"),
            (7, b"tidings1:"),
            (7, b"tidings1:!!!!"),
            (7, b"tidings2:BwA"),
            (7, &[0xff, 0xfe][..]),
        ] {
            assert_eq!(decode(watermark, metadata), progress(watermark, vec![], vec![]));
        }
    }

    #[test]
    fn with_how_many_partitions_a_group_began_is_kept_beside_its_progress_and_beyond_a_reset() {
        let whole = progress(7, vec![9..10, 11..12], vec![(8, 3)]);
        let none = Beginning::default();
        for progress in [whole, progress(7, vec![], vec![])] {
            for (partitions, topic) in [
                (None, None),
                (Some(300), None),
                (None, Some(1 << 47)),
                (Some(300), Some(7)),
            ] {
                let beginning = Beginning { partitions, topic };
                let text = encode_within(MAX_METADATA_BYTES, &progress, beginning);
                assert_eq!(began_with(text.as_bytes()), beginning);
                assert_eq!(decode(7, text.as_bytes()), progress);
            }
            assert_eq!(began_with(encode(&progress).as_bytes()), none);
        }
        assert_eq!(began_with(b"host-1/app"), none);
    }

    #[test]
    fn a_position_is_of_another_topic_only_where_both_are_known() {
        let of = |topic| Beginning {
            topic,
            ..Beginning::default()
        };
        assert!(of(Some(1)).is_of_other_than(Some(2)));
        assert!(!of(Some(1)).is_of_other_than(Some(1)));
        assert!(!of(None).is_of_other_than(Some(1)));
        assert!(!of(Some(1)).is_of_other_than(None));
    }

    #[test]
    fn what_does_not_fit_is_left_out_from_the_end_and_attempts_come_first() {
        let ranges: Vec<_> = (0..5_000).map(|n| 1_000 + n * 1_000..1_500 + n * 1_000).collect();
        let attempts: Vec<_> = (0..100).map(|n| (600 + n * 50, 3)).collect();
        let text = encode(&progress(500, ranges.clone(), attempts.clone()));
        assert!(
            text.len() <= MAX_METADATA_BYTES && text.len() > 4_000,
            "{}",
            text.len()
        );
        let read = decode(500, text.as_bytes());
        assert_eq!(read.attempts, attempts);
        assert!(read.finished.len() > 600, "{}", read.finished.len());
        assert_eq!(read.finished, ranges[..read.finished.len()]);
    }

    #[test]
    fn a_broker_that_takes_less_is_given_less() {
        let ranges: Vec<_> = (0..500).map(|n| 1_000 + n * 1_000..1_500 + n * 1_000).collect();
        let whole = progress(u64::MAX >> 2, vec![], vec![]);
        let whole = Progress {
            finished: ranges
                .iter()
                .map(|range| whole.watermark + range.start..whole.watermark + range.end)
                .collect(),
            ..whole
        };
        let beginning = Beginning {
            partitions: Some(u32::MAX),
            topic: Some(u64::MAX),
        };
        for max_bytes in [0, 1, 63, 64, 65, 100, 500, 1_024, 4_096] {
            let text = encode_within(max_bytes, &whole, beginning);
            assert!(text.len() <= max_bytes, "{} of {max_bytes}", text.len());
            let read = decode(whole.watermark, text.as_bytes());
            assert_eq!(read.finished, whole.finished[..read.finished.len()]);
            assert_eq!(
                began_with(text.as_bytes()) == beginning,
                max_bytes >= LEAST_METADATA_BYTES
            );
        }
    }

    #[test]
    fn the_ranges_of_a_transaction_are_never_cut_whatever_their_numbers() {
        let wide = u64::MAX / 200;
        let beginning = Beginning {
            partitions: Some(300),
            topic: Some(1 << 47),
        };
        let ranges: Vec<_> = (0..64).map(|n| wide * (2 * n + 1)..wide * (2 * n + 2)).collect();
        let attempts: Vec<_> = (0..5_000).map(|n| (n * 1_000, u32::MAX)).collect();
        for max_bytes in [0, 63, 64, 65, 128, 200, 1_000, MAX_METADATA_BYTES] {
            let ranges = &ranges[..whole_ranges(max_bytes).min(64)];
            let whole = progress(0, ranges.to_vec(), attempts.clone());
            let text = encode_whole(max_bytes, &whole, beginning);
            assert!(text.len() <= max_bytes, "{}", text.len());
            let read = decode(0, text.as_bytes());
            assert_eq!(read.finished, ranges, "{max_bytes}");
            assert!(attempts.starts_with(&read.attempts));
            assert_eq!(
                read.attempts.is_empty(),
                max_bytes < LEAST_METADATA_BYTES,
                "{max_bytes}"
            );
            assert_eq!(
                began_with(text.as_bytes()) == beginning,
                max_bytes >= LEAST_METADATA_BYTES
            );
        }
        assert!(whole_ranges(MAX_METADATA_BYTES) >= 64);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_was_written_is_read(
            watermark in 0u64..1 << 62,
            steps in prop::collection::vec((1u64..1 << 20, 1u64..1 << 20), 0..40),
            attempts in prop::collection::vec((0u64..1 << 20, any::<u32>()), 0..40),
        ) {
            let mut last = watermark;
            let finished: Vec<_> = steps.iter().map(|(gap, length)| {
                let start = last + gap;
                last = start + length;
                start..last
            }).collect();
            let mut last = watermark;
            let attempts: Vec<_> = attempts.iter().map(|(gap, attempts)| {
                last += gap;
                (last, *attempts)
            }).collect();
            let whole = progress(watermark, finished, attempts);
            let text = encode(&whole);
            prop_assert!(text.len() <= MAX_METADATA_BYTES);
            let mut read = decode(watermark, text.as_bytes());
            let mut sorted = whole.clone();
            sorted.attempts.sort_unstable();
            read.attempts.sort_unstable();
            prop_assert_eq!(read, sorted);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), watermark: u64) {
            let garbage = format!("{MARK}{}", URL_SAFE_NO_PAD.encode(&bytes));
            decode(watermark, garbage.as_bytes());
            decode(watermark, &bytes);
        }
    }
}

//! Headers as a record has them on the wire: [`each`].

/// A record with more is none that librdkafka shows headers of. Both ways to read them have to say the same.
const MAX_COUNT: i64 = 100_000;

/// Sees each header in order, a value that is null as an empty one. False if the bytes are malformed; what was seen
/// until then does not count.
pub(crate) fn each<'a>(mut bytes: &'a [u8], mut see: impl FnMut(&'a [u8], &'a [u8])) -> bool {
    if bytes.is_empty() {
        return true;
    }
    let Some(count) = number(&mut bytes).filter(|count| *count <= MAX_COUNT) else {
        return false;
    };
    for _ in 0..count.max(0) {
        let name = number(&mut bytes).and_then(|length| take(&mut bytes, length));
        let value = name.and_then(|_| match number(&mut bytes)? {
            -1 => Some(&[][..]),
            length => take(&mut bytes, length),
        });
        let (Some(name), Some(value)) = (name, value) else {
            return false;
        };
        see(name, value);
    }
    true
}

/// A zigzag number of variable length.
fn number(bytes: &mut &[u8]) -> Option<i64> {
    let mut all = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        all |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some((all >> 1).cast_signed() ^ -(all & 1).cast_signed());
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], length: i64) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn seen(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
        let mut all = Vec::new();
        each(bytes, |name, value| all.push((name, value))).then_some(all)
    }

    #[test]
    fn names_and_values_are_read_in_order_and_a_null_value_is_empty() {
        assert_eq!(seen(b""), Some(vec![]), "a record of before headers");
        assert_eq!(seen(b"\x00"), Some(vec![]));
        let three = b"\x06\x02a\x04vw\x00\x01\x06key\x00";
        let expected: Vec<(&[u8], &[u8])> = vec![(b"a", b"vw"), (b"", b""), (b"key", b"")];
        assert_eq!(seen(three), Some(expected));
        let long = [&b"\x02\x02n\xc8\x01"[..], &[7; 100]].concat();
        assert_eq!(seen(&long), Some(vec![(&b"n"[..], &[7; 100][..])]));
    }

    #[test]
    fn whatever_the_bytes_are_nothing_beyond_them_is_read() {
        let whole = b"\x04\x02a\x02b\x02c\x02d";
        for end in 1..whole.len() {
            assert_eq!(seen(&whole[..end]), None, "{end}");
        }
        assert_eq!(seen(b"\x02\x01"), None, "a name cannot be null");
        assert_eq!(seen(b"\x02\x02a\x03"), None, "nor a length be less than that");
        assert_eq!(seen(&[0xff; 12]), None, "a number that does not end");
        assert_eq!(seen(b"\x02\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"), None);
        assert_eq!(
            seen(b"\x01"),
            Some(vec![]),
            "librdkafka takes less than none for none"
        );
    }

    /// As a producer writes it.
    fn write_number(to: &mut Vec<u8>, number: i64) {
        let mut left = ((number << 1) ^ (number >> 63)).cast_unsigned();
        while left > 0x7f {
            to.push(left as u8 | 0x80);
            left >>= 7;
        }
        to.push(left as u8);
    }

    fn write(headers: &[(Vec<u8>, Option<Vec<u8>>)]) -> Vec<u8> {
        let mut to = Vec::new();
        write_number(&mut to, headers.len() as i64);
        for (name, value) in headers {
            write_number(&mut to, name.len() as i64);
            to.extend_from_slice(name);
            write_number(&mut to, value.as_ref().map_or(-1, |value| value.len() as i64));
            to.extend_from_slice(value.as_deref().unwrap_or_default());
        }
        to
    }

    #[test]
    fn as_many_headers_are_read_as_librdkafka_reads() {
        let most = vec![(Vec::new(), None); 100_000];
        assert_eq!(seen(&write(&most)).map(|all| all.len()), Some(100_000));
        let more = [&most[..], &[(Vec::new(), None)]].concat();
        assert_eq!(seen(&write(&more)), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn numbers_are_read_as_they_were_written(number in any::<i64>(), bits in 0u32..64) {
            let number = number >> bits;
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            let mut rest = &bytes[..];
            prop_assert_eq!(super::number(&mut rest), Some(number));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn headers_are_read_as_they_were_written_and_those_that_are_cut_are_none(
            headers in vec((vec(any::<u8>(), 0..300), proptest::option::of(vec(any::<u8>(), 0..300))), 0..8),
            cut in any::<prop::sample::Index>(),
            behind in vec(any::<u8>(), 0..4),
        ) {
            let whole = write(&headers);
            let expected: Vec<(&[u8], &[u8])> = headers
                .iter()
                .map(|(name, value)| (&name[..], value.as_deref().unwrap_or_default()))
                .collect();
            let longer = [&whole[..], &behind].concat();
            prop_assert_eq!(seen(&longer), Some(expected));
            let cut = cut.index(whole.len());
            prop_assert_eq!(seen(&whole[..cut]), (cut == 0).then(Vec::new));
        }

        #[test]
        fn bytes_of_any_kind_give_nothing_but_what_is_in_them(bytes in vec(any::<u8>(), 0..200)) {
            let range = bytes.as_ptr_range();
            each(&bytes, |name, value| {
                for part in [name, value].into_iter().filter(|part| !part.is_empty()) {
                    let part = part.as_ptr_range();
                    assert!(range.start <= part.start && part.end <= range.end);
                }
            });
        }
    }
}

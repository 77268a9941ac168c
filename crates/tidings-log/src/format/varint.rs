//! Numbers of 1 to 10 bytes, seven bits each, the least first; signed ones zigzag.

/// Room that any number fits into.
pub(super) const LONGEST: usize = 10;

/// How many bytes the number takes.
pub(super) fn size(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

pub(super) fn write(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Writes four numbers. Those of a record rarely take more than two bytes each: then they are put together in one
/// register and copied at once, where a vector would be asked for room byte by byte.
pub(super) fn write_four(out: &mut Vec<u8>, numbers: [u64; 4]) {
    let (mut word, mut bits) = (0_u64, 0);
    for number in numbers {
        if number < 0x80 {
            word |= number << bits;
            bits += 8;
        } else if number < 0x4000 {
            word |= (number & 0x7f | 0x80 | (number >> 7) << 8) << bits;
            bits += 16;
        } else {
            return numbers.into_iter().for_each(|number| write(out, number));
        }
    }
    out.extend_from_slice(word.to_le_bytes().get(..bits / 8).unwrap_or_default());
}

/// Takes a number off the front. None when it does not end, or does not fit into 64 bits.
pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        *bytes = rest;
        return Some(u64::from(first));
    }
    take_long(bytes)
}

fn take_long(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for (index, &byte) in bytes.iter().enumerate().take(LONGEST) {
        let bits = u64::from(byte & 0x7f);
        if index == LONGEST - 1 && bits > 1 {
            return None;
        }
        number |= bits << (7 * index);
        if byte < 0x80 {
            *bytes = bytes.get(index + 1..)?;
            return Some(number);
        }
    }
    None
}

pub(super) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

pub(super) fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_number_comes_back_in_the_size_that_was_told(number: u64, shift in 0..64_u32) {
            let number = number >> shift;
            let mut bytes = Vec::new();
            write(&mut bytes, number);
            prop_assert_eq!(bytes.len(), size(number));
            let mut rest = bytes.as_slice();
            prop_assert_eq!(take(&mut rest), Some(number));
            prop_assert!(rest.is_empty());
            prop_assert_eq!(unzigzag(zigzag(number as i64)), number as i64);
        }

        #[test]
        fn four_numbers_are_written_as_one_after_the_other(numbers: [u64; 4], shifts in [0..64_u32, 40..64, 48..64, 48..64]) {
            let numbers = std::array::from_fn(|place| numbers[place] >> shifts[place]);
            let (mut together, mut apart) = (Vec::new(), Vec::new());
            write_four(&mut together, numbers);
            numbers.into_iter().for_each(|number| write(&mut apart, number));
            prop_assert_eq!(together, apart);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let mut rest = bytes.as_slice();
            while take(&mut rest).is_some() {}
        }
    }

    #[test]
    fn a_number_over_64_bits_is_refused() {
        let mut bytes = [0xff; 9].to_vec();
        bytes.push(2);
        assert_eq!(take(&mut bytes.as_slice()), None);
        bytes[9] = 1;
        assert_eq!(take(&mut bytes.as_slice()), Some(u64::MAX));
    }
}

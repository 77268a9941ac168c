//! Numbers in lower-case hexadecimal, eight digits at once: every message that is published carries some seventy digits.

/// The digits of a number, the highest first.
pub(crate) fn digits(number: u32) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // Each half of what a group of digits stands for moves to a place of its own, down to one digit in each byte.
    let spread = u64::from(number);
    let spread = (spread | spread << 16) & 0x0000_ffff_0000_ffff;
    let spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    let spread = (spread | spread << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // A digit above nine becomes sixteen and more when six are added, and its letter is 39 farther than its number.
    let letters = ((spread + 6 * ONES) >> 4) & ONES;
    (spread + u64::from(b'0') * ONES + letters * 39).to_be_bytes()
}

/// All digits of a long number, the highest first.
pub(crate) fn long_digits(number: u128) -> [u8; 32] {
    let mut text = [0; 32];
    for (place, part) in text.chunks_exact_mut(8).zip([96, 64, 32, 0]) {
        place.copy_from_slice(&digits((number >> part) as u32));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn digits_are_those_of_the_standard_library(number: u128) {
            let (long, low) = (long_digits(number), digits(number as u32));
            prop_assert_eq!(std::str::from_utf8(&long).unwrap(), format!("{number:032x}"));
            prop_assert_eq!(std::str::from_utf8(&low).unwrap(), format!("{:08x}", number as u32));
        }
    }
}

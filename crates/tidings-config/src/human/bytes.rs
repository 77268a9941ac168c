//! Sizes: `64MiB`, `1MB`, `1048576`.

use super::{parse_nanos, split_number};

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

/// Takes text as a number of bytes. `M` alone is refused: half of its readers take it for the other size.
pub(crate) fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text.trim());
    let unit = unit.trim();
    let factor = match unit {
        "" => 1,
        _ => UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1,
    };
    let nanos = parse_nanos(number)?.checked_mul(u128::from(factor))?;
    // Half a byte is a mistake, 1.5KiB is not.
    (nanos % 1_000_000_000 == 0)
        .then_some(nanos / 1_000_000_000)
        .and_then(|bytes| u64::try_from(bytes).ok())
}

/// A number of bytes in the largest unit that needs no fraction.
pub(crate) fn format_bytes(bytes: u64) -> String {
    let (unit, factor) = UNITS
        .iter()
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor))
        .unwrap_or(&("B", 1));
    format!("{}{unit}", bytes / factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_with_binary_and_decimal_units() {
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("64 mib", 64 << 20),
            ("1MB", 1_000_000),
            ("1048576", 1 << 20),
            ("1.5KiB", 1_536),
            ("10B", 10),
            ("0", 0),
        ] {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        for text in ["", "M", "64M", "-1", "1.0001kB", "1e6", "99999999TiB", "0x10"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(bytes in 0u64..=999_999_999_999_999_999) {
            prop_assert_eq!(parse_bytes(&format_bytes(bytes)), Some(bytes));
        }

        #[test]
        fn any_text_is_a_size_or_none(text in "\\PC*|[0-9.]{0,40}[a-zA-Z ]{0,4}") {
            let _ = parse_bytes(&text);
        }
    }
}

//! Names of destinations: which are possible, and which directory belongs to one.
//!
//! A directory name must be the same on every file system: letters in capitals are written in small ones with a mark,
//! because some file systems do not tell them apart, and what a path could misread is written in hexadecimal.

use std::fmt::Write;
use tidings_core::BinderError;

/// The most bytes that a destination's name may have; the limit that Kafka has.
pub(crate) const MAX_NAME_BYTES: usize = 249;

/// Above this an escaped name is cut and a hash of the whole is put behind it: file systems allow 255 bytes.
const MAX_DIRECTORY_BYTES: usize = 180;

/// Refuses names that no destination may have.
pub(crate) fn check(name: &str) -> Result<(), BinderError> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.len() > MAX_NAME_BYTES {
        "it has more than 249 bytes"
    } else if name == "." || name == ".." {
        "it is a directory's name"
    } else if name.contains(['/', '\\']) {
        "it has a slash; write `orders.placed`, not `orders/placed`"
    } else if name.chars().any(char::is_control) {
        "it has a control character"
    } else {
        return Ok(());
    };
    Err(BinderError::InvalidName {
        name: name
            .chars()
            .take(MAX_NAME_BYTES)
            .flat_map(char::escape_debug)
            .collect(),
        reason: reason.to_owned(),
    })
}

/// The name of the directory of a destination. Different names give different directories; beyond
/// `MAX_DIRECTORY_BYTES` a hash tells them apart, and the topic file in the directory has the last word.
pub(crate) fn directory(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len() + 16);
    for (place, byte) in name.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => escaped.push(char::from(byte)),
            b'.' if place > 0 => escaped.push('.'),
            b'A'..=b'Z' => {
                escaped.push('+');
                escaped.push(char::from(byte.to_ascii_lowercase()));
            }
            // Writing to a String cannot fail.
            _ => {
                let _ = write!(escaped, "%{byte:02x}");
            }
        }
    }
    if escaped.ends_with('.') {
        // Some file systems drop a dot at the end.
        escaped.pop();
        escaped.push_str("%2e");
    }
    if escaped.len() > MAX_DIRECTORY_BYTES {
        let hash = fnv(name.as_bytes());
        escaped.truncate(MAX_DIRECTORY_BYTES);
        let _ = write!(escaped, "~{hash:032x}");
    }
    escaped
}

/// The name that has this directory; none if it was cut, or is nobody's.
pub(crate) fn of_directory(directory: &str) -> Option<String> {
    let mut name = Vec::with_capacity(directory.len());
    let mut bytes = directory.bytes();
    while let Some(byte) = bytes.next() {
        name.push(match byte {
            b'+' => bytes.next()?.to_ascii_uppercase(),
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    let name = String::from_utf8(name).ok()?;
    (check(&name).is_ok() && self::directory(&name) == directory).then_some(name)
}

/// FNV-1a with 128 bits: names come from code and configuration, so nobody looks for collisions, and a collision is
/// found by the name in the topic file.
fn fnv(bytes: &[u8]) -> u128 {
    bytes
        .iter()
        .fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, byte| {
            (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        let long = "x".repeat(250);
        for name in ["", ".", "..", "../x", "a/b", "a\\b", "a\0b", "a\nb", &long] {
            assert!(
                matches!(check(name), Err(BinderError::InvalidName { .. })),
                "{name:?}"
            );
        }
    }

    #[test]
    fn usual_names_are_accepted_and_readable_as_directories() {
        for (name, expected) in [
            ("orders", "orders"),
            ("orders.DLT", "orders.+d+l+t"),
            ("Orders", "+orders"),
            (".hidden", "%2ehidden"),
            ("a b", "a%20b"),
            ("a+b", "a%2bb"),
            ("dot.", "dot%2e"),
        ] {
            assert!(check(name).is_ok());
            assert_eq!(directory(name), expected);
        }
    }

    proptest! {
        #[test]
        fn different_names_have_different_directories_even_without_capitals(
            names in prop::collection::hash_set("[a-cA-C.+%~ é]{1,4}|[aA]{178,249}", 2..40)
        ) {
            let mut seen = HashMap::new();
            for name in &names {
                let directory = directory(name);
                prop_assert!(directory.len() <= 255);
                prop_assert!(!directory.contains('/') && directory != "." && directory != "..");
                let back = of_directory(&directory);
                prop_assert_eq!(back.as_ref(), Some(name).filter(|name| check(name).is_ok() && !directory.contains('~')));
                prop_assert_eq!(seen.insert(directory.to_lowercase(), name), None);
            }
        }
    }
}

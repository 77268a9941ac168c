//! Text that nobody vouches for, made fit to be seen: [`escape`], [`pretty_json`], [`hex_dump`].

use serde::de::IgnoredAny;
use std::fmt::Write;

/// The text without what could steer a terminal or turn its letters around.
pub(crate) fn escape(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' => harmless.push_str("\\n"),
            '\r' => harmless.push_str("\\r"),
            '\t' => harmless.push_str("\\t"),
            letter if steers(letter) => harmless.extend(letter.escape_unicode()),
            letter => harmless.push(letter),
        }
    }
    harmless
}

/// As [`escape`], but lines stay lines.
pub(crate) fn escape_lines(text: &str) -> String {
    text.lines().map(escape).collect::<Vec<_>>().join("\n")
}

/// Control characters, and the marks that change the direction of what follows.
fn steers(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// At most that many letters, with a mark if there were more.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let kept: String = text.chars().take(limit.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// Whether it is one JSON value.
pub(crate) fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// JSON without the space between its parts. Numbers, names and their order stay as they were written, which reading
/// and writing it again would not promise.
pub(crate) fn compact_json(text: &str) -> String {
    let mut compact = String::with_capacity(text.len());
    for part in parts(text) {
        compact.push_str(part);
    }
    compact
}

/// JSON with a line for each part, indented by two; otherwise as it was written.
pub(crate) fn pretty_json(text: &str) -> String {
    let mut pretty = String::with_capacity(text.len() * 2);
    let mut depth: usize = 0;
    let mut before = "";
    for part in parts(text) {
        let opens = matches!(before, "{" | "[");
        let closes = matches!(part, "}" | "]");
        if closes {
            depth = depth.saturating_sub(1);
        }
        if (opens && !closes) || (closes && !opens) || before == "," {
            pretty.push('\n');
            pretty.push_str(&"  ".repeat(depth));
        }
        pretty.push_str(part);
        if part == ":" {
            pretty.push(' ');
        }
        if matches!(part, "{" | "[") {
            depth += 1;
        }
        before = part;
    }
    pretty
}

/// The parts of a JSON text: brackets, commas, colons, and what stands between them.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        let (part, after) = rest.split_at_checked(part_end(rest))?;
        rest = after;
        (!part.is_empty()).then_some(part)
    })
}

/// Where the first part ends.
fn part_end(text: &str) -> usize {
    match text.bytes().next() {
        None => 0,
        Some(b'"') => {
            let mut escaped = false;
            let close = text.bytes().skip(1).position(|byte| {
                let closes = byte == b'"' && !escaped;
                escaped = byte == b'\\' && !escaped;
                closes
            });
            close.map_or(text.len(), |close| close + 2)
        }
        Some(b'{' | b'}' | b'[' | b']' | b',' | b':') => 1,
        Some(_) => text
            .find(['{', '}', '[', ']', ',', ':', '"', ' ', '\t', '\n', '\r'])
            .unwrap_or(text.len()),
    }
}

/// Sixteen bytes a line: where, in hexadecimal, as letters.
pub(crate) fn hex_dump(bytes: &[u8]) -> String {
    let mut dump = String::new();
    for (line, chunk) in bytes.chunks(16).enumerate() {
        let mut hex = String::new();
        for byte in chunk {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x} ");
        }
        let letters: String = chunk
            .iter()
            .map(|byte| {
                if byte.is_ascii_graphic() || *byte == b' ' {
                    char::from(*byte)
                } else {
                    '.'
                }
            })
            .collect();
        let _ = writeln!(dump, "{:08x}  {hex:48} {letters}", line * 16);
    }
    dump
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown_and_not_obeyed() {
        assert_eq!(
            escape("a\u{1b}[31mb\u{202e}c\nd\u{9b}"),
            "a\\u{1b}[31mb\\u{202e}c\\nd\\u{9b}"
        );
        assert_eq!(escape("größe 🦀 \\ \""), "größe 🦀 \\ \"");
        assert_eq!(escape_lines("a\nb\u{7}"), "a\nb\\u{7}");
    }

    #[test]
    fn json_is_laid_out_without_touching_what_is_written() {
        let text = "{\"b\" :1.10,\"a\":[1e400, {}, []],\"x\": \"a, \\\"b: {\", \"b\":123456789012345678901234567890}";
        let pretty = "{\n  \"b\": 1.10,\n  \"a\": [\n    1e400,\n    {},\n    []\n  ],\n  \"x\": \"a, \\\"b: {\",\n  \
                      \"b\": 123456789012345678901234567890\n}";
        assert_eq!(pretty_json(text), pretty);
        assert_eq!(
            compact_json(&pretty_json(text)),
            "{\"b\":1.10,\"a\":[1e400,{},[]],\"x\":\"a, \\\"b: {\",\"b\":123456789012345678901234567890}"
        );
    }

    #[test]
    fn any_text_is_laid_out_without_a_panic() {
        for text in ["", "\"", "\"\\", "{", "}}}", "é\"é", "[\"a\\\\\"]", "\u{0}"] {
            let _ = pretty_json(text);
            let _ = compact_json(text);
        }
        assert_eq!(compact_json("[\"a\\\\\", 1]"), "[\"a\\\\\",1]");
    }

    #[test]
    fn bytes_are_dumped_with_their_places() {
        let dump = hex_dump(b"\x00\x01binary and more");
        assert_eq!(
            dump,
            "00000000  00 01 62 69 6e 61 72 79 20 61 6e 64 20 6d 6f 72  ..binary and mor\n00000010  65 \
             \u{20}                                             e\n"
        );
    }

    #[test]
    fn long_text_is_cut_at_letters() {
        assert_eq!(shorten("größer", 4), "grö…");
        assert_eq!(shorten("groß", 4), "groß");
    }
}

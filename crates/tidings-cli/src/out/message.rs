//! A message as an object and as text.

use super::text::{compact_json, escape, escape_lines, hex_dump, is_json, pretty_json};
use crate::time::show;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use tidings_core::{Message, Position, names};

/// A message as an object. Its fields are part of what `docs/cli.md` promises.
#[derive(Debug, Serialize)]
pub(crate) struct MessageJson<'a> {
    position: String,
    topic: &'a str,
    partition: u32,
    offset: u64,
    time: Option<String>,
    id: Option<&'a str>,
    key: Option<Bytes<'a>>,
    headers: HeadersJson<'a>,
    /// How `payload` is to be read.
    encoding: Encoding,
    payload: Payload<'a>,
}

impl<'a> MessageJson<'a> {
    /// The message that lies there.
    pub(crate) fn new(position: &'a Position, message: &'a Message) -> Self {
        let (encoding, payload) = payload(message.payload().map(|payload| &**payload));
        Self {
            position: position.to_string(),
            topic: position.destination(),
            partition: position.partition(),
            offset: position.offset(),
            time: message.timestamp().map(show),
            id: message.headers().get_str(names::MESSAGE_ID),
            key: message.key().map(|key| Bytes(key)),
            headers: HeadersJson(message),
            encoding,
            payload,
        }
    }
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    /// `payload` is the value itself.
    Json,
    /// `payload` is the text.
    Text,
    /// `payload` is base64 of the bytes.
    Base64,
    /// There is no payload: a tombstone.
    None,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Payload<'a> {
    Json(Box<RawValue>),
    Text(&'a str),
    Base64(String),
    None(()),
}

fn payload(bytes: Option<&[u8]>) -> (Encoding, Payload<'_>) {
    let Some(bytes) = bytes else {
        return (Encoding::None, Payload::None(()));
    };
    let Ok(text) = std::str::from_utf8(bytes) else {
        return (Encoding::Base64, Payload::Base64(STANDARD.encode(bytes)));
    };
    // A raw value keeps numbers as they were written; without its line ends it fits on one line.
    let json = is_json(bytes)
        .then(|| RawValue::from_string(compact_json(text)).ok())
        .flatten();
    match json {
        Some(json) => (Encoding::Json, Payload::Json(json)),
        None => (Encoding::Text, Payload::Text(text)),
    }
}

/// Bytes that are text nearly always: a string, or an object with their base64.
#[derive(Debug)]
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &STANDARD.encode(self.0))?;
                map.end()
            }
        }
    }
}

/// The headers as an object; the first of a name counts, as for every reader of headers here.
#[derive(Debug)]
struct HeadersJson<'a>(&'a Message);

impl Serialize for HeadersJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut seen = Vec::new();
        for (name, value) in self.0.headers() {
            if !seen.contains(&name) {
                map.serialize_entry(name, &Bytes(value))?;
                seen.push(name);
            }
        }
        map.end()
    }
}

/// A message for people: headers, an empty line, the payload laid out.
pub(crate) fn message_block(message: &Message) -> String {
    let mut block = String::new();
    for (name, value) in message.headers() {
        let value = match std::str::from_utf8(value) {
            Ok(text) => escape(text),
            Err(_) => format!("base64:{}", STANDARD.encode(value)),
        };
        block.push_str(&format!("{}: {value}\n", escape(name)));
    }
    block.push('\n');
    block.push_str(&match message.payload() {
        None => "(no payload: a tombstone)".to_owned(),
        Some(payload) => payload_text(payload),
    });
    block
}

fn payload_text(payload: &[u8]) -> String {
    match std::str::from_utf8(payload) {
        Ok(text) if is_json(payload) => escape_lines(&pretty_json(text)),
        Ok(text) => escape_lines(text),
        Err(_) => hex_dump(payload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(message: &Message) -> String {
        let position = Position::new("orders", 1, 42);
        serde_json::to_string(&MessageJson::new(&position, message)).unwrap()
    }

    #[test]
    fn a_payload_is_a_value_text_or_base64_and_says_which() {
        for (payload, expected) in [
            (
                b"{\"a\":\n 1.10}".as_slice(),
                "\"encoding\":\"json\",\"payload\":{\"a\":1.10}",
            ),
            (b"tea", "\"encoding\":\"text\",\"payload\":\"tea\""),
            (b"\xff\x00", "\"encoding\":\"base64\",\"payload\":\"/wA=\""),
            (b"", "\"encoding\":\"text\",\"payload\":\"\""),
        ] {
            let text = json(&Message::new(payload));
            assert!(text.contains(expected), "{text}");
            assert_eq!(text.lines().count(), 1);
        }
        let text = json(&Message::tombstone("ada"));
        assert!(text.contains("\"key\":\"ada\""), "{text}");
        assert!(text.contains("\"encoding\":\"none\",\"payload\":null"), "{text}");
    }

    #[test]
    fn keys_and_headers_that_are_no_text_are_base64() {
        let message = Message::new("x")
            .with_key(&b"\xff"[..])
            .with_header("h", b"\xfe")
            .unwrap();
        let text = json(&message);
        assert!(text.contains("\"key\":{\"base64\":\"/w==\"}"), "{text}");
        assert!(
            text.contains("\"headers\":{\"h\":{\"base64\":\"/g==\"}}"),
            "{text}"
        );
        assert!(message_block(&message).contains("h: base64:/g=="));
    }
}

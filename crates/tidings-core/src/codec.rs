//! How a value becomes a payload and back: [`Encode`], [`Decode`], and the codecs for JSON, text and bytes.

use crate::failure::Failure;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::Cell;

/// Why a payload could not be encoded or decoded.
///
/// The text never contains the payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The payload does not have the expected shape.
    #[error("cannot decode as {expected}: {reason}")]
    Decode {
        /// What was expected, a type or media type.
        expected: &'static str,
        /// What is wrong and where.
        reason: String,
    },
    /// The value cannot be encoded.
    #[error("cannot encode {value}: {reason}")]
    Encode {
        /// The type of the value.
        value: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The message has another content type than the codec reads.
    #[error("content type is {found:?}, this codec reads {expected}")]
    ContentType {
        /// The header's value.
        found: String,
        /// What the codec reads.
        expected: &'static str,
    },
    /// The message has no payload where one is needed.
    #[error("the message has no payload (a tombstone); take `Option<…>` to accept it")]
    NoPayload,
}

impl CodecError {
    /// Checks that a codec reads messages of that content type.
    pub(crate) fn unless_read<C: Codec>(content_type: &[u8]) -> Result<(), Self> {
        // What most messages say, without a look at each letter.
        if content_type == C::CONTENT_TYPE.as_bytes() {
            return Ok(());
        }
        let found = String::from_utf8_lossy(content_type);
        if C::accepts(&found) {
            return Ok(());
        }
        Err(Self::ContentType {
            found: found.chars().take(100).flat_map(char::escape_default).collect(),
            expected: C::CONTENT_TYPE,
        })
    }

    /// As a failure that is never tried again.
    pub fn into_failure(self) -> Failure {
        Failure::new(crate::FailureKind::Undecodable, self)
    }
}

/// A codec: a media type, and which content types it accepts.
pub trait Codec {
    /// The media type that it writes.
    const CONTENT_TYPE: &'static str;

    /// Whether it reads messages of that content type. A message without one is always read.
    fn accepts(content_type: &str) -> bool {
        media_type(content_type).eq_ignore_ascii_case(Self::CONTENT_TYPE)
    }
}

/// A codec that can write `T`.
pub trait Encode<T: ?Sized>: Codec {
    /// The payload.
    ///
    /// # Errors
    /// [`CodecError::Encode`] when the value cannot be represented.
    fn encode(value: &T) -> Result<Bytes, CodecError>;
}

/// A codec that can read `T`.
pub trait Decode<T>: Codec {
    /// The value. Total: any bytes give a value or an error.
    ///
    /// # Errors
    /// [`CodecError::Decode`].
    fn decode(payload: &[u8]) -> Result<T, CodecError>;
}

/// The media type without its parameters.
fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

thread_local! {
    /// Where a payload grows. A value that encodes another while it is encoded finds an empty one.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A larger one is not kept.
const MAX_SCRATCH: usize = 64 * 1024;

/// JSON by serde, `application/json` and `application/*+json`. Nesting is limited to 128 levels.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonCodec;

impl Codec for JsonCodec {
    const CONTENT_TYPE: &'static str = "application/json";

    fn accepts(content_type: &str) -> bool {
        let found = media_type(content_type);
        let suffix = found
            .len()
            .checked_sub("+json".len())
            .and_then(|start| found.get(start..));
        found.eq_ignore_ascii_case(Self::CONTENT_TYPE)
            || suffix.is_some_and(|end| end.eq_ignore_ascii_case("+json"))
    }
}

impl<T: Serialize + ?Sized> Encode<T> for JsonCodec {
    fn encode(value: &T) -> Result<Bytes, CodecError> {
        // The length is known at the end only: written here, the payload is allocated once, at its size.
        let mut scratch = SCRATCH.take();
        scratch.clear();
        let encoded = serde_json::to_writer(&mut scratch, value);
        let payload = encoded.map(|()| Bytes::copy_from_slice(&scratch));
        if scratch.capacity() <= MAX_SCRATCH {
            SCRATCH.set(scratch);
        }
        payload.map_err(|error| CodecError::Encode {
            value: std::any::type_name::<T>(),
            reason: error.to_string(),
        })
    }
}

impl<T: DeserializeOwned> Decode<T> for JsonCodec {
    fn decode(payload: &[u8]) -> Result<T, CodecError> {
        // Looked at as a whole, UTF-8 costs a tenth of what it costs string by string. What is none may still be JSON for `T`,
        // in a part that it does not read.
        let read = match std::str::from_utf8(payload) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(payload),
        };
        read.map_err(|error| CodecError::Decode {
            expected: std::any::type_name::<T>(),
            reason: without_content(&error),
        })
    }
}

/// serde_json quotes unexpected strings in its messages; a log must not hold what a customer wrote.
fn without_content(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!("line {} column {}", error.line(), error.column());
    let kind = match error.classify() {
        serde_json::error::Category::Io => "unreadable",
        serde_json::error::Category::Syntax => "not JSON",
        serde_json::error::Category::Eof => "JSON ends too early",
        serde_json::error::Category::Data => "JSON of another shape",
    };
    // `missing field `x`` and the like name only what the type declares, and help most.
    let declared = ["missing field", "duplicate field"]
        .iter()
        .find(|known| text.starts_with(**known));
    match declared {
        Some(_) => format!("{kind}: {text}"),
        None => format!("{kind} at {place}{}", expectation(&text)),
    }
}

/// The part of serde's message that says what was expected; it comes from the type, not from the payload.
fn expectation(text: &str) -> String {
    let end = text.rfind(" at line ").unwrap_or(text.len());
    match text
        .get(..end)
        .and_then(|said| said.rfind(", expected ").and_then(|start| said.get(start..)))
    {
        Some(expected) if expected.len() <= 200 => expected.to_owned(),
        _ => String::new(),
    }
}

/// UTF-8 text, `text/plain`.
#[derive(Debug, Clone, Copy, Default)]
pub struct TextCodec;

impl Codec for TextCodec {
    const CONTENT_TYPE: &'static str = "text/plain";

    fn accepts(content_type: &str) -> bool {
        media_type(content_type)
            .get(..5)
            .is_some_and(|start| start.eq_ignore_ascii_case("text/"))
    }
}

impl<T: AsRef<str> + ?Sized> Encode<T> for TextCodec {
    fn encode(value: &T) -> Result<Bytes, CodecError> {
        Ok(Bytes::copy_from_slice(value.as_ref().as_bytes()))
    }
}

impl<T: From<String>> Decode<T> for TextCodec {
    fn decode(payload: &[u8]) -> Result<T, CodecError> {
        match std::str::from_utf8(payload) {
            Ok(text) => Ok(T::from(text.to_owned())),
            Err(error) => Err(CodecError::Decode {
                expected: "UTF-8 text",
                reason: error.to_string(),
            }),
        }
    }
}

/// Bytes as they are, `application/octet-stream`. Reads every content type.
#[derive(Debug, Clone, Copy, Default)]
pub struct BytesCodec;

impl Codec for BytesCodec {
    const CONTENT_TYPE: &'static str = "application/octet-stream";

    fn accepts(_content_type: &str) -> bool {
        true
    }
}

impl<T: AsRef<[u8]> + ?Sized> Encode<T> for BytesCodec {
    fn encode(value: &T) -> Result<Bytes, CodecError> {
        Ok(Bytes::copy_from_slice(value.as_ref()))
    }
}

impl<T: From<Vec<u8>>> Decode<T> for BytesCodec {
    fn decode(payload: &[u8]) -> Result<T, CodecError> {
        Ok(T::from(payload.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[test]
    fn values_may_encode_others_while_they_are_encoded_and_large_ones_leave_nothing_behind() {
        struct Nested;
        impl Serialize for Nested {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let inner = JsonCodec::encode("inner").unwrap();
                serializer.serialize_str(std::str::from_utf8(&inner).unwrap())
            }
        }
        assert_eq!(
            &JsonCodec::encode(&("a", Nested, "z")).unwrap()[..],
            br#"["a","\"inner\"","z"]"#
        );
        let large = "x".repeat(MAX_SCRATCH + 1);
        assert_eq!(JsonCodec::encode(&large).unwrap().len(), large.len() + 2);
        assert!(SCRATCH.take().capacity() <= MAX_SCRATCH);
        assert_eq!(&JsonCodec::encode(&1).unwrap()[..], b"1");
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Order {
        id: String,
        quantity: u32,
    }

    #[test]
    fn a_decode_error_names_the_place_and_never_the_content() {
        let error = <JsonCodec as Decode<Order>>::decode(br#"{"id":"a","quantity":"hunter2"}"#).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("column") && text.contains("expected u32"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        let error = <JsonCodec as Decode<Order>>::decode(br#"{"id":"a"}"#).unwrap_err();
        assert!(error.to_string().contains("missing field `quantity`"), "{error}");
    }

    #[test]
    fn what_is_no_utf_8_is_an_error_where_it_is_read_and_nowhere_else() {
        let read = |id: &[u8], note: &[u8]| {
            let payload = [br#"{"quantity":1,"note":""#, note, br#"","id":""#, id, br#""}"#].concat();
            <JsonCodec as Decode<Order>>::decode(&payload)
        };
        let (id, quantity) = ("é".to_owned(), 1);
        assert_eq!(read("é".as_bytes(), b"ok"), Ok(Order { id, quantity }));
        assert_eq!(read(b"a", b"\xff").unwrap().id, "a");
        let error = read(b"\xff", b"ok").unwrap_err().to_string();
        assert!(error.contains("not JSON at line 1 column"), "{error}");
    }

    #[test]
    fn content_types_are_compared_without_parameters_and_case() {
        let cases = [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/vnd.order.v1+json", true),
            ("text/plain", false),
            ("", false),
            ("é", false),
        ];
        for (content_type, accepted) in cases {
            assert_eq!(JsonCodec::accepts(content_type), accepted, "{content_type}");
        }
    }

    #[test]
    fn a_depth_bomb_is_an_error_and_not_a_stack_overflow() {
        let bomb = "[".repeat(1_000_000);
        assert!(<JsonCodec as Decode<serde_json::Value>>::decode(bomb.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn json_round_trips(id in ".*", quantity: u32) {
            let order = Order { id, quantity };
            let payload = JsonCodec::encode(&order).unwrap();
            prop_assert_eq!(<JsonCodec as Decode<Order>>::decode(&payload).unwrap(), order);
        }

        #[test]
        fn any_bytes_decode_or_fail_without_a_panic(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = <JsonCodec as Decode<Order>>::decode(&payload);
            let _ = <TextCodec as Decode<String>>::decode(&payload);
            prop_assert_eq!(<BytesCodec as Decode<Vec<u8>>>::decode(&payload).unwrap(), payload);
        }
    }
}

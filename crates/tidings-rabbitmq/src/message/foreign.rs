//! Values of other clients as bytes: [`bytes_of`].

use lapin::types::AMQPValue;
use serde_json::{Value, json};
use std::borrow::Cow;

/// Text and bytes as they are, everything else as text; arrays and tables as JSON.
pub(super) fn bytes_of(value: &AMQPValue) -> Cow<'_, [u8]> {
    match value {
        AMQPValue::LongString(text) => text.as_bytes().into(),
        AMQPValue::ShortString(text) => text.as_str().as_bytes().into(),
        AMQPValue::ByteArray(bytes) => bytes.as_slice().into(),
        AMQPValue::Void => Cow::Borrowed(b""),
        AMQPValue::DecimalValue(decimal) => decimal_text(decimal.scale, decimal.value).into_bytes().into(),
        AMQPValue::Float(number) => number.to_string().into_bytes().into(),
        AMQPValue::Double(number) => number.to_string().into_bytes().into(),
        other => json_of(other).to_string().into_bytes().into(),
    }
}

fn json_of(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(value) => json!(value),
        AMQPValue::ShortShortInt(value) => json!(value),
        AMQPValue::ShortShortUInt(value) => json!(value),
        AMQPValue::ShortInt(value) => json!(value),
        AMQPValue::ShortUInt(value) => json!(value),
        AMQPValue::LongInt(value) => json!(value),
        AMQPValue::LongUInt(value) => json!(value),
        AMQPValue::LongLongInt(value) => json!(value),
        AMQPValue::Timestamp(value) => json!(value),
        AMQPValue::Float(value) => json!(value),
        AMQPValue::Double(value) => json!(value),
        AMQPValue::DecimalValue(value) => json!(decimal_text(value.scale, value.value)),
        AMQPValue::ShortString(value) => json!(value.as_str()),
        AMQPValue::LongString(value) => json!(String::from_utf8_lossy(value.as_bytes())),
        AMQPValue::ByteArray(value) => json!(String::from_utf8_lossy(value.as_slice())),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(json_of).collect(),
        AMQPValue::FieldTable(table) => {
            let entries = table
                .into_iter()
                .map(|(name, value)| (name.as_str().to_owned(), json_of(value)));
            Value::Object(entries.collect())
        }
        AMQPValue::Void => Value::Null,
    }
}

/// `value` with its point `scale` digits from the right.
fn decimal_text(scale: u8, value: u32) -> String {
    let scale = usize::from(scale);
    let digits = format!("{value:0>width$}", width = scale + 1);
    match digits.split_at_checked(digits.len() - scale) {
        Some((whole, part)) if !part.is_empty() => format!("{whole}.{part}"),
        _ => digits,
    }
}

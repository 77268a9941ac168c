//! A message as the management API takes and gives it: [`RabbitMessage`].

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::api::text;

/// A message that goes in or comes out by the management API.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RabbitMessage {
    /// Empty for the one without a name, which leads to queues by their names.
    pub exchange: String,
    /// Where it goes there.
    pub routing_key: String,
    /// Its properties as the API names them: `{"message_id": "7", "headers": {"tenant": "acme"}}`.
    pub properties: Value,
    /// What it says.
    pub payload: Vec<u8>,
    /// Whether it was handed out before. Counts for what comes out only.
    pub redelivered: bool,
}

impl RabbitMessage {
    /// A persistent message for a queue.
    pub fn to_queue(queue: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            exchange: String::new(),
            routing_key: queue.into(),
            properties: json!({ "delivery_mode": 2 }),
            payload: payload.into(),
            redelivered: false,
        }
    }

    pub(super) fn parse(value: &Value) -> Option<Self> {
        let payload = value["payload"].as_str()?;
        Some(Self {
            exchange: text(&value["exchange"]),
            routing_key: text(&value["routing_key"]),
            properties: value["properties"].clone(),
            payload: match value["payload_encoding"].as_str()? {
                "base64" => STANDARD.decode(payload).ok()?,
                _ => payload.into(),
            },
            redelivered: value["redelivered"].as_bool()?,
        })
    }
    /// As the API wants it.
    pub(super) fn body(&self) -> Value {
        json!({
            "routing_key": self.routing_key,
            "properties": self.properties,
            "payload": STANDARD.encode(&self.payload),
            "payload_encoding": "base64",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_that_is_no_text_comes_out_as_it_went_in() {
        let message = |payload: &str, encoding: &str| {
            RabbitMessage::parse(&json!({
                "payload": payload, "payload_encoding": encoding, "redelivered": true,
                "exchange": "", "routing_key": "orders", "properties": { "message_id": "7" },
            }))
            .unwrap()
        };
        assert_eq!(message("/wA=", "base64").payload, [255, 0]);
        let plain = message("/wA=", "string");
        assert_eq!(
            (plain.payload.as_slice(), plain.redelivered),
            (&b"/wA="[..], true)
        );
    }
}

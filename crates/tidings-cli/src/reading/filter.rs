//! Which messages are meant: [`MessageFilter`].

use tidings_core::Message;

/// Which messages are meant: all conditions must hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct MessageFilter {
    /// The key.
    pub(crate) key: Option<String>,
    /// Headers with their values.
    pub(crate) headers: Vec<(String, String)>,
    /// Text that the payload contains.
    pub(crate) payload_contains: Option<String>,
}

impl MessageFilter {
    /// Whether this message is meant.
    pub(crate) fn accepts(&self, message: &Message) -> bool {
        let key = self.key.as_ref();
        let same_key = key.is_none_or(|key| message.key().is_some_and(|found| found[..] == *key.as_bytes()));
        let same_headers = self
            .headers
            .iter()
            .all(|(name, value)| message.headers().get(name) == Some(value.as_bytes()));
        same_key
            && same_headers
            && self
                .payload_contains
                .as_ref()
                .is_none_or(|text| contains(message, text))
    }
}

fn contains(message: &Message, text: &str) -> bool {
    let payload = message.payload().map(|payload| &payload[..]).unwrap_or_default();
    text.is_empty()
        || payload
            .windows(text.len())
            .any(|window| window == text.as_bytes())
}

/// A header as `name=value`.
///
/// # Errors
/// What is expected.
pub(crate) fn parse_header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is no header: write name=value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_conditions_must_hold() {
        let message = Message::new("{\"total\":5}")
            .with_key("ada")
            .with_header("type", "order.placed")
            .unwrap();
        let filter = |key: Option<&str>, headers: &[(&str, &str)], text: Option<&str>| MessageFilter {
            key: key.map(str::to_owned),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            payload_contains: text.map(str::to_owned),
        };
        for (filter, accepted) in [
            (filter(None, &[], None), true),
            (
                filter(Some("ada"), &[("type", "order.placed")], Some("total")),
                true,
            ),
            (filter(Some("bob"), &[], None), false),
            (filter(None, &[("type", "order")], None), false),
            (filter(None, &[("other", "x")], None), false),
            (filter(None, &[], Some("totals")), false),
        ] {
            assert_eq!(filter.accepts(&message), accepted, "{filter:?}");
        }
        assert!(!filter(Some(""), &[], Some("x")).accepts(&Message::tombstone("k")));
    }
}

//! What the routing key of a message is made of: [`RoutingKey`].

use crate::error::RabbitError;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use tidings_core::{Message, names};

/// A routing key with places for what a message carries: `{type}`, `{key}`, `{destination}` and `{header:NAME}`.
///
/// What a message lacks leaves its place empty, but for `{type}`, where the destination's name stands then. The header
/// `amqp-routing-key` of a message is its routing key, whatever the template says: that is how code decides.
#[derive(Clone)]
pub struct RoutingKey(Made);

#[derive(Clone)]
enum Made {
    Of(Vec<Part>),
    By(Arc<dyn Fn(&Message) -> String + Send + Sync>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Type,
    Key,
    Destination,
    Header(String),
}

/// The header that is the routing key of its message.
const ROUTING_KEY: &str = "amqp-routing-key";

impl Default for RoutingKey {
    /// The type of the event.
    fn default() -> Self {
        Self(Made::Of(vec![Part::Type]))
    }
}

impl fmt::Debug for RoutingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Made::Of(parts) => f.debug_tuple("RoutingKey").field(parts).finish(),
            Made::By(_) => f.write_str("RoutingKey(a function)"),
        }
    }
}

/// Two are the same if they say the same, or are the same function.
impl PartialEq for RoutingKey {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Made::Of(one), Made::Of(other)) => one == other,
            (Made::By(one), Made::By(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for RoutingKey {}

impl RoutingKey {
    /// The same for every message.
    pub fn fixed(key: impl Into<String>) -> Self {
        Self(Made::Of(vec![Part::Text(key.into())]))
    }

    /// What a function makes of each message. It is called on the thread that publishes: it should be quick, and not panic.
    pub fn by(function: impl Fn(&Message) -> String + Send + Sync + 'static) -> Self {
        Self(Made::By(Arc::new(function)))
    }

    /// From a template such as `orders.{header:region}.{type}`.
    ///
    /// # Errors
    /// [`RabbitError::Topology`]: a brace without its other one, or a place that there is not.
    pub fn parse(template: &str) -> Result<Self, RabbitError> {
        let wrong = |reason: String| RabbitError::Topology {
            what: format!("the routing key \"{template}\""),
            reason: format!(
                "{reason}; {{type}}, {{key}}, {{destination}} and {{header:NAME}} may stand in it"
            ),
        };
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((text, after)) = rest.split_once('{') {
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| wrong("a brace has no end".to_owned()))?;
            if !text.is_empty() {
                parts.push(Part::Text(text.to_owned()));
            }
            parts.push(match (name, name.strip_prefix("header:")) {
                ("type", _) => Part::Type,
                ("key", _) => Part::Key,
                ("destination", _) => Part::Destination,
                (_, Some(header)) if !header.is_empty() => Part::Header(header.to_owned()),
                _ => return Err(wrong(format!("there is no {{{name}}}"))),
            });
            rest = after;
        }
        if rest.contains('}') {
            return Err(wrong("a brace has no beginning".to_owned()));
        }
        if !rest.is_empty() || parts.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(Made::Of(parts)))
    }

    /// The routing key of a message.
    pub(crate) fn of<'a>(&'a self, message: &'a Message, destination: &'a str) -> Cow<'a, str> {
        if let Some(key) = message.headers().get_str(ROUTING_KEY) {
            return key.into();
        }
        match &self.0 {
            Made::By(function) => function(message).into(),
            Made::Of(parts) => match &parts[..] {
                [part] => part.of(message, destination),
                parts => {
                    let parts = parts.iter().map(|part| part.of(message, destination));
                    parts.collect::<String>().into()
                }
            },
        }
    }
}

impl Part {
    fn of<'a>(&'a self, message: &'a Message, destination: &'a str) -> Cow<'a, str> {
        match self {
            Self::Text(text) => text.into(),
            Self::Type => message
                .headers()
                .get_str(names::TYPE)
                .unwrap_or(destination)
                .into(),
            Self::Key => String::from_utf8_lossy(message.key().map_or(&[][..], |key| key)),
            Self::Destination => destination.into(),
            Self::Header(name) => message.headers().get_str(name).unwrap_or_default().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_with_what_a_message_carries() {
        let message = Message::new("x")
            .with_key("k1")
            .with_header(names::TYPE, "order.placed")
            .and_then(|message| message.with_header("region", "eu"))
            .unwrap();
        for (template, key) in [
            ("{type}", "order.placed"),
            ("fixed", "fixed"),
            ("", ""),
            ("a.{header:region}.{type}.{key}", "a.eu.order.placed.k1"),
            ("{destination}.{header:none}.", "orders.."),
        ] {
            assert_eq!(RoutingKey::parse(template).unwrap().of(&message, "orders"), key);
        }
        assert_eq!(RoutingKey::default().of(&Message::new("x"), "orders"), "orders");
        let chosen = Message::new("x").with_header(ROUTING_KEY, "own").unwrap();
        assert_eq!(RoutingKey::fixed("f").of(&chosen, "orders"), "own");
        let sized = RoutingKey::by(|message| format!("size.{}", message.size()));
        assert_eq!(sized.of(&Message::new("xyz"), "orders"), "size.3");
    }

    #[test]
    fn what_is_no_template_is_refused_with_the_reason() {
        for (template, reason) in [
            ("a.{type", "no end"),
            ("a}", "no beginning"),
            ("{tpye}", "there is no {tpye}"),
            ("{header:}", "there is no {header:}"),
        ] {
            let error = RoutingKey::parse(template).unwrap_err().to_string();
            assert!(
                error.contains(reason) && error.contains("{header:NAME}"),
                "{error}"
            );
        }
    }
}

//! Where a reply goes: [`ReplyAddress`], and which addresses are believed: [`ReplyRule`].

use crate::headers::{HeaderView, HeadersError};
use crate::message::Message;
use crate::names;
use crate::spring;
use std::sync::Arc;

/// What the name of a reply destination ends with, unless the configuration gives it another.
pub const REPLY_SUFFIX: &str = ".replies";

/// Where the reply to a request goes, as the request says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyAddress {
    /// The destination, or whatever the broker takes for one.
    pub destination: Arc<str>,
    /// The partition there; none leaves it to the key.
    pub partition: Option<u32>,
}

impl ReplyAddress {
    /// An address that needs no partition.
    pub fn new(destination: impl Into<Arc<str>>) -> Self {
        Self {
            destination: destination.into(),
            partition: None,
        }
    }

    /// What the headers of a request say, in our words or in those of Spring Kafka. None if it wants no reply, or names
    /// a place that is no text.
    pub fn read(headers: HeaderView<'_>) -> Option<Self> {
        let name = |name| headers.find_str(name).filter(|name| !name.is_empty());
        if let Some(destination) = name(names::REPLY_TO) {
            let partition = headers.find_str(names::REPLY_PARTITION);
            return Some(Self {
                destination: destination.into(),
                partition: partition.and_then(|number| number.parse().ok()),
            });
        }
        let partition = headers.find_value(spring::REPLY_PARTITION);
        let partition = partition.and_then(|bytes| Some(i32::from_be_bytes(bytes.try_into().ok()?)));
        Some(Self {
            destination: name(spring::REPLY_TOPIC)?.into(),
            partition: partition.and_then(|number| u32::try_from(number).ok()),
        })
    }

    /// Makes a message a request whose reply goes there, with an id of its own.
    ///
    /// # Errors
    /// Its headers have no room for that.
    pub fn write(&self, message: &mut Message, correlation: &str) -> Result<(), HeadersError> {
        message.headers_mut().edit(|writer| {
            let writer = [
                names::REPLY_PARTITION,
                spring::REPLY_TOPIC,
                spring::REPLY_PARTITION,
            ]
            .into_iter()
            .fold(writer, |writer, name| writer.remove(name))
            .set(names::REPLY_TO, self.destination.as_bytes())
            .set(names::CORRELATION_ID, correlation);
            match self.partition {
                Some(partition) => writer.set(names::REPLY_PARTITION, partition.to_string()),
                None => writer,
            }
        })
    }

    /// Says the same in the words of Spring Kafka, so that a listener there can answer.
    ///
    /// # Errors
    /// The headers have no room for that.
    pub fn write_for_spring(&self, message: &mut Message, correlation: &str) -> Result<(), HeadersError> {
        message.headers_mut().edit(|writer| {
            let writer = writer
                .set(spring::REPLY_TOPIC, self.destination.as_bytes())
                .set(spring::CORRELATION, correlation);
            match self.partition.and_then(|partition| i32::try_from(partition).ok()) {
                Some(partition) => writer.set(spring::REPLY_PARTITION, partition.to_be_bytes()),
                None => writer,
            }
        })
    }
}

/// Which addresses a reply may go to. Whoever can publish a request could otherwise have a service write wherever the
/// service may write: its reply would be a message like any other in somebody else's destination.
///
/// Always believed are destinations whose name ends with [`REPLY_SUFFIX`], and what the broker alone gives out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplyRule {
    also: Vec<Box<str>>,
}

impl ReplyRule {
    /// Besides, these names. A `*` in one stands for any characters.
    pub fn also<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            also: names.into_iter().map(Into::into).collect(),
        }
    }

    /// Whether a reply may go to the destination of that name.
    pub fn allows(&self, name: &str) -> bool {
        let is_usual = name.len() > REPLY_SUFFIX.len() && name.ends_with(REPLY_SUFFIX);
        is_usual || self.also.iter().any(|pattern| matches(pattern, name))
    }
}

/// Whether a name is one of the pattern's: its first and last part hold the ends, the others follow each other.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut left) = name.strip_prefix(first) else {
        return false;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        match left.split_once(part) {
            Some((_, after)) => left = after,
            None => return false,
        }
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_places_for_replies_are_believed_unless_somebody_says_otherwise() {
        let usual = ReplyRule::default();
        let wider = ReplyRule::also(["answers", "eu.*.back", "a*b*c*d"]);
        for (name, is_usual, is_wider) in [
            ("shop.replies", true, true),
            (".replies", false, false),
            ("payments", false, false),
            ("shop.replies.billing.retry", false, false),
            ("answers", false, true),
            ("answers2", false, false),
            ("eu.shop.back", false, true),
            ("eu.back", false, false),
            ("us.shop.back", false, false),
            ("aXbXcXd", false, true),
            ("aXcXbXd", false, false),
            ("", false, false),
        ] {
            assert_eq!(usual.allows(name), is_usual, "{name}");
            assert_eq!(wider.allows(name), is_wider, "{name}");
        }
    }

    #[test]
    fn an_address_is_read_in_both_languages() {
        let address = ReplyAddress {
            destination: "shop.replies".into(),
            partition: Some(3),
        };
        let mut ours = Message::new("x");
        address.write(&mut ours, "c-1").unwrap();
        assert_eq!(ReplyAddress::read(ours.headers().view()), Some(address.clone()));
        let mut springs = Message::new("x");
        address.write_for_spring(&mut springs, "c-1").unwrap();
        assert_eq!(ReplyAddress::read(springs.headers().view()), Some(address));
        let partition = springs.headers().get(spring::REPLY_PARTITION);
        assert_eq!(partition, Some(&[0, 0, 0, 3][..]));
        assert_eq!(ReplyAddress::read(Message::new("x").headers().view()), None);
    }

    #[test]
    fn a_partition_that_is_none_is_left_out() {
        for (name, value) in [
            (names::REPLY_PARTITION, &b"-1"[..]),
            (names::REPLY_PARTITION, b"\xff"),
            (spring::REPLY_PARTITION, &[255, 255, 255, 255]),
            (spring::REPLY_PARTITION, b"3"),
        ] {
            let to = if name == names::REPLY_PARTITION {
                names::REPLY_TO
            } else {
                spring::REPLY_TOPIC
            };
            let message = Message::new("x").with_header(to, "shop.replies");
            let message = message
                .and_then(|message| message.with_header(name, value))
                .unwrap();
            let read = ReplyAddress::read(message.headers().view());
            assert_eq!(read, Some(ReplyAddress::new("shop.replies")), "{value:?}");
        }
    }
}

//! Names on the wire, and which headers are properties: [`PROPERTIES`].

use super::note::ROUTING_KEYS;
use lapin::BasicProperties;
use lapin::types::ShortString;
use std::borrow::Cow;
use tidings_core::names;

/// The key of a message.
pub(super) const KEY: &str = "tidings-key";
/// That there is no payload, which an empty body alone does not say.
pub(super) const TOMBSTONE: &str = "tidings-tombstone";
/// The timestamp in milliseconds, under the name that RabbitMQ's own plugin for timestamps gives it.
pub(super) const MILLIS: &str = "timestamp_in_ms";
/// After how many milliseconds the server throws the message away, or gives it to the dead letters of its queue.
pub(crate) const EXPIRATION: &str = "amqp-expiration";
/// Carries our [mark](super::mark::Mark).
const CLUSTER_ID: &str = "cluster-id";
/// Where each header stood, see [`super::write`].
pub(super) const ORDER: &str = "tidings-order";
/// A block of headers that the table cannot hold.
pub(super) const MORE: &str = "tidings-more";
/// What the headers of a message that is published for later begin with: the way that it takes.
pub(crate) const DELAY: &str = "tidings-delay-";
/// What the queues on that way begin with.
pub(crate) const DELAY_QUEUE: &str = "tidings.delay.";
/// The address of whoever publishes, on a channel that consumes the replies. On any other one it would end the channel:
/// only requests have it as a property.
pub(crate) const ASKING: &str = "amq.rabbitmq.reply-to";

/// The longest name and the longest value of a property.
pub(super) const SHORT: usize = 255;

/// Headers in which the server looks for more routing keys. As text they end the channel, and no header of a message says
/// where it goes.
const ROUTING: [&str; 2] = [ROUTING_KEYS, "BCC"];

/// Whether a header of that name would be taken for one of ours or of the server's, or be none to us.
pub(super) fn is_ours(name: &str) -> bool {
    [KEY, TOMBSTONE, MILLIS, ORDER, MORE].contains(&name) || ROUTING.contains(&name)
}

/// A property that is a header in Tidings.
pub(super) struct Property {
    /// The name of the header.
    pub(super) name: &'static str,
    /// Whether a header with this value may be written as the property.
    fits: fn(&str) -> bool,
    set: fn(BasicProperties, &str) -> BasicProperties,
    get: for<'a> fn(&'a BasicProperties) -> Option<Cow<'a, str>>,
}

impl Property {
    /// The properties with this one, if the value is one that it can have.
    pub(super) fn set(&self, properties: &mut BasicProperties, value: &[u8]) -> bool {
        let Ok(value) = std::str::from_utf8(value) else {
            return false;
        };
        if value.len() > SHORT || !(self.fits)(value) {
            return false;
        }
        *properties = (self.set)(std::mem::take(properties), value);
        true
    }

    pub(super) fn get<'a>(&self, properties: &'a BasicProperties) -> Option<Cow<'a, str>> {
        (self.get)(properties)
    }
}

macro_rules! text {
    ($name:expr, $with:ident, $get:ident, $fits:expr) => {
        Property {
            name: $name,
            fits: $fits,
            set: |properties, value| match ShortString::try_new(value) {
                Ok(value) => properties.$with(value),
                Err(_) => properties,
            },
            get: |properties| properties.$get().as_ref().map(|text| text.as_str().into()),
        }
    };
}

/// The properties that are headers, in the order in which they are read.
///
/// Who the user is must be true or RabbitMQ closes the channel; it is read only, as is a property that nobody uses, which is the
/// last: where it carries our mark, it is no header.
pub(super) const PROPERTIES: &[Property] = &[
    text!(names::MESSAGE_ID, with_message_id, message_id, |_| true),
    text!(names::TYPE, with_type, kind, |_| true),
    text!(names::CONTENT_TYPE, with_content_type, content_type, |_| true),
    text!(
        "content-encoding",
        with_content_encoding,
        content_encoding,
        |_| true
    ),
    text!(names::CORRELATION_ID, with_correlation_id, correlation_id, |_| {
        true
    }),
    text!("app-id", with_app_id, app_id, |_| true),
    text!(names::REPLY_TO, with_reply_to, reply_to, |address| address
        != ASKING),
    text!(EXPIRATION, with_expiration, expiration, is_expiration),
    Property {
        name: "amqp-priority",
        fits: |value| decimal(value).is_some(),
        set: |properties, value| match decimal(value) {
            Some(priority) => properties.with_priority(priority),
            None => properties,
        },
        get: |properties| properties.priority().map(|priority| priority.to_string().into()),
    },
    Property {
        name: "amqp-delivery-mode",
        fits: |value| value == "1",
        set: |properties, _| properties.with_delivery_mode(TRANSIENT),
        get: |properties| {
            (*properties.delivery_mode() == Some(TRANSIENT)).then(|| TRANSIENT.to_string().into())
        },
    },
    text!("user-id", with_user_id, user_id, |_| false),
    text!(CLUSTER_ID, with_cluster_id, cluster_id, |_| false),
];

/// The message does not outlive the broker.
const TRANSIENT: u8 = 1;
/// It does.
pub(super) const PERSISTENT: u8 = 2;

/// A decimal number as it would be printed: only that comes back as it was.
fn decimal(value: &str) -> Option<u8> {
    let number: u8 = value.parse().ok()?;
    (number.to_string() == value).then_some(number)
}

/// What RabbitMQ takes; for anything else it closes the channel.
fn is_expiration(value: &str) -> bool {
    value
        .parse::<u32>()
        .is_ok_and(|number| number.to_string() == value)
}

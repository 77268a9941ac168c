//! AMQP's properties and body as a message.

use super::foreign::bytes_of;
use super::mark::Mark;
use super::parts::{DELAY, DELAY_QUEUE, KEY, MILLIS, MORE, ORDER, PROPERTIES, TOMBSTONE};
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use std::borrow::Cow;
use tidings_core::headers::{HeaderView, HeaderWriter};
use tidings_core::{BatchBuilder, Message, Timestamp, amqp};

type Header<'a> = (&'a str, Cow<'a, [u8]>);

/// What came. What other clients write becomes headers as text, and nothing is an error.
struct Received<'a> {
    properties: &'a BasicProperties,
    body: &'a [u8],
    mark: Option<Mark>,
    table: Entries<'a>,
}

/// What a table holds, looked at once: each message has one.
#[derive(Default)]
struct Entries<'a> {
    table: Option<&'a FieldTable>,
    key: Option<&'a AMQPValue>,
    tombstone: bool,
    millis: Option<i64>,
    order: Option<&'a AMQPValue>,
    more: &'a [u8],
    was_delayed: bool,
    /// There are others, which are headers.
    has_headers: bool,
}

impl<'a> Entries<'a> {
    fn of(table: &'a FieldTable) -> Self {
        let mut all = Self {
            table: Some(table),
            ..Self::default()
        };
        for (name, value) in table {
            match (name.as_str(), value) {
                (KEY, value) => all.key = Some(value),
                (TOMBSTONE, value) => all.tombstone = *value == AMQPValue::Boolean(true),
                (MILLIS, value) => all.millis = integer(value),
                (ORDER, value) => all.order = Some(value),
                (MORE, AMQPValue::LongString(more)) => all.more = more.as_bytes(),
                (MORE, _) => {}
                (name, value) => {
                    all.has_headers = true;
                    all.was_delayed |= name == amqp::DEATH
                        && last_death(value).is_some_and(|queue| queue.starts_with(DELAY_QUEUE));
                }
            }
        }
        all
    }

    /// By name, and then those that the table could not hold.
    fn headers(&self) -> impl Iterator<Item = Header<'a>> + use<'a> {
        let was_delayed = self.was_delayed;
        let table = self.table.filter(|_| self.has_headers);
        let in_table = table.into_iter().flatten().filter_map(move |(name, value)| {
            let name = name.as_str();
            match name {
                KEY | TOMBSTONE | MILLIS | ORDER | MORE => None,
                // The way of a message that was published for later is nobody's business.
                _ if name.starts_with(DELAY) || (was_delayed && amqp::is_history(name)) => None,
                _ => Some((name, bytes_of(value))),
            }
        });
        in_table.chain(HeaderView::new(self.more).map(|(name, value)| (name, value.into())))
    }
}

impl<'a> Received<'a> {
    fn new(properties: &'a BasicProperties, body: &'a [u8]) -> Self {
        Self {
            properties,
            body,
            mark: Mark::of(properties),
            table: properties.headers().as_ref().map(Entries::of).unwrap_or_default(),
        }
    }

    fn key(&self) -> Option<Cow<'a, [u8]>> {
        self.table.key.map(bytes_of)
    }

    fn payload(&self) -> Option<&'a [u8]> {
        let tombstone = self.body.is_empty() && self.table.tombstone;
        (!tombstone).then_some(self.body)
    }

    /// In milliseconds where somebody wrote them, as RabbitMQ's own plugin for timestamps does in a header and we do in the
    /// mark; seconds otherwise. Who changed the seconds on the way did not know of the header.
    fn timestamp(&self) -> Option<Timestamp> {
        let millis = self.table.millis;
        let Some(seconds) = *self.properties.timestamp() else {
            return millis.map(Timestamp::from_millis);
        };
        let of_seconds = i64::try_from(seconds).ok()?.checked_mul(1000)?;
        let fits = |millis: &i64| millis.div_euclid(1000) == of_seconds / 1000;
        let marked = || self.mark.map_or(0, |mark| i64::from(mark.millis));
        Some(Timestamp::from_millis(
            millis.filter(fits).unwrap_or_else(|| of_seconds + marked()),
        ))
    }

    /// All headers, in the order that [`super::write`] counts by.
    fn counted(&self) -> impl Iterator<Item = Header<'a>> + use<'a> {
        let properties = self.properties;
        // A mark is only ours. It is the last of the properties.
        let count = PROPERTIES.len() - usize::from(self.mark.is_some());
        let of_properties = PROPERTIES.iter().take(count).filter_map(|property| {
            let value = match property.get(properties)? {
                Cow::Borrowed(text) => text.as_bytes().into(),
                Cow::Owned(text) => text.into_bytes().into(),
            };
            Some((property.name, value))
        });
        of_properties.chain(self.table.headers())
    }

    /// How they were published.
    fn order(&self) -> Option<Cow<'a, [u8]>> {
        self.table.order.map(bytes_of)
    }
}

/// Adds the message that somebody published.
pub(crate) fn read_into(batch: &mut BatchBuilder, properties: &BasicProperties, body: &[u8]) {
    let received = Received::new(properties, body);
    let (timestamp, key) = (received.timestamp().unwrap_or_default(), received.key());
    let (key, payload) = (key.as_deref(), received.payload());
    match received.order() {
        None => batch.push(timestamp, key, received.counted(), payload),
        Some(order) => batch.push(
            timestamp,
            key,
            in_order(received.counted().collect(), &order),
            payload,
        ),
    }
}

/// A message that comes alone: it has a time only if somebody gave it one.
pub(crate) fn read(properties: &BasicProperties, body: &[u8]) -> Message {
    let received = Received::new(properties, body);
    let mut headers = received.counted().collect();
    if let Some(order) = received.order() {
        headers = in_order(headers, &order);
    }
    let headers = headers
        .iter()
        .fold(HeaderWriter::default(), |headers, (name, value)| {
            headers.append(name, value)
        });
    let message = Message::default()
        .with_payload(received.payload().map(Bytes::copy_from_slice))
        .with_optional_key(received.key().as_deref().map(Bytes::copy_from_slice))
        .with_headers(headers.finish_received());
    match received.timestamp() {
        Some(timestamp) => message.with_timestamp(timestamp),
        None => message,
    }
}

/// The headers in the order in which they were published. What the server has added on the way had no place there: a
/// message that comes again says how often, and one that was given up says by whom.
fn in_order<'a>(headers: Vec<Header<'a>>, order: &[u8]) -> Vec<Header<'a>> {
    let pick = |headers: &[Header<'a>]| -> Option<Vec<Header<'a>>> {
        let places = parse(order, headers.len())?;
        places
            .into_iter()
            .map(|place| headers.get(place).cloned())
            .collect()
    };
    if let Some(picked) = pick(&headers) {
        return picked;
    }
    let (added, own): (Vec<_>, Vec<_>) = headers.into_iter().partition(|(name, _)| amqp::is_history(name));
    let mut all = pick(&own).unwrap_or(own);
    all.extend(added);
    all
}

fn integer(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::LongLongInt(number) => Some(*number),
        AMQPValue::LongInt(number) => Some((*number).into()),
        AMQPValue::LongUInt(number) => Some((*number).into()),
        AMQPValue::Timestamp(number) => i64::try_from(*number).ok(),
        _ => None,
    }
}

/// The queue that a message left last by the server's own hand.
fn last_death(history: &AMQPValue) -> Option<&str> {
    let AMQPValue::FieldArray(deaths) = history else {
        return None;
    };
    let AMQPValue::FieldTable(last) = deaths.as_slice().first()? else {
        return None;
    };
    let AMQPValue::LongString(queue) = last.inner().get("queue")? else {
        return None;
    };
    std::str::from_utf8(queue.as_bytes()).ok()
}

/// The places, if each is named once: somebody may have added or removed headers on the way.
fn parse(order: &[u8], count: usize) -> Option<Vec<usize>> {
    let mut places = Vec::with_capacity(count);
    let mut named = vec![false; count];
    let mut bytes = order.iter();
    while let Some(first) = bytes.next() {
        let mut number = usize::from(first & 0x7f);
        let (mut shift, mut last) = (7, *first);
        while last & 0x80 != 0 {
            last = *bytes.next().filter(|_| shift <= 21)?;
            number |= usize::from(last & 0x7f) << shift;
            shift += 7;
        }
        let named = named.get_mut(number)?;
        if std::mem::replace(named, true) {
            return None;
        }
        places.push(number);
    }
    (places.len() == count).then_some(places)
}

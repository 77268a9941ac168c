//! AMQP's properties and body as a message.

use super::foreign::bytes_of;
use super::mark::Mark;
use super::parts::{CLUSTER_ID, DELAY, DELAY_QUEUE, KEY, MILLIS, MORE, ORDER, PROPERTIES, TOMBSTONE};
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use std::borrow::Cow;
use tidings_core::headers::{HeaderView, HeaderWriter};
use tidings_core::{BatchBuilder, Message, Timestamp, amqp};

type Header<'a> = (Cow<'a, str>, Cow<'a, [u8]>);

/// What came, part by part. What other clients write becomes headers as text, and nothing is an error.
struct Received<'a> {
    key: Option<Cow<'a, [u8]>>,
    headers: Vec<Header<'a>>,
    timestamp: Option<Timestamp>,
    payload: Option<&'a [u8]>,
}

impl<'a> Received<'a> {
    fn of(properties: &'a BasicProperties, body: &'a [u8]) -> Self {
        let table = properties.headers().as_ref();
        let find = |name: &str| table.and_then(|table| table.inner().get(name));
        let tombstone = body.is_empty() && find(TOMBSTONE) == Some(&AMQPValue::Boolean(true));
        let mark = Mark::of(properties);
        let order = find(ORDER).map(bytes_of);
        Self {
            key: find(KEY).map(bytes_of),
            headers: in_order(headers(properties, table, mark), order.as_deref()),
            timestamp: timestamp(properties, find(MILLIS), mark),
            payload: (!tombstone).then_some(body),
        }
    }

    fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (&**name, &**value))
    }
}

/// Adds the message that somebody published.
pub(crate) fn read_into(batch: &mut BatchBuilder, properties: &BasicProperties, body: &[u8]) {
    let received = Received::of(properties, body);
    let timestamp = received.timestamp.unwrap_or_default();
    batch.push(
        timestamp,
        received.key.as_deref(),
        received.headers(),
        received.payload,
    );
}

/// A message that comes alone: it has a time only if somebody gave it one.
pub(crate) fn read(properties: &BasicProperties, body: &[u8]) -> Message {
    let received = Received::of(properties, body);
    let headers = received
        .headers()
        .fold(HeaderWriter::default(), |headers, (name, value)| {
            headers.append(name, value)
        });
    let message = Message::default()
        .with_payload(received.payload.map(Bytes::copy_from_slice))
        .with_optional_key(received.key.as_deref().map(Bytes::copy_from_slice))
        .with_headers(headers.finish_received());
    match received.timestamp {
        Some(timestamp) => message.with_timestamp(timestamp),
        None => message,
    }
}

/// The headers in the order in which they were published. What the server has added on the way had no place there: a
/// message that comes again says how often, and one that was given up says by whom.
fn in_order<'a>(headers: Vec<Header<'a>>, order: Option<&[u8]>) -> Vec<Header<'a>> {
    let Some(order) = order else { return headers };
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

/// In milliseconds where somebody wrote them, as RabbitMQ's own plugin for timestamps does in a header and we do in the mark;
/// seconds otherwise. Who changed the seconds on the way did not know of the header.
fn timestamp(
    properties: &BasicProperties,
    millis: Option<&AMQPValue>,
    mark: Option<Mark>,
) -> Option<Timestamp> {
    let millis = millis.and_then(integer);
    let Some(seconds) = *properties.timestamp() else {
        return millis.map(Timestamp::from_millis);
    };
    let of_seconds = i64::try_from(seconds).ok()?.checked_mul(1000)?;
    let fits = |millis: &i64| millis.div_euclid(1000) == of_seconds / 1000;
    let marked = || mark.map_or(0, |mark| i64::from(mark.millis));
    Some(Timestamp::from_millis(
        millis.filter(fits).unwrap_or_else(|| of_seconds + marked()),
    ))
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

/// All headers, in the order that [`super::write`] counts by.
fn headers<'a>(
    properties: &'a BasicProperties,
    table: Option<&'a FieldTable>,
    mark: Option<Mark>,
) -> Vec<Header<'a>> {
    let in_table = table.map_or(0, |table| table.inner().len());
    let mut headers: Vec<Header<'a>> = Vec::with_capacity(PROPERTIES.len().min(6) + in_table);
    for property in PROPERTIES {
        match property.get(properties) {
            // Only ours.
            Some(_) if mark.is_some() && property.name == CLUSTER_ID => {}
            Some(Cow::Borrowed(text)) => headers.push((property.name.into(), text.as_bytes().into())),
            Some(Cow::Owned(text)) => headers.push((property.name.into(), text.into_bytes().into())),
            None => {}
        }
    }
    let Some(table) = table else {
        return headers;
    };
    let was_delayed = last_death(table).is_some_and(|queue| queue.starts_with(DELAY_QUEUE));
    for (name, value) in table {
        // The way of a message that was published for later is nobody's business.
        if name.as_str().starts_with(DELAY) || (was_delayed && amqp::is_history(name.as_str())) {
            continue;
        }
        if ![KEY, TOMBSTONE, MILLIS, ORDER, MORE].contains(&name.as_str()) {
            headers.push((name.as_str().into(), bytes_of(value)));
        }
    }
    if let Some(AMQPValue::LongString(more)) = table.inner().get(MORE) {
        let more = HeaderView::new(more.as_bytes());
        headers.extend(more.map(|(name, value)| (name.into(), value.into())));
    }
    headers
}

/// The queue that a message left last by the server's own hand.
fn last_death(table: &FieldTable) -> Option<&str> {
    let AMQPValue::FieldArray(deaths) = table.inner().get(amqp::DEATH)? else {
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

//! AMQP's properties and body as a message.

use super::foreign::bytes_of;
use super::parts::{KEY, MILLIS, MORE, ORDER, PROPERTIES, PUBLISH, TOMBSTONE};
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use std::borrow::Cow;
use tidings_core::headers::{HeaderView, HeaderWriter};
use tidings_core::{Message, Timestamp, amqp};

type Header<'a> = (Cow<'a, str>, Cow<'a, [u8]>);

/// The message that somebody published; what other clients write becomes headers as text, and nothing is an error.
pub(crate) fn read(properties: &BasicProperties, body: Bytes) -> Message {
    let table = properties.headers().as_ref();
    let find = |name: &str| table.and_then(|table| table.inner().get(name));
    let tombstone = body.is_empty() && find(TOMBSTONE) == Some(&AMQPValue::Boolean(true));
    let mut message = Message::default()
        .with_payload((!tombstone).then_some(body))
        .with_optional_key(find(KEY).map(|key| Bytes::from(bytes_of(key).into_owned())));
    if let Some(timestamp) = timestamp(properties, find(MILLIS)) {
        message = message.with_timestamp(timestamp);
    }
    let headers = headers(properties, table);
    let order = find(ORDER).map(bytes_of);
    let writer = HeaderWriter::default();
    let writer = in_order(headers, order.as_deref())
        .iter()
        .fold(writer, |writer, (name, value)| writer.append(name, value));
    message.with_headers(writer.finish_received())
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

/// In milliseconds where somebody wrote them; seconds otherwise. Who changed the seconds on the way did not know of the
/// milliseconds.
fn timestamp(properties: &BasicProperties, millis: Option<&AMQPValue>) -> Option<Timestamp> {
    let millis = millis.and_then(integer);
    let Some(seconds) = *properties.timestamp() else {
        return millis.map(Timestamp::from_millis);
    };
    let of_seconds = i64::try_from(seconds).ok()?.checked_mul(1000)?;
    let fits = |millis: &i64| millis.div_euclid(1000) == of_seconds / 1000;
    Some(Timestamp::from_millis(millis.filter(fits).unwrap_or(of_seconds)))
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
fn headers<'a>(properties: &'a BasicProperties, table: Option<&'a FieldTable>) -> Vec<Header<'a>> {
    let mut headers: Vec<Header<'a>> = Vec::new();
    for property in PROPERTIES {
        if let Some(value) = property.get(properties) {
            headers.push((property.name.into(), value.into_bytes().into()));
        }
    }
    let Some(table) = table else {
        return headers;
    };
    for (name, value) in table {
        if ![KEY, TOMBSTONE, MILLIS, ORDER, MORE, PUBLISH].contains(&name.as_str()) {
            headers.push((name.as_str().into(), bytes_of(value)));
        }
    }
    if let Some(AMQPValue::LongString(more)) = table.inner().get(MORE) {
        let more = HeaderView::new(more.as_bytes());
        headers.extend(more.map(|(name, value)| (name.into(), value.into())));
    }
    headers
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

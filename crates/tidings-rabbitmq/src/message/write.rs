//! A message as AMQP's properties and body.

use super::mark::{MARK_BYTES, Mark};
use super::note::{NOTE, ROUTING_KEYS, note};
use super::parts::{KEY, MILLIS, MORE, ORDER, PERSISTENT, PROPERTIES, SHORT, TOMBSTONE, is_ours};
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use std::collections::BTreeMap;
use tidings_core::Message;
use tidings_core::headers::{HeaderWriter, Headers};

/// A message as it goes over the wire.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) properties: BasicProperties,
    pub(crate) body: Bytes,
}

/// Where a header ends up. [`super::read_into`] puts properties first, then what the table holds by name, then the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place<'a> {
    Property(usize),
    Table(&'a str),
    More(usize),
}

/// Writes a message, with the number by which it is known if it comes back.
pub(crate) fn write(message: &Message, publish: Option<u64>) -> Written {
    let mut properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let mut table = BTreeMap::new();
    let mut put = |name: &str, value: AMQPValue| {
        if let Ok(name) = ShortString::try_new(name) {
            table.insert(name, value);
        }
    };
    if let Some(key) = message.key() {
        put(KEY, long(key));
    }
    if message.payload().is_none() {
        put(TOMBSTONE, AMQPValue::Boolean(true));
    }
    let mut mark = Mark { publish, millis: 0 };
    if let Some(timestamp) = message.timestamp() {
        let millis = timestamp.as_millis();
        match u64::try_from(millis) {
            Ok(millis) => {
                properties = properties.with_timestamp(millis / 1000);
                mark.millis = (millis % 1000) as u16;
            }
            // Before 1970, where the property does not reach.
            Err(_) => put(MILLIS, AMQPValue::LongLongInt(millis)),
        }
    }
    properties = mark.write(properties);
    headers(message.headers(), &mut properties, &mut put);
    if !table.is_empty() {
        properties = properties.with_headers(FieldTable::from(table));
    }
    Written {
        properties,
        body: message.payload().cloned().unwrap_or_default(),
    }
}

fn headers(headers: &Headers, properties: &mut BasicProperties, put: &mut impl FnMut(&str, AMQPValue)) {
    let mut places: Vec<Place<'_>> = Vec::new();
    let mut more = HeaderWriter::default();
    let mut beyond = 0;
    for (name, value) in headers {
        if name == NOTE {
            note(value).into_iter().for_each(|note| put(ROUTING_KEYS, note));
            continue;
        }
        let property = PROPERTIES.iter().position(|property| property.name == name);
        let property = property.filter(|index| !places.contains(&Place::Property(*index)));
        let in_table = |places: &[Place<'_>]| places.contains(&Place::Table(name));
        let place = match property {
            Some(index) if !in_table(&places) && set(properties, index, value) => Place::Property(index),
            _ if in_table(&places) || is_held(&places, name) || name.len() > SHORT || is_ours(name) => {
                more = more.append(name, value);
                beyond += 1;
                Place::More(beyond)
            }
            _ => {
                put(name, long(value));
                Place::Table(name)
            }
        };
        places.push(place);
    }
    if beyond > 0 {
        put(MORE, long(more.finish_received().as_block()));
    }
    if !places.is_sorted() {
        put(ORDER, long(&order(&places)));
    }
}

fn set(properties: &mut BasicProperties, index: usize, value: &[u8]) -> bool {
    let property = PROPERTIES.get(index);
    property.is_some_and(|property| property.set(properties, value))
}

/// Whether a property holds a header of that name already.
fn is_held(places: &[Place<'_>], name: &str) -> bool {
    places.iter().any(|place| match place {
        Place::Property(index) => PROPERTIES
            .get(*index)
            .is_some_and(|property| property.name == name),
        _ => false,
    })
}

/// For each header in its order, the place at which reading comes to it, as numbers of seven bits and a sign that more
/// follow.
fn order(places: &[Place<'_>]) -> Vec<u8> {
    let mut sorted = places.to_vec();
    sorted.sort_unstable();
    let mut order = Vec::with_capacity(places.len());
    for place in places {
        let mut number = sorted.partition_point(|other| other < place);
        while number > 0x7f {
            order.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        order.push(number as u8);
    }
    order
}

fn long(bytes: &[u8]) -> AMQPValue {
    AMQPValue::LongString(bytes.to_vec().into())
}

impl Written {
    /// What the properties take at the most in their frame, which must hold them whole.
    pub(crate) fn header_bytes(message: &Message) -> usize {
        // Names in the table cost a length and a type more than in a block, the order two bytes for each header.
        const FIXED: usize = 128;
        let key = message.key().map_or(0, |key| key.len() + KEY.len() + 6);
        let order: usize = message.headers().iter().map(|_| 8).sum();
        FIXED + MARK_BYTES + MILLIS.len() + MORE.len() + ORDER.len() + key + message.headers().size() + order
    }
}

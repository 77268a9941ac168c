//! The headers of a message as they came over the wire: [`raw_headers`].
//!
//! librdkafka shows headers as a list only. It makes a buffer, a list and a copy of each header for that, also to find
//! out that there is none, which is what a record of today says with a byte of its own: a thousand instructions a
//! message without headers, half of what the library does for it in all, and twice as many with three.
//!
//! So the bytes are read where the library keeps them. That is no part of its interface, so it is done with a version
//! whose layout is known, only after what can be asked of a message by its interface was found at its place in that
//! layout, and only where the bytes follow the payload as they do in a record. Everything else takes the way of the
//! interface, with the same result.

use rdkafka::bindings as c;
use std::ffi::{c_int, c_void};
use std::ptr::NonNull;
use std::slice;

/// Versions whose messages look like [`Inside`], the first and the last.
const KNOWN: [c_int; 2] = [0x020c_01ff, 0x020c_01ff];

/// `rd_kafka_msg_t` of a message that was fetched, up to what is read of it.
#[repr(C)]
struct Inside {
    message: c::rd_kafka_message_t,
    link: [*mut c_void; 2],
    flags: c_int,
    timestamp_kind: c_int,
    timestamp: i64,
    headers: *mut c_void,
    status: c_int,
    broker: i32,
    raw: Raw,
    leader_epoch: i32,
}

/// `rd_kafkap_bytes_t`: a part of the record.
#[repr(C)]
struct Raw {
    length: i32,
    data: *const u8,
    _inline: [u8; 1],
}

/// Whether the inside of messages may be looked at, found out with one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    Known,
    Unknown,
}

impl Layout {
    /// # Safety
    /// A message, not a report, that is alive.
    pub(super) unsafe fn of(message: NonNull<c::rd_kafka_message_t>) -> Self {
        // SAFETY: it takes nothing.
        let version = unsafe { c::rd_kafka_version() };
        if !(KNOWN[0]..=KNOWN[1]).contains(&version) {
            return Self::Unknown;
        }
        let mut kind = c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive and of a version that begins with this layout.
        let same = unsafe {
            let pointer = message.as_ptr();
            let inside = message.cast::<Inside>().as_ref();
            let time = c::rd_kafka_message_timestamp(pointer, &raw mut kind);
            inside.timestamp_kind == kind as c_int
                && (inside.timestamp == time || time < 0)
                && inside.status == c::rd_kafka_message_status(pointer) as c_int
                && inside.broker == c::rd_kafka_message_broker_id(pointer)
                && inside.leader_epoch == c::rd_kafka_message_leader_epoch(pointer)
        };
        if same { Self::Known } else { Self::Unknown }
    }
}

/// The headers as they came, with their count; empty if the record is too old to have any. None if the library has to
/// be asked.
///
/// # Safety
/// A message, not a report, that is alive for `'a`, of that layout.
pub(super) unsafe fn raw_headers<'a>(message: NonNull<c::rd_kafka_message_t>) -> Option<&'a [u8]> {
    // SAFETY: as the caller says.
    let inside = unsafe { message.cast::<Inside>().as_ref() };
    let (payload, length) = (inside.message.payload.cast::<u8>(), inside.message.len);
    if inside.raw.length == 0 {
        return Some(&[]);
    }
    let size = usize::try_from(inside.raw.length).ok()?;
    let follows = !payload.is_null()
        && length > 0
        && std::ptr::eq(payload.wrapping_add(length), inside.raw.data)
        && inside.headers.is_null();
    // SAFETY: so many bytes of the record follow its payload, and live as long as the message.
    follows.then(|| unsafe { slice::from_raw_parts(inside.raw.data, size) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::Message;
    use crate::source::wire;
    use rdkafka::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::message::{Header, OwnedHeaders};
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
    use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn header<'a>(key: &'a str, value: Option<&'a str>) -> Header<'a, &'a str> {
        Header { key, value }
    }

    /// What the way of the interface shows, and what the bytes say where they may be looked at.
    fn both(message: Message<'_>, layout: Layout) -> (Vec<Vec<u8>>, Option<Vec<Vec<u8>>>) {
        let join = |name: &[u8], value: &[u8]| [name, b"=", value].concat();
        // The bytes first: the library remembers what it has once parsed.
        let raw = message.raw_headers(layout).map(|raw| {
            let mut all = Vec::new();
            assert!(wire::each(raw, |name, value| all.push(join(name, value))));
            all
        });
        let mut shown = Vec::new();
        message.each_header(|name, value| shown.push(join(name, value)));
        (shown, raw)
    }

    #[test]
    fn the_layout_of_this_version_is_known_and_the_bytes_say_what_the_interface_shows() {
        let cluster = MockCluster::<DefaultProducerContext>::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers());
        let producer: BaseProducer = config.create().unwrap();
        let long = "v".repeat(300);
        let some = OwnedHeaders::new()
            .insert(header("id", Some("7")))
            .insert(header("long", Some(&long)))
            .insert(header("null", None))
            .insert(header("id", Some("")));
        let record = || BaseRecord::<str, str>::to("t").key("k");
        for record in [
            record().payload("p"),
            record().payload("p").headers(some.clone()),
            record().payload("").headers(some.clone()),
            record().headers(some),
            BaseRecord::to("t").payload("p"),
        ] {
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        let consumer: BaseConsumer = config.set("group.id", "g").create().unwrap();
        let mut places = TopicPartitionList::new();
        places.add_partition_offset("t", 0, Offset::Beginning).unwrap();
        consumer.assign(&places).unwrap();
        let mut direct = Vec::new();
        for _ in 0..5 {
            let message = consumer.poll(PATIENCE).unwrap().unwrap();
            let pointers = [message.ptr()];
            let view = Message::of_all(&pointers)[0];
            assert_eq!(
                view.layout(),
                Layout::Known,
                "another librdkafka: see whether its messages look alike"
            );
            let (shown, raw) = both(view, Layout::Known);
            direct.push((shown.len(), raw.is_some()));
            assert_eq!(raw.unwrap_or_else(|| shown.clone()), shown);
            assert_eq!(both(view, Layout::Unknown), (shown, None));
        }
        assert_eq!(
            direct,
            [(0, true), (4, true), (4, false), (4, false), (0, true)],
            "what has no payload to follow takes the other way"
        );
    }
}

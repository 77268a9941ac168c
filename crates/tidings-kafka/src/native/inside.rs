//! The headers of a message as they came over the wire: [`raw_headers`].
//!
//! librdkafka shows headers as a list only. It makes a buffer, a list and a copy of each header for that, also to find
//! out that there is none, which is what a record of today says with a byte of its own: a thousand instructions a
//! message without headers, half of what the library does for it in all, and twice as many with three.
//!
//! So the bytes are read where the library keeps them. That is no part of its interface, so it is done
//!
//! - with a version whose layout is known, which is asked of the library that runs: it may be linked dynamically,
//! - after what can be asked of a message by its interface was found at its place in that layout,
//! - and only where the bytes follow the payload as they do in a record, to the byte. That cannot be by chance.
//!
//! Everything else takes the way of the interface, with the same result: an empty payload or none (librdkafka keeps no
//! place in the record for those), records of before headers (their length is 0), headers that somebody had parsed
//! before, and whatever else a message should turn out to be. (Only a name with a zero byte in it is cut there by the
//! interface.) Marks of transactions never get here: librdkafka keeps
//! them to itself.
//!
//! Payload and headers lie in the buffer of the fetch response, or in what it was unpacked to. Each message holds a
//! reference to that until it is destroyed, so the bytes live as long as the payload does.

use rdkafka::bindings as c;
use std::ffi::{c_int, c_void};
use std::mem::offset_of;
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
    fetched: Fetched,
}

/// `rkm_u.consumer`, in a union with what a message to send has there, which is aligned as its times are.
#[repr(C)]
struct Fetched {
    _times: [i64; 0],
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

/// Where a compiler of C puts them in librdkafka 2.12.1, by its own headers. There is no `#ifdef` in these structures.
#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(offset_of!(Inside, link) == 72 && offset_of!(Inside, flags) == 88);
    assert!(offset_of!(Inside, timestamp_kind) == 92 && offset_of!(Inside, timestamp) == 96);
    assert!(offset_of!(Inside, headers) == 104 && offset_of!(Inside, status) == 112);
    assert!(offset_of!(Inside, broker) == 116 && offset_of!(Inside, fetched) == 120);
    assert!(offset_of!(Fetched, raw) == 0 && offset_of!(Fetched, leader_epoch) == 24);
    assert!(offset_of!(Raw, length) == 0 && offset_of!(Raw, data) == 8);
};

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
        // The places were looked up for 64 bits only.
        if !cfg!(target_pointer_width = "64") || !(KNOWN[0]..=KNOWN[1]).contains(&version) {
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
                && inside.fetched.leader_epoch == c::rd_kafka_message_leader_epoch(pointer)
        };
        if same { Self::Known } else { Self::Unknown }
    }
}

/// The headers as they came, with their count. None if the library has to be asked.
///
/// # Safety
/// A message, not a report, that is alive for `'a`, of that layout.
pub(super) unsafe fn raw_headers<'a>(message: NonNull<c::rd_kafka_message_t>) -> Option<&'a [u8]> {
    // SAFETY: as the caller says.
    let inside = unsafe { message.cast::<Inside>().as_ref() };
    let (payload, length) = (inside.message.payload.cast::<u8>(), inside.message.len);
    let raw = &inside.fetched.raw;
    let size = usize::try_from(raw.length).ok()?;
    // A record of a format that has headers has a byte that says how many, so none is not known from here.
    let follows = size > 0
        && !payload.is_null()
        && length > 0
        && std::ptr::eq(payload.wrapping_add(length), raw.data)
        && inside.headers.is_null();
    // SAFETY: so many bytes of the record follow its payload, and live as long as the message.
    follows.then(|| unsafe { slice::from_raw_parts(raw.data, size) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::Message;
    use crate::source::wire;
    use rdkafka::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::message::{Header, Headers, OwnedHeaders};
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

    struct Mock {
        _cluster: MockCluster<'static, DefaultProducerContext>,
        config: ClientConfig,
    }

    impl Mock {
        fn start(settings: &[(&str, &str)]) -> Self {
            let cluster = MockCluster::new(1).unwrap();
            cluster.create_topic("t", 1, 1).unwrap();
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", cluster.bootstrap_servers());
            for (name, value) in settings {
                config.set(*name, *value);
            }
            Self {
                _cluster: cluster,
                config,
            }
        }

        fn send(&self, records: Vec<BaseRecord<'_, str, [u8]>>) {
            let producer: BaseProducer = self.config.create().unwrap();
            for record in records {
                producer.send(record).map_err(|(error, _)| error).unwrap();
            }
            producer.flush(PATIENCE).unwrap();
        }

        /// Reads so many: how many headers each has, and whether their bytes could be looked at. Both ways have to say
        /// the same.
        fn read(&self, count: usize) -> Vec<(usize, bool)> {
            let mut config = self.config.clone();
            let consumer: BaseConsumer = config.set("group.id", "g").create().unwrap();
            let mut places = TopicPartitionList::new();
            places.add_partition_offset("t", 0, Offset::Beginning).unwrap();
            consumer.assign(&places).unwrap();
            let read = (0..count).map(|_| {
                let message = consumer.poll(PATIENCE).unwrap().unwrap();
                let pointers = [message.ptr()];
                let view = Message::of_all(&pointers)[0];
                assert_eq!(
                    view.layout(),
                    Layout::Known,
                    "another librdkafka: see whether its messages look alike"
                );
                let (shown, raw) = both(view, Layout::Known);
                if let Some(raw) = &raw {
                    assert_eq!(*raw, shown);
                }
                assert_eq!(both(view, Layout::Unknown), (shown.clone(), None));
                if !shown.is_empty() {
                    assert_eq!(view.raw_headers(Layout::Known), None, "they were parsed already");
                }
                (shown.len(), raw.is_some())
            });
            read.collect()
        }
    }

    fn record<'a>() -> BaseRecord<'a, str, [u8]> {
        BaseRecord::to("t").key("k")
    }

    #[test]
    fn the_layout_of_this_version_is_known_and_the_bytes_say_what_the_interface_shows() {
        let long = "v".repeat(300);
        let some = OwnedHeaders::new()
            .insert(header("id", Some("7")))
            .insert(header("long", Some(&long)))
            .insert(header("null", None))
            .insert(header("", Some("no name")))
            .insert(header("id", Some("")));
        // Packed records are unpacked to a buffer of their own, which the messages have to keep alive.
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let mock = Mock::start(&[("compression.codec", codec), ("linger.ms", "100")]);
            mock.send(vec![
                record().payload(b"p"),
                record().payload(b"p").headers(some.clone()),
                record().payload(b"").headers(some.clone()),
                record().headers(some.clone()),
                record(),
                BaseRecord::to("t").payload(b"p"),
            ]);
            let expected = [
                (0, true),
                (5, true),
                (5, false),
                (5, false),
                (0, false),
                (0, true),
            ];
            assert_eq!(
                mock.read(6),
                expected,
                "{codec}: what has no payload to follow takes the other way"
            );
        }
    }

    #[test]
    fn whatever_headers_records_have_both_ways_show_the_same() {
        let mock = Mock::start(&[("batch.num.messages", "7")]);
        let mut random = fastrand::Rng::with_seed(7);
        let mut text = |most: usize| {
            let length = random.usize(..most);
            (0..length).map(|_| random.alphanumeric()).collect::<String>()
        };
        let records: Vec<_> = (0..200)
            .map(|number| {
                let mut headers = OwnedHeaders::new();
                for place in 0..number % 12 {
                    let (name, value) = (text(200), text(2_000));
                    headers = headers.insert(header(&name, (place % 3 > 0).then_some(&value)));
                }
                (text(500) + "p", headers)
            })
            .collect();
        let counts: Vec<_> = records
            .iter()
            .map(|(_, headers)| (headers.count(), true))
            .collect();
        let sent = records.iter();
        let sent =
            sent.map(|(payload, headers)| record().payload(payload.as_bytes()).headers(headers.clone()));
        mock.send(sent.collect());
        assert_eq!(mock.read(200), counts);
    }
}

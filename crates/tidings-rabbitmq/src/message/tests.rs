use super::*;
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, DecimalValue, FieldArray, FieldTable};
use proptest::prelude::*;
use tidings_core::headers::HeaderWriter;
use tidings_core::headers::Headers;
use tidings_core::{Message, Timestamp};

fn headers(all: &[(&str, &[u8])]) -> Headers {
    let writer = all.iter().fold(HeaderWriter::default(), |writer, (name, value)| {
        writer.append(name, value)
    });
    writer.finish_received()
}

fn there_and_back(message: &Message) -> Message {
    let written = write(message, Some(7));
    read(&written.properties, &written.body)
}

fn names(properties: &BasicProperties) -> Vec<&str> {
    let table = properties.headers().as_ref();
    table.map_or(Vec::new(), |table| {
        table.into_iter().map(|(name, _)| name.as_str()).collect()
    })
}

#[test]
fn a_message_without_a_payload_is_not_one_with_an_empty_one() {
    let (none, empty) = (Message::tombstone("k"), Message::new("").with_key("k"));
    assert_eq!(there_and_back(&none), none);
    assert_eq!(there_and_back(&empty), empty);
    assert_ne!(there_and_back(&none), there_and_back(&empty));
}

#[test]
fn well_known_headers_are_properties_and_others_plain_text_where_that_is_all() {
    let message = Message::new("{}")
        .with_headers(headers(&[
            ("message-id", b"7"),
            ("type", b"order.placed"),
            ("content-type", b"application/json"),
            ("amqp-expiration", b"60000"),
            ("amqp-priority", b"5"),
            ("tenant", b"acme"),
            ("zone", &[0, 255]),
        ]))
        .with_timestamp(Timestamp::from_millis(1_700_000_000_123));
    let written = write(&message, None);
    let properties = &written.properties;
    assert_eq!(properties.message_id().as_ref().map(|id| id.as_str()), Some("7"));
    assert_eq!(
        properties.kind().as_ref().map(|kind| kind.as_str()),
        Some("order.placed")
    );
    assert_eq!(
        (*properties.priority(), *properties.delivery_mode()),
        (Some(5), Some(2))
    );
    assert_eq!(*properties.timestamp(), Some(1_700_000_000));
    assert_eq!(names(properties), ["tenant", "zone"]);
    assert_eq!(there_and_back(&message), message);
}

#[test]
fn a_value_that_a_property_cannot_have_stays_a_header() {
    for (name, value) in [
        ("amqp-expiration", "soon"),
        ("amqp-priority", "07"),
        ("amqp-delivery-mode", "2"),
        ("user-id", "mallory"),
    ] {
        let message = Message::new("x").with_headers(headers(&[(name, value.as_bytes())]));
        let written = write(&message, None);
        assert_eq!(names(&written.properties), [name], "{name}");
        assert_eq!(there_and_back(&message), message, "{name}");
    }
}

#[test]
fn what_others_publish_becomes_text() {
    let mut nested = FieldTable::default();
    nested.insert("queue".into(), AMQPValue::LongString("q".into()));
    nested.insert("count".into(), AMQPValue::LongLongInt(2));
    let mut table = FieldTable::default();
    table.insert("a".into(), AMQPValue::LongInt(-3));
    table.insert("b".into(), AMQPValue::Boolean(true));
    table.insert("c".into(), AMQPValue::Timestamp(1_700_000_000));
    table.insert("d".into(), AMQPValue::Void);
    table.insert("e".into(), AMQPValue::Double(1.5));
    table.insert(
        "f".into(),
        AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 5 }),
    );
    table.insert(
        "x-death".into(),
        AMQPValue::FieldArray(FieldArray::from(vec![nested.into()])),
    );
    let properties = BasicProperties::default()
        .with_headers(table)
        .with_timestamp(1_700_000_000)
        .with_user_id("ada".into());
    let message = read(&properties, b"");
    assert_eq!(message.payload(), Some(&Bytes::new()));
    assert_eq!(
        message.timestamp(),
        Some(Timestamp::from_millis(1_700_000_000_000))
    );
    let found: Vec<_> = message
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value)))
        .collect();
    assert_eq!(
        found,
        [
            "user-id=ada",
            "a=-3",
            "b=true",
            "c=1700000000",
            "d=",
            "e=1.5",
            "f=0.05",
            r#"x-death=[{"count":2,"queue":"q"}]"#,
        ]
    );
    assert_eq!(read(&BasicProperties::default(), b"x"), Message::new("x"));
}

#[test]
fn an_order_that_no_longer_fits_loses_no_header() {
    let message = Message::new("x").with_headers(headers(&[("b", b"1"), ("a", b"2"), ("b", b"3")]));
    let written = write(&message, None);
    let mut table = written.properties.headers().clone().expect("it has headers");
    table.insert("by-a-plugin".into(), AMQPValue::LongString("4".into()));
    let properties = written.properties.with_headers(table);
    let changed = read(&properties, &written.body);
    let mut found: Vec<_> = changed.headers().iter().map(|(name, _)| name).collect();
    found.sort_unstable();
    assert_eq!(found, ["a", "b", "b", "by-a-plugin"]);
}

fn name() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "message-id",
        "type",
        "content-type",
        "app-id",
        "correlation-id",
        "amqp-expiration",
        "amqp-priority",
        "amqp-delivery-mode",
        "tidings-key",
        "tidings-order",
        "tidings-more",
        "cluster-id",
        "timestamp_in_ms",
        "tidings-tombstone",
        "user-id",
        "CC",
        "BCC",
        "a",
        "b",
    ]);
    prop_oneof![known.prop_map(str::to_owned), ".{0,8}", Just("n".repeat(300))]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let any = prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![any, Just(b"1".to_vec()), Just(vec![b'v'; 300])]
}

proptest! {
    #[test]
    fn every_message_comes_back_byte_for_byte(
        key in prop::option::of(value()),
        payload in prop::option::of(value()),
        millis in prop::option::of(any::<i64>()),
        all in prop::collection::vec((name(), value()), 0..200),
        number in prop::option::of(any::<u64>()),
    ) {
        let all: Vec<_> = all.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let mut message = Message::default()
            .with_optional_key(key.map(Bytes::from))
            .with_payload(payload.map(Bytes::from))
            .with_headers(headers(&all));
        if let Some(millis) = millis {
            message = message.with_timestamp(Timestamp::from_millis(millis));
        }
        let written = write(&message, number);
        prop_assert_eq!(read(&written.properties, &written.body), message);
    }
}

//! `#[derive(Event)]` on structs.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidings::{Codec, Decode, Encode, Event as _, EventKey};
use tidings_macros::Event;
use uuid::Uuid;

/// A type's name, version and content type by themselves.
fn shape<E: tidings::Event>() -> (&'static str, u32, &'static str) {
    (E::NAME, E::VERSION, E::Codec::CONTENT_TYPE)
}

fn key(event: &impl tidings::Event) -> Option<String> {
    event
        .key()
        .map(|key| String::from_utf8(key.to_vec()).expect("the tests' keys are text"))
}

#[derive(Event, Serialize, Deserialize)]
struct OrderPlaced {
    order_id: String,
}

#[derive(Event, Serialize)]
#[event(name = "payment/taken é", version = 7)]
#[event(key = "number")]
struct PaymentTaken {
    number: i64,
}

#[derive(Event, Serialize)]
struct HTTPRequestSent;

#[derive(Event)]
#[event(key = "0", codec = "tidings::TextCodec")]
struct Line(
    String,
    #[expect(dead_code, reason = "the key is not the last field")] u32,
);

impl AsRef<str> for Line {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[test]
fn what_is_not_said_comes_from_the_type_s_name() {
    assert_eq!(shape::<OrderPlaced>(), ("order.placed", 1, "application/json"));
    assert_eq!(
        shape::<HTTPRequestSent>(),
        ("http.request.sent", 1, "application/json")
    );
    let event = OrderPlaced {
        order_id: "A7".to_owned(),
    };
    assert_eq!(event.key(), None);
    assert_eq!(event.name(), "order.placed");
}

#[test]
fn attributes_over_several_lists_are_one() {
    assert_eq!(
        shape::<PaymentTaken>(),
        ("payment/taken é", 7, "application/json")
    );
    assert_eq!(key(&PaymentTaken { number: -3 }).as_deref(), Some("-3"));
}

#[test]
fn only_its_own_name_is_a_struct_s_name() {
    assert!(OrderPlaced::has_name("order.placed"));
    for other in ["order.place", "order.placed ", "Order.Placed", ""] {
        assert!(!OrderPlaced::has_name(other), "{other:?}");
    }
}

#[test]
fn a_tuple_struct_has_a_key_by_index_and_a_codec_of_its_own() {
    assert_eq!(shape::<Line>(), ("line", 1, "text/plain"));
    let line = Line("tea".to_owned(), 2);
    assert_eq!(key(&line).as_deref(), Some("tea"));
    let encoded = <<Line as tidings::Event>::Codec as Encode<Line>>::encode(&line).unwrap();
    assert_eq!(encoded, "tea");
}

#[test]
fn the_default_codec_writes_and_reads_json() {
    type Json = <OrderPlaced as tidings::Event>::Codec;
    let order_id = "A7".to_owned();
    let encoded = <Json as Encode<OrderPlaced>>::encode(&OrderPlaced { order_id }).unwrap();
    assert_eq!(encoded, r#"{"order_id":"A7"}"#);
    let decoded: OrderPlaced = Json::decode(&encoded).unwrap();
    assert_eq!(decoded.order_id, "A7");
}

#[derive(Clone)]
struct Customer {
    id: Uuid,
    r#type: (u8, Tenant),
}

#[derive(Clone)]
struct Tenant(&'static str);

impl EventKey for Tenant {
    fn to_key(&self) -> Bytes {
        Bytes::from_static(self.0.as_bytes())
    }
}

#[derive(Event)]
#[event(key = "customer.id")]
struct CustomerJoined {
    customer: Customer,
}

#[derive(Event)]
#[event(key = "customer.type.1")]
struct CustomerMoved {
    customer: Customer,
}

#[derive(Event)]
#[event(key = "type")]
struct TypeChanged {
    r#type: Tenant,
}

#[test]
fn a_key_may_lie_deeper_and_be_of_a_type_of_the_application() {
    let customer = Customer {
        id: Uuid::from_u128(1),
        r#type: (0, Tenant("acme")),
    };
    let joined = CustomerJoined {
        customer: customer.clone(),
    };
    assert_eq!(
        key(&joined).as_deref(),
        Some("00000000-0000-0000-0000-000000000001")
    );
    assert_eq!(key(&CustomerMoved { customer }).as_deref(), Some("acme"));
    let changed = TypeChanged {
        r#type: Tenant("acme"),
    };
    assert_eq!(key(&changed).as_deref(), Some("acme"));
}

#[derive(Event, Serialize)]
#[event(key = "id")]
struct Changed<K, T, const N: usize>
where
    T: Clone,
{
    id: K,
    before: T,
    after: T,
    #[serde(skip)]
    digest: [u8; N],
}

#[test]
fn a_generic_event_asks_of_its_parameters_what_an_event_needs() {
    let changed = Changed {
        id: 7_u64,
        before: "new".to_owned(),
        after: "paid".to_owned(),
        digest: [0; 4],
    };
    assert_eq!(key(&changed).as_deref(), Some("7"));
    assert_eq!(shape::<Changed<String, u8, 0>>().0, "changed");
    assert_eq!(
        changed.digest.len() + changed.before.len() + changed.after.len(),
        11
    );
}

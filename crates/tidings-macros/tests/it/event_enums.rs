//! `#[derive(Event)]` on enums.

use serde::{Deserialize, Serialize};
use tidings::{Batch, Event as _, Payload, Subscription, on};
use tidings_macros::Event;

#[derive(Event, Serialize, Deserialize)]
#[event(key = "order_id")]
enum PaymentEvent {
    #[event(name = "payment.taken")]
    Taken { order_id: String, cents: u64 },
    #[event(name = "payment.declined")]
    Declined { order_id: String },
}

fn taken() -> PaymentEvent {
    PaymentEvent::Taken {
        order_id: "A7".to_owned(),
        cents: 250,
    }
}

fn declined() -> PaymentEvent {
    PaymentEvent::Declined {
        order_id: "A8".to_owned(),
    }
}

#[test]
fn each_variant_has_its_name_and_the_enum_s_key() {
    assert_eq!(PaymentEvent::NAME, "payment.event");
    for (event, name, key) in [
        (taken(), "payment.taken", "A7"),
        (declined(), "payment.declined", "A8"),
    ] {
        assert_eq!(event.name(), name);
        assert_eq!(event.key().as_deref(), Some(key.as_bytes()));
    }
}

#[test]
fn an_enum_whose_variants_all_have_names_accepts_those_only() {
    assert!(PaymentEvent::has_name("payment.taken"));
    assert!(PaymentEvent::has_name("payment.declined"));
    for other in ["payment.event", "payment", ""] {
        assert!(!PaymentEvent::has_name(other), "{other:?}");
    }
}

#[derive(Event, Serialize)]
#[event(name = "stock", version = 3)]
enum StockEvent {
    #[event(name = "stock.reserved")]
    Reserved,
    Counted,
    Released(u32),
}

#[test]
fn a_variant_without_a_name_has_the_enum_s() {
    assert_eq!(StockEvent::VERSION, 3);
    for (event, name) in [
        (StockEvent::Reserved, "stock.reserved"),
        (StockEvent::Counted, "stock"),
        (StockEvent::Released(2), "stock"),
    ] {
        assert_eq!(event.name(), name);
        assert!(StockEvent::has_name(name));
        assert_eq!(event.key(), None);
    }
    assert!(!StockEvent::has_name("stock.counted"));
}

#[derive(Event, Serialize)]
enum Shipment {
    #[event(key = "0")]
    Sent(u64, u64),
    #[event(key = "number")]
    Lost { number: String },
}

#[test]
fn each_variant_may_have_a_key_of_its_own() {
    assert_eq!(Shipment::Sent(7, 8).key().as_deref(), Some(&b"7"[..]));
    let number = "12".to_owned();
    assert_eq!(Shipment::Lost { number }.key().as_deref(), Some(&b"12"[..]));
    assert_eq!(Shipment::Sent(7, 8).name(), "shipment");
}

#[derive(Event, Serialize)]
#[event(key = "id")]
struct OrderPlaced {
    id: String,
}

#[derive(Event, Serialize)]
struct ShopOpened;

#[derive(Event, Serialize)]
enum ShopEvent<T> {
    #[event(transparent)]
    Order(OrderPlaced),
    #[event(transparent)]
    Opened { event: ShopOpened },
    #[event(transparent)]
    Payment(T),
    #[event(name = "shop.closed")]
    Closed,
}

#[test]
fn a_transparent_variant_is_the_event_that_it_wraps() {
    let id = "A7".to_owned();
    let cases = [
        (ShopEvent::Order(OrderPlaced { id }), "order.placed", Some("A7")),
        (ShopEvent::Opened { event: ShopOpened }, "shop.opened", None),
        (ShopEvent::Payment(declined()), "payment.declined", Some("A8")),
        (ShopEvent::Closed, "shop.closed", None),
    ];
    for (event, name, key) in cases {
        assert_eq!(event.name(), name);
        assert_eq!(event.key().as_deref(), key.map(str::as_bytes), "{name}");
        assert!(ShopEvent::<PaymentEvent>::has_name(name));
    }
    assert!(ShopEvent::<PaymentEvent>::has_name("payment.taken"));
    assert!(!ShopEvent::<PaymentEvent>::has_name("shop.event"));
    assert!(!ShopEvent::<ShopOpened>::has_name("payment.taken"));
}

#[test]
fn an_enum_goes_wherever_an_event_goes() {
    async fn settle(Payload(payment): Payload<PaymentEvent>) -> Option<PaymentEvent> {
        Some(payment)
    }
    async fn record(payments: Batch<PaymentEvent>) {
        let _ = payments.len();
    }
    let one: Subscription<()> = on("payments", settle).only::<PaymentEvent>();
    let several: Subscription<()> = on("payments", record);
    assert_ne!(one.into_parts().kind(), several.into_parts().kind());
}

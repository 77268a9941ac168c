//! What `#[derive(Event)]` says of a key that names no field.
extern crate tidings_core as tidings;

use serde::Serialize;
use tidings_macros::Event;

#[derive(Event, Serialize)]
#[event(key = "order_di")]
struct Misspelt {
    order_id: String,
    total: u64,
}

#[derive(Event, Serialize)]
#[event(key = "customer")]
struct OneField {
    order_id: String,
}

#[derive(Event, Serialize)]
#[event(key = "2")]
struct Tuple(String, u64);

#[derive(Event, Serialize)]
#[event(key = "order_id")]
struct Unit;

#[derive(Event, Serialize)]
#[event(key = "order id")]
struct NoFieldAtAll {
    order_id: String,
}

#[derive(Event, Serialize)]
#[event(key = "order_id")]
enum PaymentEvent {
    Taken { order_id: String },
    Declined { order: String },
    Forgotten,
}

#[derive(Event, Serialize)]
enum SomeKeys {
    #[event(key = "order_id")]
    Taken {
        order_id: String,
    },
    Declined {
        order_id: String,
    },
    #[event(key = "id")]
    Refunded {
        order_id: String,
    },
}

fn main() {}

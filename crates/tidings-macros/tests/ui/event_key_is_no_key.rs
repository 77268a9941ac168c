//! What the compiler says of a key whose type is none.
extern crate tidings_core as tidings;

use serde::Serialize;
use tidings_macros::Event;

#[derive(Serialize)]
struct Customer {
    name: Option<String>,
}

#[derive(Event, Serialize)]
#[event(key = "total")]
struct OrderPlaced {
    order_id: String,
    total: f64,
}

#[derive(Event, Serialize)]
#[event(key = "customer")]
enum CustomerEvent {
    Joined { customer: Customer },
}

#[derive(Event, Serialize)]
#[event(key = "customer.name")]
struct CustomerRenamed {
    customer: Customer,
}

#[derive(Event, Serialize)]
#[event(key = "customer.id")]
struct CustomerLeft {
    customer: Customer,
}

fn main() {}

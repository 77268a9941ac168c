//! The payload is taken as it is, with the attribute.
use serde::{Deserialize, Serialize};
use tidings::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(key = "order_id")]
struct OrderPlaced {
    order_id: String,
}

#[tidings::handler]
async fn charge(_order: OrderPlaced) {}

fn main() {}

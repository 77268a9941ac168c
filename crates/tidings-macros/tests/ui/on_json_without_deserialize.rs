//! The payload's type can't be read from JSON.
extern crate tidings_core as tidings;

use tidings::{Json, Subscription, on};

struct Order;

async fn charge(_order: Json<Order>) {}

fn main() {
    let _: Subscription<()> = on("orders", charge);
}

//! The payload is taken as it is, without `Json`.
extern crate tidings_core as tidings;

use serde::Deserialize;
use tidings::{Subscription, on};

#[derive(Deserialize)]
struct Order;

async fn charge(_order: Order) {}

fn main() {
    let _: Subscription<()> = on("orders", charge);
}

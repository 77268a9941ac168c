//! A handler returns a number.
extern crate tidings_core as tidings;

use tidings::{Raw, Subscription, on};

async fn count(_payload: Raw) -> u32 {
    7
}

fn main() {
    let _: Subscription<()> = on("orders", count);
}

//! `async` is forgotten.
extern crate tidings_core as tidings;

use tidings::{Raw, Subscription, on};

fn count(_payload: Raw) {}

fn main() {
    let _: Subscription<()> = on("orders", count);
}

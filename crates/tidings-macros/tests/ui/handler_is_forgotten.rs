//! `#[handler]` does not hide that a handler was never subscribed.
#![deny(dead_code)]
extern crate tidings_core as tidings;

use tidings::{Batch, Failure, Message, Raw};
use tidings_macros::handler;

#[handler]
async fn charge(_order: Raw) -> Result<(), Failure> {
    Ok(())
}

#[handler]
async fn record(_orders: Batch<Message>) {}

fn main() {}

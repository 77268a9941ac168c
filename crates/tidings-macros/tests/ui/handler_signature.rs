//! What `#[handler]` says of signatures, before any type is known.
extern crate tidings_core as tidings;

use tidings::{Ack, Attempt, Batch, Headers, Key, Message, Position, Publisher, Raw, Text, Timestamp};
use tidings_macros::handler;

struct Order;
struct Shop;

#[handler]
fn is_not_async(_payload: Raw) {}

impl Shop {
    #[handler]
    async fn has_self(&self, _payload: Raw) {}
}

#[handler]
async fn is_generic<T>(_payload: tidings::Json<T>) {}

#[handler]
async unsafe fn is_unsafe(_payload: Raw) {}

#[handler]
async fn borrows(_order: &Order, _text: &mut Text, _name: &str, _payload: &[u8]) {}

#[handler]
async fn takes_any_type(_payload: impl Sized) {}

#[handler]
async fn acknowledges_twice(_one: Ack, _other: Ack) {}

#[handler]
async fn takes_the_batch_last(_payload: Raw, _batch: Batch<Message>) {}

#[handler]
async fn takes_nine(
    _1: Raw,
    _2: Key,
    _3: Headers,
    _4: Attempt,
    _5: Position,
    _6: Timestamp,
    _7: Message,
    _8: Publisher,
    _9: Text,
) {
}

#[handler]
fn has_two_mistakes(_order: &Order) {}

#[handler]
struct NoFunction;

fn main() {}

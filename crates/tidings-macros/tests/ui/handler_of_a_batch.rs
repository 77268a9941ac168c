//! What `#[handler]` says of handlers of several messages at once.
extern crate tidings_core as tidings;

use tidings::{Batch, Key, Message, Publisher, State};
use tidings_macros::handler;

struct Order;

#[derive(Clone)]
struct Shop;

#[handler]
async fn holds_no_events(_batch: Batch<Order>) {}

#[handler]
async fn takes_the_key_of_which_message(_batch: Batch<Message>, _key: Key) {}

#[handler]
async fn takes_two_batches(_batch: Batch<Message>, _other: Batch<Message>) {}

#[handler]
async fn takes_six(
    _batch: Batch<Message>,
    _2: Publisher,
    _3: State<Shop>,
    _4: State<Shop>,
    _5: State<Shop>,
    _6: State<Shop>,
) {
}

fn main() {}

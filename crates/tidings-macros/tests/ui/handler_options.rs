//! What `#[handler]` says of its own options.
extern crate tidings_core as tidings;

use tidings::Raw;
use tidings_macros::handler;

#[handler(stat = Shop)]
async fn misspells_state(_payload: Raw) {}

#[handler(group = "billing")]
async fn sets_a_policy(_payload: Raw) {}

#[handler(state)]
async fn forgets_the_state(_payload: Raw) {}

#[handler(state = (), state = ())]
async fn tells_the_state_twice(_payload: Raw) {}

fn main() {}

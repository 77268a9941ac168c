//! What `#[handler]` says of arguments that are no extractors.
extern crate tidings_core as tidings;

use serde::Deserialize;
use tidings::{Delivery, Failure, FromDelivery, Json, Key};
use tidings_macros::handler;

#[derive(Deserialize)]
struct Order;

struct Unreadable;

#[derive(Clone)]
struct Shop;

struct Tenant;

impl FromDelivery<Shop> for Tenant {
    fn from_delivery(_delivery: &Delivery, _state: &Shop) -> Result<Self, Failure> {
        Ok(Tenant)
    }
}

#[handler]
async fn takes_the_payload_bare(_key: Key, _order: Order) {}

#[handler]
async fn takes_a_payload_without_deserialize(_order: Json<Unreadable>) {}

#[handler]
async fn takes_a_bare_shared_state(_shop: Shop) {}

#[handler]
async fn takes_what_needs_a_state_that_is_not_told(_tenant: Tenant) {}

#[handler(state = Shop)]
async fn takes_what_needs_the_state(_tenant: Tenant) {}

fn main() {}

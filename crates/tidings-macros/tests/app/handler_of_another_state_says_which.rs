//! A handler takes a state that the app does not have; the attribute says which argument it is.
use tidings::prelude::*;

#[derive(Clone)]
struct Bank;

#[derive(Clone)]
struct Shop;

#[tidings::handler(state = Shop)]
async fn charge(_order: Raw, _bank: State<Bank>) {}

fn main() {}

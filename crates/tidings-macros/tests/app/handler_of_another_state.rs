//! A handler takes a state that the app does not have, and nothing more is said of it.
use tidings::prelude::*;

#[derive(Clone)]
struct Bank;

#[derive(Clone)]
struct Shop;

async fn charge(_order: Raw, _bank: State<Bank>) {}

fn from_the_return_type() -> App<Shop> {
    App::new("shop").add(on("orders", charge))
}

fn from_what_is_there(app: App<Shop>) -> App<Shop> {
    app.add(on("orders", charge))
}

fn main() {}

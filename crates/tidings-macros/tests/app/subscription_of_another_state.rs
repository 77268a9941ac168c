//! A subscription of an app with one state is put into an app with another.
use tidings::Subscription;
use tidings::prelude::*;

#[derive(Clone)]
struct Bank;

#[derive(Clone)]
struct Shop;

async fn charge(_order: Raw, _bank: State<Bank>) {}

fn charging() -> Subscription<Bank> {
    on("orders", charge)
}

fn add(app: App<Shop>) -> App<Shop> {
    app.add(charging())
}

fn main() {}

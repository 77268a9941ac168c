//! `on` is forgotten.
use tidings::prelude::*;

async fn charge(_order: Raw) {}

fn main() {
    let _: App = App::new("shop").add(charge);
}

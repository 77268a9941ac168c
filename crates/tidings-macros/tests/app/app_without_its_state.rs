//! An app is run before it has its state.
use tidings::prelude::*;

#[derive(Clone)]
struct Shop;

async fn charge(_order: Raw, _shop: State<Shop>) {}

fn app() -> App<Shop> {
    App::new("shop").add(on("orders", charge))
}

#[tokio::main]
async fn main() -> Result<(), tidings::Error> {
    app().run(Config::load()?).await
}

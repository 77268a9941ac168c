//! What a handler may fail with.

use crate::events::{Placed, placed};
use tidings::prelude::*;
use tidings::test::TestApp;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn lookup(order: &str) -> anyhow::Result<u64> {
    Ok(order.parse()?)
}

async fn anyhow_in_a_failure(Json(order): Json<Placed>) -> Result<(), Failure> {
    lookup(&order.order).permanent()?;
    Ok(())
}

async fn anyhow_itself(Json(order): Json<Placed>) -> anyhow::Result<()> {
    lookup(&order.order)?;
    Ok(())
}

async fn boxed(Json(order): Json<Placed>) -> Result<(), AnyError> {
    let _: u64 = order.order.parse().permanent()?;
    Ok(())
}

async fn text(_: Json<Placed>) -> Result<(), &'static str> {
    Err("the till is closed")
}

async fn batch(_: Batch<Placed>) -> Result<BatchOutcome, AnyError> {
    Err("the till is closed".into())
}

#[tokio::test(start_paused = true)]
async fn a_handler_fails_with_any_error_that_can_be_boxed() {
    let app = App::new("shop")
        .add(on("orders", anyhow_in_a_failure).group("a"))
        .add(on("orders", anyhow_itself).group("b"))
        .add(on("orders", boxed).group("c"))
        .add(on("orders", text).group("d"))
        .add(on("orders", batch).group("e"));
    let app = TestApp::start(app.with_state(())).await.unwrap();
    app.publish("orders", &placed("x")).await.unwrap();
    app.settled().await.unwrap();
    let letters = app.dead_letters("orders").await.unwrap();
    let mut said: Vec<_> = letters
        .iter()
        .map(|letter| {
            (
                letter.diagnosis.group.clone().unwrap_or_default(),
                letter.diagnosis.attempts.unwrap_or_default(),
            )
        })
        .collect();
    said.sort();
    let expected = [("a", 1), ("b", 3), ("c", 1), ("d", 3), ("e", 3)];
    assert_eq!(
        said,
        expected.map(|(group, attempts)| (group.to_owned(), attempts))
    );
}

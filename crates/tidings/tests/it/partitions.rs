//! A subscription that reads some of the partitions.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use tidings::Subscription;
use tidings::prelude::*;
use tidings::test::TestApp;

type Seen = Arc<Mutex<Vec<String>>>;

fn app(seen: &Seen, change: impl FnOnce(Subscription<()>) -> Subscription<()>) -> App {
    let seen = seen.clone();
    let record = move |Text(text): Text| {
        seen.lock().unwrap().push(text);
        async {}
    };
    App::new("shop")
        .channel("orders", |orders| orders.partitions(5))
        .publishes("orders")
        .add(change(on("orders", record).name("watch")))
}

async fn seen_of_five(app: App, toml: &str, seen: &Seen) -> Vec<String> {
    let config = Config::from_toml(toml, "tidings.toml").unwrap();
    let test = TestApp::start_with(app.with_state(()), config).await.unwrap();
    let publisher = test.running().publisher();
    for partition in 0..5 {
        let message = Message::new(format!("in {partition}"));
        publisher
            .to("orders")
            .partition(partition)
            .message(message)
            .await
            .unwrap();
    }
    test.settled().await.unwrap();
    let mut seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.sort();
    seen
}

#[tokio::test(start_paused = true)]
async fn only_the_partitions_that_code_or_configuration_names_are_read() {
    let seen = Seen::default();
    let in_code = app(&seen, |watch| watch.partitions([3, 1, 3]));
    assert_eq!(seen_of_five(in_code, "", &seen).await, ["in 1", "in 3"]);
    let in_config = app(&seen, |watch| watch.partitions([0]));
    let toml = "[subscription.watch]\npartitions = \"1, 3-4\"";
    assert_eq!(
        seen_of_five(in_config, toml, &seen).await,
        ["in 1", "in 3", "in 4"]
    );
    let one = "[subscription.watch]\npartitions = 2";
    assert_eq!(
        seen_of_five(app(&seen, |watch| watch), one, &seen).await,
        ["in 2"]
    );
}

#[tokio::test]
async fn a_partition_that_is_not_there_is_named() {
    let config = Config::from_toml(
        "[binder.main]\nurl = \"memory:\"\n[subscription.watch]\npartitions = 7",
        "tidings.toml",
    )
    .unwrap();
    let seen = Seen::default();
    let app = app(&seen, |watch| watch).with_state(());
    let running = app.start(config).await.unwrap();
    let health = loop {
        let health = format!("{:?}", running.health());
        if health.contains("partition 7") {
            break health;
        }
        tokio::time::sleep(millis(5)).await;
    };
    assert!(
        health.contains("no partition 7 in \\\"orders\\\": it has 5"),
        "{health}"
    );
    running.drain().await;
}

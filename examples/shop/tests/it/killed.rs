//! The shop is killed while customers order.

use crate::process::{Process, until, until_open};
use crate::tally;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::tempdir;

#[tokio::test]
async fn every_accepted_order_ends_as_its_events_say_though_the_shop_is_killed_five_times() {
    let data = tempdir().unwrap();
    survives(data.path(), None, 1_200, 5).await;
}

#[tokio::test]
async fn the_shop_on_postgres_keeps_and_tells_each_order_once_though_it_is_killed() {
    let name = "the_shop_on_postgres_keeps_and_tells_each_order_once_though_it_is_killed";
    let Some(server) = brokers::postgres_or_skip(name) else {
        return;
    };
    let database = server.database("shop").unwrap();
    let data = tempdir().unwrap();
    survives(data.path(), Some(&database.url()), 300, 2).await;
    assert!(!data.path().join("shop.db").exists());
}

/// So many orders are placed while the shop is killed so many times; then everything is where it should be, once.
async fn survives(data: &Path, database: Option<&str>, orders: u64, kills: u64) {
    let mut shop = Process::try_start(data, "127.0.0.1:0", database).unwrap();
    let (url, address) = (
        shop.url.clone(),
        shop.url.trim_start_matches("http://").to_owned(),
    );
    let mut client = shop.client();
    until_open(&mut client).await;
    let load = Command::new(env!("CARGO_BIN_EXE_shop"))
        .args(["load", "--keys", "50", "--concurrency", "16"])
        .args(["--poison", "0.01", "--patience", "120"])
        .args(["--orders", &orders.to_string(), "--url", &url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Each time after the same share of the orders, so that there is always work under way.
    for kill in 1..=kills {
        let enough = orders * kill / (kills + 1);
        until(&mut client, "/", |answer| orders_on(&answer.body) >= enough).await;
        shop.kill();
        shop = start_again(data, &address, database);
    }
    let ended = load.wait_with_output().unwrap();
    let (told, wrong) = (
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr),
    );
    assert!(ended.status.success(), "{told}{wrong}");
    assert!(
        told.contains(&format!("accepted {orders} = completed ")),
        "{told}"
    );
    assert!(shop.terminate().success());
    tally::holds(data, database, orders).await;
}

/// How many orders the page counts.
pub(crate) fn orders_on(page: &[u8]) -> u64 {
    let page = String::from_utf8_lossy(page);
    let count = page
        .split("data-key=\"order\" data-count=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// The port was the shop's a moment ago; a connection of the load may hold it for another moment.
fn start_again(data: &Path, address: &str, database: Option<&str>) -> Process {
    let begun = Instant::now();
    loop {
        if let Some(shop) = Process::try_start(data, address, database) {
            return shop;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{address} cannot be listened on again"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

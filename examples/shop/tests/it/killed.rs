//! The shop is killed while customers order.

use crate::process::{Process, until, until_open};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::tempdir;

const ORDERS: u64 = 2_000;
const KILLS: u64 = 5;

#[tokio::test]
async fn every_accepted_order_ends_as_its_events_say_though_the_shop_is_killed_five_times() {
    let data = tempdir().unwrap();
    let mut shop = Process::start(data.path());
    let (url, address) = (
        shop.url.clone(),
        shop.url.trim_start_matches("http://").to_owned(),
    );
    let mut client = shop.client();
    until_open(&mut client).await;
    let load = Command::new(env!("CARGO_BIN_EXE_shop"))
        .args([
            "load",
            "--keys",
            "50",
            "--concurrency",
            "16",
            "--poison",
            "0.01",
            "--patience",
            "30",
        ])
        .args(["--orders", &ORDERS.to_string(), "--url", &url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Each time after a sixth of the orders, so that there is always work under way.
    for kill in 1..=KILLS {
        let enough = ORDERS * kill / (KILLS + 1);
        until(&mut client, "/", |answer| orders_on(&answer.body) >= enough).await;
        shop.kill();
        shop = start_again(data.path(), &address);
    }
    let ended = load.wait_with_output().unwrap();
    let (told, wrong) = (
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr),
    );
    assert!(ended.status.success(), "{told}{wrong}");
    assert!(
        told.contains(&format!("accepted {ORDERS} = completed ")),
        "{told}"
    );
    assert!(shop.terminate().success());
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
fn start_again(data: &std::path::Path, address: &str) -> Process {
    let begun = Instant::now();
    loop {
        if let Some(shop) = Process::try_start(data, address) {
            return shop;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{address} cannot be listened on again"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

//! The shop on Apache Kafka: in one process, then each service in its own, two of payment, and one of those killed.

use crate::killed::orders_on;
use crate::process::{Process, until, until_open};
use brokers::{Kafka, Options, Tool, or_skip};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::tempdir;

const ORDERS: u64 = 300;

/// A load that sends orders to the shop.
fn load(url: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shop"));
    command.args(["load", "--keys", "50", "--concurrency", "16", "--poison", "0.02"]);
    command.args(["--patience", "60", "--orders", &ORDERS.to_string(), "--url", url]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// That every order was accepted and ended as it should.
fn holds(load: Child) {
    let ended = load.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&ended.stdout);
    let wrong = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{told}{wrong}");
    assert!(
        told.contains(&format!("accepted {ORDERS} = completed ")),
        "{told}"
    );
}

/// Waits until the group has so many members with partitions.
async fn members(kafka: &Kafka, group: &str, wanted: usize) {
    let mut table = String::new();
    for _ in 0..20 {
        let tool = kafka.tool(Tool::Groups);
        let run = tool.args(["--describe", "--group", group, "--members"]);
        table = tokio::task::block_in_place(|| run.run()).unwrap();
        // GROUP, CONSUMER-ID, HOST, CLIENT-ID, #PARTITIONS
        let rows = table.lines().filter(|line| line.starts_with(group));
        let counts = rows.filter_map(|row| row.split_whitespace().nth(4)?.parse::<u32>().ok());
        if counts.filter(|count| *count > 0).count() == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the group {group} does not get {wanted} members with partitions:\n{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tally_holds_on_kafka_in_one_process_and_in_many_though_one_of_two_instances_is_killed() {
    let name = "the_tally_holds_on_kafka_in_one_process_and_in_many_though_one_of_two_instances_is_killed";
    let Some(kafka) = or_skip(name, Kafka::start(Options::plain())) else {
        return;
    };
    let directory = tempdir().unwrap();
    in_one_process(&kafka, directory.path()).await;
    in_many(&kafka, directory.path()).await;
}

async fn in_one_process(kafka: &Kafka, directory: &Path) {
    let shop = Process::on_kafka(&kafka.bootstrap(), directory, &[]);
    until_open(&mut shop.client()).await;
    let load = load(&shop.url);
    tokio::task::block_in_place(|| holds(load));
    assert!(shop.terminate().success());
    assert!(!directory.join("data").exists(), "nothing lies here");
}

/// The same shop goes on: what the one process did is in the topics.
async fn in_many(kafka: &Kafka, directory: &Path) {
    let start = |services: &[&str]| Process::on_kafka(&kafka.bootstrap(), directory, services);
    let order = start(&["order"]);
    let others = [
        start(&["inventory"]),
        start(&["shipping"]),
        start(&["billing"]),
        start(&["notification", "analytics"]),
    ];
    let (killed, left) = (start(&["payment"]), start(&["payment"]));
    let mut client = order.client();
    until_open(&mut client).await;
    until(&mut client, "/", |answer| orders_on(&answer.body) == ORDERS).await;
    members(kafka, "payment", 2).await;
    let load = load(&order.url);
    until(&mut client, "/", |answer| {
        orders_on(&answer.body) >= ORDERS + ORDERS / 3
    })
    .await;
    killed.kill();
    tokio::task::block_in_place(|| holds(load));
    members(kafka, "payment", 1).await;
    for process in others.into_iter().chain([left, order]) {
        assert!(process.terminate().success());
    }
}

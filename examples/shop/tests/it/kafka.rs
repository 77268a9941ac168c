//! The shop on Apache Kafka: in one process, then each service in its own, two of payment, and one of those killed.

use crate::process::{Process, until_open};
use crate::several::{ORDERS, Several, holds, load};
use brokers::{Kafka, Options, Tool, or_skip};
use std::path::Path;
use std::time::Duration;
use tempfile::tempdir;

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
    let shop = Several::start(start, async || {}).await;
    // Each instance is two members: it asks the bank, and it keeps what that answers.
    shop.tally_holds(ORDERS, async |count| members(kafka, "payment", 2 * count).await)
        .await;
}

//! The shop on RabbitMQ, each service in a process of its own, two of payment, and one of those killed.

use crate::process::Process;
use crate::several::Several;
use brokers::{RabbitApi, VirtualHost, unique};
use std::time::{Duration, Instant};
use tempfile::tempdir;

const PATIENCE: Duration = Duration::from_secs(60);

/// The queues of the shop's groups.
const QUEUES: [&str; 9] = [
    "charges.payment",
    "orders.inventory",
    "payments.billing",
    "payments.inventory",
    "payments.notification",
    "payments.shipping",
    "shipments.notification",
    "stock.notification",
    "stock.payment",
];

/// Waits until there are as many readers of a queue, of those that are asked for, as there should be.
async fn readers(host: &VirtualHost, wanted: impl Fn(&str) -> Option<u64>) {
    let begun = Instant::now();
    let path = format!("consumers/{}", RabbitApi::segment(host.name()));
    loop {
        let all = tokio::task::block_in_place(|| host.api().get(&path)).unwrap();
        let of = |queue: &str| {
            let all = all.as_array().into_iter().flatten();
            all.filter(|one| one["queue"]["name"] == queue).count() as u64
        };
        if QUEUES
            .iter()
            .all(|queue| wanted(queue).is_none_or(|count| of(queue) == count))
        {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{all}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tally_holds_on_rabbitmq_in_many_processes_though_one_of_two_instances_is_killed() {
    let name = "the_tally_holds_on_rabbitmq_in_many_processes_though_one_of_two_instances_is_killed";
    let Some(api) = brokers::rabbit_or_skip(name) else {
        return;
    };
    let host = api.virtual_host(&unique("shop")).unwrap();
    let directory = tempdir().unwrap();
    let start = |services: &[&str]| Process::on_rabbitmq(&host.url(), directory.path(), services);
    // The first reader of a queue has it to itself, and the next takes over.
    let shop = Several::start(start, async || readers(&host, |_| Some(1)).await).await;
    let of_payment = async |count: usize| {
        readers(&host, |queue| (queue == "stock.payment").then_some(count as u64)).await;
    };
    shop.tally_holds(0, of_payment).await;
}

//! Three brokers: the coordinator of the group and the leaders of its partitions move.

use crate::load::{Load, PATIENCE};
use crate::own::{blocking, own, topic};
use brokers::Options;
use std::time::{Duration, Instant};
use tidings_core::Binder;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coordinator_and_leaders_that_move_lose_nothing_and_keep_the_order_of_keys() {
    let test = "coordinator_and_leaders_that_move_lose_nothing_and_keep_the_order_of_keys";
    let options = Options::cluster().heap_mb(350);
    let Some(own) = own(test, options).await else {
        return;
    };
    let publisher = own.binder(&[]);
    let orders = topic(&publisher, "orders", 6).await;
    let group = brokers::unique("billing");
    let load = Load::default();
    let mut members = Vec::new();
    for number in 1..=2 {
        let member = load.member(number, own.binder(&[]), &orders, &group).await;
        member.has_lanes().await;
        members.push(member);
    }
    let publishing = load.publish(&publisher, &orders, 20);
    tokio::time::sleep(2 * SECOND).await;
    // Twice: a node that coordinates the group and leads partitions dies, and comes back as a follower.
    for _ in 0..2 {
        let (kafka, group, orders) = (own.kafka.clone(), group.clone(), orders.clone());
        let moved = move || {
            let coordinator = kafka.group_coordinator(&group).unwrap();
            kafka.kill(coordinator).unwrap();
            let since = Instant::now();
            while kafka.group_coordinator(&group).unwrap() == coordinator {
                assert!(since.elapsed() < PATIENCE, "nobody takes the group over");
                std::thread::sleep(SECOND / 5);
            }
            // Time for the others to work without it.
            std::thread::sleep(3 * SECOND);
            kafka.start_node(coordinator).unwrap();
            kafka.wait_in_sync(&orders, 3).unwrap();
        };
        blocking(moved).await;
        load.goes_on().await;
    }
    publishing.end().await;
    load.judge().await.is_good("coordinator and leaders killed twice");
    for member in members {
        member.stop().await;
    }
    let _ = publisher.close().await;
}

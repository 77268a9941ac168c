//! Members that come and go all the time.

use crate::load::{Load, Service};
use crate::own::{binder, topic};
use std::time::{Duration, Instant};
use tidings_core::Binder;

/// How long a storm lasts: short in every run, a minute or more on demand.
fn lasts() -> Duration {
    let given = std::env::var("TIDINGS_STORM_SECONDS").ok();
    Duration::from_secs(given.and_then(|text| text.parse().ok()).unwrap_or(10))
}

async fn storm(test: &str, protocol: &'static [(&'static str, &'static str)]) {
    let name = test.to_owned();
    let given = tokio::task::spawn_blocking(move || brokers::kafka_or_skip(&name)).await;
    let Some(servers) = given.unwrap() else { return };
    let publisher = binder(servers, &[]);
    let orders = topic(&publisher, "orders", 8).await;
    let group = brokers::unique("billing");
    let load = Load::default();
    let mut members: Vec<Service> = Vec::new();
    let mut number = 0;
    let mut random = fastrand::Rng::with_seed(5);
    let publishing = load.publish(&publisher, &orders, 20);
    let began = Instant::now();
    while began.elapsed() < lasts() {
        if members.len() < 2 || (members.len() < 5 && random.bool()) {
            number += 1;
            members.push(
                load.member(number, binder(servers, protocol), &orders, &group)
                    .await,
            );
        } else {
            let gone = members.remove(random.usize(..members.len()));
            match random.bool() {
                true => gone.stop().await,
                false => gone.die().await,
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    publishing.end().await;
    load.judge().await.is_good(test);
    for member in members {
        member.stop().await;
    }
    let _ = publisher.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_come_and_go_lose_nothing_with_the_range_assignor() {
    storm(
        "members_that_come_and_go_lose_nothing_with_the_range_assignor",
        &[("partition.assignment.strategy", "range")],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_come_and_go_lose_nothing_with_the_cooperative_assignor() {
    storm(
        "members_that_come_and_go_lose_nothing_with_the_cooperative_assignor",
        &[("partition.assignment.strategy", "cooperative-sticky")],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_come_and_go_lose_nothing_with_the_newer_protocol() {
    storm(
        "members_that_come_and_go_lose_nothing_with_the_newer_protocol",
        &[("group.protocol", "consumer")],
    )
    .await;
}

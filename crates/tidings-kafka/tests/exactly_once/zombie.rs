//! A process that was taken for dead comes back, with a transaction that it believes to be its own.

use crate::campaign::{messages, places, publish};
use crate::child::Child;
use crate::ledger::Ledger;
use crate::service::{PARTITIONS, is_poison};
use crate::support::{PATIENCE, binder, blocking, shared};
use std::time::{Duration, Instant};
use tidings_core::Binder;
use tidings_kafka::KafkaBinder;

/// How much the group has finished, in all partitions.
async fn finished(binder: &KafkaBinder, topic: &str, group: &str) -> u64 {
    let rows = binder.positions(topic, Some(group)).await.unwrap();
    rows.iter()
        .filter_map(|row| Some(row.progress.as_ref()?.watermark))
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombie_that_wakes_with_an_open_transaction_commits_nothing_of_it() {
    let test = "a_zombie_that_wakes_with_an_open_transaction_commits_nothing_of_it";
    let Some(servers) = shared(test).await else { return };
    let kafka = binder(servers, &[]);
    let places = places(&kafka).await;
    let count = messages(6_000);
    let publishing = publish(&kafka, &places.orders, count, 1_000);
    let faulting = async {
        let mut zombie = Child::start(servers, &places, None);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(count / 1_000) {
            // It is in the middle of its work.
            let before = finished(&kafka, &places.orders, &places.group).await;
            while finished(&kafka, &places.orders, &places.group).await < before + 50
                && began.elapsed() < PATIENCE
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            zombie.stop();
            let other = Child::start(servers, &places, None);
            let before = finished(&kafka, &places.orders, &places.group).await;
            while finished(&kafka, &places.orders, &places.group).await < before + 200
                && began.elapsed() < PATIENCE
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            // The other one has done its work again. Now it wakes.
            zombie.go_on();
            tokio::time::sleep(Duration::from_millis(500)).await;
            blocking(move || zombie.end()).await;
            zombie = other;
        }
        zombie
    };
    let ((), last) = tokio::join!(publishing, faulting);
    blocking(move || {
        let mut ledger = Ledger::open(servers, &[(&places.priced, PARTITIONS)]);
        let expected = || (0..count).filter(|number| !is_poison(*number));
        ledger.read_until(PATIENCE, |ledger| ledger.has_all(&places.priced, expected()));
        last.end();
        ledger.read_for(Duration::from_secs(2));
        ledger.judge(test, &places.priced, expected());
    })
    .await;
    let _ = kafka.close().await;
}

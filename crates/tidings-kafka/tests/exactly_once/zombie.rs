//! A process that was taken for dead comes back, with a transaction that it believes to be its own.

use crate::campaign::{messages, places, publish};
use crate::child::{Child, Session};
use crate::ledger::Ledger;
use crate::service::{PARTITIONS, Places, is_poison};
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

/// Waits until so much more is finished. False if everything is.
async fn goes_on(binder: &KafkaBinder, places: &Places, count: u64, more: u64) -> bool {
    let mut last = finished(binder, &places.orders, &places.group).await;
    let wanted = (last + more).min(count);
    let mut since = Instant::now();
    while last < wanted {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = finished(binder, &places.orders, &places.group).await;
        if now != last {
            (last, since) = (now, Instant::now());
        }
        assert!(
            since.elapsed() < PATIENCE,
            "nothing is finished for {PATIENCE:?}: {last} of {count}"
        );
    }
    last < count
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
        let start = || Child::start(servers, &places, None, Session::Short);
        let mut zombie = start();
        for _ in 0..(count / 2_000).max(1) {
            // It is in the middle of its work.
            goes_on(&kafka, &places, count, 50).await;
            zombie.stop();
            let other = start();
            if !goes_on(&kafka, &places, count, 200).await {
                zombie.go_on();
                break;
            }
            // The other one has done its work again. Now it wakes.
            zombie.go_on();
            tokio::time::sleep(Duration::from_millis(500)).await;
            let mut woken = std::mem::replace(&mut zombie, other);
            blocking(move || woken.end()).await;
        }
        zombie
    };
    let (unsure, mut last) = tokio::join!(publishing, faulting);
    blocking(move || {
        let mut ledger = Ledger::open(servers, &[(&places.priced, PARTITIONS)]);
        ledger.unsure = unsure;
        let expected = || (0..count).filter(|number| !is_poison(*number));
        ledger.read_until(PATIENCE, |ledger| ledger.has_all(&places.priced, expected()));
        last.end();
        ledger.read_for(Duration::from_secs(2));
        ledger.judge(test, &places.priced, expected());
    })
    .await;
    let _ = kafka.close().await;
}

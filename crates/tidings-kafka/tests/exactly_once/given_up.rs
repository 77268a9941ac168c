//! A whole service in one process: what handlers do and fail to do.

use crate::campaign::{places, publish};
use crate::ledger::Ledger;
use crate::service::{PARTITIONS, has_extra, is_poison, start};
use crate::support::{PATIENCE, binder, blocking, shared};
use std::time::Duration;
use tidings_core::Binder;

/// Retries, parked messages, dead letters and what is taken back, while a second instance comes and goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_dead_letters_and_what_is_taken_back_leave_each_output_once_while_members_come_and_go() {
    let test = "retries_dead_letters_and_what_is_taken_back_leave_each_output_once_while_members_come_and_go";
    each_output_comes_once(test, &[], 6_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_the_newer_group_protocol_too_each_output_comes_once_while_members_come_and_go() {
    let test = "by_the_newer_group_protocol_too_each_output_comes_once_while_members_come_and_go";
    each_output_comes_once(test, &[("group.protocol", "consumer")], 4_000).await;
}

async fn each_output_comes_once(
    test: &'static str,
    properties: &'static [(&'static str, &'static str)],
    count: u64,
) {
    let Some(servers) = shared(test).await else { return };
    let kafka = binder(servers, &[]);
    let places = places(&kafka).await;
    let publishing = publish(&kafka, &places.orders, count, 1_000);
    let first = start(binder(servers, properties), &places).await;
    let coming_and_going = async {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(700)).await;
            let other = start(binder(servers, properties), &places).await;
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            other.drain().await;
        }
    };
    let (unsure, ()) = tokio::join!(publishing, coming_and_going);
    let read = places.clone();
    blocking(move || {
        let letters: std::sync::Arc<str> = format!("{}.DLT", read.orders).into();
        let topics = [
            (&read.priced, PARTITIONS),
            (&read.extras, PARTITIONS),
            (&letters, PARTITIONS),
        ];
        let mut ledger = Ledger::open(servers, &topics);
        ledger.unsure = unsure;
        let priced = || (0..count).filter(|number| !is_poison(*number));
        let extras = || (0..count).filter(|number| has_extra(*number));
        let poison = || (0..count).filter(|number| is_poison(*number));
        ledger.read_until(PATIENCE, |ledger| {
            ledger.has_all(&read.priced, priced()) && ledger.has_all(&letters, poison())
        });
        ledger.read_for(Duration::from_secs(1));
        ledger.judge("outputs", &read.priced, priced());
        ledger.judge("published by handlers", &read.extras, extras());
        ledger.judge("dead letters", &letters, poison());
    })
    .await;
    let drained = first.drain().await;
    assert!(drained.finished_in_time, "{drained:?}");
    let _ = kafka.close().await;
}

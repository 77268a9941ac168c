//! A consumer that is dead or stuck is told by the health, not only a socket that is closed.

use crate::own::{blocking, own, topic};
use crate::shapes::{PATIENCE, Reader, shared};
use brokers::Options;
use std::time::{Duration, Instant};
use tidings_core::{Binder, BinderHealth, SourceEvent};
use tidings_kafka::KafkaBinder;
use tokio::time::timeout;

fn trouble(kafka: &KafkaBinder) -> Option<String> {
    match kafka.health() {
        BinderHealth::Up => None,
        BinderHealth::Down(reason) => Some(reason),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_its_group_took_for_dead_is_told_until_it_has_its_partitions_again() {
    let test = "a_member_that_its_group_took_for_dead_is_told_until_it_has_its_partitions_again";
    let Some(own) = own(test, Options::plain()).await else {
        return;
    };
    // The connection stays open all the time: the broker is frozen, not gone.
    let kafka = own.binder(&[("session.timeout.ms", "3000")]);
    let orders = topic(&kafka, "orders", 2).await;
    let mut reader = Reader::join(&kafka, Reader::spec(Some("billing"), &orders)).await;
    reader.assigned(2).await;
    assert_eq!(trouble(&kafka), None);
    let servers = own.kafka.clone();
    blocking(move || servers.pause(1).unwrap()).await;
    let began = Instant::now();
    while !reader.own.is_empty() {
        let _ = reader.next().await;
        assert!(began.elapsed() < PATIENCE, "it never hears of it");
    }
    let reason = trouble(&kafka).expect("nothing is read any more");
    assert!(
        reason.contains("faults") && reason.contains("partitions"),
        "{reason}"
    );
    let servers = own.kafka.clone();
    blocking(move || servers.resume(1).unwrap()).await;
    reader.assigned(2).await;
    let began = Instant::now();
    while let Some(reason) = trouble(&kafka) {
        assert!(began.elapsed() < PATIENCE, "{reason}");
        let _ = timeout(Duration::from_millis(100), reader.next()).await;
    }
    let _ = kafka.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_gets_no_partition_is_idle_and_well_under_each_protocol() {
    let test = "a_member_that_gets_no_partition_is_idle_and_well_under_each_protocol";
    let Some(servers) = shared(test).await else { return };
    for protocol in [
        ("partition.assignment.strategy", "range"),
        ("partition.assignment.strategy", "cooperative-sticky"),
        ("group.protocol", "consumer"),
    ] {
        let (first, second) = (
            crate::own::binder(servers, &[protocol]),
            crate::own::binder(servers, &[protocol]),
        );
        let orders = topic(&first, "orders", 1).await;
        let spec = Reader::spec(Some(&brokers::unique("billing")), &orders);
        let mut one = Reader::join(&first, spec.clone()).await;
        one.assigned(1).await;
        let mut other = Reader::join(&second, spec).await;
        let began = Instant::now();
        let (mut idle, mut owned) = (false, false);
        while !(idle && owned) {
            assert!(
                began.elapsed() < PATIENCE,
                "{protocol:?}: it is never told that there is nothing"
            );
            tokio::select! {
                event = other.next() => idle |= matches!(event, Ok(SourceEvent::Idle)),
                event = one.next() => drop(event),
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
            owned = one.own.len() + other.own.len() == 1;
        }
        assert_eq!((trouble(&first), trouble(&second)), (None, None), "{protocol:?}");
        let _ = tokio::join!(first.close(), second.close());
    }
}

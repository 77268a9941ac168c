//! Every receipt resolves, and to a place of its own.

use crate::own::{binder, topic};
use crate::shapes::shared;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{Binder, Message, Outgoing, Sink};
use tokio::time::timeout;

const PARTITIONS: u32 = 3;
const PUBLISHERS: usize = 4;

/// How many messages: some blocks of receipts in every run, half a million on demand.
fn count() -> usize {
    let given = std::env::var("TIDINGS_RECEIPTS").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(20_000)
}

/// Publishes by all ways, in pieces of all sizes, and gives the places.
async fn publish(sink: Arc<dyn Sink>, topic: Arc<str>, count: usize, number: usize) -> Vec<(u32, u64)> {
    let mut random = fastrand::Rng::with_seed(number as u64);
    let (mut places, mut published) = (Vec::with_capacity(count), 0);
    while published < count {
        let piece = random.usize(1..2_000).min(count - published);
        published += piece;
        let with_key = random.bool();
        let of = |index: usize| {
            let message = Message::new(index.to_string());
            let message = if with_key {
                message.with_key(index.to_string())
            } else {
                message
            };
            Outgoing::new(topic.clone(), message)
        };
        let receipts: Vec<_> = match random.bool() {
            true => sink.publish_all((0..piece).map(of).collect()),
            false => (0..piece).map(|index| sink.publish(of(index))).collect(),
        };
        if random.u8(..8) == 0 {
            // Ends the block of receipts that is being filled.
            sink.flush().await.unwrap();
        }
        for receipt in receipts {
            let position = receipt.await.unwrap();
            places.push((position.partition(), position.offset()));
        }
    }
    places
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_receipt_of_several_publishers_resolves_to_a_place_of_its_own() {
    let test = "every_receipt_of_several_publishers_resolves_to_a_place_of_its_own";
    let Some(servers) = shared(test).await else { return };
    let kafka = binder(servers, &[]);
    let orders = topic(&kafka, "orders", PARTITIONS).await;
    let each = count() / PUBLISHERS;
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|number| tokio::spawn(publish(kafka.sink(), orders.clone(), each, number)))
        .collect();
    let mut places = BTreeSet::new();
    for publisher in publishers {
        let published = timeout(Duration::from_secs(300), publisher).await;
        for place in published.expect("every receipt resolves").unwrap() {
            assert!(places.insert(place), "two messages have the place {place:?}");
        }
    }
    assert_eq!(places.len(), each * PUBLISHERS);
    let held = kafka.positions(&orders, None).await.unwrap();
    let held: Vec<_> = held
        .iter()
        .map(|row| (row.partition, row.first, row.end))
        .collect();
    for (partition, first, end) in held {
        assert_eq!(first, 0);
        let own = places.range((partition, 0)..(partition + 1, 0));
        assert!(
            own.map(|(_, offset)| *offset).eq(0..end),
            "partition {partition} holds {end}, not what was acknowledged"
        );
    }
    let _ = kafka.close().await;
}

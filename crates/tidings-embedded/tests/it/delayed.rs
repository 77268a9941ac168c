use crate::support::*;
use std::time::Duration;
use tidings_core::{Binder, Clock, Message, Outgoing};
use tidings_embedded::{EmbeddedBroker, EmbeddedOptions};

fn later(clock: Clock, payload: &str, delay: Duration) -> Outgoing {
    let mut outgoing = Outgoing::new("orders", Message::new(payload.to_owned()).with_key("ada"));
    outgoing.due = Some(clock.now().plus(delay));
    outgoing
}

fn virtual_memory() -> (EmbeddedBroker, Clock) {
    let clock = Clock::virtual_from_now();
    (
        EmbeddedBroker::open(EmbeddedOptions::from_url("memory:").unwrap().clock(clock)).unwrap(),
        clock,
    )
}

#[tokio::test(start_paused = true)]
async fn messages_for_later_come_when_they_are_due_and_in_that_order() {
    let (broker, clock) = virtual_memory();
    prepare(&broker, "orders", 3).await;
    let begun = tokio::time::Instant::now();
    let sink = broker.sink();
    for (payload, seconds) in [("c", 300), ("a", 1), ("b1", 90), ("b2", 90), ("now", 0)] {
        let position = sink
            .publish(later(clock, payload, Duration::from_secs(seconds)))
            .await
            .unwrap();
        assert_eq!(position.offset() == u64::MAX, seconds > 0, "{payload}");
    }
    let mut source = broker.subscribe(spec(None, "orders")).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 5 {
        for text in texts(&batch_within_an_hour(&mut source).await) {
            seen.push((text, begun.elapsed().as_secs()));
        }
    }
    let seen: Vec<_> = seen
        .iter()
        .map(|(text, seconds)| (text.as_str(), *seconds))
        .collect();
    assert_eq!(seen, [("now", 0), ("a", 1), ("b1", 90), ("b2", 90), ("c", 300)]);
    assert!(
        tokio::time::timeout(Duration::from_secs(9999), batch_within_an_hour(&mut source))
            .await
            .is_err()
    );
}

async fn batch_within_an_hour(source: &mut tidings_embedded::EmbeddedSource) -> tidings_core::RecordBatch {
    loop {
        if let tidings_core::SourceEvent::Batch(batch) = tidings_core::Source::next(source).await.unwrap() {
            return batch;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn they_survive_a_restart_as_they_were_and_come_once() {
    let root = tempfile::tempdir().unwrap();
    let clock = Clock::virtual_from_now();
    let open = || EmbeddedBroker::open(options(root.path()).clock(clock)).unwrap();
    let broker = open();
    prepare(&broker, "orders", 3).await;
    let mut outgoing = later(clock, "tea", Duration::from_secs(60));
    outgoing.message = outgoing.message.with_header("name", "value").unwrap();
    let expected = outgoing.message.clone();
    let position = broker.sink().publish(outgoing).await.unwrap();
    broker.close().await.unwrap();

    let broker = open();
    assert_eq!(count(&broker, "orders").await, 0);
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(count(&broker, "orders").await, 0);
    let mut source = broker.subscribe(spec(None, "orders")).await.unwrap();
    let batch = batch_within_an_hour(&mut source).await;
    let message = batch.message(&batch.records()[0]);
    assert_eq!(
        (message.key(), message.payload(), message.headers()),
        (expected.key(), expected.payload(), expected.headers())
    );
    let lanes = broker.positions("orders", None).await.unwrap();
    assert_eq!(lanes[position.partition() as usize].end, 1);
    drop(source);
    broker.close().await.unwrap();

    let broker = open();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(count(&broker, "orders").await, 1);
    broker.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn many_of_one_moment_come_all_and_in_order() {
    let (broker, clock) = virtual_memory();
    prepare(&broker, "orders", 1).await;
    let all = (0..2500)
        .map(|number| later(clock, &number.to_string(), Duration::from_secs(5)))
        .collect();
    for receipt in broker.sink().publish_all(all) {
        receipt.await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    let mut source = broker.subscribe(spec(None, "orders")).await.unwrap();
    let all = drain(&mut source).await;
    assert_eq!(
        all,
        (0..2500).map(|number| number.to_string()).collect::<Vec<_>>()
    );
}

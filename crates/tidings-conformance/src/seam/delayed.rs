//! Messages that are published for later.

use crate::features::Feature;
use crate::stage::{Stage, Verdict, texts};
use std::time::Duration;
use tidings_core::{Message, Outgoing, PublishError};
use tokio::time::Instant;

fn later(stage: &Stage, payload: &str, delay: Duration) -> Outgoing {
    let mut outgoing = Outgoing::new("orders", Message::new(payload.to_owned()).with_key("ada"));
    outgoing.due = Some(stage.clock.now().plus(delay));
    outgoing
}

pub(crate) async fn messages_for_later_come_when_they_are_due(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Delayed, Feature::VirtualTime])?;
    let broker = stage.open().await;
    broker.has("orders", 2).await;
    let begun = Instant::now();
    for (payload, seconds) in [("c", 7_200), ("a", 1), ("b1", 90), ("b2", 90), ("now", 0)] {
        let outgoing = later(&stage, payload, Duration::from_secs(seconds));
        broker.send(outgoing).await.expect("it is kept");
    }
    let mut member = broker.join("billing", "orders").await;
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let event = tokio::time::timeout(Duration::from_secs(10_000), member.0.next()).await;
        let event = event
            .expect("all come in time")
            .expect("a healthy broker delivers");
        if let tidings_core::SourceEvent::Batch(batch) = event {
            let now = begun.elapsed().as_secs();
            seen.extend(texts(&batch).into_iter().map(|text| (text, now)));
        }
    }
    let expected = [("now", 0), ("a", 1), ("b1", 90), ("b2", 90), ("c", 7_200)];
    assert_eq!(seen, expected.map(|(text, at)| (text.to_owned(), at)));
    Ok(())
}

pub(crate) async fn messages_for_later_outlive_a_crash_and_come_once(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Delayed, Feature::VirtualTime, Feature::Durable])?;
    let broker = stage.open().await;
    broker.has("orders", 1).await;
    for (payload, seconds) in [("a", 60), ("b", 120)] {
        let outgoing = later(&stage, payload, Duration::from_secs(seconds));
        broker.send(outgoing).await.expect("it is kept");
    }
    let broker = stage.crash(broker).await;
    assert_eq!(broker.size("orders").await, 0);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(broker.payloads("orders", 0).await, ["a"]);
    broker.close().await.expect("it can be closed");
    let broker = stage.open().await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(broker.payloads("orders", 0).await, ["a", "b"]);
    Ok(())
}

pub(crate) async fn a_broker_that_cannot_delay_says_so(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    broker.has("orders", 1).await;
    let answer = broker.send(later(&stage, "x", Duration::from_secs(5))).await;
    if broker.capabilities().delayed {
        answer.expect("it can");
    } else {
        assert!(
            matches!(answer, Err(PublishError::Unsupported { .. })),
            "{answer:?}"
        );
    }
    Ok(())
}

//! Manual acknowledgement.

use crate::apps::{retry, until};
use crate::features::Feature;
use crate::stage::{Stage, Verdict};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings::{Ack, Attempt, Retry, Subscription, Text, on};
use tokio::time::Instant;

/// One delivery: its attempt, when it came, and its acknowledgement until somebody takes it.
type Left = (u32, Instant, Option<Ack>);

/// Acknowledgements that handlers left for somebody else, by message.
#[derive(Debug, Clone, Default)]
struct Desk(Arc<Mutex<HashMap<String, Vec<Left>>>>);

impl Desk {
    fn subscription(&self, retry: Retry) -> Subscription<()> {
        let desk = self.clone();
        let handler = move |Text(text): Text, Attempt(attempt): Attempt, ack: Ack| {
            let mut left = desk.0.lock().expect("nothing panics while it is held");
            left.entry(text)
                .or_default()
                .push((attempt, Instant::now(), Some(ack)));
            async {}
        };
        on("orders", handler).group("billing").concurrency(8).retry(retry)
    }

    fn deliveries(&self, text: &str) -> Vec<(u32, Instant)> {
        let left = self.0.lock().expect("nothing panics while it is held");
        let all = left.get(text).into_iter().flatten();
        all.map(|(attempt, at, _)| (*attempt, *at)).collect()
    }

    /// The acknowledgement of the last delivery, once it is there.
    async fn ack(&self, text: &str, attempt: u32) -> Ack {
        until("a delivery", || {
            self.deliveries(text).iter().any(|(found, _)| *found == attempt)
        })
        .await;
        let mut left = self.0.lock().expect("nothing panics while it is held");
        let last = left
            .get_mut(text)
            .and_then(|all| all.last_mut())
            .and_then(|(_, _, ack)| ack.take());
        last.expect("each is taken once")
    }
}

pub(crate) async fn a_message_is_finished_when_it_is_acknowledged_and_not_before(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let (broker, desk) = (stage.open().await, Desk::default());
    let running = stage
        .run(&broker, desk.subscription(retry(3, Duration::from_millis(100))))
        .await;
    running.order(1, "a").await;
    running.order(2, "a").await;
    let ack = desk.ack("1", 1).await;
    tokio::time::sleep(stage.minutes(10)).await;
    assert!(desk.deliveries("2").is_empty(), "its key waits for the decision");
    let stored: u64 = broker
        .stored("orders", "billing")
        .await
        .into_iter()
        .flatten()
        .sum();
    assert_eq!(stored, 0);
    ack.ack();
    desk.ack("2", 1).await.ack();
    running.settled().await;
    // Long enough for it to be stored.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let stored: u64 = broker
        .stored("orders", "billing")
        .await
        .into_iter()
        .flatten()
        .sum();
    assert_eq!(stored, 2);
    assert_eq!((desk.deliveries("1").len(), desk.deliveries("2").len()), (1, 1));
    Ok(())
}

pub(crate) async fn a_nack_and_a_dropped_acknowledgement_are_failures(stage: Stage) -> Verdict {
    let (broker, desk) = (stage.open().await, Desk::default());
    let running = stage
        .run(&broker, desk.subscription(retry(4, Duration::from_millis(200))))
        .await;
    running.order(1, "a").await;
    desk.ack("1", 1).await.nack();
    drop(desk.ack("1", 2).await);
    desk.ack("1", 3).await.nack_after(stage.seconds(30.0));
    desk.ack("1", 4).await.ack();
    running.settled().await;
    let deliveries = desk.deliveries("1");
    let attempts: Vec<_> = deliveries.iter().map(|(attempt, _)| *attempt).collect();
    assert_eq!(attempts, [1, 2, 3, 4]);
    let waits: Vec<_> = deliveries.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
    assert!(
        waits[0] >= Duration::from_millis(200) && waits[0] < Duration::from_millis(400) + stage.slack(),
        "{waits:?}"
    );
    assert!(
        waits[1] >= Duration::from_millis(200) && waits[1] < Duration::from_millis(400) + stage.slack(),
        "{waits:?}"
    );
    assert!(
        waits[2] >= stage.seconds(30.0) && waits[2] < stage.seconds(31.0) + stage.slack(),
        "{waits:?}"
    );
    assert!(running.dead().await.is_empty());
    Ok(())
}

pub(crate) async fn a_rejected_message_is_dead_at_once(stage: Stage) -> Verdict {
    let (broker, desk) = (stage.open().await, Desk::default());
    let running = stage
        .run(&broker, desk.subscription(retry(4, Duration::from_millis(200))))
        .await;
    running.order(1, "a").await;
    desk.ack("1", 1).await.reject("no such customer");
    running.settled().await;
    assert_eq!(desk.deliveries("1").len(), 1);
    let letters = running.0.dead_letters("orders").await.expect("they can be read");
    let diagnosis = &letters[0].diagnosis;
    assert_eq!(diagnosis.reason.as_deref(), Some("rejected"));
    assert!(
        diagnosis
            .error
            .as_ref()
            .is_some_and(|error| error.contains("no such customer"))
    );
    Ok(())
}

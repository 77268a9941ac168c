//! `next` is cancel safe: whoever drops it at an await point loses nothing.

use crate::features::Feature;
use crate::member::Manners;
use crate::member::Worker;
use crate::stage::{Stage, Verdict, numbers, spec, texts};
use std::time::Duration;
use tidings_core::SourceEvent;

pub(crate) async fn next_dropped_at_every_await_point_loses_nothing(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    broker.has("orders", 1).await;
    let mut wanted = spec(Some("billing"), "orders");
    wanted.max_batch_bytes = 64;
    let mut member = broker.member(wanted).await;
    let mut seen = Vec::new();
    let mut assigned = 0;
    let mut random = fastrand::Rng::with_seed(5);
    for number in 0..200u64 {
        if random.bool() {
            broker.count_one(number).await;
        } else {
            // Published while nobody waits, or while somebody just stopped waiting.
            member
                .poll_and_drop(1)
                .await
                .into_iter()
                .for_each(|event| note(event, &mut seen, &mut assigned));
            broker.count_one(number).await;
        }
        let polls = random.usize(1..6);
        if let Some(event) = member.poll_and_drop(polls).await {
            note(event, &mut seen, &mut assigned);
        }
    }
    while seen.len() < 200 {
        let event = member.next().await.expect("a healthy broker delivers");
        note(event, &mut seen, &mut assigned);
    }
    assert_eq!(assigned, 1, "the assignment came once");
    assert_eq!(seen, numbers(0..200), "every message came once and in order");
    Ok(())
}

fn note(event: SourceEvent, seen: &mut Vec<String>, assigned: &mut usize) {
    match event {
        SourceEvent::Assigned(lanes) => *assigned += lanes.len(),
        SourceEvent::Batch(batch) => seen.extend(texts(&batch)),
        SourceEvent::Idle => {}
        other => panic!("{other:?} although nobody else joined"),
    }
}

pub(crate) async fn a_revocation_is_not_lost_by_a_dropped_next(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Partitions, Feature::VirtualTime])?;
    let broker = stage.open().await;
    broker.has("orders", 2).await;
    for polls in 1..6 {
        let group = format!("billing-{polls}");
        let mut first = broker.join(&group, "orders").await;
        first.assigned(2).await;
        let mut second = Worker::new(broker.join(&group, "orders").await);
        let mut revoked = None;
        for _ in 0..100 {
            if let Some(SourceEvent::Revoking { lanes, .. }) = first.poll_and_drop(polls).await {
                revoked = Some(lanes);
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let lanes = revoked.expect("it is asked to give up a partition before the deadline");
        first.0.release(&lanes);
        second.work(Duration::from_millis(50), Manners::Good).await;
        assert_eq!(second.own().count(), 1);
    }
    Ok(())
}

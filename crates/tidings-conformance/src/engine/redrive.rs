//! Dead letters go back to the group that gave up on them.

use crate::apps::{Running, app, retry};
use crate::faulty::{Faults, PublishFault};
use crate::features::Feature;
use crate::stage::{Stage, Verdict};
use crate::world::{How, Script, World};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tidings::{Delivery, Selection, Subscription, names, on};

/// Two groups, one of which does as the world says.
async fn two_groups(stage: &Stage, broker: &crate::stage::Broker) -> (Running, World, World) {
    let (world, other) = (World::default(), World::default());
    let noting = other.clone();
    let audit = move |delivery: Delivery| noting.clone().handle(delivery);
    let billing = world
        .subscription()
        .concurrency(4)
        .retry(retry(2, Duration::from_millis(20)));
    let app = app().add(billing).add(on("orders", audit).group("audit"));
    (stage.start(broker, app).await, world, other)
}

pub(crate) async fn redriven_letters_reach_only_their_group_and_only_once(stage: Stage) -> Verdict {
    stage.needs(&[Feature::RetryLane, Feature::Redrive])?;
    let broker = stage.open().await;
    let (running, world, other) = two_groups(&stage, &broker).await;
    for id in 0..10 {
        if id % 2 == 0 {
            world.script(id, Script::fails(2, How::Transient));
        }
        running.order(id, &format!("key {}", id % 3)).await;
    }
    running.settled().await;
    assert_eq!(running.dead().await, ["0", "2", "4", "6", "8"]);
    let ids: Vec<_> = running.0.dead_letters("orders").await.expect("they can be read");
    let one = ids
        .iter()
        .find(|letter| letter.message.payload().is_some_and(|p| &p[..] == b"4"));
    let one = one
        .and_then(|letter| letter.message_id())
        .expect("it has an id")
        .to_owned();
    let report = running
        .0
        .redrive("billing", Selection::message_ids([one]))
        .await
        .expect("it can");
    assert_eq!((report.pending, report.selected, report.redriven), (5, 1, 1));
    running.settled().await;
    assert_eq!(running.dead().await, ["0", "2", "6", "8"]);
    let report = running
        .0
        .redrive("billing", Selection::All)
        .await
        .expect("it can");
    assert_eq!((report.pending, report.redriven), (4, 4));
    let again = running
        .0
        .redrive("billing", Selection::All)
        .await
        .expect("it can");
    assert_eq!((again.pending, again.redriven), (0, 0));
    running.settled().await;
    assert!(running.dead().await.is_empty());
    assert_eq!(world.succeeded().len(), 10);
    for id in (0..10).step_by(2) {
        assert_eq!(world.attempts(id), [1, 2, 1], "it begins anew");
        let positions: Vec<_> = world
            .of(id)
            .into_iter()
            .map(|handling| handling.position)
            .collect();
        assert!(
            positions.iter().all(|position| *position == positions[0]),
            "{positions:?}"
        );
    }
    assert_eq!(other.handlings().len(), 10, "the other group saw nothing of it");
    Ok(())
}

pub(crate) async fn redriven_messages_of_a_key_keep_their_order(stage: Stage) -> Verdict {
    stage.needs(&[Feature::RetryLane, Feature::Redrive])?;
    let broker = stage.open().await;
    let (running, world, _) = two_groups(&stage, &broker).await;
    for id in 0..40 {
        world.script(
            id,
            Script {
                takes: Duration::from_millis(id % 5),
                ..Script::fails(2, How::Transient)
            },
        );
        running.order(id, &format!("key {}", id % 3)).await;
    }
    running.settled().await;
    assert_eq!(running.dead().await.len(), 40);
    running
        .0
        .redrive("billing", Selection::All)
        .await
        .expect("it can");
    for id in 40..60 {
        running.order(id, &format!("key {}", id % 3)).await;
    }
    running.settled().await;
    assert_eq!(world.succeeded().len(), 60);
    world.keys_never_overlapped();
    for (key, ids) in world.succeeded_by_key() {
        let redriven: Vec<_> = ids.iter().filter(|id| **id < 40).collect();
        assert!(redriven.is_sorted(), "key {key:?}: {ids:?}");
    }
    Ok(())
}

pub(crate) async fn a_letter_that_fails_again_counts_its_redrives(stage: Stage) -> Verdict {
    stage.needs(&[Feature::RetryLane, Feature::Redrive])?;
    let broker = stage.open().await;
    let (running, world, _) = two_groups(&stage, &broker).await;
    world.script(0, Script::always(How::Permanent));
    let position = running.order(0, "a").await;
    for redrives in 0..3 {
        running.settled().await;
        let letters = running.0.dead_letters("orders").await.expect("they can be read");
        let [letter] = &letters[..] else {
            panic!("{letters:?}")
        };
        assert_eq!(letter.diagnosis.redrives, redrives);
        assert_eq!(
            letter.diagnosis.position.as_ref(),
            Some(&position),
            "still where it was published"
        );
        let control = letter
            .message
            .headers()
            .iter()
            .filter(|(name, _)| names::is_control(name));
        let mut control: Vec<_> = control.map(|(name, _)| name).collect();
        let all = control.len();
        control.sort_unstable();
        control.dedup();
        assert_eq!(control.len(), all, "headers are rewritten, not appended");
        running
            .0
            .redrive("billing", Selection::All)
            .await
            .expect("it can");
    }
    Ok(())
}

pub(crate) async fn a_redrive_that_is_refused_sends_the_rest_later_and_nothing_twice(
    stage: Stage,
) -> Verdict {
    stage.needs(&[Feature::RetryLane, Feature::Redrive])?;
    let (broker, faults) = Faults::over(&stage.open().await);
    let (running, world, _) = two_groups(&stage, &broker).await;
    for id in 0..6 {
        world.script(id, Script::fails(1, How::Permanent));
        running.order(id, "a").await;
    }
    running.settled().await;
    faults.publishes("orders.billing.retry", PublishFault::Refused, 2);
    assert!(running.0.redrive("billing", Selection::All).await.is_err());
    running
        .0
        .redrive("billing", Selection::All)
        .await
        .expect("the broker is back");
    running.settled().await;
    let counts: Vec<_> = (0..6).map(|id| world.of(id).len()).collect();
    assert_eq!(counts, [2; 6]);
    assert!(running.dead().await.is_empty());
    Ok(())
}

pub(crate) async fn a_crash_between_sending_a_letter_back_and_remembering_it_sends_it_twice_with_one_id(
    stage: Stage,
) -> Verdict {
    stage.needs(&[Feature::Durable, Feature::RetryLane, Feature::Redrive])?;
    let broker = stage.open().await;
    let (slow, faults) = Faults::over(&broker);
    let (running, world, _) = two_groups(&stage, &slow).await;
    for id in 0..6 {
        world.script(id, Script::fails(1, How::Permanent));
        running.order(id, &format!("key {}", id % 2)).await;
    }
    running.settled().await;
    running.handle("billing").pause();
    faults.publishes(
        "orders.billing.retry",
        PublishFault::Late(Duration::from_secs(20)),
        3,
    );
    let redriving = running.0.redrive("billing", Selection::All);
    let ended = tokio::time::timeout(Duration::from_secs(5), redriving).await;
    assert!(
        ended.is_err(),
        "what it has sent is in the retry lane, and not remembered"
    );
    let sent = broker.size("orders.billing.retry").await;
    assert!((3..=6).contains(&sent), "{sent}");
    running.kill().await;
    drop(slow);
    let broker = stage.crash(broker).await;
    let ids = MessageIds::default();
    let running = stage.run(&broker, ids.noting(&world)).await;
    running.settled().await;
    assert_eq!(world.succeeded().len() as u64, sent);
    let left = running.dead().await;
    assert!(left.len() >= 3, "they count as letters still: {left:?}");
    let again = running.0.redrive("billing", Selection::All).await;
    assert_eq!(again.expect("it can").redriven, left.len());
    running.settled().await;
    assert_eq!(world.succeeded().len(), 6, "none is lost");
    assert!(running.dead().await.is_empty());
    assert_eq!(ids.distinct(), 6, "those that came twice came with one id");
    world.keys_never_overlapped();
    Ok(())
}

/// The ids of the messages that a handler has seen.
#[derive(Debug, Clone, Default)]
struct MessageIds(Arc<Mutex<BTreeSet<String>>>);

impl MessageIds {
    fn noting(&self, world: &World) -> Subscription<()> {
        let (ids, world) = (self.clone(), world.clone());
        let handler = move |delivery: Delivery| {
            let id = delivery.headers().find_str(names::MESSAGE_ID).map(str::to_owned);
            let mut seen = ids.0.lock().unwrap_or_else(PoisonError::into_inner);
            seen.insert(id.expect("the engine gives each message an id"));
            drop(seen);
            world.clone().handle(delivery)
        };
        on("orders", handler).group("billing").concurrency(4)
    }

    fn distinct(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

//! When and how often a failed message is tried again.

use crate::apps::retry;
use crate::features::Feature;
use crate::stage::{Stage, Verdict};
use crate::world::{How, Script, World};
use std::time::Duration;
use tidings::{FailureKind, Retry};
use tokio::time::Instant;

/// How much later than asked for a delivery may begin.
const TOLERANCE: Duration = Duration::from_millis(60);

const HOUR: Duration = Duration::from_secs(3_600);

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Lets one message fail for ever and says how long after each other its deliveries began.
async fn waits_of(stage: &Stage, how: How, retry: Retry) -> Vec<Duration> {
    let stage = stage.anew();
    let (broker, world) = (stage.open().await, World::default());
    world.script(1, Script::always(how));
    let retry = retry.budget(1_000_000.0, 1_000_000.0);
    let running = stage.run(&broker, world.subscription().retry(retry)).await;
    running.order(1, "a").await;
    running.settled().await;
    assert_eq!(running.dead().await, ["1"]);
    let attempts = world.attempts(1);
    assert_eq!(attempts, (1..=attempts.len() as u32).collect::<Vec<_>>());
    let handlings = world.of(1);
    broker.close().await.expect("it can be closed");
    handlings
        .windows(2)
        .map(|pair| pair[1].began - pair[0].began)
        .collect()
}

fn are(stage: &Stage, waits: &[Duration], expected: &[f64]) {
    assert_eq!(waits.len(), expected.len(), "{waits:?}");
    for (wait, expected) in waits.iter().zip(expected) {
        let expected = stage.seconds(*expected);
        assert!(
            *wait >= expected && *wait <= expected + TOLERANCE + stage.slack(),
            "{waits:?}, not {expected:?}"
        );
    }
}

pub(crate) async fn attempts_count_deliveries_and_back_off_is_as_configured(stage: Stage) -> Verdict {
    let exponential = Retry::exponential(5, stage.seconds(1.0), 2.0)
        .max(stage.seconds(5.0))
        .jitter(0.0);
    let waits = waits_of(&stage, How::Transient, exponential.durable_after(HOUR)).await;
    are(&stage, &waits, &[1.0, 2.0, 4.0, 5.0]);
    let fixed = Retry::fixed(3, stage.seconds(0.3));
    are(&stage, &waits_of(&stage, How::Panic, fixed).await, &[0.3, 0.3]);
    let step = stage.seconds(0.1);
    let custom = Retry::custom(4, move |failed| step * failed);
    are(
        &stage,
        &waits_of(&stage, How::Transient, custom).await,
        &[0.1, 0.2, 0.3],
    );
    are(
        &stage,
        &waits_of(&stage, How::Transient, Retry::none()).await,
        &[],
    );
    let own = Retry::fixed(3, stage.seconds(0.1)).durable_after(HOUR);
    are(
        &stage,
        &waits_of(&stage, How::RetryAfter(stage.seconds(7.0)), own).await,
        &[7.0, 7.0],
    );
    Ok(())
}

pub(crate) async fn durable_waits_are_as_long_as_short_ones(stage: Stage) -> Verdict {
    stage.needs(&[Feature::VirtualTime, Feature::RetryLane])?;
    let exponential = Retry::exponential(4, seconds(60.0), 2.0).max(HOUR).jitter(0.0);
    let waits = waits_of(&stage, How::Transient, exponential).await;
    are(&stage, &waits, &[60.0, 120.0, 240.0]);
    Ok(())
}

pub(crate) async fn jitter_stays_within_its_bounds_and_differs(stage: Stage) -> Verdict {
    stage.needs(&[Feature::VirtualTime])?;
    let jittered = Retry::exponential(20, seconds(10.0), 1.0)
        .jitter(0.3)
        .max(HOUR)
        .durable_after(HOUR);
    let waits = waits_of(&stage, How::Transient, jittered).await;
    assert_eq!(waits.len(), 19);
    let bounds = seconds(7.0)..=seconds(13.0) + TOLERANCE;
    assert!(waits.iter().all(|wait| bounds.contains(wait)), "{waits:?}");
    let (least, most) = (waits.iter().min(), waits.iter().max());
    assert!(
        most.zip(least)
            .is_some_and(|(most, least)| *most - *least > seconds(2.0)),
        "{waits:?}"
    );
    Ok(())
}

pub(crate) async fn a_predicate_decides_what_is_tried_again(stage: Stage) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    world.script(1, Script::always(How::Panic));
    world.script(2, Script::always(How::Transient));
    world.script(3, Script::fails(1, How::Permanent));
    let retry = retry(3, Duration::from_millis(20))
        .permanent_if(|failure| failure.kind() == FailureKind::Panic)
        .transient_if(|failure| failure.kind() == FailureKind::Permanent);
    let running = stage.run(&broker, world.subscription().retry(retry)).await;
    for id in 1..=3 {
        running.order(id, &id.to_string()).await;
    }
    running.settled().await;
    assert_eq!([1, 2, 3].map(|id| world.of(id).len()), [1, 3, 2]);
    assert_eq!(running.dead().await, ["1", "2"]);
    Ok(())
}

pub(crate) async fn later_is_no_attempt(stage: Stage) -> Verdict {
    stage.needs(&[Feature::VirtualTime])?;
    for (wait, durable_after) in [(20.0, HOUR), (20.0, seconds(1.0))] {
        let stage = stage.anew();
        let (broker, world) = (stage.open().await, World::default());
        world.script(1, Script::fails(10, How::Later(seconds(wait))));
        let retry = retry(2, seconds(0.1)).durable_after(durable_after);
        let running = stage.run(&broker, world.subscription().retry(retry)).await;
        let begun = Instant::now();
        running.order(1, "a").await;
        running.settled().await;
        assert_eq!(world.attempts(1), [1; 11]);
        let times = world.times(1, begun);
        assert!(
            times[10] >= seconds(10.0 * wait) && times[10] < seconds(10.0 * wait + 2.0),
            "{times:?}"
        );
        assert!(running.dead().await.is_empty());
        broker.close().await.expect("it can be closed");
    }
    Ok(())
}

pub(crate) async fn a_storm_of_retries_is_held_to_its_budget(stage: Stage) -> Verdict {
    stage.needs(&[Feature::VirtualTime])?;
    let (broker, world) = (stage.open().await, World::default());
    for id in 0..100 {
        world.script(id, Script::fails(2, How::Transient));
    }
    let retry = Retry::fixed(3, seconds(0.1)).durable_after(HOUR).budget(0.1, 5.0);
    let running = stage
        .run(&broker, world.subscription().concurrency(100).retry(retry))
        .await;
    let begun = Instant::now();
    for id in 0..100 {
        running.order(id, &id.to_string()).await;
    }
    running.settled().await;
    assert_eq!(
        world.succeeded().len(),
        100,
        "what is beyond the budget waits, and is never dropped"
    );
    let retries: Vec<_> = world
        .handlings()
        .iter()
        .filter(|handling| handling.attempt > 1)
        .map(|handling| handling.began - begun)
        .collect();
    assert_eq!(retries.len(), 200);
    let early = retries.iter().filter(|time| **time < seconds(10.0)).count();
    assert!(
        (30..=80).contains(&early),
        "10 saved, 50 of ten seconds, a few at the start: {early}"
    );
    let last = retries.iter().max().expect("there are some");
    assert!(*last > seconds(30.0) && *last < seconds(60.0), "{last:?}");
    Ok(())
}

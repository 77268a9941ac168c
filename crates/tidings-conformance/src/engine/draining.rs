//! The end of a service: within its deadline, and without a loss.

use crate::apps::{app, nothing_is_lost, retry, until};
use crate::faulty::{Faults, PublishFault};
use crate::features::Feature;
use crate::stage::{Stage, Verdict};
use crate::world::{How, Script, World};
use std::time::Duration;
use tidings::{Text, on};
use tokio::time::Instant;

const FIVE_SECONDS: &str = "[app]\ndrain_timeout = \"5s\"";

pub(crate) async fn a_drain_finishes_what_runs_and_stores_it(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let (broker, world) = (stage.open().await, World::default());
    for id in 0..50 {
        world.script(id, Script::takes(Duration::from_secs(2)));
    }
    let running = stage
        .start_with(
            &broker,
            app().add(world.subscription().concurrency(4)),
            FIVE_SECONDS,
        )
        .await;
    for id in 0..50 {
        running.order(id, &id.to_string()).await;
    }
    until("four handlings", || world.running() == 4).await;
    // Four, unless the machine was so busy that those have ended since.
    let (started, begun) = (world.handlings().len(), Instant::now());
    let drained = running.0.stop().await;
    assert!(drained.finished_in_time && drained.abandoned == 0, "{drained:?}");
    assert!(
        begun.elapsed() <= Duration::from_secs(3) + stage.slack(),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(world.handlings().len(), started, "nothing new starts");
    assert_eq!(world.succeeded().len(), started, "what runs is finished");

    let running = stage.run(&broker, world.subscription().concurrency(50)).await;
    running.settled().await;
    assert_eq!(
        world.handlings().len(),
        50,
        "and what was finished is stored: nothing comes again"
    );
    Ok(())
}

pub(crate) async fn a_drain_ends_at_its_deadline_and_what_was_cut_comes_again(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let (broker, world) = (stage.open().await, World::default());
    world.script(0, Script::takes(Duration::from_secs(600)));
    world.script(1, Script::fails(1, How::Stuck));
    let running = stage
        .start_with(
            &broker,
            app().add(world.subscription().concurrency(4)),
            FIVE_SECONDS,
        )
        .await;
    for id in 0..4 {
        running.order(id, &id.to_string()).await;
    }
    until("the others", || world.succeeded().len() == 2).await;
    let begun = Instant::now();
    let drained = running.0.stop().await;
    // Some of the time is kept for storing progress and leaving the group.
    assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(
        begun.elapsed() <= Duration::from_secs(5) + stage.slack(),
        "{:?}",
        begun.elapsed()
    );
    assert!(!drained.finished_in_time);
    assert_eq!(drained.abandoned, 2);
    assert_eq!(world.running(), 0, "what was cut has stopped");
    world.script(0, Script::default());

    let running = stage.run(&broker, world.subscription().concurrency(4)).await;
    running.settled().await;
    nothing_is_lost(&running, &world, 0..4).await;
    assert_eq!(
        [0, 1, 2, 3].map(|id| world.of(id).len()),
        [2, 2, 1, 1],
        "only what was cut comes again"
    );
    Ok(())
}

pub(crate) async fn what_waits_for_its_next_attempt_does_not_hold_up_a_drain(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let (broker, world) = (stage.open().await, World::default());
    world.script(0, Script::fails(1, How::Transient));
    let subscription = || {
        let retry = retry(3, stage.minutes(15)).durable_after(Duration::from_secs(3_600));
        world.subscription().retry(retry)
    };
    let running = stage
        .start_with(&broker, app().add(subscription()), FIVE_SECONDS)
        .await;
    running.order(0, "a").await;
    running.order(1, "a").await;
    until("the failure", || world.handlings().len() == 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    assert!(running.0.stop().await.finished_in_time);
    assert!(
        begun.elapsed() < Duration::from_secs(1) + stage.slack(),
        "{:?}",
        begun.elapsed()
    );
    let running = stage.run(&broker, subscription()).await;
    running.settled().await;
    assert_eq!(world.succeeded(), [0, 1]);
    world.keys_kept_their_order();
    Ok(())
}

pub(crate) async fn a_drain_waits_for_outputs_and_gives_up_those_of_a_broker_that_is_away(
    stage: Stage,
) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let (broker, faults) = Faults::over(&stage.open().await);
    let forward =
        async |Text(text): Text| tidings::Output::message(tidings::Message::new(text)).to("payments");
    let part = || {
        app()
            .add(on("orders", forward).group("billing"))
            .publishes("payments")
    };
    let running = stage.start_with(&broker, part(), FIVE_SECONDS).await;
    faults.publishes("payments", PublishFault::Late(Duration::from_secs(2)), 1);
    running.order(0, "a").await;
    until("the publish", || faults.tries("payments") == 1).await;
    assert!(
        running.0.stop().await.finished_in_time,
        "the answer comes in time"
    );

    let running = stage.start_with(&broker, part(), FIVE_SECONDS).await;
    faults.publishes("payments", PublishFault::Lost, usize::MAX);
    running.order(1, "a").await;
    until("the publish", || faults.tries("payments") >= 2).await;
    let begun = Instant::now();
    assert!(!running.0.stop().await.finished_in_time);
    assert!(
        begun.elapsed() < Duration::from_secs(7) + stage.slack(),
        "{:?}",
        begun.elapsed()
    );
    faults.heal();
    let running = stage.start(&broker, part()).await;
    running.settled().await;
    assert_eq!(running.published("payments").await, ["0", "1"]);
    Ok(())
}

pub(crate) async fn a_drain_of_a_manual_acknowledgement_gives_the_message_back(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let (broker, world) = (stage.open().await, World::default());
    let held = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let keep = held.clone();
    let hold = move |ack: tidings::Ack| {
        keep.lock().expect("nothing panics while it is held").push(ack);
        async {}
    };
    let running = stage
        .start_with(
            &broker,
            app().add(on("orders", hold).group("billing")),
            FIVE_SECONDS,
        )
        .await;
    running.order(0, "a").await;
    until("the delivery", || held.lock().expect("fine").len() == 1).await;
    assert_eq!(running.0.stop().await.abandoned, 1);
    for ack in held.lock().expect("fine").drain(..) {
        // Too late: it belongs to nobody any more.
        ack.ack();
    }
    let running = stage.run(&broker, world.subscription()).await;
    running.settled().await;
    assert_eq!(world.succeeded(), [0]);
    Ok(())
}

pub(crate) async fn a_drain_keeps_its_deadline_when_the_broker_does_not_answer(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let (broker, faults) = Faults::over(&stage.open().await);
    let world = World::default();
    world.script(0, Script::always(How::Stuck));
    let running = stage
        .start_with(&broker, app().add(world.subscription()), FIVE_SECONDS)
        .await;
    running.order(0, "a").await;
    until("the handler", || world.running() == 1).await;
    faults.hang();
    let begun = Instant::now();
    let drained = running.0.stop().await;
    assert!(!drained.finished_in_time, "{drained:?}");
    // A second beyond it for what the program itself has published.
    assert!(
        begun.elapsed() <= Duration::from_millis(6_500) + stage.slack(),
        "{:?}",
        begun.elapsed()
    );
    faults.heal();
    world.script(0, Script::default());
    let running = stage.run(&broker, world.subscription()).await;
    running.settled().await;
    assert_eq!(world.succeeded(), [0]);
    Ok(())
}

//! A running subscription is steered: paused, limited in its rate.

use crate::apps::{PARTITIONS, retry, until};
use crate::features::Feature;
use crate::stage::{Stage, Verdict};
use crate::world::{How, Script, World};
use std::time::Duration;
use tidings::{LaneRole, Phase, Start};
use tokio::time::Instant;

pub(crate) async fn pause_starts_nothing_more_at_once_and_resume_goes_on(stage: Stage) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    for id in 0..100 {
        world.script(id, Script::takes(Duration::from_millis(100)));
    }
    let running = stage.run(&broker, world.subscription().concurrency(3)).await;
    for id in 0..100 {
        running.order(id, &id.to_string()).await;
    }
    until("the first handlings", || world.handlings().len() > 5).await;
    running.handle("billing").pause();
    until("the pause", || running.status("billing").phase == Phase::Paused).await;
    let begun = world.handlings().len();
    tokio::time::sleep(stage.minutes(5)).await;
    assert_eq!(world.handlings().len(), begun, "nothing starts");
    assert_eq!(world.running(), 0, "what ran has finished");
    running.handle("billing").resume();
    running.settled().await;
    assert_eq!(
        world.handlings().len(),
        100,
        "membership was kept, and nothing came twice"
    );
    Ok(())
}

pub(crate) async fn a_paused_subscription_starts_no_retries_either(stage: Stage) -> Verdict {
    stage.needs(&[Feature::VirtualTime])?;
    for durable_after in [3_600, 0] {
        let stage = stage.anew();
        let (broker, world) = (stage.open().await, World::default());
        world.script(0, Script::fails(1, How::Transient));
        let waits = retry(3, Duration::from_secs(20)).durable_after(Duration::from_secs(durable_after));
        let running = stage
            .run(&broker, world.subscription().concurrency(4).retry(waits))
            .await;
        running.order(0, "a").await;
        running.order(1, "a").await;
        until("the failure", || world.handlings().len() == 1).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        running.handle("billing").pause();
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(
            world.handlings().len(),
            1,
            "its wait is over, and it stays where it is"
        );
        running.handle("billing").resume();
        running.settled().await;
        assert_eq!(world.succeeded(), [0, 1]);
        broker.close().await.expect("it can be closed");
    }
    Ok(())
}

pub(crate) async fn a_subscription_can_start_paused(stage: Stage) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    let running = stage.run(&broker, world.subscription().paused()).await;
    running.order(1, "a").await;
    tokio::time::sleep(stage.minutes(5)).await;
    assert!(world.handlings().is_empty());
    running.handle("billing").resume();
    running.settled().await;
    assert_eq!(world.succeeded(), [1]);
    Ok(())
}

pub(crate) async fn a_subscription_goes_on_where_it_is_told_and_finishes_first_what_runs(
    stage: Stage,
) -> Verdict {
    stage.needs(&[Feature::Partitions, Feature::Replay, Feature::VirtualTime])?;
    for concurrency in [1, 4] {
        let stage = stage.anew();
        let (broker, world) = (stage.open().await, World::default());
        world.script(9, Script::takes(Duration::from_secs(3)));
        let running = stage
            .run(&broker, world.subscription().concurrency(concurrency))
            .await;
        let mut sent = Vec::new();
        for id in 0..10 {
            sent.push(running.order(id, &id.to_string()).await);
        }
        until("the last handling", || !world.of(9).is_empty()).await;
        let service = running.0.running().clone();
        // What runs is finished before anything comes again.
        let moved = service
            .seek("billing", Start::Earliest)
            .await
            .expect("it can be read again");
        assert_eq!(moved.len(), PARTITIONS as usize, "{moved:?}");
        let first = world.of(9)[0].clone();
        assert!(first.ok, "it was not stopped: {first:?}");
        running.settled().await;
        for id in 0..10 {
            assert_eq!(world.attempts(id), [1, 1], "{id} was replayed as what it was");
        }
        assert!(world.of(9)[1].began >= first.ended.expect("it ended"));
        // One partition, at an offset; the other one stays where it is.
        let last = sent.last().expect("ten were sent").clone();
        let moved = service
            .seek_partition("billing", last.partition(), Start::Offset(last.offset()))
            .await
            .expect("it can be read again");
        assert_eq!(moved, std::slice::from_ref(&last));
        running.settled().await;
        assert_eq!(world.of(9).len(), 3);
        assert_eq!(world.handlings().len(), 21, "nothing else came again");
        // Ahead, over what lies in between: progress is where it was told to be.
        service.subscription("billing").expect("it runs").pause();
        running.order(10, "x").await;
        service
            .seek("billing", Start::Latest)
            .await
            .expect("it can be read");
        service.subscription("billing").expect("it runs").resume();
        running.settled().await;
        assert!(world.of(10).is_empty(), "it was skipped");
        tokio::time::sleep(Duration::from_secs(5)).await;
        let stored: u64 = broker
            .stored("orders", "billing")
            .await
            .into_iter()
            .flatten()
            .sum();
        assert_eq!(
            stored,
            broker.size("orders").await,
            "what was skipped counts as finished"
        );
        broker.close().await.expect("it can be closed");
    }
    Ok(())
}

pub(crate) async fn what_waits_in_the_retry_lane_goes_on_waiting_when_its_partition_goes_elsewhere(
    stage: Stage,
) -> Verdict {
    stage.needs(&[Feature::VirtualTime, Feature::RetryLane, Feature::Replay])?;
    let (broker, world) = (stage.open().await, World::default());
    world.script(0, Script::fails(2, How::Transient));
    let waits = retry(3, Duration::from_secs(600)).durable_after(Duration::ZERO);
    let running = stage
        .run(&broker, world.subscription().concurrency(4).retry(waits))
        .await;
    let begun = Instant::now();
    running.order(0, "a").await;
    until("the failure", || world.of(0).len() == 1).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let at = running.order(1, "a").await;
    let next = at.offset() + 1;
    let service = running.0.running().clone();
    service
        .seek("billing", Start::Latest)
        .await
        .expect("it can be read");
    running.order(2, "a").await;
    until("the failure in place", || {
        world.of(0).iter().filter(|one| one.ended.is_some()).count() == 2
    })
    .await;
    // How often it has failed there is known to the lane alone.
    service
        .seek_partition("billing", at.partition(), Start::Offset(next))
        .await
        .expect("it can be read");
    running.settled().await;
    let (role, time) = (world.of(0)[1].role, world.times(0, begun)[1]);
    assert_eq!((world.attempts(0), role), (vec![1, 2, 3], LaneRole::Retry));
    assert!(
        time >= Duration::from_secs(480),
        "it has waited as long as before: {time:?}"
    );
    assert_eq!(
        world.succeeded(),
        [0, 2],
        "what came behind it waits behind it, what was skipped does not come"
    );
    Ok(())
}

pub(crate) async fn no_more_start_in_a_second_than_the_rate_says(stage: Stage) -> Verdict {
    stage.needs(&[Feature::VirtualTime])?;
    for concurrency in [1, 8] {
        let stage = stage.anew();
        let (broker, world) = (stage.open().await, World::default());
        let running = stage
            .run(&broker, world.subscription().concurrency(concurrency).rate(20.0))
            .await;
        let begun = Instant::now();
        for id in 0..200 {
            running.order(id, &id.to_string()).await;
        }
        running.settled().await;
        let starts: Vec<_> = world
            .handlings()
            .iter()
            .map(|handling| handling.began - begun)
            .collect();
        for window in starts.windows(26) {
            let within = window[25] - window[0];
            assert!(
                within >= Duration::from_millis(900),
                "26 started within {within:?}"
            );
        }
        let last = *starts.last().expect("all were handled");
        assert!(
            last > Duration::from_millis(9_000) && last < Duration::from_secs(12),
            "{last:?}"
        );
        broker.close().await.expect("it can be closed");
    }
    Ok(())
}

pub(crate) async fn the_status_says_what_was_done(stage: Stage) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    world.script(1, Script::fails(1, How::Transient));
    world.script(2, Script::always(How::Permanent));
    let waits = retry(2, Duration::from_millis(50));
    let running = stage.run(&broker, world.subscription().retry(waits)).await;
    for id in 0..5 {
        running.order(id, "a").await;
    }
    running.settled().await;
    until("an idle subscription", || running.status("billing").idle).await;
    let status = running.status("billing");
    assert_eq!(
        (
            status.handled,
            status.failed,
            status.retried,
            status.dead_lettered,
            status.parked
        ),
        (4, 2, 1, 1, 0)
    );
    assert_eq!(
        (status.running, status.waiting, status.queued, status.obstacle),
        (0, 0, 0, None)
    );
    assert!(status.last_failure.is_some());
    assert!(running.0.running().health().ready);
    Ok(())
}

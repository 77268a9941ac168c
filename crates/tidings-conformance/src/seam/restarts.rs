//! What is there again after the broker was closed, and after it died.

use crate::features::Feature;
use crate::stage::{Broker, Stage, Verdict, numbers};
use std::time::Duration;
use tidings_core::{Activity, BinderError, Company, Deaths, Progress};

async fn filled(stage: &Stage) -> Broker {
    let broker = stage.open().await;
    broker.has("orders", 2).await;
    broker.count_up("orders", 0, 100).await;
    broker
}

fn progress() -> Progress {
    Progress {
        watermark: 40,
        finished: vec![50..60, 70..71],
        attempts: vec![(45, 2)],
    }
}

async fn handled_in_part(broker: &Broker) {
    let mut member = broker.join("billing", "orders").await;
    let lane = member.assigned(2).await.remove(0);
    member.take(100).await;
    member.progress(lane.lane, lane.epoch, progress());
    member.commit().await;
    // Reported, and not promised by anything.
    member.done(lane.lane, lane.epoch, 90);
    std::mem::forget(member);
}

async fn is_whole(broker: &Broker) {
    assert_eq!(broker.payloads("orders", 0).await, numbers(0..100));
    assert_eq!(broker.at("orders", None).await.len(), 2);
    let next = broker
        .publish("orders", 0, "100")
        .await
        .expect("it takes messages again");
    assert_eq!(next.offset(), 100);
}

pub(crate) async fn a_crash_loses_nothing_that_was_acknowledged_and_no_progress_that_was_committed(
    stage: Stage,
) -> Verdict {
    stage.needs(&[Feature::Durable, Feature::Offsets])?;
    let broker = filled(&stage).await;
    handled_in_part(&broker).await;
    let broker = stage.crash(broker).await;
    is_whole(&broker).await;
    let stored = broker.at("orders", Some("billing")).await[0].progress.clone();
    let stored = stored.expect("it was committed");
    assert!(stored == progress() || stored.watermark == 90, "{stored:?}");
    let mut member = broker.join("billing", "orders").await;
    let lane = member.assigned(2).await.remove(0);
    assert_eq!(lane.next, stored.watermark);
    assert_eq!(member.drain().await, numbers(stored.watermark..101));
    Ok(())
}

pub(crate) async fn a_close_keeps_everything(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Durable, Feature::Offsets])?;
    let broker = filled(&stage).await;
    let mut member = broker.join("billing", "orders").await;
    let lane = member.assigned(2).await.remove(0);
    member.take(100).await;
    member.progress(lane.lane, lane.epoch, progress());
    member.close().await;
    // Nobody waits for these, and the broker was told that it will be closed.
    for number in 100..120 {
        drop(broker.send(crate::stage::to("orders", 1, &number.to_string())));
    }
    broker.close().await.expect("it can be closed");
    drop(broker);
    let broker = stage.open().await;
    is_whole(&broker).await;
    assert_eq!(broker.payloads("orders", 1).await, numbers(100..120));
    assert_eq!(
        broker.at("orders", Some("billing")).await[0].progress,
        Some(progress())
    );
    Ok(())
}

pub(crate) async fn an_epoch_is_never_given_twice_not_even_after_a_crash(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Durable, Feature::Offsets])?;
    let mut broker = filled(&stage).await;
    for round in 0..3u64 {
        let mut member = broker.join("billing", "orders").await;
        let lane = member.assigned(2).await.remove(0);
        assert_eq!(lane.next, round * 10, "what the life before committed counts");
        member.done(lane.lane, lane.epoch, (round + 1) * 10);
        member.commit().await;
        drop(member);
        broker = stage.crash(broker).await;
    }
    Ok(())
}

pub(crate) async fn what_was_being_handled_when_a_process_died_is_known_until_it_is_finished(
    stage: Stage,
) -> Verdict {
    stage.needs(&[Feature::Durable, Feature::StoredPositions, Feature::Marks])?;
    let mut broker = filled(&stage).await;
    let mut expected = Deaths::of(3);
    for company in [Company::Others, Company::Nobody] {
        let mut member = broker.join("billing", "orders").await;
        let lanes = member.assigned(2).await;
        let of_first = [expected].into_iter().filter(|deaths| deaths.count() > 0);
        assert_eq!(lanes[0].deaths, of_first.collect::<Vec<_>>());
        assert_eq!(lanes[1].deaths, [], "they are those of one partition");
        let marks = lanes[0].marks.clone().expect("it says that it has marks");
        let room = marks.board.take();
        let tag = marks.tag.expect("the lane of a group is marked");
        room[0].set(tag, 3, company);
        std::mem::forget(member);
        broker = stage.crash(broker).await;
        expected.add(Activity::Executing, company);
    }
    let mut member = broker.join("billing", "orders").await;
    let lane = member.assigned(2).await.remove(0);
    assert_eq!(lane.deaths, [expected]);
    member.done(lane.lane, lane.epoch, 4);
    member.commit().await;
    let mut member = stage.crash(broker).await.join("billing", "orders").await;
    assert_eq!(member.assigned(2).await[0].deaths, []);
    Ok(())
}

pub(crate) async fn a_second_owner_is_refused_while_the_first_lives(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Durable, Feature::ReadOnly])?;
    let broker = filled(&stage).await;
    let refused = stage
        .harness
        .open(crate::harness::Opening::new(stage.clock))
        .await;
    assert!(matches!(refused, Err(BinderError::Open { .. })), "{refused:?}");
    broker.close().await.expect("it can be closed");
    drop(broker);
    is_whole(&stage.open().await).await;
    Ok(())
}

pub(crate) async fn a_reader_beside_the_owner_sees_what_comes_and_changes_nothing(stage: Stage) -> Verdict {
    stage.needs(&[Feature::ReadOnly])?;
    let owner = filled(&stage).await;
    let reader = stage.read_only().await;
    assert_eq!(reader.payloads("orders", 0).await, numbers(0..100));
    owner.publish("orders", 0, "100").await.expect("it is kept");
    owner.has("payments", 1).await;
    let mut waited = Duration::ZERO;
    while reader.payloads("orders", 0).await.len() < 101 {
        assert!(
            waited < Duration::from_secs(10),
            "the reader never sees what the owner writes"
        );
        waited += Duration::from_millis(100);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let names = reader.destinations().await.expect("they can be listed");
    assert_eq!(
        names.iter().map(|info| &*info.name).collect::<Vec<_>>(),
        ["orders", "payments"]
    );
    assert!(reader.publish("orders", 0, "no").await.is_err());
    assert!(reader.prepare(crate::stage::destination("new", 1)).await.is_err());
    assert!(
        reader
            .store_progress("orders", 0, "billing", progress())
            .await
            .is_err(),
        "a reader stores nothing"
    );
    let can = reader.capabilities();
    assert!(
        !can.stored_positions && !can.delayed && !can.retry_lane,
        "{can:?}"
    );
    assert_eq!(owner.payloads("orders", 0).await, numbers(0..101));
    Ok(())
}

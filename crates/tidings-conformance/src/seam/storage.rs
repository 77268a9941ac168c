//! Retention, and storage that fails.

use crate::features::Feature;
use crate::harness::StorageFault;
use crate::stage::{Broker, Stage, Verdict, destination};
use std::time::Duration;
use tidings_core::{BinderHealth, PublishError};

async fn fill(broker: &Broker, messages: usize) {
    for number in 0..messages {
        let payload = format!("{number}:{}", "x".repeat(1_000));
        broker.publish("orders", 0, &payload).await.expect("it is kept");
    }
}

async fn first(broker: &Broker) -> u64 {
    broker.at("orders", None).await[0].first
}

pub(crate) async fn what_is_old_goes_and_the_rest_can_be_read(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Retention, Feature::VirtualTime])?;
    let broker = stage.open_with(|opening| opening.small_segments = true).await;
    let mut wanted = destination("orders", 1);
    wanted.retention_time = Some(Duration::from_secs(3_600));
    broker.prepare(wanted).await.expect("it can be prepared");
    fill(&broker, 40).await;
    tokio::time::sleep(Duration::from_secs(3_000)).await;
    assert_eq!(first(&broker).await, 0, "nothing is that old");
    tokio::time::sleep(Duration::from_secs(700)).await;
    let kept = first(&broker).await;
    assert!(kept > 20, "{kept}");
    fill(&broker, 3).await;
    let offsets: Vec<_> = broker
        .messages("orders", 0)
        .await
        .iter()
        .map(|(offset, _)| *offset)
        .collect();
    assert_eq!(offsets, (kept..43).collect::<Vec<_>>());
    Ok(())
}

pub(crate) async fn retention_by_size_never_takes_what_a_group_has_not_finished(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Retention, Feature::VirtualTime, Feature::StoredPositions])?;
    let broker = stage.open_with(|opening| opening.small_segments = true).await;
    let mut wanted = destination("orders", 1);
    wanted.retention_bytes = Some(8_192);
    broker.prepare(wanted).await.expect("it can be prepared");
    let mut member = broker.join("billing", "orders").await;
    let lane = member.assigned(1).await.remove(0);
    member.commit().await;
    fill(&broker, 40).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(first(&broker).await, 0, "the group has finished nothing");
    member.done(lane.lane, lane.epoch, 20);
    member.commit().await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let kept = first(&broker).await;
    assert!(kept > 10 && kept <= 20, "{kept}");
    member.done(lane.lane, lane.epoch, 40);
    member.commit().await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(first(&broker).await > 25);
    Ok(())
}

pub(crate) async fn a_full_disk_refuses_clearly_and_goes_on_when_there_is_room(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StorageFaults])?;
    let broker = stage.open_with(|opening| opening.breakable = true).await;
    broker.has("orders", 1).await;
    broker.publish("orders", 0, "before").await.expect("it is kept");
    stage.harness.break_storage(Some(StorageFault::Full));
    let refused = broker.publish("orders", 0, "no room").await;
    assert!(
        matches!(&refused, Err(error @ PublishError::Unavailable { .. }) if !error.is_permanent()),
        "{refused:?}"
    );
    stage.harness.break_storage(None);
    broker
        .publish("orders", 0, "after")
        .await
        .expect("there is room again");
    let kept = broker.payloads("orders", 0).await;
    assert_eq!(kept, ["before", "after"], "what was refused is not there");
    Ok(())
}

pub(crate) async fn after_a_failed_sync_nothing_is_acknowledged_and_health_says_so(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StorageFaults])?;
    let broker = stage.open_with(|opening| opening.breakable = true).await;
    broker.has("orders", 1).await;
    broker.publish("orders", 0, "before").await.expect("it is kept");
    stage.harness.break_storage(Some(StorageFault::SyncFails));
    drop(broker.publish("orders", 0, "maybe").await);
    assert!(
        broker.sink().flush().await.is_err(),
        "it cannot promise to keep anything"
    );
    stage.harness.break_storage(None);
    let refused = broker.publish("orders", 0, "not without a new start").await;
    assert!(
        matches!(refused, Err(PublishError::Unavailable { .. })),
        "{refused:?}"
    );
    assert!(
        matches!(broker.health(), BinderHealth::Down(_)),
        "{:?}",
        broker.health()
    );
    Ok(())
}

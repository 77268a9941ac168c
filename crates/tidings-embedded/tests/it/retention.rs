use crate::support::*;
use std::time::Duration;
use tidings_core::{Binder, Clock, Progress, Source};
use tidings_embedded::{EmbeddedBroker, EmbeddedOptions, Unread};

async fn fill(broker: &EmbeddedBroker, count: usize) {
    for number in 0..count {
        publish(broker, "orders", 0, format!("{number}:{}", "x".repeat(1000)))
            .await
            .unwrap();
    }
}

fn small() -> EmbeddedOptions {
    EmbeddedOptions::from_url("memory:").unwrap().segment_bytes(4096)
}

async fn first(broker: &EmbeddedBroker) -> u64 {
    broker.positions("orders", None).await.unwrap()[0].first
}

#[tokio::test]
async fn the_oldest_go_beyond_the_size_but_never_what_a_group_has_not_finished() {
    let broker = EmbeddedBroker::open(small().retention_bytes(Some(8192))).unwrap();
    prepare(&broker, "orders", 1).await;
    let mut source = join(&broker, "billing", "orders").await;
    let lane = assigned(&mut source).await.remove(0);
    source.commit().await.unwrap();
    fill(&broker, 40).await;
    broker.retain().await.unwrap();
    assert_eq!(first(&broker).await, 0, "the group has finished nothing");
    done(&mut source, lane.lane, lane.epoch, 20);
    broker.retain().await.unwrap();
    assert_eq!(first(&broker).await, 0, "what is not stored does not count");
    source.commit().await.unwrap();
    broker.retain().await.unwrap();
    let kept = first(&broker).await;
    assert!(kept > 10 && kept <= 20, "{kept}");
    done(&mut source, lane.lane, lane.epoch, 40);
    source.commit().await.unwrap();
    broker.retain().await.unwrap();
    assert!(first(&broker).await > 25);
}

#[tokio::test]
async fn unread_messages_go_only_where_that_is_allowed_and_the_group_goes_on_behind_them() {
    let broker = EmbeddedBroker::open(small().retention_bytes(Some(8192)).unread(Unread::Drop)).unwrap();
    prepare(&broker, "orders", 1).await;
    let mut source = join(&broker, "billing", "orders").await;
    source.commit().await.unwrap();
    fill(&broker, 40).await;
    broker.retain().await.unwrap();
    let kept = first(&broker).await;
    assert!(kept > 25);
    assigned(&mut source).await;
    assert_eq!(batch(&mut source).await.records()[0].offset, kept);
}

#[tokio::test(start_paused = true)]
async fn what_is_old_goes_by_itself_also_by_a_destinations_own_age() {
    let clock = Clock::virtual_from_now();
    let broker = EmbeddedBroker::open(small().clock(clock)).unwrap();
    let mut wanted = destination("orders", 1);
    wanted.retention_time = Some(Duration::from_secs(3600));
    broker.prepare(wanted).await.unwrap();
    fill(&broker, 40).await;
    tokio::time::sleep(Duration::from_secs(3000)).await;
    assert_eq!(first(&broker).await, 0);
    tokio::time::sleep(Duration::from_secs(700)).await;
    assert!(first(&broker).await > 30, "all but the last segment");
}

#[tokio::test]
async fn dead_letters_nobody_has_read_stay_whatever_the_broker_keeps_of_other_destinations() {
    let broker = EmbeddedBroker::open(small().retention_bytes(Some(8192))).unwrap();
    prepare(&broker, "orders", 1).await;
    fill(&broker, 40).await;
    broker.retain().await.unwrap();
    assert_eq!(first(&broker).await, 0, "no group has a position");
    let progress = Progress {
        watermark: 40,
        ..Progress::default()
    };
    broker
        .store_progress("orders", 0, "billing.redrive", progress.clone())
        .await
        .unwrap();
    broker.retain().await.unwrap();
    assert_eq!(
        first(&broker).await,
        0,
        "one group got its own back, others have not"
    );
    broker
        .store_progress("orders", 0, "audit", progress)
        .await
        .unwrap();
    broker.retain().await.unwrap();
    assert!(first(&broker).await > 25, "somebody read them");
}

#[tokio::test]
async fn unread_messages_may_go_where_the_destination_or_the_broker_says_so() {
    let with_own = small().retention_bytes(None);
    let with_drop = small().retention_bytes(Some(8192)).unread(Unread::Drop);
    for (options, own) in [(with_own, Some(8192)), (with_drop, None)] {
        let broker = EmbeddedBroker::open(options).unwrap();
        let mut wanted = destination("orders", 1);
        wanted.retention_bytes = own;
        broker.prepare(wanted).await.unwrap();
        fill(&broker, 40).await;
        broker.retain().await.unwrap();
        assert!(first(&broker).await > 25);
    }
}

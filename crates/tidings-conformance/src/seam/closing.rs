//! A broker that is closed.

use crate::stage::{Stage, Verdict, destination, spec};
use std::time::Duration;
use tidings_core::{BinderHealth, SourceError};

pub(crate) async fn a_closed_broker_answers_everything_with_that(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    broker.has("orders", 1).await;
    let mut member = broker.join("billing", "orders").await;
    member.drain().await;
    broker.close().await.expect("it can be closed");
    broker.close().await.expect("closing again is no error");
    assert!(broker.publish("orders", 0, "x").await.is_err());
    assert!(broker.prepare(destination("new", 1)).await.is_err());
    assert!(broker.subscribe(spec(Some("billing"), "orders")).await.is_err());
    assert!(broker.positions("orders", None).await.is_err());
    assert!(broker.destinations().await.is_err());
    assert!(
        matches!(broker.health(), BinderHealth::Down(_)),
        "a dead broker never reports healthy"
    );
    let end = member.next().await;
    assert!(matches!(end, Err(SourceError::Closed)), "{end:?}");
    Ok(())
}

pub(crate) async fn a_close_wakes_whoever_waits(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    broker.has("orders", 1).await;
    let mut member = broker.join("billing", "orders").await;
    member.drain().await;
    let waiting = tokio::spawn(async move { member.0.next().await });
    tokio::time::sleep(Duration::from_millis(10)).await;
    broker.close().await.expect("it can be closed");
    let end = tokio::time::timeout(Duration::from_secs(10), waiting).await;
    let end = end
        .expect("it does not wait for ever")
        .expect("it does not panic");
    assert!(matches!(end, Err(SourceError::Closed)), "{end:?}");
    Ok(())
}

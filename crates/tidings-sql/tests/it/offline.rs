//! A relay before a Kafka of three brokers, one of which is dead with the only copy of a topic.

use crate::fake::{Running, eventually, quick, waiting};
use crate::fence::{kafka, payloads};
use crate::support::sqlite;
use brokers::{Kafka, Options, Tool};
use sqlx::Sqlite;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{Binder, DestinationSpec, Message};
use tidings_sql::Outbox;

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Kafka ends no transaction with such a partition, neither by a commit nor by giving it up, before it has a leader again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_without_a_leader_holds_up_no_other_and_is_sent_when_it_has_one() {
    let test = "a_topic_without_a_leader_holds_up_no_other_and_is_sent_when_it_has_one";
    let started = blocking(|| Kafka::start(Options::cluster().heap_mb(350))).await;
    let Some(cluster) = brokers::or_skip(test, started) else {
        return;
    };
    let cluster = Arc::new(cluster);
    let (letters, orders) = (brokers::unique("letters"), brokers::unique("orders"));
    let binder = kafka(&cluster.bootstrap());
    binder
        .prepare(DestinationSpec::new(orders.as_str(), 1))
        .await
        .unwrap();
    let (at, topic) = (cluster.clone(), letters.clone());
    blocking(move || {
        let create = ["--create", "--topic", &topic, "--replica-assignment", "1"];
        let create = at.tool(Tool::Topics).args(create);
        create.args(["--config", "min.insync.replicas=1"]).run().unwrap();
    })
    .await;
    let home = sqlite();
    let store = home.open::<Sqlite>().await;
    let outbox = Outbox::to_channels(&store, [letters.as_str(), orders.as_str()]);
    let write = async |number: u32| {
        let mut tx = store.begin().await.unwrap();
        for channel in [&letters, &orders] {
            let message = Message::new(number.to_string()).with_key("ada");
            outbox.send(&mut tx, channel.as_str(), message).await.unwrap();
        }
        tx.commit().await.unwrap();
    };
    let options = quick()
        .publish_timeout(Duration::from_secs(3))
        .longest_backoff(Duration::from_millis(500));
    let relay = Running::start(&store, binder.sink(), options);
    write(0).await;
    eventually("both are sent", || relay.status.sent() == 2).await;
    let at = cluster.clone();
    blocking(move || at.kill(1).unwrap()).await;
    for number in 1..10 {
        write(number).await;
    }
    eventually("orders are sent", || relay.status.sent() == 11).await;
    // Also when a transaction with the others was given up in between.
    eventually("it has failed", || relay.status.failures() > 1).await;
    for number in 10..20 {
        write(number).await;
    }
    eventually("more orders are sent", || relay.status.sent() == 21).await;
    assert_eq!(waiting(&outbox).await, 19);
    let at = cluster.clone();
    blocking(move || at.start_node(1).unwrap()).await;
    eventually("all are sent", || relay.status.sent() == 40).await;
    relay.stop().await;
    let wanted: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    for topic in [&orders, &letters] {
        // A commit that was not answered may have been one.
        let mut seen = HashSet::new();
        let mut payloads = payloads(&cluster.bootstrap(), topic, "read_committed").await;
        payloads.retain(|payload| seen.insert(payload.clone()));
        assert_eq!(payloads, wanted);
    }
    binder.close().await.unwrap();
}

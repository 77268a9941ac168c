//! What needs no Kafka.

use super::native::{Asking, At, END, Messages};
use super::*;
use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use std::net::TcpListener;
use std::time::Instant;

#[test]
fn a_runtime_ends_while_a_question_waits_for_a_broker_that_does_not_answer() {
    // It takes connections, and that is all.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let options = ClientOptions::from_url(&format!("kafka://{address}")).unwrap();
    let patience = options.request_timeout();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let begun = runtime.block_on(async {
        let kafka = KafkaAdmin::open(options).unwrap();
        let asking = kafka.clone();
        let asking = tokio::spawn(async move { asking.positions("orders", None).await.map(drop) });
        while silent.accept().is_err() {}
        asking.abort();
        Instant::now()
    });
    drop(runtime);
    let took = begun.elapsed();
    assert!(
        took < patience / 2,
        "it waited for the question: {took:?} of {patience:?}"
    );
}

/// A leader that comes back has another epoch, and clients that ask with the one they know are refused.
#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_found_after_leaders_have_changed_although_nothing_was_published() {
    let cluster = MockCluster::new(2).unwrap();
    cluster.create_topic("orders", 1, 2).unwrap();
    cluster.partition_leader("orders", 0, Some(1)).unwrap();
    let options = ClientOptions::from_url(&format!("kafka://{}", cluster.bootstrap_servers())).unwrap();
    let kafka = KafkaAdmin::open(options).unwrap();
    let ask = async || {
        let asked = kafka.ask("asking".to_owned(), |asking: Asking<'_>| {
            let end = asking.offsets(&[At::new("orders", 0, END)], Messages::All)?;
            Ok(end[0].offset)
        });
        asked.await.unwrap()
    };
    assert_eq!(ask().await, 0);
    for leader in [1, 2, 1] {
        cluster.partition_leader("orders", 0, Some(leader)).unwrap();
        assert_eq!(ask().await, 0, "led by {leader}");
    }
    // In that moment nobody led it, and that is what the client knows.
    cluster.partition_leader("orders", 0, None).unwrap();
    kafka.partitions(&"orders".into()).await.unwrap();
    cluster.partition_leader("orders", 0, Some(2)).unwrap();
    assert_eq!(ask().await, 0, "it is led again");
}

/// Asked through a producer, this answer ends the process: librdkafka 2.12 looks for the client's own group.
#[tokio::test(flavor = "multi_thread")]
async fn positions_are_found_after_the_coordinator_has_moved() {
    let cluster = MockCluster::new(2).unwrap();
    cluster.create_topic("orders", 1, 2).unwrap();
    let options = ClientOptions::from_url(&format!("kafka://{}", cluster.bootstrap_servers())).unwrap();
    let kafka = KafkaAdmin::open(options).unwrap();
    let moved = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR; 2];
    cluster.request_errors(RDKafkaApiKey::OffsetFetch, &moved);
    let rows = kafka.positions("orders", Some("billing")).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].progress, None);
}

/// In librdkafka 2.12 a question that ran out of time before there was a coordinator ends the process when one comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_comes_back_after_a_question_was_given_up_answers_the_next() {
    let cluster = MockCluster::new(2).unwrap();
    cluster.create_topic("orders", 1, 1).unwrap();
    cluster.partition_leader("orders", 0, Some(1)).unwrap();
    let coordinator = MockCoordinator::Group("billing".to_owned());
    cluster.coordinator(coordinator, 2).unwrap();
    let options = ClientOptions::from_url(&format!("kafka://{}", cluster.bootstrap_servers())).unwrap();
    let kafka = KafkaAdmin::open(options.with_request_timeout(Duration::from_secs(1))).unwrap();
    cluster.broker_down(2).unwrap();
    let away = kafka.positions("orders", Some("billing")).await;
    assert!(matches!(away, Err(BinderError::Failed { .. })), "{away:?}");
    cluster.broker_up(2).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while let Err(error) = kafka.positions("orders", Some("billing")).await {
        assert!(Instant::now() < until, "{error}");
    }
}

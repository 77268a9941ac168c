//! What needs no Kafka.

use super::*;
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

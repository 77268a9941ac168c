//! What needs no Kafka.

use super::*;
use crate::options::ClientOptions;
use rdkafka::mocking::MockCluster;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A commit that librdkafka 2.12 meets when it has just left its group ends the process.
#[test]
fn what_is_stored_while_a_member_leaves_does_not_end_the_process() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("orders", 1, 1).unwrap();
    let options = ClientOptions::from_url(&format!("kafka://{}", cluster.bootstrap_servers())).unwrap();
    let state = ClientState::open(&options).unwrap();
    for round in 0..10 {
        let mut config = options.consumer();
        config.set("group.id", "billing");
        let consumer = Consumer::new(&config, Inbox::default(), &state).unwrap();
        let mut list = List::new();
        list.add_with("orders", 0, 7, "");
        let closed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut numbers = 0..;
                while !closed.load(Ordering::Acquire) {
                    // What is refused is what this is about.
                    let _ = numbers.next().map(|number| consumer.commit(&list, number));
                }
            });
            std::thread::sleep(Duration::from_millis(round % 20));
            consumer.start_close().unwrap();
            let until = Instant::now() + Duration::from_secs(20);
            while !consumer.is_closed() && Instant::now() < until {
                consumer.consume(|_| {});
                consumer.serve_replies();
            }
            assert!(consumer.is_closed(), "it leaves, whatever else is asked of it");
            closed.store(true, Ordering::Release);
        });
    }
}

//! What only a test inside can bring about.

use crate::admin::KafkaAdmin;
use crate::options::ClientOptions;
use tidings_core::{DestinationSpec, Message, Outgoing, PublishError, Sink};

fn message(topic: &str, number: u32) -> Outgoing {
    let mut outgoing = Outgoing::new(topic, Message::new(number.to_string()));
    outgoing.partition = Some(0);
    outgoing
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_fatal_error_everything_under_way_is_answered_and_another_producer_goes_on_in_order() {
    let test = "after_a_fatal_error_everything_under_way_is_answered_and_another_producer_goes_on_in_order";
    let Some(servers) = brokers::kafka_or_skip(test) else {
        return;
    };
    let options = ClientOptions::from_url(&format!("kafka://{servers}")).unwrap();
    let options = options.with_properties([("linger.ms", "60000")]).unwrap();
    let kafka = KafkaAdmin::open(options).unwrap();
    let topic = format!("test-fatal-{:016x}", fastrand::u64(..));
    let spec = DestinationSpec::new(topic.as_str(), 1);
    kafka.prepare(spec).await.unwrap();
    let sink = kafka.sink();
    let before = sink.publish_all((0..1_000).map(|number| message(&topic, number)).collect());
    sink.producer().fail();
    let after = sink.publish_all((1_000..1_100).map(|number| message(&topic, number)).collect());
    for receipt in before {
        let refused = receipt.await.expect_err("it was still in the buffer");
        assert!(matches!(refused, PublishError::Unavailable { .. }), "{refused}");
    }
    // A batch that is full goes out before its time.
    let rest = sink.publish_all((1_100..101_100).map(|number| message(&topic, number)).collect());
    for (number, receipt) in (0..).zip(after.into_iter().chain(rest).take(50_000)) {
        assert_eq!(receipt.await.expect("another producer takes it").offset(), number);
    }
}

//! What the broker deletes by itself, and what is deleted because it is finished.

use crate::members::{Member, begin, clean, texts};
use crate::support::{options, payloads, spec, to, unique};
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{
    Binder, DestinationRole, LaneRole, Message, Outgoing, Sink, SourceEvent, SourceInput, Timestamp,
};
use tidings_kafka::{KafkaAdmin, KafkaBinder};
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(90);

/// The first offset of a partition that is there.
async fn first(kafka: &KafkaAdmin, topic: &str) -> u64 {
    kafka.positions(topic, None).await.expect("offsets")[0].first
}

/// Waits until the records before that offset are gone.
async fn gone(kafka: &KafkaAdmin, topic: &str, before: u64) {
    let until = Instant::now() + PATIENCE;
    while first(kafka, topic).await < before {
        assert!(Instant::now() < until, "nothing was deleted of {topic}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_and_what_is_dead_stays_whatever_topics_are_told_to_delete() {
    let kafka = begin!("what_waits_and_what_is_dead_stays_whatever_topics_are_told_to_delete");
    let options = options(&kafka.servers).with_topic_setting("retention.ms", "1");
    let admin =
        KafkaAdmin::open(options.with_topic_setting("cleanup.policy", "compact,delete")).expect("clients");
    let topic = async |role| {
        let name = unique("kept");
        let made = admin.prepare(spec(&name, 1).role(role)).await;
        made.expect("it is made");
        name
    };
    let plain = topic(DestinationRole::Messages).await;
    let kept = [
        topic(DestinationRole::Retry).await,
        topic(DestinationRole::DeadLetters).await,
    ];
    let old = async |topic: &Arc<str>| {
        let message = Message::new("old")
            .with_key("a")
            .with_timestamp(Timestamp::from_millis(99_999));
        let sent = admin.sink().publish(Outgoing::new(topic.clone(), message)).await;
        sent.expect("it is kept");
    };
    for topic in &kept {
        old(topic).await;
    }
    // The broker has looked twice when it has deleted the second of these.
    for round in 1..=2 {
        old(&plain).await;
        gone(&admin, &plain, round).await;
    }
    for topic in &kept {
        assert_eq!(payloads(&admin, topic, 0).await, ["old"], "{topic}");
    }
    admin.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_group_has_finished_of_its_retry_topic_is_deleted_and_nothing_else() {
    let kafka = begin!("what_a_group_has_finished_of_its_retry_topic_is_deleted_and_nothing_else");
    let (orders, retry) = (kafka.topic("orders", 1).await, kafka.topic("retry", 1).await);
    kafka.count(&orders, 0, 0..5).await;
    kafka.count(&retry, 0, 0..5).await;
    let options = options(&kafka.servers).with_retry_trim_interval(Duration::from_millis(100));
    let binder = KafkaBinder::open(options).expect("clients");
    let group = kafka.name("group");
    let mut spec = crate::members::spec(Some(&group), &[]);
    spec.inputs = vec![SourceInput {
        destination: orders.as_str().into(),
        retry: Some(retry.as_str().into()),
    }];
    let mut member = Member::join(&binder, spec).await;
    member.assigned(2).await;
    // Three of five are finished, in either topic.
    let mut seen = 0;
    while seen < 10 {
        if let SourceEvent::Batch(batch) = member.next().await {
            seen += texts(&batch).len();
            member.done(batch.lane(), batch.epoch(), batch.next().min(3));
        }
    }
    member.store().await;
    gone(binder.admin(), &retry, 3).await;
    assert_eq!(payloads(binder.admin(), &retry, 0).await, ["3", "4"]);
    assert_eq!(first(binder.admin(), &orders).await, 0, "it is other groups' too");
    // What is finished later goes later.
    let lane = member
        .own
        .values()
        .find(|one| one.role == LaneRole::Retry)
        .expect("it is read")
        .clone();
    member.done(lane.lane, lane.epoch, 5);
    member.store().await;
    gone(binder.admin(), &retry, 5).await;
    member.close().await;
    binder.close().await.expect("closed");
    clean(&kafka).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_goes_on_where_records_are_deleted_meanwhile() {
    let kafka = begin!("reading_goes_on_where_records_are_deleted_meanwhile");
    let name = kafka.topic("orders", 1).await;
    let topic: Arc<str> = name.as_str().into();
    let admin = KafkaAdmin::open(options(&kafka.servers)).expect("clients");
    let deleting: AdminClient<DefaultClientContext> = kafka.config().create().expect("a client");
    for round in 0..30_i64 {
        admin
            .sink()
            .publish(to(&topic, 0, "x"))
            .await
            .expect("it is kept");
        let mut before = TopicPartitionList::new();
        before
            .add_partition_offset(&name, 0, rdkafka::Offset::Offset(round + 1))
            .expect("an offset");
        let admin_options = AdminOptions::new();
        let (read, deleted) = tokio::join!(
            admin.read(&name, 0, 0, 1 << 20),
            deleting.delete_records(&before, &admin_options)
        );
        deleted.expect("it is deleted");
        let batch = read.expect("what was deleted is no error");
        assert!(batch.records().len() <= 1, "{batch:?}");
    }
    admin.close().await.expect("closed");
    clean(&kafka).await;
}

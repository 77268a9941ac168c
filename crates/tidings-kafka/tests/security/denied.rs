//! Whoever is in and may not do something is told what, and which right is missing.

use crate::support::{PATIENCE, allowed, kafka, login, logs, next_batch, options, reads, spec};
use brokers::{Kafka, Listener, Security, Tool, unique};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{
    Binder, BinderError, BinderHealth, Guarantee, Message, Outgoing, Progress, PublishError, Source,
    SourceError,
};
use tidings_kafka::{ClientOptions, KafkaBinder};
use tokio::time::timeout;

fn open(kafka: &Kafka, user: brokers::Login) -> KafkaBinder {
    KafkaBinder::open(options_of(kafka, user)).unwrap()
}

fn options_of(kafka: &Kafka, user: brokers::Login) -> ClientOptions {
    let security = kafka.security().unwrap();
    let properties = login(security, "SCRAM-SHA-512", user.name, user.password);
    options(kafka, Listener::SaslSsl, properties)
}

async fn failed<T: std::fmt::Debug>(asked: impl Future<Output = Result<T, BinderError>>) -> String {
    timeout(PATIENCE, asked)
        .await
        .expect("in time")
        .expect_err("it is denied")
        .to_string()
}

async fn refusal(binder: &KafkaBinder, topic: &Arc<str>) -> PublishError {
    let published = binder
        .sink()
        .publish(Outgoing::new(topic.clone(), Message::new("x")));
    timeout(PATIENCE, published)
        .await
        .expect("in time")
        .expect_err("it is denied")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_denied_is_named_with_the_right_that_is_missing() {
    let Some(kafka) = kafka("a_topic_that_is_denied_is_named_with_the_right_that_is_missing") else {
        return;
    };
    let alice = open(kafka, Security::ALICE);
    let theirs: Arc<str> = unique("billing").into();
    for (said, words) in [
        (failed(alice.prepare(spec(&theirs))).await, "Create to make it"),
        (
            failed(alice.positions(&theirs, None)).await,
            "Describe with Read to consume",
        ),
        (
            failed(alice.read(&theirs, 0, 0, 1 << 20)).await,
            "Describe with Read to consume",
        ),
        (
            failed(alice.subscribe(reads(&theirs, &allowed("group")))).await,
            "Describe with Read to consume",
        ),
    ] {
        assert!(
            said.contains(words) && said.contains(&*theirs) && said.contains("uthorization failed"),
            "{said}"
        );
    }
    let refused = refusal(&alice, &theirs).await;
    assert!(
        matches!(refused, PublishError::Unauthorized { .. }) && refused.is_permanent(),
        "{refused}"
    );
    let said = refused.to_string();
    assert!(
        said.contains("Write to publish") && said.contains(&*theirs),
        "{said}"
    );
    assert_eq!(
        alice.health(),
        BinderHealth::Up,
        "who is denied a topic is let in"
    );
    alice.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_denied_is_named_with_the_right_that_is_missing() {
    let Some(kafka) = kafka("a_group_that_is_denied_is_named_with_the_right_that_is_missing") else {
        return;
    };
    let alice = open(kafka, Security::ALICE);
    let topic = allowed("topic");
    alice.prepare(spec(&topic)).await.unwrap();
    let theirs: Arc<str> = unique("billing").into();
    let said = failed(alice.positions(&topic, Some(&theirs))).await;
    assert!(said.contains("Read on the group"), "{said}");
    let mut source = alice.subscribe(reads(&topic, &theirs)).await.unwrap();
    let error = timeout(PATIENCE, async {
        loop {
            if let Err(error) = source.next().await {
                break error;
            }
        }
    });
    let error = error.await.expect("it is told in time");
    assert!(matches!(&error, SourceError::Unauthorized { .. }), "{error}");
    assert!(error.is_transient(), "rights are given while services run");
    let words = error.to_string();
    assert!(
        words.contains("Read on the group") && words.contains(&*theirs),
        "{words}"
    );
    let BinderHealth::Down(health) = alice.health() else {
        panic!("a subscription that cannot read is no good health");
    };
    assert!(
        health.contains("audit") && health.contains("Read on the group"),
        "{health}"
    );
    drop(source);
    alice.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_any_right_is_refused_at_once_and_not_by_a_timeout() {
    let Some(kafka) = kafka("a_user_without_any_right_is_refused_at_once_and_not_by_a_timeout") else {
        return;
    };
    let begin = std::time::Instant::now();
    let bob = open(kafka, Security::BOB);
    let topic = allowed("topic");
    for _ in 0..3 {
        let refused = refusal(&bob, &topic).await;
        assert!(matches!(refused, PublishError::Unauthorized { .. }), "{refused}");
    }
    let said = failed(bob.prepare(spec(&topic))).await;
    assert!(said.contains("Create to make it"), "{said}");
    // He is denied an idempotent producer too. Another one is not made again and again.
    let denials = || logs().matches("the broker denies this user a producer").count();
    let until = tokio::time::Instant::now() + PATIENCE;
    while denials() < 3 {
        assert!(
            tokio::time::Instant::now() < until,
            "it is tried again by itself: {}",
            denials()
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(
        begin.elapsed() >= std::time::Duration::from_secs(2),
        "after 1 s, then 2 s: {:?}",
        begin.elapsed()
    );
    bob.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_can_only_match_what_this_user_may_see() {
    let Some(kafka) = kafka("a_pattern_can_only_match_what_this_user_may_see") else {
        return;
    };
    let (ours, theirs): (Arc<str>, Arc<str>) = (allowed("orders"), unique("billing").into());
    let topics = kafka.tool(Tool::Topics);
    topics.args(["--create", "--topic", &theirs]).run().unwrap();
    let alice = open(kafka, Security::ALICE);
    alice.prepare(spec(&ours)).await.unwrap();
    let found = timeout(PATIENCE, alice.destinations())
        .await
        .expect("in time")
        .unwrap();
    let lists = |name: &Arc<str>| found.iter().any(|info| info.name == *name);
    assert!(lists(&ours) && !lists(&theirs), "{found:?}");
    // What it names in spite of that is refused with the right that is missing, and nothing it reads suffers.
    let mut source = alice.subscribe(reads(&ours, &allowed("group"))).await.unwrap();
    let both = [&ours, &theirs].map(|topic| reads(topic, topic).inputs).concat();
    alice
        .sink()
        .publish(Outgoing::new(ours.clone(), Message::new("1")))
        .await
        .unwrap();
    source.change_inputs(&both).unwrap();
    let batch = next_batch(&mut source).await;
    assert_eq!(batch.records().len(), 1);
    alice.close().await.unwrap();
}

/// Rights on the group are not enough: transactions have an id, which begins with the group's name.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_goes_on_after_an_output_that_is_denied_was_given_up() {
    let Some(kafka) = kafka("a_transaction_goes_on_after_an_output_that_is_denied_was_given_up") else {
        return;
    };
    let alice = open(kafka, Security::ALICE);
    let (topic, priced, group) = (allowed("orders"), allowed("priced"), allowed("pricing"));
    let theirs: Arc<str> = unique("billing").into();
    for topic in [&topic, &priced] {
        alice.prepare(spec(topic)).await.unwrap();
    }
    let to = |topic: &Arc<str>| Outgoing::new(topic.clone(), Message::new("1"));
    alice.sink().publish(to(&topic)).await.unwrap();
    let mut wanted = reads(&topic, &group);
    wanted.guarantee = Guarantee::ExactlyOnce;
    let mut source = alice.subscribe(wanted).await.unwrap();
    for destination in [&theirs, &priced] {
        let batch = next_batch(&mut source).await;
        assert_eq!(batch.records().len(), 1, "what was given up comes again");
        let published = source.transaction().unwrap().sink.publish(to(destination));
        let published = timeout(PATIENCE, published).await.expect("in time");
        if *destination == theirs {
            let refused = published.expect_err("it is denied");
            assert!(matches!(refused, PublishError::Unauthorized { .. }), "{refused}");
            let said = refused.to_string();
            assert!(
                said.contains("Write to publish") && said.contains(&*theirs),
                "{said}"
            );
            source.abort();
            continue;
        }
        published.expect("this one is allowed");
        let progress = Progress {
            watermark: batch.next(),
            ..Progress::default()
        };
        source.progress(batch.lane(), batch.epoch(), progress);
        let until = tokio::time::Instant::now() + PATIENCE;
        while let Err(error) = source.commit().await {
            assert!(
                error.is_transient() && tokio::time::Instant::now() < until,
                "{error}"
            );
        }
    }
    // Positions are seen a moment after their transaction is.
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let rows = alice.positions(&topic, Some(&group)).await.unwrap();
        let stored = rows[0].progress.as_ref().map(|progress| progress.watermark);
        if stored == Some(1) {
            break;
        }
        assert!(tokio::time::Instant::now() < until, "{stored:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    source.close().await.unwrap();
    alice.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transactional_id_that_is_denied_is_told_with_the_right_that_is_missing() {
    let Some(kafka) = kafka("a_transactional_id_that_is_denied_is_told_with_the_right_that_is_missing")
    else {
        return;
    };
    let options = options_of(kafka, Security::ALICE);
    let alice = KafkaBinder::open(options.with_request_timeout(Duration::from_secs(5))).unwrap();
    // Transactions outside of a subscription have ids of their own.
    let begun = timeout(PATIENCE, alice.sink().begin()).await.expect("in time");
    let said = begun.expect_err("it is denied").to_string();
    assert!(said.contains("Write on the transactional id"), "{said}");
    assert_eq!(alice.health(), BinderHealth::Up, "what needs none goes on");
    alice.close().await.unwrap();
}

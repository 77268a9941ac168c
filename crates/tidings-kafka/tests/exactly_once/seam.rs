//! What the engine may rely on, tried with members used without it.

use crate::ledger::Ledger;
use crate::support::{
    Member, PATIENCE, binder, blocking, fill, own, own_of, shared, spec, stored, stored_progress, to, topic,
};
use brokers::Options;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{Binder, Progress, Source, SourceError, SourceEvent, Start};
use tidings_kafka::KafkaBinder;
use tokio::time::{Instant, timeout};

async fn committed(servers: &str, topic: &Arc<str>, wanted: usize) -> Vec<u64> {
    let (servers, topic) = (servers.to_owned(), topic.clone());
    blocking(move || {
        let mut ledger = Ledger::open(&servers, &[(&topic, 1)]);
        if wanted == 0 {
            ledger.read_for(Duration::from_secs(1));
        }
        ledger.read_until(PATIENCE, |ledger| ledger.of(&topic).len() >= wanted);
        ledger.of(&topic).keys().copied().collect()
    })
    .await
}

async fn is_stored(binder: &KafkaBinder, topic: &Arc<str>, group: &str, wanted: u64) {
    until_stored(binder, topic, group, |progress| progress.watermark == wanted).await;
}

/// Positions are seen a moment after their transaction is.
async fn until_stored(
    binder: &KafkaBinder,
    topic: &Arc<str>,
    group: &str,
    holds: impl Fn(&Progress) -> bool,
) {
    let until = Instant::now() + PATIENCE;
    loop {
        let progress = stored_progress(binder, topic, group).await;
        if progress.as_ref().is_some_and(&holds) {
            return;
        }
        assert!(Instant::now() < until, "{progress:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn leave(binder: KafkaBinder, mut member: Member) {
    let _ = member.source.close().await;
    drop(member);
    let _ = binder.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outputs_and_positions_are_committed_together_or_not_at_all() {
    let test = "outputs_and_positions_are_committed_together_or_not_at_all";
    let Some(servers) = shared(test).await else { return };
    let kafka = binder(servers, &[]);
    let group = brokers::unique("pricing");
    let (orders, priced) = (topic(&kafka, "orders", 1).await, topic(&kafka, "priced", 1).await);
    fill(&kafka, &orders, 0..20).await;
    let mut member = Member::join(&kafka, spec(&group, &orders)).await;
    assert_eq!(member.take(20).await, (0..20).collect::<Vec<_>>());
    assert!(
        member.commit().await.is_ok(),
        "nothing is to be committed, and nobody asked"
    );
    let receipts: Vec<_> = (0..10)
        .map(|number| member.publish(to(&priced, 0, number)))
        .collect();
    for receipt in receipts {
        receipt.await.unwrap();
    }
    member.finished(10);
    // As long as it is open nothing of it is seen, however long that is.
    let idle = timeout(Duration::from_secs(1), async {
        loop {
            let _ = member.next().await;
        }
    });
    assert!(idle.await.is_err());
    assert_eq!(
        stored(&kafka, &orders, &group).await,
        None,
        "positions go with the outputs"
    );
    assert_eq!(committed(servers, &priced, 0).await, [0; 0]);
    member.commit().await.unwrap();
    is_stored(&kafka, &orders, &group, 10).await;
    assert_eq!(committed(servers, &priced, 10).await.len(), 10);
    // Finished without any output: in a transaction too. Not awaited: the commit waits.
    member.finished(11);
    member.commit().await.unwrap();
    is_stored(&kafka, &orders, &group, 11).await;
    for number in 11..20 {
        drop(member.publish(to(&priced, 0, number)));
    }
    member.finished(20);
    member.commit().await.unwrap();
    assert_eq!(committed(servers, &priced, 19).await.len(), 19);
    // Left without a commit: as if it had not been.
    drop(member.publish(to(&priced, 0, 99)));
    member.finished(20);
    drop(member);
    assert_eq!(committed(servers, &priced, 0).await.len(), 19);
    let _ = kafka.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_transaction_is_given_up_its_lanes_go_on_at_what_is_committed() {
    let test = "after_a_transaction_is_given_up_its_lanes_go_on_at_what_is_committed";
    let Some(servers) = shared(test).await else { return };
    let kafka = binder(servers, &[]);
    let group = brokers::unique("pricing");
    let (orders, priced) = (topic(&kafka, "orders", 1).await, topic(&kafka, "priced", 1).await);
    fill(&kafka, &orders, 0..30).await;
    let mut member = Member::join(&kafka, spec(&group, &orders)).await;
    let first = member.own.values().next().unwrap().epoch;
    member.take(30).await;
    drop(member.publish(to(&priced, 0, 1)));
    member.finished(10);
    member.commit().await.unwrap();
    let before = member.source.transaction().unwrap().sink;
    drop(member.publish(to(&priced, 0, 2)));
    member.finished(20);
    member.source.abort();
    let refused = before
        .publish(to(&priced, 0, 3))
        .await
        .expect_err("it is given up");
    assert!(!refused.is_permanent(), "{refused}");
    let again = member.assigned().await;
    assert!(again[0].epoch > first && again[0].next == 10, "{again:?}");
    assert_eq!(member.take(20).await, (10..30).collect::<Vec<_>>());
    let late = before
        .publish(to(&priced, 0, 4))
        .await
        .expect_err("it is of before");
    assert!(!late.is_permanent(), "{late}");
    member.finished(30);
    drop(member.publish(to(&priced, 0, 5)));
    member.commit().await.unwrap();
    assert_eq!(committed(servers, &priced, 2).await, [1, 5]);
    is_stored(&kafka, &orders, &group, 30).await;
    leave(kafka, member).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_that_was_refused_without_fault_of_its_own_takes_the_transaction_with_it() {
    let test = "a_publish_that_was_refused_without_fault_of_its_own_takes_the_transaction_with_it";
    let Some(servers) = shared(test).await else { return };
    // No room for more than a handful, and nobody waits for it.
    let options = tidings_kafka::ClientOptions::from_url(&format!("kafka://{servers}")).unwrap();
    let options = options
        .with_properties([
            ("queue.buffering.max.messages", "5"),
            ("linger.ms", "500"),
            ("heartbeat.interval.ms", "300"),
        ])
        .unwrap()
        .with_when_full(tidings_kafka::WhenFull::Refuse);
    let kafka = KafkaBinder::open(options).unwrap();
    let group = brokers::unique("pricing");
    let (orders, priced) = (topic(&kafka, "orders", 1).await, topic(&kafka, "priced", 1).await);
    for number in 0..5 {
        fill(&kafka, &orders, number..number + 1).await;
    }
    let mut member = Member::join(&kafka, spec(&group, &orders)).await;
    member.take(5).await;
    for number in 0..50 {
        drop(member.publish(to(&priced, 0, number)));
    }
    member.finished(5);
    let given_up = member.commit().await;
    assert!(
        matches!(given_up, Err(SourceError::Aborted { .. })),
        "{given_up:?}"
    );
    assert_eq!(member.assigned().await[0].next, 0);
    assert_eq!(committed(servers, &priced, 0).await, [0; 0]);
    leave(kafka, member).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_begins_late_does_not_skip_what_came_before_its_first_commit() {
    let test = "a_group_that_begins_late_does_not_skip_what_came_before_its_first_commit";
    let Some(servers) = shared(test).await else { return };
    let kafka = binder(servers, &[]);
    let group = brokers::unique("pricing");
    let orders = topic(&kafka, "orders", 1).await;
    fill(&kafka, &orders, 0..5).await;
    let mut spec = spec(&group, &orders);
    spec.start = Start::Latest;
    let mut member = Member::join(&kafka, spec).await;
    assert_eq!(member.own.values().next().unwrap().next, 5);
    fill(&kafka, &orders, 5..10).await;
    assert_eq!(member.take(5).await, (5..10).collect::<Vec<_>>());
    member.finished(7);
    member.source.abort();
    assert_eq!(member.assigned().await[0].next, 5);
    assert_eq!(member.take(5).await, (5..10).collect::<Vec<_>>());
    leave(kafka, member).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_its_group_takes_for_dead_loses_its_transaction_and_says_so() {
    let test = "a_member_that_its_group_takes_for_dead_loses_its_transaction_and_says_so";
    let Some(servers) = shared(test).await else { return };
    let kafka = binder(
        servers,
        &[("session.timeout.ms", "3000"), ("max.poll.interval.ms", "4000")],
    );
    let group = brokers::unique("pricing");
    let (orders, priced) = (topic(&kafka, "orders", 1).await, topic(&kafka, "priced", 1).await);
    fill(&kafka, &orders, 0..5).await;
    let mut member = Member::join(&kafka, spec(&group, &orders)).await;
    member.take(5).await;
    member.publish(to(&priced, 0, 1)).await.unwrap();
    member.finished(5);
    // It does not ask for so long that librdkafka leaves the group.
    tokio::time::sleep(Duration::from_secs(7)).await;
    let given_up = member.commit().await;
    assert!(
        matches!(given_up, Err(SourceError::Aborted { .. })),
        "{given_up:?}"
    );
    let again = member.assigned().await;
    assert_eq!(again[0].next, 0, "nothing was committed");
    assert_eq!(committed(servers, &priced, 0).await, [0; 0]);
    member.take(5).await;
    member.finished(5);
    member.publish(to(&priced, 0, 2)).await.unwrap();
    member.commit().await.unwrap();
    assert_eq!(committed(servers, &priced, 1).await, [2]);
    leave(kafka, member).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_while_the_broker_is_away_is_told_and_known_when_it_is_back_and_leaving_never_hangs() {
    let test = "a_commit_while_the_broker_is_away_is_told_and_known_when_it_is_back_and_leaving_never_hangs";
    let Some(own) = own(test).await else { return };
    let binder = own.binder(&[("session.timeout.ms", "10000")]);
    let (orders, priced) = (
        topic(&binder, "orders", 1).await,
        topic(&binder, "priced", 1).await,
    );
    fill(&binder, &orders, 0..10).await;
    let mut member = Member::join(&binder, spec("pricing", &orders)).await;
    member.take(10).await;
    member.publish(to(&priced, 0, 1)).await.unwrap();
    member.finished(5);
    let kafka = own.kafka.clone();
    blocking(move || kafka.kill(1).unwrap()).await;
    let told = timeout(PATIENCE, member.source.commit()).await;
    let told = told.expect("it says that it takes long");
    assert!(matches!(told, Err(SourceError::Unavailable { .. })), "{told:?}");
    let kafka = own.kafka.clone();
    blocking(move || kafka.start_node(1).unwrap()).await;
    match member.commit().await {
        Ok(()) => {
            assert_eq!(committed(&own.kafka.bootstrap(), &priced, 1).await, [1]);
            is_stored(&binder, &orders, "pricing", 5).await;
        }
        // The broker was away for too long: then nothing is.
        Err(SourceError::Aborted { .. }) => {
            member.assigned().await;
            assert_eq!(committed(&own.kafka.bootstrap(), &priced, 0).await, [0; 0]);
        }
        Err(other) => panic!("{other}"),
    }
    let kafka = own.kafka.clone();
    blocking(move || kafka.kill(1).unwrap()).await;
    drop(member.publish(to(&priced, 0, 2)));
    member.finished(6);
    drop(timeout(Duration::from_millis(100), member.source.commit()).await);
    let began = Instant::now();
    let _ = timeout(PATIENCE, member.source.close()).await.expect("it ends");
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    drop(member);
    let _ = binder.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebalance_in_the_middle_of_a_transaction_waits_for_its_commit_and_loses_nothing() {
    let test = "a_rebalance_in_the_middle_of_a_transaction_waits_for_its_commit_and_loses_nothing";
    let Some(servers) = shared(test).await else { return };
    let kafka = binder(servers, &[("partition.assignment.strategy", "range")]);
    let group = brokers::unique("pricing");
    let (orders, priced) = (topic(&kafka, "orders", 1).await, topic(&kafka, "priced", 1).await);
    fill(&kafka, &orders, 0..10).await;
    let mut first = Member::join(&kafka, spec(&group, &orders)).await;
    first.take(10).await;
    first.publish(to(&priced, 0, 1)).await.unwrap();
    first.finished(4);
    let joining = binder(servers, &[("partition.assignment.strategy", "range")]);
    let mut second = joining.subscribe(spec(&group, &orders)).await.unwrap();
    let lanes = loop {
        let other = timeout(Duration::from_millis(50), second.next());
        let (event, _) = tokio::join!(first.next(), other);
        if let Ok(SourceEvent::Revoking { lanes, .. }) = event {
            break lanes;
        }
    };
    first.commit().await.unwrap();
    first.source.release(&lanes);
    let mut owner = None;
    let until = Instant::now() + PATIENCE;
    while owner.is_none() && Instant::now() < until {
        let slice = Duration::from_millis(200);
        let (one, other) = tokio::join!(timeout(slice, first.source.next()), timeout(slice, second.next()));
        for event in [one, other].into_iter().flatten().flatten() {
            if let SourceEvent::Assigned(lanes) = event {
                owner = lanes.into_iter().next();
            }
        }
    }
    assert_eq!(owner.expect("one of them has it").next, 4);
    assert_eq!(committed(servers, &priced, 1).await, [1]);
    let _ = second.close().await;
    leave(kafka, first).await;
    let _ = joining.close().await;
}

/// The member itself does not know yet: the broker has to refuse it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_refuses_the_commit_of_a_member_whose_place_another_has_taken() {
    let test = "the_broker_refuses_the_commit_of_a_member_whose_place_another_has_taken";
    let Some(servers) = shared(test).await else { return };
    let place = brokers::unique("till");
    let named = |id: &'static str| {
        let properties = [
            ("group.instance.id", &*place),
            ("transactional.id", id),
            ("session.timeout.ms", "60000"),
            ("heartbeat.interval.ms", "20000"),
        ];
        binder(servers, &properties)
    };
    let (before, after) = (named("one"), named("other"));
    let (orders, priced) = (
        topic(&before, "orders", 1).await,
        topic(&before, "priced", 1).await,
    );
    let group = brokers::unique("pricing");
    fill(&before, &orders, 0..10).await;
    let mut zombie = Member::join(&before, spec(&group, &orders)).await;
    zombie.take(10).await;
    zombie.publish(to(&priced, 0, 1)).await.unwrap();
    zombie.finished(10);
    let mut member = Member::join(&after, spec(&group, &orders)).await;
    member.take(10).await;
    member.publish(to(&priced, 0, 2)).await.unwrap();
    member.finished(10);
    member.commit().await.unwrap();
    let refused = zombie.commit().await;
    assert!(matches!(refused, Err(SourceError::Aborted { .. })), "{refused:?}");
    assert_eq!(committed(servers, &priced, 1).await, [2]);
    leave(after, member).await;
    leave(before, zombie).await;
}

/// A key-ordered subscription depends on what is beside its offsets; with a broker that takes little, less stands there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_takes_little_text_beside_an_offset_gets_less_until_it_commits() {
    let test = "a_broker_that_takes_little_text_beside_an_offset_gets_less_until_it_commits";
    let options = Options::plain().property("offset.metadata.max.bytes", "100");
    let Some(own) = own_of(test, options).await else {
        return;
    };
    let kafka = own.binder(&[]);
    let (group, orders) = (brokers::unique("pricing"), topic(&kafka, "orders", 1).await);
    fill(&kafka, &orders, 0..200).await;
    let mut member = Member::join(&kafka, spec(&group, &orders)).await;
    let mut asked = Vec::new();
    let ranges: Vec<_> = loop {
        assert_eq!(member.take(200).await, (0..200).collect::<Vec<_>>());
        let most = member.source.transaction().unwrap().ranges;
        asked.push(most);
        assert!(asked.len() < 10, "it asks for the same again: {asked:?}");
        // Every other one is finished.
        let ranges: Vec<_> = (0..most as u64).map(|n| 2 * n + 1..2 * n + 2).collect();
        let (lane, assignment) = member.own.first_key_value().unwrap();
        let progress = Progress {
            finished: ranges.clone(),
            attempts: vec![(0, 1)],
            ..Progress::default()
        };
        member.source.progress(*lane, assignment.epoch, progress);
        match member.commit().await {
            Ok(()) => break ranges,
            Err(error) => assert!(matches!(error, SourceError::Aborted { .. }), "{error}"),
        }
        member.own.clear();
        member.assigned().await;
    };
    // The texts of 64 and of 36 ranges are too long.
    assert!(asked.len() >= 3 && asked.is_sorted_by(|a, b| a >= b), "{asked:?}");
    assert!(!ranges.is_empty(), "{asked:?}");
    until_stored(&kafka, &orders, &group, |progress| progress.finished == ranges).await;
    leave(kafka, member).await;
}

//! Relays that send as the only one, before a broker of the test's own: what fails, what is given up, and what is too much.

use crate::fake::{Running, SHORT_LEASE, away, eventually, quick, send, send_to, taken, text, waiting};
use crate::support::{postgres, sqlite};
use crate::telling::Telling;
use sqlx::{Postgres, Sqlite};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tidings_core::{BoxFuture, Message, Outgoing, PublishError, Receipt};
use tidings_sql::{Outbox, ParkedKeys, Reading, ReplicationOptions, ReplicationRelay};

#[tokio::test]
async fn a_destination_that_takes_nothing_holds_up_no_other_and_arrives_later() {
    let home = sqlite();
    let store = home.open::<Sqlite>().await;
    let outbox = Outbox::to_channels(&store, ["letters", "orders"]);
    for channel in ["letters", "orders", "letters", "orders"] {
        send_to(&outbox, channel).await;
    }
    let is_away = Arc::new(AtomicBool::new(true));
    let stuck = is_away.clone();
    let broker = Telling::new(move |outgoing| match &*outgoing.destination {
        "letters" if stuck.load(Ordering::Acquire) => away(outgoing),
        _ => taken(outgoing),
    });
    let fake = broker.fake.clone();
    let options = quick().longest_backoff(Duration::from_millis(100));
    let relay = Running::start(&store, Arc::new(broker.clone()), options);
    // They are in one batch with the letters, and never in trouble themselves.
    eventually("orders are sent", || {
        let problem = relay.status.problem().unwrap_or_default();
        assert!(!problem.contains("orders"), "{problem}");
        relay.status.sent() == 2
    })
    .await;
    let channels = || -> Vec<String> {
        let given = fake.given();
        given.iter().map(|one| one.destination.to_string()).collect()
    };
    assert_eq!(channels(), ["orders"; 2]);
    is_away.store(false, Ordering::Release);
    eventually("letters are sent", || relay.status.sent() == 4).await;
    assert_eq!(channels(), ["orders", "orders", "letters", "letters"]);
    // As long as nothing fails the right is taken once.
    let before = broker.takes.load(Ordering::Acquire);
    for _ in 0..3 {
        send_to(&outbox, "orders").await;
    }
    eventually("they are sent", || relay.status.sent() == 7).await;
    assert_eq!(broker.takes.load(Ordering::Acquire), before);
    relay.stop().await;
}

/// A broker has limits of which it says nothing beforehand: a quota, a buffer, what arrives within the time.
#[tokio::test]
async fn what_is_too_much_at_once_is_sent_in_smaller_transactions() {
    type TooMuch = fn() -> BoxFuture<'static, Result<(), PublishError>>;
    let says_so: TooMuch = || {
        let reason = "the buffer is full".to_owned();
        let destination = "orders".into();
        Box::pin(std::future::ready(Err(PublishError::Unavailable {
            destination,
            reason,
        })))
    };
    let is_silent: TooMuch = || Box::pin(std::future::pending());
    for too_much in [says_so, is_silent] {
        let home = sqlite();
        let store = home.open::<Sqlite>().await;
        let outbox = Outbox::to_channels(&store, ["orders"]);
        let write = async |numbers: &[String]| {
            let mut tx = store.begin().await.unwrap();
            for number in numbers {
                let message = Message::new(number.clone()).with_key("ada");
                outbox.send(&mut tx, "orders", message).await.unwrap();
            }
            tx.commit().await.unwrap();
        };
        let numbers: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        let (limit, largest) = (Arc::new(AtomicU64::new(3)), Arc::new(AtomicU64::new(0)));
        let (takes, taken_at_once) = (limit.clone(), largest.clone());
        let broker = Telling {
            on_commit: Arc::new(move |all| {
                let count = all.len() as u64;
                if count > takes.load(Ordering::Acquire) {
                    return too_much();
                }
                taken_at_once.fetch_max(count, Ordering::AcqRel);
                Box::pin(std::future::ready(Ok(())))
            }),
            ..Telling::new(taken)
        };
        write(&numbers).await;
        let options = quick()
            .publish_timeout(Duration::from_millis(200))
            .longest_backoff(Duration::from_millis(100));
        let relay = Running::start(&store, Arc::new(broker.clone()), options);
        eventually("all are sent", || relay.status.sent() == 40).await;
        // After a while it is tried whether it takes more again.
        limit.store(u64::MAX, Ordering::Release);
        let mut wanted = numbers.clone();
        while largest.load(Ordering::Acquire) <= 3 {
            assert!(wanted.len() < 10_000, "they stay small");
            write(&numbers).await;
            wanted.extend_from_slice(&numbers);
            eventually("others are sent", || relay.status.sent() == wanted.len() as u64).await;
        }
        assert_eq!(broker.fake.payloads(), wanted);
        relay.stop().await;
    }
}

#[tokio::test]
async fn what_waits_for_a_parked_message_of_its_key_is_not_sent_beside_it() {
    let home = sqlite();
    let store = home.open::<Sqlite>().await;
    let outbox = Outbox::to_channels(&store, ["orders"]);
    let broker = Telling::new(|outgoing| match text(&outgoing.message).as_str() {
        "bad" => Receipt::failed(PublishError::TooLarge {
            size: 2,
            limit: 1,
            destination: "orders".into(),
        }),
        _ => taken(outgoing),
    });
    let mut tx = store.begin().await.unwrap();
    for (key, payload) in [("ada", "1"), ("ada", "bad"), ("bob", "2"), ("ada", "3")] {
        let message = Message::new(payload).with_key(key);
        outbox.send(&mut tx, "orders", message).await.unwrap();
    }
    tx.commit().await.unwrap();
    let options = quick().parked_keys(ParkedKeys::Wait);
    let relay = Running::start(&store, Arc::new(broker.clone()), options);
    eventually("the others are sent", || relay.status.sent() == 2).await;
    assert_eq!(
        (broker.fake.payloads(), relay.status.parked()),
        (vec!["1".into(), "2".into()], 1)
    );
    let parked = outbox.parked(10).await.unwrap();
    outbox.discard_parked(&[parked[0].id]).await.unwrap();
    eventually("it goes on", || relay.status.sent() == 3).await;
    assert_eq!(broker.fake.payloads(), ["1", "2", "3"]);
    relay.stop().await;
}

/// The messages behind it are in transactions of their own, since everything has failed once.
#[tokio::test]
async fn what_does_not_wait_for_a_parked_message_is_neither_parked_nor_held_up() {
    let home = sqlite();
    let store = home.open::<Sqlite>().await;
    let outbox = Outbox::to_channels(&store, ["orders"]);
    let works = Arc::new(AtomicBool::new(false));
    let on_take = works.clone();
    let broker = Telling {
        on_take: Arc::new(move |take| {
            on_take.store(take > 1, Ordering::Release);
            Box::pin(std::future::ready(()))
        }),
        ..Telling::new(move |outgoing| match text(&outgoing.message).as_str() {
            _ if !works.load(Ordering::Acquire) => away(outgoing),
            "bad" => Receipt::failed(PublishError::TooLarge {
                size: 2,
                limit: 1,
                destination: "orders".into(),
            }),
            _ => taken(outgoing),
        })
    };
    let mut tx = store.begin().await.unwrap();
    for (key, payload) in [
        ("ada", "bad"),
        ("bob", "1"),
        ("cyd", "2"),
        ("ada", "3"),
        ("dan", "4"),
    ] {
        let message = Message::new(payload).with_key(key);
        outbox.send(&mut tx, "orders", message).await.unwrap();
    }
    tx.commit().await.unwrap();
    let options = quick().parked_keys(ParkedKeys::Wait);
    let relay = Running::start(&store, Arc::new(broker.clone()), options);
    eventually("the others are sent", || relay.status.sent() == 3).await;
    assert_eq!(
        (
            broker.fake.payloads(),
            relay.status.parked(),
            relay.status.failures()
        ),
        (vec!["1".into(), "2".into(), "4".into()], 1, 1)
    );
    relay.stop().await;
}

#[tokio::test]
async fn a_right_that_takes_long_to_take_is_taken_once_and_all_is_sent_together() {
    let home = sqlite();
    let store = home.open::<Sqlite>().await;
    let outbox = Outbox::to_channels(&store, ["orders"]);
    let most = Arc::new(AtomicU64::new(0));
    let at_once = most.clone();
    let broker = Telling {
        on_take: Arc::new(|_| Box::pin(tokio::time::sleep(Duration::from_secs(1)))),
        on_commit: Arc::new(move |all| {
            at_once.fetch_max(all.len() as u64, Ordering::AcqRel);
            Box::pin(std::future::ready(Ok(())))
        }),
        ..Telling::new(taken)
    };
    let mut tx = store.begin().await.unwrap();
    for number in 0..40 {
        let message = Message::new(number.to_string()).with_key("ada");
        outbox.send(&mut tx, "orders", message).await.unwrap();
    }
    tx.commit().await.unwrap();
    let options = quick()
        .publish_timeout(Duration::from_millis(200))
        .longest_backoff(Duration::from_millis(100));
    let relay = Running::start(&store, Arc::new(broker.clone()), options);
    eventually("all are sent", || relay.status.sent() == 40).await;
    assert_eq!(broker.takes.load(Ordering::Acquire), 1);
    assert_eq!(most.load(Ordering::Acquire), 40);
    assert!(relay.status.failures() > 0, "nothing was given up meanwhile");
    relay.stop().await;
}

#[tokio::test]
async fn a_destination_at_which_something_panics_is_tried_again() {
    let home = sqlite();
    let store = home.open::<Sqlite>().await;
    let outbox = Outbox::to_channels(&store, ["orders"]);
    let panicked = AtomicBool::new(false);
    let broker = Telling::new(move |outgoing| {
        assert!(panicked.swap(true, Ordering::AcqRel), "a broker with a bug");
        taken(outgoing)
    });
    let relay = Running::start(&store, Arc::new(broker.clone()), quick());
    send_to(&outbox, "orders").await;
    eventually("it is sent", || relay.status.sent() == 1).await;
    assert!(relay.status.failures() > 0);
    relay.stop().await;
}

#[tokio::test]
async fn a_right_that_is_not_used_is_let_go_and_taken_again() {
    let home = sqlite();
    let store = home.open::<Sqlite>().await;
    let outbox = Outbox::to_channels(&store, ["orders"]);
    let broker = Telling::new(taken);
    let options = quick().fence_idle(Duration::from_millis(50));
    let relay = Running::start(&store, Arc::new(broker.clone()), options);
    for round in 1..=3 {
        send_to(&outbox, "orders").await;
        eventually("it is sent", || relay.status.sent() == round).await;
        assert_eq!(broker.takes.load(Ordering::Acquire), round);
        eventually("it is let go", || broker.rights.load(Ordering::Acquire) == 0).await;
    }
    relay.stop().await;
}

/// Kafka gives up a transaction with a message that its brokers refuse.
#[tokio::test]
async fn a_refused_message_is_parked_alone_though_the_whole_transaction_fails_with_it() {
    let too_large = || PublishError::TooLarge {
        size: 2,
        limit: 1,
        destination: "orders".into(),
    };
    let away = || PublishError::Unavailable {
        destination: "orders".into(),
        reason: "given up".into(),
    };
    let errors: [fn() -> PublishError; 2] = [too_large, away];
    for of_commit in errors {
        let home = sqlite();
        let store = home.open::<Sqlite>().await;
        let outbox = Outbox::to_channels(&store, ["orders"]);
        let is_bad = |outgoing: &Outgoing| text(&outgoing.message) == "bad";
        let broker = Telling {
            on_commit: Arc::new(move |all| {
                let result = match all.iter().any(is_bad) {
                    true => Err(of_commit()),
                    false => Ok(()),
                };
                Box::pin(std::future::ready(result))
            }),
            ..Telling::new(move |outgoing| match is_bad(outgoing) {
                true => Receipt::failed(too_large()),
                false => taken(outgoing),
            })
        };
        let mut tx = store.begin().await.unwrap();
        for (key, payload) in [("ada", "1"), ("ada", "bad"), ("bob", "2"), ("ada", "3")] {
            let message = Message::new(payload).with_key(key);
            outbox.send(&mut tx, "orders", message).await.unwrap();
        }
        tx.commit().await.unwrap();
        let relay = Running::start(&store, Arc::new(broker.clone()), quick());
        eventually("the others are sent", || relay.status.sent() == 3).await;
        assert_eq!(broker.fake.payloads(), ["1", "2", "3"]);
        assert_eq!(relay.status.parked(), 1);
        assert_eq!(relay.status.failures(), 0);
        relay.stop().await;
    }
}

#[tokio::test]
async fn who_has_taken_the_right_and_lost_the_lease_meanwhile_sends_nothing() {
    let home = sqlite();
    let store = home.open::<Sqlite>().await;
    let outbox = Outbox::to_channels(&store, ["orders"]);
    send_to(&outbox, "orders").await;
    // Somebody else gets the lease while the right is taken for the first time, and gives it back a while later.
    let thief = store.clone();
    let broker = Telling {
        on_take: Arc::new(move |take| {
            let thief = thief.clone();
            Box::pin(async move {
                if take == 1 {
                    let mut tx = thief.begin().await.unwrap();
                    let steal = "UPDATE tidings_locks SET token = token + 1";
                    sqlx::query(steal).execute(&mut *tx).await.unwrap();
                    tx.commit().await.unwrap();
                }
            })
        }),
        ..Telling::new(taken)
    };
    let relay = Running::start(&store, Arc::new(broker.clone()), quick().lease(SHORT_LEASE));
    eventually("it does not send", || relay.status.failures() > 0).await;
    assert!(broker.fake.given().is_empty());
    // The other one's lease is over, and it has the lease again.
    eventually("it sends", || relay.status.sent() == 1).await;
    assert_eq!(broker.fake.given().len(), 1);
    assert!(broker.takes.load(Ordering::Acquire) > 1);
    relay.stop().await;
}

#[tokio::test]
async fn a_transaction_that_is_not_answered_is_given_up_and_sent_again() {
    let home = sqlite();
    let store = home.open::<Sqlite>().await;
    let outbox = Outbox::to_channels(&store, ["orders"]);
    let silent = Arc::new(AtomicBool::new(true));
    let says_nothing = silent.clone();
    let broker = Telling::new(move |outgoing| match says_nothing.load(Ordering::Acquire) {
        true => Receipt::boxed(std::future::pending()),
        false => taken(outgoing),
    });
    let options = quick()
        .publish_timeout(Duration::from_millis(50))
        .longest_backoff(Duration::from_millis(100));
    let relay = Running::start(&store, Arc::new(broker.clone()), options);
    send_to(&outbox, "orders").await;
    eventually("it is given up", || broker.given_up.load(Ordering::Acquire) >= 2).await;
    assert_eq!(waiting(&outbox).await, 1);
    silent.store(false, Ordering::Release);
    eventually("it is sent", || relay.status.sent() == 1).await;
    assert_eq!(broker.fake.given().len(), 1);
    relay.stop().await;
}

#[tokio::test]
async fn what_is_read_by_replication_goes_one_transaction_after_the_other_and_never_past_one_that_failed() {
    let test =
        "what_is_read_by_replication_goes_one_transaction_after_the_other_and_never_past_one_that_failed";
    let Some(home) = postgres(test) else { return };
    let store = home.open::<Postgres>().await;
    let outbox = Outbox::to_channels(&store, ["orders"]);
    // Answers take a while, so that more is read meanwhile; the fortieth message fails once.
    let (given, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let broker = Telling::new(move |outgoing| {
        let number = given.fetch_add(1, Ordering::AcqRel);
        if number >= 40 && !failed.swap(true, Ordering::AcqRel) {
            return away(outgoing);
        }
        let outgoing = outgoing.clone();
        Receipt::boxed(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            taken(&outgoing).await
        })
    });
    let options = quick().longest_backoff(Duration::from_millis(100));
    let relay = ReplicationRelay::new(
        &store,
        Arc::new(broker.clone()),
        options,
        ReplicationOptions::default(),
    );
    let (relay, status) = Running::replicating(relay.unwrap());
    eventually("it replicates", || status.reading() == Reading::Replication).await;
    for number in 0..100 {
        send(&outbox, "ada", &number.to_string()).await;
    }
    eventually("all are sent", || relay.status.sent() >= 100).await;
    let numbers: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(broker.fake.payloads(), numbers);
    assert_eq!(
        broker.takes.load(Ordering::Acquire),
        2,
        "anew after the one that failed"
    );
    relay.stop().await;
}

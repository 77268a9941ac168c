//! Handlers that take messages one by one.

use super::store::{Commit, Fake, FakeTx};
use super::{run, text};
use crate::broker::Broker;
use crate::outputs::{broker_with, ms};
use crate::world::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings_core::*;
use tidings_runtime::*;
use tokio::time::{Instant, sleep};

/// Writes its payload in the transaction, publishes it by hand, and returns it too.
async fn copy(Raw(payload): Raw, tx: FakeTx, publisher: Publisher) -> Result<Output, Failure> {
    tx.write(text(&payload));
    publisher.send("outputs", Message::new(payload.clone())).await?;
    Ok(Output::message(Message::new(payload)))
}

async fn write(Raw(payload): Raw, tx: FakeTx) {
    tx.write(text(&payload));
}

#[tokio::test(start_paused = true)]
async fn claim_work_outputs_and_commit_come_in_this_order_and_a_duplicate_calls_nobody() {
    for spawned in [false, true] {
        let (broker, store) = (broker_with(1, |_| Some("tea")), Fake::default());
        broker.put("orders", 0, message(0, None));
        store.next_commits([Commit::Takes(Duration::from_secs(5))]);
        let subscription = on("orders", copy);
        let handle = run(
            &broker,
            &store,
            if spawned {
                subscription.spawn()
            } else {
                subscription
            },
        );
        sleep(Duration::from_secs(4)).await;
        assert_eq!(
            broker.stored("orders", 0).watermark,
            0,
            "nothing is finished before the commit"
        );
        finished(&broker, &handle).await;
        let expected = ["begin m-0", "publish 2", "commit", "begin m-0", "rollback"];
        assert_eq!(store.log(), expected);
        assert_eq!(store.work(), ["0"]);
        assert_eq!(store.outbox().len(), 2);
        assert!(store.outbox().iter().all(|(channel, ..)| channel == "outputs"));
        assert!(
            broker.messages("outputs").is_empty(),
            "the engine publishes nothing itself"
        );
        let status = handle.status();
        assert_eq!((status.handled, status.duplicates), (2, 1));
    }
}

/// Who reads what the relay sends must not see another message than the engine would have published.
#[tokio::test(start_paused = true)]
async fn what_is_written_into_the_outbox_is_what_would_have_been_published() {
    let give = |Raw(payload): Raw| async move { Outputs::none().and(Output::message(Message::new(payload))) };
    let (broker, store) = (broker_with(1, |_| None), Fake::default());
    let handle = run(&broker, &store, on("orders", give));
    finished(&broker, &handle).await;
    let other = broker_with(1, |_| None);
    let handle = start(spec(&other, on("orders", give).to("outputs"), 1));
    finished(&other, &handle).await;
    let published = other.messages("outputs");
    let id = published[0].headers().get_str(names::MESSAGE_ID).unwrap();
    assert_eq!(store.outbox()[0].1, id);
}

#[tokio::test(start_paused = true)]
async fn a_handling_that_fails_panics_or_takes_too_long_leaves_neither_work_nor_claim() {
    for how in [How::Transient, How::Panic, How::Stuck] {
        let (broker, store, calls) = (broker_with(1, |_| None), Fake::default(), Arc::new(Mutex::new(0)));
        let counted = calls.clone();
        let handler = move |tx: FakeTx, Attempt(attempt): Attempt| {
            let calls = counted.clone();
            async move {
                *calls.lock().unwrap() += 1;
                tx.write(format!("attempt {attempt}"));
                match (attempt, how) {
                    (1, How::Panic) => panic!("as the test says"),
                    (1, How::Stuck) => std::future::pending().await,
                    (1, _) => Err(Failure::transient("as the test says")),
                    _ => Ok(()),
                }
            }
        };
        // The timeout is the handler's: a commit may take longer.
        store.next_commits([Commit::Takes(Duration::from_secs(5))]);
        let subscription = on("orders", handler).retry(quiet_retry(3, ms(100)));
        let handle = run(&broker, &store, subscription.timeout(Duration::from_secs(1)));
        finished(&broker, &handle).await;
        assert_eq!(
            store.log(),
            ["begin m-0", "rollback", "begin m-0", "commit"],
            "{how:?}"
        );
        assert_eq!(store.work(), ["attempt 2"], "{how:?}");
        assert_eq!(
            (*calls.lock().unwrap(), handle.status().failed),
            (2, 1),
            "{how:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_in_doubt_is_settled_by_the_next_attempt_which_does_not_count() {
    for (how, calls, duplicates) in [
        (Commit::LostBefore, 2, 0),
        (Commit::LostAfter, 1, 1),
        (Commit::Silent, 1, 1),
    ] {
        let (broker, store, called) = (
            broker_with(1, |_| None),
            Fake::default(),
            Arc::new(Mutex::new(Vec::new())),
        );
        let seen = called.clone();
        let handler = move |Raw(payload): Raw, tx: FakeTx, Attempt(attempt): Attempt| {
            seen.lock().unwrap().push(attempt);
            tx.write(text(&payload));
            async move { Output::message(Message::new(payload)) }
        };
        store.next_commits([how]);
        let handle = run(&broker, &store, on("orders", handler).retry(Retry::none()));
        finished(&broker, &handle).await;
        assert_eq!((store.work().len(), store.outbox().len()), (1, 1), "{how:?}");
        assert_eq!(*called.lock().unwrap(), vec![1; calls], "{how:?}");
        let status = handle.status();
        assert_eq!(
            (status.duplicates, status.failed, status.dead_lettered),
            (duplicates, 0, 0),
            "{how:?}"
        );
        assert_eq!(status.obstacle, None, "it works again");
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_cannot_be_committed_counts_as_an_attempt() {
    let (broker, store) = (broker_with(1, |_| None), Fake::default());
    store.next_commits([Commit::Refused, Commit::Refused]);
    let handle = run(&broker, &store, on("orders", write).retry(quiet_retry(2, ms(10))));
    finished(&broker, &handle).await;
    assert_eq!(broker.messages("orders.DLT").len(), 1);
    assert!(store.work().is_empty());
}

/// A process that dies between the commit and the acknowledgement must not lose what its handler returned, nor do it twice.
#[tokio::test(start_paused = true)]
async fn a_subscription_that_dies_between_commit_and_acknowledgement_has_done_its_work_once() {
    let (broker, store) = (broker_with(1, |_| None), Fake::default());
    store.next_commits([Commit::Silent]);
    let dying = run(&broker, &store, on("orders", copy));
    sleep(ms(10)).await;
    dying.abort();
    dying.stopped().await;
    assert_eq!(broker.stored("orders", 0).watermark, 0, "it was not acknowledged");
    let handle = run(&broker, &store, on("orders", copy));
    finished(&broker, &handle).await;
    assert_eq!((store.work().len(), store.outbox().len()), (1, 2));
    assert_eq!(handle.status().duplicates, 1);
}

#[tokio::test(start_paused = true)]
async fn of_two_instances_with_the_same_message_one_works_and_the_other_waits_for_it() {
    let (one, other, store) = (
        broker_with(1, |_| None),
        broker_with(1, |_| None),
        Fake::default(),
    );
    store.next_commits([Commit::Takes(Duration::from_secs(3))]);
    let first = run(&one, &store, on("orders", write));
    let second = run(&other, &store, on("orders", write));
    finished(&one, &first).await;
    finished(&other, &second).await;
    assert_eq!(store.work(), ["0"]);
    assert_eq!(first.status().duplicates + second.status().duplicates, 1);
}

#[tokio::test(start_paused = true)]
async fn while_the_database_is_away_the_subscription_waits_says_so_and_asks_now_and_then() {
    let (broker, store) = (broker_with(2_000, |_| None), Fake::default());
    store.is_away_for(Duration::from_secs(600));
    let wait = Retry::none().durable_after(Duration::ZERO);
    let handle = run(&broker, &store, on("orders", write).retry(wait).concurrency(4));
    sleep(Duration::from_secs(590)).await;
    let (status, asked) = (handle.status(), broker.asked());
    let obstacle = status.obstacle.clone().unwrap_or_default();
    assert!(
        obstacle.contains("the database of the test") && obstacle.contains("connection refused"),
        "{obstacle}"
    );
    // Every five seconds at the latest, and never more at a time than are handled at a time.
    assert!(
        (100..800).contains(&store.count("begin")),
        "{}",
        store.count("begin")
    );
    assert!(status.waiting <= 8, "{status:?}");
    assert_eq!((status.failed, status.parked, status.dead_lettered), (0, 0, 0));
    assert!(
        broker.messages("orders.g.retry").is_empty(),
        "nothing is parked for it"
    );
    sleep(Duration::from_secs(5)).await;
    assert!(
        broker.asked() > asked,
        "it is still asked for messages, which keeps the membership"
    );
    finished(&broker, &handle).await;
    assert_eq!(store.work().len(), 2_000);
    assert_eq!(handle.status().obstacle, None);
    let drained = handle.drain(Instant::now() + Duration::from_secs(1)).await;
    assert!(drained.finished_in_time);
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_a_database_that_is_away() {
    let (broker, store) = (broker_with(10, |_| None), Fake::default());
    store.is_away_for(Duration::from_secs(600));
    let handle = run(&broker, &store, on("orders", write));
    sleep(Duration::from_secs(20)).await;
    let begun = Instant::now();
    assert!(
        handle
            .drain(begun + Duration::from_secs(30))
            .await
            .finished_in_time
    );
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_a_handling_publishes_too_late_or_too_much_of_does_not_get_away() {
    let (broker, store, kept) = (
        broker_with(2, |_| None),
        Fake::default(),
        Arc::new(Mutex::new(None)),
    );
    let keep = kept.clone();
    let handler = move |Raw(payload): Raw, publisher: Publisher| {
        let keep = keep.clone();
        async move {
            if text(&payload) == "1" {
                // Nobody looks at the answer, and still the handling fails.
                drop(publisher.send("outputs", Message::new(vec![0; 2_000])));
            } else {
                *keep.lock().unwrap() = Some(publisher);
            }
        }
    };
    let handle = run(&broker, &store, on("orders", handler).max_in_flight_bytes(1_000));
    finished(&broker, &handle).await;
    assert_eq!(broker.messages("orders.DLT").len(), 1);
    let leaked = kept.lock().unwrap().take().unwrap();
    let late = leaked.send("outputs", Message::new("late")).await.unwrap_err();
    assert!(late.to_string().contains("its handling is over"), "{late}");
    assert!(store.outbox().is_empty() && broker.messages("outputs").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_nothing_is_known_by_is_a_dead_letter() {
    let (broker, store) = (Broker::new(1), Fake::default());
    broker.put("orders", 0, Message::new("1"));
    let long = Message::new("2").with_header(names::MESSAGE_ID, "x".repeat(MAX_INBOX_ID_BYTES + 1));
    broker.put("orders", 0, long.unwrap());
    let handle = run(&broker, &store, on("orders", write));
    finished(&broker, &handle).await;
    let letters = broker.messages("orders.DLT");
    assert_eq!(letters.len(), 2);
    assert!(store.log().is_empty());
}

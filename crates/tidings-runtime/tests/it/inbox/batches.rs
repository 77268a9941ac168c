//! Batch handlers: one claim and one commit a call, whatever items fail.

use super::store::{Fake, FakeTx};
use super::{run, text};
use crate::broker::Broker;
use crate::outputs::{broker_with, ms};
use crate::world::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings_core::*;

/// How a batch handler takes item 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bad {
    Nothing,
    /// It names the item, after it has worked for all.
    Named,
    /// It fails as a whole.
    Whole,
    Panic,
    Stuck,
}

/// Writes every item, publishes every item, and meets item 2 in that way. Notes the sizes of its calls.
fn recording(bad: Bad, calls: &Arc<Mutex<Vec<usize>>>) -> Subscription<()> {
    let calls = calls.clone();
    let handler = move |batch: Batch<Raw>, tx: FakeTx, publisher: Publisher| {
        calls.lock().unwrap().push(batch.len());
        async move {
            let mut outcome = BatchOutcome::all_handled();
            let mut outputs = Outputs::none();
            for (index, Raw(payload)) in batch.into_iter().enumerate() {
                tx.write(text(&payload));
                drop(publisher.send("outputs", Message::new(payload.clone())));
                outputs = outputs.and(Output::message(Message::new(payload.clone())));
                if text(&payload) == "2" {
                    match bad {
                        Bad::Nothing => {}
                        Bad::Named => outcome = outcome.failed(index, Failure::permanent("bad")),
                        Bad::Whole => return Err(Failure::permanent("bad")),
                        Bad::Panic => panic!("bad"),
                        Bad::Stuck => std::future::pending().await,
                    }
                }
            }
            Ok::<_, Failure>(outcome.with_outputs(outputs))
        }
    };
    on("orders", handler)
        .batch(5, ms(10))
        .retry(quiet_retry(2, ms(10)))
}

async fn handled(bad: Bad) -> (Broker, Fake, Vec<usize>) {
    let (broker, store, calls) = (broker_with(5, |_| None), Fake::default(), Arc::default());
    let subscription = recording(bad, &calls).timeout(Duration::from_secs(1));
    let handle = run(&broker, &store, subscription);
    finished(&broker, &handle).await;
    let calls = calls.lock().unwrap().clone();
    (broker, store, calls)
}

const BEGIN: &str = "begin m-0 m-1 m-2 m-3 m-4";

#[tokio::test(start_paused = true)]
async fn a_batch_claims_once_and_commits_once() {
    let (_, store, calls) = handled(Bad::Nothing).await;
    assert_eq!(store.log(), [BEGIN, "savepoint", "publish 10", "commit"]);
    assert_eq!(
        (calls, store.work().len(), store.outbox().len()),
        (vec![5], 5, 10)
    );
}

/// Only the handler knows which of its statements were for which item, so all are undone, and the others done again.
#[tokio::test(start_paused = true)]
async fn items_that_a_handler_names_are_undone_and_the_others_are_kept_together() {
    let (broker, store, calls) = handled(Bad::Named).await;
    let expected = [BEGIN, "savepoint", "undo", "give back [2]", "publish 8", "commit"];
    assert_eq!(store.log(), expected);
    assert_eq!(
        (calls, store.work()),
        (vec![5, 4], ["0", "1", "3", "4"].map(str::to_owned).to_vec())
    );
    assert_eq!(store.outbox().len(), 8);
    assert_eq!(broker.messages("orders.DLT").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn when_a_call_fails_as_a_whole_each_item_is_handled_behind_a_savepoint_of_its_own() {
    for bad in [Bad::Whole, Bad::Panic] {
        let (broker, store, calls) = handled(bad).await;
        let log = store.log();
        let mut expected = vec![BEGIN, "savepoint", "undo"];
        expected.extend([
            "savepoint",
            "savepoint",
            "savepoint",
            "undo",
            "savepoint",
            "savepoint",
        ]);
        expected.extend(["give back [2]", "publish 8", "commit"]);
        assert_eq!(log[..expected.len()], expected, "{bad:?}");
        assert_eq!(calls[..6], [5, 1, 1, 1, 1, 1], "{bad:?}");
        let mut work = store.work();
        work.sort();
        assert_eq!(work, ["0", "1", "3", "4"], "{bad:?}");
        assert_eq!(broker.messages("orders.DLT").len(), 1, "{bad:?}");
    }
}

/// A call that takes too long would take as long again for each item, in one transaction.
#[tokio::test(start_paused = true)]
async fn after_a_call_that_took_too_long_each_item_has_a_transaction_of_its_own() {
    let (broker, store, calls) = handled(Bad::Stuck).await;
    assert_eq!(store.log()[..3], [BEGIN, "savepoint", "rollback"]);
    assert_eq!((calls.len(), store.count("commit")), (6, 4));
    assert_eq!((store.work().len(), broker.messages("orders.DLT").len()), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_twice_in_a_batch_is_handled_once() {
    for bad in [Bad::Nothing, Bad::Named] {
        let (broker, store, calls) = (Broker::new(1), Fake::default(), Arc::default());
        for id in [1, 1, 2, 2, 3] {
            broker.put("orders", 0, message(id, None));
        }
        let handle = run(&broker, &store, recording(bad, &calls));
        finished(&broker, &handle).await;
        let mut work = store.work();
        work.sort();
        let good: &[&str] = if bad == Bad::Nothing {
            &["1", "2", "3"]
        } else {
            &["1", "3"]
        };
        assert_eq!(work, good, "{bad:?}");
        // The second one of a message that failed is not taken for handled.
        let letters = if bad == Bad::Nothing { 0 } else { 2 };
        assert_eq!(broker.messages("orders.DLT").len(), letters, "{bad:?}");
        assert_eq!(
            handle.status().duplicates,
            if bad == Bad::Nothing { 2 } else { 1 }
        );
    }
}

#[tokio::test(start_paused = true)]
async fn batches_wait_for_a_database_that_is_away_and_cost_no_attempt() {
    let (broker, store, calls) = (
        broker_with(500, |id| Some(["tea", "milk"][id as usize % 2])),
        Fake::default(),
        Arc::default(),
    );
    store.is_away_for(Duration::from_secs(120));
    let handle = run(
        &broker,
        &store,
        recording(Bad::Nothing, &calls).retry(Retry::none()),
    );
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(store.count("begin") < 60, "{}", store.count("begin"));
    finished(&broker, &handle).await;
    assert_eq!((store.work().len(), handle.status().dead_lettered), (500, 0));
    let expected: Vec<_> = (0..500).map(|id| id.to_string()).collect();
    let of = |all: &[String], odd: usize| -> Vec<String> {
        let own = all.iter().filter(|id| id.parse::<usize>().unwrap() % 2 == odd);
        own.cloned().collect()
    };
    for odd in [0, 1] {
        assert_eq!(
            of(&store.work(), odd),
            of(&expected, odd),
            "the order of a key is kept"
        );
    }
}

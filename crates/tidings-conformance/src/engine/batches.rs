//! Batch handlers: several messages a call, an outcome for each.

use crate::apps::retry;
use crate::stage::{Stage, Verdict, text_of};
use crate::world::{How, Script, World, message};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings::{Batch, Failure, Json, Message, on};

type Calls = Arc<Mutex<Vec<Vec<String>>>>;

fn noted(calls: &Calls) -> Vec<Vec<String>> {
    calls.lock().expect("nothing panics while it is held").clone()
}

pub(crate) async fn one_bad_item_does_not_condemn_its_batch(stage: Stage) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    world.script(3, Script::always(How::Transient));
    world.script(5, Script::fails(1, How::Transient));
    world.script(7, Script::always(How::Permanent));
    let subscription = world
        .batches()
        .batch(10, Duration::from_millis(20))
        .retry(retry(3, Duration::from_millis(50)));
    let running = stage.run(&broker, subscription).await;
    for id in 0..10 {
        running.order(id, &id.to_string()).await;
    }
    running.settled().await;
    assert_eq!(running.dead().await, ["3", "7"]);
    for id in 0..10 {
        let deliveries = world.of(id).len();
        let expected = match id {
            3 => 3,
            5 => 2,
            _ => 1,
        };
        assert_eq!(deliveries, expected, "deliveries of {id}");
    }
    assert_eq!(world.attempts(3), [1, 2, 3], "an item counts its own attempts");
    Ok(())
}

pub(crate) async fn a_batch_is_full_or_its_first_item_has_waited(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    let calls = Calls::default();
    let noting = calls.clone();
    let handler = move |batch: Batch<Message>| {
        let texts = batch.iter().map(text_of).collect();
        noting
            .lock()
            .expect("nothing panics while it is held")
            .push(texts);
        async {}
    };
    let subscription = on("orders", handler)
        .group("billing")
        .batch(4, stage.seconds(30.0));
    let running = stage.run(&broker, subscription).await;
    for id in 0..6 {
        running.order(id, "one key, one partition").await;
    }
    tokio::time::sleep(stage.seconds(5.0)).await;
    assert_eq!(
        noted(&calls),
        [["0", "1", "2", "3"]],
        "a full batch does not wait"
    );
    tokio::time::sleep(stage.seconds(15.0)).await;
    assert_eq!(noted(&calls).len(), 1);
    tokio::time::sleep(stage.seconds(20.0)).await;
    assert_eq!(
        noted(&calls)[1..],
        [["4", "5"]],
        "the first of them has waited long enough"
    );
    running.settled().await;
    Ok(())
}

pub(crate) async fn an_item_that_cannot_be_decoded_is_dead_and_the_others_are_handled(
    stage: Stage,
) -> Verdict {
    let broker = stage.open().await;
    let calls = Calls::default();
    let noting = calls.clone();
    let handler = move |batch: Batch<Json<u64>>| {
        let numbers = batch.iter().map(|Json(number)| number.to_string()).collect();
        noting
            .lock()
            .expect("nothing panics while it is held")
            .push(numbers);
        async {}
    };
    let subscription = on("orders", handler)
        .group("billing")
        .batch(5, Duration::from_millis(20));
    let running = stage.run(&broker, subscription).await;
    for payload in ["1", "not a number", "3"] {
        running.send("orders", Message::new(payload).with_key("a")).await;
    }
    running.settled().await;
    assert_eq!(noted(&calls).concat(), ["1", "3"]);
    assert_eq!(running.dead().await, ["not a number"]);
    Ok(())
}

pub(crate) async fn a_call_that_fails_as_a_whole_is_tried_again_for_each_item(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    let calls = Calls::default();
    let noting = calls.clone();
    let handler = move |batch: Batch<Message>| {
        let texts: Vec<_> = batch.iter().map(text_of).collect();
        let mut calls = noting.lock().expect("nothing panics while it is held");
        calls.push(texts);
        let first = calls.len() == 1;
        async move {
            if first {
                Err(Failure::transient("the database is away"))
            } else {
                Ok(())
            }
        }
    };
    let subscription = on("orders", handler)
        .group("billing")
        .batch(3, Duration::from_secs(1))
        .retry(retry(2, Duration::from_millis(50)));
    let running = stage.run(&broker, subscription).await;
    for id in 0..3 {
        running.order(id, "a").await;
    }
    running.settled().await;
    assert!(running.dead().await.is_empty());
    let calls = noted(&calls);
    assert_eq!(calls[0], ["0", "1", "2"]);
    assert_eq!(calls[1..].concat(), ["0", "1", "2"], "in order, each once more");
    Ok(())
}

pub(crate) async fn items_of_a_key_that_failed_go_before_later_ones(stage: Stage) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    world.script(1, Script::fails(2, How::Transient));
    let subscription = world
        .batches()
        .batch(2, stage.seconds(5.0))
        .retry(retry(5, Duration::from_millis(100)));
    let running = stage.run(&broker, subscription).await;
    for id in 0..12 {
        running.send("orders", message(id, Some("a"))).await;
    }
    running.settled().await;
    let done = world.succeeded();
    assert_eq!(done.len(), 12);
    let (failed, later) = (
        done.iter().position(|id| *id == 1),
        done.iter().position(|id| *id == 2),
    );
    assert!(failed < later, "what was not yet given to a call waits: {done:?}");
    world.keys_never_overlapped();
    Ok(())
}

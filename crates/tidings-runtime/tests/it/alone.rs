//! Messages that processes died of: what is marked while it is handled, and how the engine treats what was.

use crate::broker::Broker;
use crate::world::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings_core::*;
use tidings_runtime::*;
use tokio::time::{Instant, sleep};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Memory that a test can look at.
#[derive(Debug)]
struct Cells(Arc<Vec<MarkCell>>);

impl MarkMemory for Cells {
    fn cells(&self) -> &[MarkCell] {
        &self.0
    }
}

fn board() -> (Arc<MarkBoard>, Arc<Vec<MarkCell>>) {
    let cells: Arc<Vec<_>> = Arc::new((0..1_024).map(|_| MarkCell::default()).collect());
    (MarkBoard::new(Cells(cells.clone())), cells)
}

/// What is marked, by offset: whether it executes, whether it is alone.
fn marked(cells: &[MarkCell]) -> Vec<(u64, Activity, Company)> {
    let marks = cells.iter().filter_map(MarkCell::read);
    let mut marks: Vec<_> = marks
        .map(|mark| (mark.offset, mark.activity, mark.company))
        .collect();
    marks.sort_by_key(|(offset, ..)| *offset);
    marks
}

fn executing(offset: u64, times: u32) -> Deaths {
    Deaths {
        executing: times,
        ..Deaths::of(offset)
    }
}

fn proven(offset: u64) -> Deaths {
    Deaths {
        executing_alone: 1,
        ..executing(offset, 2)
    }
}

/// A broker with that many messages of a few keys.
fn broker_on(board: &Arc<MarkBoard>, count: u64) -> Broker {
    let broker = Broker::new(1);
    broker.mark_on(board);
    for id in 0..count {
        broker.put("orders", 0, message(id, Some(&format!("k{}", id % 5))));
    }
    broker
}

fn run(broker: &Broker, subscription: Subscription<()>) -> SubscriptionHandle {
    start(spec(broker, subscription, 1))
}

fn slow(world: &World, ids: std::ops::Range<u64>, takes: Duration) {
    for id in ids {
        let script = Script {
            takes,
            ..Script::default()
        };
        world.script(id, script);
    }
}

fn overlaps(one: &Handling, other: &Handling) -> bool {
    let end = |handling: &Handling| {
        handling
            .ended
            .unwrap_or(handling.began + Duration::from_secs(1_000_000))
    };
    one.began < end(other) && other.began < end(one)
}

#[tokio::test(start_paused = true)]
async fn a_suspect_is_handled_while_nothing_else_is_in_any_subscription_of_the_broker() {
    for ordering in [Ordering::Key, Ordering::Partition, Ordering::None] {
        let (board, cells) = board();
        let (ours, theirs) = (World::default(), World::default());
        let (mine, other) = (broker_on(&board, 20), broker_on(&board, 40));
        slow(&ours, 0..20, ms(30));
        slow(&theirs, 0..40, ms(70));
        mine.died("orders", 0, [executing(3, 2), executing(4, 1), executing(11, 5)]);
        let theirs_run = run(&other, theirs.subscription().concurrency(4));
        sleep(ms(10)).await;
        let handle = run(&mine, ours.subscription().concurrency(8).ordering(ordering));
        finished(&mine, &handle).await;
        finished(&other, &theirs_run).await;

        let (all, beside) = (ours.handlings(), theirs.handlings());
        assert_eq!((all.len(), beside.len()), (20, 40));
        for (id, attempt) in [(3, 3), (11, 6)] {
            let alone = all.iter().find(|handling| handling.id == id).unwrap();
            assert_eq!(alone.attempt, attempt);
            let held_back = beside.iter().any(|other| other.began > alone.began);
            assert!(held_back, "it does not wait until the others have nothing to do");
            let others = all.iter().filter(|handling| handling.id != id).chain(&beside);
            let company: Vec<_> = others.filter(|other| overlaps(alone, other)).collect();
            assert_eq!(company, Vec::<&Handling>::new(), "{ordering:?}");
        }
        let once = all.iter().find(|handling| handling.id == 4).unwrap();
        assert_eq!(once.attempt, 2, "a death is an attempt");
        let together = |handling: &Handling| beside.iter().any(|other| overlaps(handling, other));
        assert!(
            all.iter().any(together),
            "what is no suspect is handled beside others"
        );
        if ordering == Ordering::Key {
            let of_key = |key| ours.succeeded().into_iter().filter(move |id| id % 5 == key);
            assert!((0..5).all(|key| of_key(key).is_sorted()), "keys keep their order");
        }
        assert_eq!(marked(&cells), [], "nothing is handled any more");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_kills_alone_is_a_dead_letter_without_another_call() {
    let (board, _) = board();
    let (world, broker) = (World::default(), broker_on(&board, 10));
    broker.died("orders", 0, [proven(4)]);
    let progress = Progress {
        attempts: vec![(4, 1)],
        ..Progress::default()
    };
    broker.store("orders", 0, progress);
    let retry = quiet_retry(50, ms(10));
    let handle = run(&broker, world.subscription().concurrency(4).retry(retry));
    finished(&broker, &handle).await;
    let handled: Vec<_> = world.handlings().iter().map(|handling| handling.id).collect();
    assert!(!handled.contains(&4));
    assert_eq!(handled.len(), 9);
    let dead = broker.partition("orders.DLT", 0);
    assert_eq!(dead.len(), 1);
    let diagnosis = Diagnosis::from_headers(dead[0].headers().view());
    assert_eq!(diagnosis.reason.as_deref(), Some("killed"));
    assert_eq!(diagnosis.attempts, Some(4), "three deaths and one failure");
    let error = diagnosis.error.unwrap();
    assert_eq!(error, "the process died while handling it, 3 times");
    assert!(handle.status().last_failure.unwrap().1.contains("died"));
}

#[tokio::test(start_paused = true)]
async fn deaths_and_failures_add_up_to_the_attempts() {
    let (board, _) = board();
    let (world, broker) = (World::default(), broker_on(&board, 3));
    broker.died("orders", 0, [executing(0, 1), executing(1, 2), executing(2, 9)]);
    for id in 0..3 {
        let script = Script {
            fails: 99,
            ..Script::default()
        };
        world.script(id, script);
    }
    let handle = run(&broker, world.subscription().retry(quiet_retry(3, ms(10))));
    finished(&broker, &handle).await;
    let attempts = |id| {
        let handlings = world.handlings().into_iter();
        let of_id = handlings.filter(move |handling| handling.id == id);
        of_id.map(|handling| handling.attempt).collect::<Vec<_>>()
    };
    assert_eq!((attempts(0), attempts(1)), (vec![2, 3], vec![3]));
    assert_eq!(
        attempts(2),
        [10],
        "it needs the proof, and ends like any other that fails"
    );
    let dead = broker.partition("orders.DLT", 0);
    let diagnoses = dead
        .iter()
        .map(|letter| Diagnosis::from_headers(letter.headers().view()));
    let mut said: Vec<_> = diagnoses
        .map(|diagnosis| (diagnosis.reason.unwrap(), diagnosis.attempts.unwrap()))
        .collect();
    said.sort();
    let exhausted = |attempts| ("exhausted".to_owned(), attempts);
    assert_eq!(said, [exhausted(3), exhausted(3), exhausted(10)]);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_has_a_batch_of_its_own() {
    let (board, cells) = board();
    let broker = broker_on(&board, 30);
    let died = [executing(7, 2), executing(8, 2), proven(12), executing(22, 2)];
    broker.died("orders", 0, died);
    let calls: Arc<Mutex<Vec<Vec<u64>>>> = Arc::default();
    let marks: Arc<Mutex<Vec<Vec<u64>>>> = Arc::default();
    let (seen, seen_marks, looked) = (calls.clone(), marks.clone(), cells.clone());
    let handler = move |batch: Batch<Raw>| {
        let ids: Vec<_> = batch.into_iter().map(|Raw(payload)| id_of(&payload)).collect();
        let executing = marked(&looked).into_iter().map(|(offset, ..)| offset).collect();
        seen_marks.lock().unwrap().push(executing);
        seen.lock().unwrap().push(ids);
        async move { sleep(ms(5)).await }
    };
    let handle = run(&broker, on("orders", handler).batch(30, ms(20)).concurrency(4));
    finished(&broker, &handle).await;
    let calls = calls.lock().unwrap().clone();
    for own in [7, 8, 22] {
        assert!(calls.contains(&vec![own]), "{calls:?}");
    }
    let mut all = calls.concat();
    all.sort_unstable();
    assert_eq!(all, (0..30).filter(|id| *id != 12).collect::<Vec<_>>());
    assert!(
        calls.iter().any(|call| call.len() > 2),
        "the others still have company"
    );
    for key in 0..5 {
        let of_key: Vec<_> = calls.concat().into_iter().filter(|id| id % 5 == key).collect();
        assert!(of_key.is_sorted(), "{of_key:?}");
    }
    let sorted = |mut ids: Vec<u64>| {
        ids.sort_unstable();
        ids
    };
    let calls: Vec<_> = calls.into_iter().map(sorted).collect();
    assert_eq!(
        *marks.lock().unwrap(),
        calls,
        "every item of a call is marked, and nothing else"
    );
    assert_eq!(broker.messages("orders.DLT").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_mark_says_what_executes_what_waits_and_what_is_alone() {
    for spawn in [false, true] {
        let (board, cells) = board();
        let broker = broker_on(&board, 3);
        broker.died("orders", 0, [executing(2, 2)]);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (notes, looked) = (seen.clone(), cells.clone());
        let handler = move |Raw(payload): Raw| {
            let (notes, looked) = (notes.clone(), looked.clone());
            async move {
                let id = id_of(&payload);
                // One after the other, so that what is seen is the same every time.
                sleep(ms(10 * id)).await;
                notes.lock().unwrap().push((id, marked(&looked)));
                sleep(ms(100)).await;
                notes.lock().unwrap().push((id, marked(&looked)));
            }
        };
        let subscription = on("orders", handler).concurrency(8);
        let handle = run(&broker, if spawn { subscription.spawn() } else { subscription });
        finished(&broker, &handle).await;
        use Activity::{Executing, Waiting};
        use Company::{Nobody, Others};
        let expected = [
            (0, vec![(0, Executing, Others), (1, Waiting, Others)]),
            (1, vec![(0, Waiting, Others), (1, Executing, Others)]),
            (0, vec![(0, Executing, Others), (1, Waiting, Others)]),
            (1, vec![(1, Executing, Others)]),
            (2, vec![(2, Executing, Nobody)]),
            (2, vec![(2, Executing, Nobody)]),
        ];
        let mut seen = seen.lock().unwrap().clone();
        if !spawn {
            // The first is polled before the second is looked at.
            assert_eq!(seen[0], (0, vec![(0, Executing, Others)]));
            seen[0] = expected[0].clone();
        }
        assert_eq!(seen, expected, "spawn: {spawn}");
        assert_eq!(marked(&cells), []);
    }
}

#[tokio::test(start_paused = true)]
async fn of_the_messages_that_are_handled_by_key_the_one_that_executes_is_marked_so() {
    let (board, cells) = board();
    let broker = broker_on(&board, 100);
    let wrong = Arc::new(Mutex::new(Vec::new()));
    let (notes, looked) = (wrong.clone(), cells.clone());
    let handler = move |Raw(payload): Raw| {
        let (notes, looked) = (notes.clone(), looked.clone());
        let id = id_of(&payload);
        let look = move || {
            let mut found = marked(&looked);
            found.retain(|(_, activity, _)| *activity == Activity::Executing);
            if found != [(id, Activity::Executing, Company::Others)] {
                notes.lock().unwrap().push((id, found));
            }
        };
        // Already the call, before the future is polled.
        look();
        async move {
            look();
            if id.is_multiple_of(7) {
                sleep(ms(3)).await;
                look();
            }
        }
    };
    let subscription = on("orders", handler).ordering(Ordering::Key).concurrency(8);
    let handle = run(&broker, subscription);
    finished(&broker, &handle).await;
    assert_eq!(*wrong.lock().unwrap(), []);
    assert_eq!(marked(&cells), []);
}

#[tokio::test(start_paused = true)]
async fn marks_follow_the_messages_that_are_handled_in_turn() {
    let (board, cells) = board();
    let broker = broker_on(&board, 100);
    let wrong = Arc::new(Mutex::new(Vec::new()));
    let (notes, looked) = (wrong.clone(), cells.clone());
    let handler = move |Raw(payload): Raw| {
        let (notes, looked) = (notes.clone(), looked.clone());
        async move {
            let id = id_of(&payload);
            let expected = [(id, Activity::Executing, Company::Others)];
            let look = || {
                let found = marked(&looked);
                if found != expected {
                    notes.lock().unwrap().push((id, found));
                }
            };
            look();
            if id.is_multiple_of(7) {
                sleep(ms(3)).await;
                look();
            }
        }
    };
    let handle = run(&broker, on("orders", handler).ordering(Ordering::Partition));
    finished(&broker, &handle).await;
    assert_eq!(*wrong.lock().unwrap(), []);
    assert_eq!(marked(&cells), []);
}

/// What the handler of `id` comes to: an output, a dead letter, a move to the retry lane.
fn outcome_of(id: u64) -> Result<Output, Failure> {
    match id {
        0 => Ok(Output::message(Message::new("made"))),
        1 => Err(Failure::permanent("never")),
        _ => Err(Failure::transient("not yet")),
    }
}

fn each_outcome(batch: bool) -> Subscription<()> {
    if batch {
        let handler = |batch: Batch<Raw>| async move {
            let ids = batch.into_iter().map(|Raw(payload)| id_of(&payload));
            let mut outcome = BatchOutcome::all_handled();
            for (index, id) in ids.enumerate() {
                outcome = match outcome_of(id) {
                    Ok(output) => outcome.with_outputs(Outputs::none().and(output)),
                    Err(failure) => outcome.failed(index, failure),
                };
            }
            outcome
        };
        return on("orders", handler).batch(3, ms(5));
    }
    on("orders", |Raw(payload): Raw| async move {
        outcome_of(id_of(&payload))
    })
}

#[tokio::test(start_paused = true)]
async fn nothing_is_held_against_a_message_while_the_broker_has_what_became_of_it() {
    for (batch, spawn, ordering) in [
        (false, false, Ordering::Partition),
        (false, false, Ordering::Key),
        (false, true, Ordering::Key),
        (true, false, Ordering::Key),
        (true, true, Ordering::Key),
    ] {
        let (board, cells) = board();
        let broker = broker_on(&board, 3);
        let subscription = each_outcome(batch)
            .to("outputs")
            .ordering(ordering)
            .concurrency(1)
            .retry(quiet_retry(2, Duration::from_secs(5)));
        let handle = run(&broker, if spawn { subscription.spawn() } else { subscription });
        finished(&broker, &handle).await;
        let seen = broker.marked_at_publish();
        let mut destinations: Vec<_> = seen.iter().map(|(destination, _)| &**destination).collect();
        destinations.sort_unstable();
        let waits_in_place = ordering == Ordering::Partition;
        let expected: &[_] = match waits_in_place {
            true => &["orders.DLT", "orders.DLT", "outputs"],
            false => &["orders.DLT", "orders.DLT", "orders.g.retry", "outputs"],
        };
        assert_eq!(destinations, expected, "batch: {batch}, spawn: {spawn}");
        for (destination, marked) in seen {
            // Whoever kills the process now has not killed it because of a message whose handler has returned.
            assert_eq!(
                marked,
                [],
                "{destination}, batch: {batch}, spawn: {spawn}, {ordering:?}"
            );
        }
        assert_eq!(marked(&cells), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_ends_holds_up_a_suspect_for_half_a_minute_and_no_longer() {
    let (board, cells) = board();
    let (ours, theirs) = (World::default(), World::default());
    let (mine, other) = (broker_on(&board, 5), broker_on(&board, 1));
    slow(&theirs, 0..1, Duration::from_secs(100_000));
    slow(&ours, 2..3, Duration::from_secs(100_000));
    mine.died("orders", 0, [executing(2, 2)]);
    let began = Instant::now();
    let theirs_run = run(&other, theirs.subscription());
    sleep(ms(10)).await;
    let handle = run(&mine, ours.subscription().concurrency(3));
    sleep(Duration::from_secs(45)).await;
    let suspect = ours
        .handlings()
        .into_iter()
        .find(|handling| handling.id == 2)
        .unwrap();
    assert_eq!((suspect.began - began).as_secs(), 30);
    let waits = |company| (2, Activity::Waiting, company);
    assert!(marked(&cells).contains(&waits(Company::Nobody)));
    other.put("orders", 0, message(7, Some("free")));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(theirs.handlings().len(), 1, "nothing begins beside a suspect");
    // A suspect that never ends holds up the others no longer either.
    other.put("orders", 0, message(8, Some("free")));
    sleep(Duration::from_secs(15)).await;
    assert!(marked(&cells).contains(&waits(Company::Others)));
    mine.put("orders", 0, message(9, Some("other")));
    sleep(Duration::from_secs(1)).await;
    assert!(ours.succeeded().contains(&9));
    handle.drain(Instant::now() + Duration::from_secs(1)).await;
    theirs_run.drain(Instant::now() + Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn how_long_a_suspect_waits_is_what_the_policy_says() {
    let (board, _cells) = board();
    let (ours, theirs) = (World::default(), World::default());
    let (mine, other) = (broker_on(&board, 5), broker_on(&board, 1));
    slow(&theirs, 0..1, Duration::from_secs(100_000));
    slow(&ours, 2..3, Duration::from_secs(100_000));
    mine.died("orders", 0, [executing(2, 9)]);
    let began = Instant::now();
    let theirs_run = run(&other, theirs.subscription());
    sleep(ms(10)).await;
    let mut spec = spec(&mine, ours.subscription().concurrency(3), 1);
    spec.policy.alone = Alone {
        wait: Duration::from_secs(4),
        time: Duration::from_secs(2),
        time_max: Duration::from_secs(6),
    };
    let handle = start(spec);
    sleep(Duration::from_secs(9)).await;
    let handled = |id| ours.handlings().into_iter().find(|handling| handling.id == id);
    assert_eq!((handled(2).unwrap().began - began).as_secs(), 4);
    other.put("orders", 0, message(8, Some("free")));
    mine.put("orders", 0, message(9, Some("other")));
    sleep(ms(500)).await;
    assert!(
        handled(9).is_none(),
        "it is alone for six seconds and not for two"
    );
    sleep(Duration::from_secs(2)).await;
    assert!(handled(9).is_some());
    handle.drain(Instant::now() + Duration::from_secs(1)).await;
    theirs_run.drain(Instant::now() + Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_solitude_and_ends_the_marking() {
    let (board, cells) = board();
    let (ours, theirs) = (World::default(), World::default());
    let (mine, other) = (broker_on(&board, 5), broker_on(&board, 2));
    slow(&theirs, 0..2, Duration::from_secs(5));
    mine.died("orders", 0, [executing(2, 2)]);
    let theirs_run = run(&other, theirs.subscription());
    sleep(ms(10)).await;
    let handle = run(&mine, ours.subscription());
    sleep(ms(1_000)).await;
    assert_eq!(marked(&cells), [(0, Activity::Waiting, Company::Others)]);
    let report = handle.drain(Instant::now() + Duration::from_secs(10)).await;
    assert!(report.finished_in_time);
    assert!(ours.handlings().iter().all(|handling| handling.id != 2));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(theirs.handlings().len(), 2, "nobody is waited for any more");
    let report =
        tokio::spawn(async move { theirs_run.drain(Instant::now() + Duration::from_secs(20)).await });
    sleep(ms(100)).await;
    assert_eq!(
        marked(&cells),
        [],
        "who stops a process may kill it in the end, and that is nobody's fault"
    );
    assert!(report.await.unwrap().finished_in_time);
    assert_eq!(theirs.succeeded(), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_in_the_retry_lane_is_handled_alone_and_a_proven_one_is_a_dead_letter() {
    let (board, _) = board();
    let (world, broker) = (World::default(), broker_on(&board, 20));
    slow(&world, 0..20, ms(30));
    for id in [20, 21] {
        let parked = message(id, Some("parked"))
            .with_header(names::ATTEMPTS, "1")
            .unwrap();
        broker.put("orders.g.retry", 0, parked);
    }
    broker.died("orders.g.retry", 0, [executing(0, 2), proven(1)]);
    let handle = run(
        &broker,
        world.subscription().concurrency(8).retry(quiet_retry(9, ms(10))),
    );
    finished(&broker, &handle).await;
    let all = world.handlings();
    let alone = all.iter().find(|handling| handling.id == 20).unwrap();
    assert_eq!(alone.attempt, 4);
    let mut others = all.iter().filter(|handling| handling.id != 20);
    assert!(!others.any(|other| overlaps(alone, other)));
    assert_eq!(world.succeeded().len(), 21);
    let dead = broker.partition("orders.DLT", 0);
    assert_eq!(dead.len(), 1);
    let diagnosis = Diagnosis::from_headers(dead[0].headers().view());
    assert_eq!(
        (diagnosis.reason.as_deref(), diagnosis.attempts),
        (Some("killed"), Some(4))
    );
}

#[tokio::test(start_paused = true)]
async fn a_filter_is_asked_about_a_suspect_only_when_it_is_alone() {
    let (board, cells) = board();
    let (world, broker) = (World::default(), broker_on(&board, 10));
    broker.died("orders", 0, [executing(6, 2), executing(8, 2)]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (notes, looked) = (seen.clone(), cells);
    let subscription = world.subscription().concurrency(4).filter(move |delivery| {
        let id = id_of(delivery.payload().unwrap());
        let own = marked(&looked).into_iter().find(|(offset, ..)| *offset == id);
        notes.lock().unwrap().push((id, own.unwrap().2));
        id != 6
    });
    let handle = run(&broker, subscription);
    finished(&broker, &handle).await;
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_by_key(|(id, _)| *id);
    let company = |id| match id {
        6 | 8 => Company::Nobody,
        _ => Company::Others,
    };
    assert_eq!(seen, (0..10).map(|id| (id, company(id))).collect::<Vec<_>>());
    assert_eq!((handle.status().filtered, world.succeeded().len()), (1, 9));
}

//! Bad days: what brokers, users' code and forged headers can do, and what must hold all the same.

use crate::broker::Broker;
use crate::world::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering as Atomic};
use std::time::Duration;
use tidings_core::*;
use tidings_runtime::*;
use tokio::time::{Instant, sleep};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
const fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}
fn run(broker: &Broker, subscription: Subscription<()>) -> SubscriptionHandle {
    start(spec(broker, subscription, 1))
}
fn failing(fails: u32, how: How) -> Script {
    Script {
        fails,
        how,
        ..Script::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_being_parked_during_a_revocation_goes_on_when_its_lane_comes_back() {
    let (world, broker) = (World::default(), Broker::new(1));
    broker.put("orders", 0, message(0, Some("a")));
    world.script(0, failing(1, How::RetryAfter(secs(600))));
    broker.ack_after("orders.g.retry", secs(2));
    let handle = run(
        &broker,
        world.subscription().concurrency(4).retry(quiet_retry(5, ms(1))),
    );
    sleep(secs(1)).await;
    broker.revoke(&[0, 1], secs(10));
    sleep(ms(500)).await;
    // The next owner reads the retry lane and handles what is parked there, before the lanes come back.
    broker.store(
        "orders.g.retry",
        0,
        Progress {
            watermark: 1,
            ..Progress::default()
        },
    );
    sleep(secs(5)).await;
    assert_eq!(
        broker.stored("orders", 0).watermark,
        1,
        "the main lane was handed over"
    );
    broker.put("orders", 0, message(1, Some("a")));
    sleep(secs(5_000)).await;
    assert_eq!(world.succeeded(), [1], "{:#?}", handle.status());
}

#[tokio::test(start_paused = true)]
async fn a_parked_message_is_not_filtered_again_and_frees_its_key() {
    let (world, broker) = (World::default(), Broker::new(1));
    for id in 0..2 {
        broker.put("orders", 0, message(id, Some("a")));
    }
    world.script(0, failing(1, How::RetryAfter(secs(600))));
    // As "no older than", or a feature flag: accepts message 0 once.
    let seen = Arc::new(AtomicUsize::new(0));
    let subscription = world
        .subscription()
        .concurrency(4)
        .retry(quiet_retry(5, ms(1)))
        .filter(move |delivery| {
            id_of(delivery.payload().unwrap()) != 0 || seen.fetch_add(1, Atomic::Relaxed) == 0
        });
    let handle = run(&broker, subscription);
    sleep(secs(5_000)).await;
    assert_eq!(world.succeeded(), [0, 1], "{:#?}", handle.status());
}

#[tokio::test(start_paused = true)]
async fn outputs_of_different_items_of_a_batch_have_different_ids() {
    let broker = Broker::new(1);
    for id in 0..2 {
        broker.put("orders", 0, message(id, Some(&id.to_string())));
    }
    let first = Arc::new(AtomicBool::new(true));
    let subscription = on("orders", move |batch: Batch<Raw>| {
        let first = first.clone();
        async move {
            let mut outcome = BatchOutcome::all_handled();
            let mut outputs = Outputs::none();
            for (index, Raw(payload)) in batch.into_iter().enumerate() {
                if id_of(&payload) == 0 && first.swap(false, Atomic::Relaxed) {
                    outcome = outcome.failed(index, Failure::transient("not yet"));
                } else {
                    outputs = outputs.and(Output::message(Message::new(payload)));
                }
            }
            outcome.with_outputs(outputs)
        }
    });
    let handle = run(
        &broker,
        subscription
            .batch(2, ms(10))
            .concurrency(4)
            .to("outputs")
            .retry(quiet_retry(3, ms(100))),
    );
    finished(&broker, &handle).await;
    let ids: Vec<_> = broker
        .messages("outputs")
        .iter()
        .map(|one| {
            (
                one.headers().get_str(names::MESSAGE_ID).unwrap().to_owned(),
                one.payload().cloned(),
            )
        })
        .collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(
        ids[0].0, ids[1].0,
        "two different events with one message id: {ids:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_classifier_that_panics_does_not_end_a_batch_subscription() {
    let (world, broker) = (World::default(), Broker::new(1));
    for id in 0..2 {
        broker.put("orders", 0, message(id, Some("a")));
        world.script(id, failing(1, How::Transient));
    }
    let retry = quiet_retry(3, ms(100)).permanent_if(|_| panic!("a bug in a predicate"));
    let handle = run(&broker, world.batch_subscription().batch(2, ms(10)).retry(retry));
    sleep(secs(60)).await;
    assert_eq!(handle.status().phase, Phase::Running, "{:#?}", handle.status());
}

#[derive(Debug)]
struct Rude;
impl std::fmt::Display for Rude {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("a bug in Display")
    }
}
impl std::error::Error for Rude {}

#[tokio::test(start_paused = true)]
async fn an_error_whose_display_panics_does_not_end_the_subscription() {
    let broker = Broker::new(1);
    broker.put("orders", 0, message(0, Some("a")));
    broker.put("orders", 0, message(1, Some("b")));
    let subscription = on("orders", |Raw(payload): Raw| async move {
        if id_of(&payload) == 0 {
            Err(Failure::from(Rude))
        } else {
            Ok(())
        }
    });
    let handle = run(&broker, subscription.concurrency(4).retry(quiet_retry(2, ms(10))));
    sleep(secs(60)).await;
    assert_eq!(handle.status().phase, Phase::Running, "{:#?}", handle.status());
}

struct Bomb;
impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("a bug in Drop");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_destructor_that_panics_at_the_timeout_does_not_end_the_subscription() {
    let broker = Broker::new(1);
    broker.put("orders", 0, message(0, Some("a")));
    let subscription = on("orders", |Raw(_): Raw| async move {
        let bomb = Bomb;
        sleep(secs(1_000)).await;
        std::mem::forget(bomb);
        Ok::<(), Failure>(())
    });
    let handle = run(
        &broker,
        subscription
            .concurrency(4)
            .timeout(secs(1))
            .retry(quiet_retry(2, ms(10))),
    );
    sleep(secs(60)).await;
    assert_eq!(handle.status().phase, Phase::Running, "{:#?}", handle.status());
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_never_larger_than_its_size() {
    let broker = Broker::new(1);
    // Each of ten keys has a message that fails once, and one behind it.
    for id in 0..20 {
        broker.put("orders", 0, message(id, Some(&(id % 10).to_string())));
    }
    let largest = Arc::new(AtomicUsize::new(0));
    let failed = Arc::new(std::sync::Mutex::new(std::collections::HashSet::new()));
    let noted = largest.clone();
    let subscription = on("orders", move |batch: Batch<Raw>| {
        let (noted, failed) = (noted.clone(), failed.clone());
        async move {
            let mut outcome = BatchOutcome::all_handled();
            let items: Vec<_> = batch.into_iter().collect();
            noted.fetch_max(items.len(), Atomic::Relaxed);
            for (index, Raw(payload)) in items.into_iter().enumerate() {
                let id = id_of(&payload);
                if id < 10 && failed.lock().unwrap().insert(id) {
                    outcome = outcome.failed(index, Failure::transient("once"));
                }
            }
            outcome
        }
    });
    let handle = run(
        &broker,
        subscription
            .batch(2, ms(10))
            .concurrency(16)
            .retry(quiet_retry(3, ms(500))),
    );
    finished(&broker, &handle).await;
    assert!(
        largest.load(Atomic::Relaxed) <= 2,
        "a call got {} items",
        largest.load(Atomic::Relaxed)
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_for_one_call_of_each_other_partition_at_the_most() {
    let broker = Broker::new(3);
    for partition in 0..3 {
        broker.put("orders", partition, message(partition.into(), None));
    }
    let calls = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (noted, flooded) = (calls.clone(), broker.clone());
    let subscription = on("orders", move |batch: Batch<Raw>| {
        let (noted, flooded) = (noted.clone(), flooded.clone());
        async move {
            for Raw(payload) in batch {
                let id = id_of(&payload);
                let partition = u32::try_from(id % 3).unwrap();
                noted.lock().unwrap().push(partition);
                // There is always more in the first two.
                if partition < 2 && id < 60 {
                    flooded.put("orders", partition, message(id + 3, None));
                }
            }
            sleep(ms(20)).await;
        }
    });
    let handle = start(spec(&broker, subscription.batch(8, ms(2)), 3));
    finished(&broker, &handle).await;
    let calls = calls.lock().unwrap();
    let waited = calls.iter().position(|partition| *partition == 2);
    assert!(waited.is_some_and(|calls| calls <= 2), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn each_failed_item_of_a_batch_waits_for_its_own_back_off() {
    let broker = Broker::new(1);
    for id in 0..2 {
        broker.put("orders", 0, message(id, Some("a")));
    }
    let times = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = times.clone();
    let subscription = on("orders", move |batch: Batch<Raw>| {
        let noted = noted.clone();
        async move {
            let mut outcome = BatchOutcome::all_handled();
            for (index, Raw(payload)) in batch.into_iter().enumerate() {
                let id = id_of(&payload);
                if id == 0 {
                    outcome = outcome.failed(index, Failure::permanent("bad"));
                } else {
                    noted.lock().unwrap().push(Instant::now());
                    outcome = outcome.failed(index, Failure::transient("the database is down"));
                }
            }
            outcome
        }
    });
    let handle = run(
        &broker,
        subscription.batch(2, ms(10)).retry(quiet_retry(3, ms(800))),
    );
    finished(&broker, &handle).await;
    let times = times.lock().unwrap();
    let waits: Vec<_> = times
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_millis())
        .collect();
    assert!(waits.iter().all(|wait| *wait >= 800), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_at_its_deadline_when_the_broker_hangs() {
    let (world, broker) = (World::default(), Broker::new(1));
    broker.put("orders", 0, message(0, Some("a")));
    let handle = run(&broker, world.subscription());
    sleep(secs(1)).await;
    broker.commits_hang();
    let began = Instant::now();
    handle.drain(began + secs(1)).await;
    assert!(began.elapsed() <= ms(1_100), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_slow_commit_at_a_hand_over_stops_no_other_lane() {
    let (world, broker) = (World::default(), Broker::new(2));
    broker.put("orders", 1, message(0, Some("a")));
    world.script(
        0,
        Script {
            takes: ms(200),
            ..Script::default()
        },
    );
    let handle = start(spec(&broker, world.subscription().concurrency(4), 2));
    sleep(ms(100)).await;
    broker.commits_hang();
    // Lanes 0 and 1 are partition 0; the handler works for partition 1.
    broker.revoke(&[0, 1], secs(10));
    sleep(secs(20)).await;
    let handling = &world.handlings()[0];
    let took = handling.ended.unwrap() - handling.began;
    assert!(
        took < secs(1),
        "a handler of 200 ms in another lane took {took:?}; {:?}",
        handle.status().phase
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_move_to_the_retry_lane_is_not_repeated_at_full_speed() {
    let (world, broker) = (World::default(), Broker::new(1));
    world.script(0, failing(1, How::RetryAfter(secs(60))));
    broker.put("orders", 0, message(0, Some("a")));
    let handle = run(
        &broker,
        world
            .subscription()
            .concurrency(4)
            .max_in_flight(20)
            .retry(quiet_retry(5, ms(1))),
    );
    sleep(ms(100)).await;
    broker.refuse_for_good("orders.g.retry");
    for id in 1..30 {
        broker.put("orders", 0, message(id, Some("a")));
    }
    // Time stands still while this task is never idle: what happens now happens at one moment.
    for _ in 0..20_000 {
        tokio::task::yield_now().await;
    }
    let asked = broker.refused_for_good("orders.g.retry");
    assert!(
        (1..100).contains(&asked),
        "asked {asked} times while time stood still"
    );
    sleep(secs(30)).await;
    let asked = broker.refused_for_good("orders.g.retry");
    assert!(asked < 1_000, "asked {asked} times in half a minute");
    drop(handle);
}

#[tokio::test(start_paused = true)]
async fn a_forged_count_of_attempts_in_the_retry_lane_is_not_believed() {
    let (world, broker) = (World::default(), Broker::new(1));
    let forged = message(0, Some("a"))
        .with_header(names::ATTEMPTS, "4000000")
        .unwrap();
    broker.put("orders.g.retry", 0, forged);
    broker.put("orders", 0, message(1, Some("b")));
    world.script(0, failing(1, How::Transient));
    let handle = run(&broker, world.subscription().retry(quiet_retry(3, ms(10))));
    finished(&broker, &handle).await;
    assert!(
        world.succeeded().contains(&0),
        "{:?} dead {}",
        world.handlings(),
        broker.messages("orders.DLT").len()
    );
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_at_its_deadline_while_the_broker_does_not_answer_a_subscribe() {
    let (world, broker) = (World::default(), Broker::new(1));
    broker.subscribe_hangs();
    let handle = run(&broker, world.subscription());
    sleep(secs(1)).await;
    let ended = tokio::time::timeout(secs(600), handle.drain(Instant::now() + secs(5))).await;
    assert!(ended.is_ok(), "ten minutes after a deadline of 5 s");
}

#[tokio::test(start_paused = true)]
async fn after_a_clean_drain_nothing_that_was_handled_is_handled_again() {
    let (world, broker) = (World::default(), Broker::new(1));
    for id in 0..600 {
        broker.put("orders", 0, message(id, Some(&id.to_string())));
        if id % 2 == 0 {
            world.script(id, failing(1, How::RetryAfter(ms(900))));
        }
    }
    let subscription = || world.subscription().concurrency(16).retry(quiet_retry(5, ms(1)));
    let handle = run(&broker, subscription());
    sleep(ms(500)).await;
    let report = drain_of(&handle).await;
    assert!(report.finished_in_time && report.abandoned == 0);
    let handle = run(&broker, subscription());
    finished(&broker, &handle).await;
    let mut times = std::collections::HashMap::new();
    for handling in world.handlings().into_iter().filter(|one| one.ok) {
        *times.entry(handling.id).or_insert(0) += 1;
    }
    let twice = times.values().filter(|times| **times > 1).count();
    assert_eq!(twice, 0, "messages handled twice without any fault");
}

async fn drain_of(handle: &SubscriptionHandle) -> DrainReport {
    handle.drain(Instant::now() + secs(5)).await
}

#[tokio::test]
async fn a_handler_that_never_waits_lets_others_run_within_some_milliseconds() {
    let broker = Broker::new(1);
    for id in 0..400 {
        broker.put("orders", 0, message(id, Some("a")));
    }
    let subscription = on("orders", |_: Raw| async { std::thread::sleep(ms(2)) });
    let handle = run(&broker, subscription);
    let (mut most, mut before) = (0, 0);
    while before < 400 {
        tokio::task::yield_now().await;
        let handled = handle.status().handled;
        most = most.max(handled - before);
        before = handled;
    }
    assert!(most <= 8, "others waited for {most} messages of 2 ms");
}

#[tokio::test(start_paused = true)]
async fn later_without_a_wait_does_not_stop_time() {
    let broker = Broker::new(1);
    broker.put("orders", 0, message(0, Some("a")));
    let began = Instant::now();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let subscription = on("orders", move |_: Raw| {
        let calls = counted.clone();
        async move {
            if began.elapsed() > ms(100) || calls.fetch_add(1, Atomic::Relaxed) > 100_000 {
                return Ok(());
            }
            Err(Failure::later(Duration::ZERO))
        }
    });
    let handle = run(&broker, subscription);
    finished(&broker, &handle).await;
    assert!(
        calls.load(Atomic::Relaxed) < 1_000,
        "called {} times in a moment",
        calls.load(Atomic::Relaxed)
    );
}

#[tokio::test(start_paused = true)]
async fn other_keys_go_on_while_a_dead_letter_cannot_be_written() {
    let (world, broker) = (World::default(), Broker::new(1));
    for id in 0..10 {
        broker.put("orders", 0, message(id, Some(&id.to_string())));
    }
    world.script(0, failing(1, How::Permanent));
    broker.refuse("orders.DLT", usize::MAX);
    let _handle = run(&broker, world.subscription().concurrency(4));
    sleep(secs(60)).await;
    assert_eq!(world.succeeded().len(), 9);
    assert_eq!(broker.stored("orders", 0).watermark, 0);
}

async fn one_key(
    seed: u64,
    count: u64,
    max_in_flight: usize,
    max_parked: usize,
    fails: &[(u64, u32)],
) -> (Vec<u64>, String) {
    fastrand::seed(seed);
    let (world, broker) = (World::default(), Broker::new(1));
    broker.appends_late();
    for (id, times) in fails {
        world.script(*id, failing(*times, How::RetryAfter(ms(400))));
    }
    let subscription = world
        .subscription()
        .concurrency(3)
        .max_in_flight(max_in_flight)
        .max_parked(max_parked)
        .retry(quiet_retry(10, ms(75)).durable_after(ms(75)));
    let handle = run(&broker, subscription);
    for id in 0..count {
        broker.put("orders", 0, message(id, Some("a")));
        if id % 4 == 3 {
            sleep(ms(fastrand::u64(0..300))).await;
        }
    }
    finished(&broker, &handle).await;
    let retry: Vec<_> = broker
        .partition("orders.g.retry", 0)
        .iter()
        .map(|one| id_of(one.payload().unwrap()))
        .collect();
    let began = world.handlings().first().map(|one| one.began).unwrap();
    let trace: Vec<_> = world
        .handlings()
        .iter()
        .map(|one| {
            format!(
                "{}@{}{}",
                one.id,
                (one.began - began).as_millis(),
                if one.ok { "" } else { "!" }
            )
        })
        .collect();
    (
        world.succeeded(),
        format!("retry lane {retry:?}; handlings {trace:?}"),
    )
}

#[test]
fn messages_of_a_key_keep_their_order_through_overflow() {
    let mut worst: Option<(u64, usize, usize, u64, Vec<u64>, String)> = None;
    for seed in 0..600u64 {
        let (count, in_flight, parked) = (
            8 + seed % 20,
            4 + (seed / 3 % 6) as usize,
            1 + (seed / 7 % 5) as usize,
        );
        let fails = [(seed % 3, 1), (4 + seed % 5, 2), (9 + seed % 4, 1)];
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let (order, trace) = runtime.block_on(one_key(seed, count, in_flight, parked, &fails));
        if !order.is_sorted() && worst.as_ref().is_none_or(|worst| worst.0 > count) {
            worst = Some((count, in_flight, parked, seed, order, trace));
        }
    }
    assert!(worst.is_none(), "{worst:#?}");
}

#[tokio::test(start_paused = true)]
async fn messages_that_are_moved_behind_a_parked_one_keep_their_order_when_a_publish_is_refused_once() {
    let (world, broker) = (World::default(), Broker::new(1));
    for id in 0..5 {
        broker.put("orders", 0, message(id, Some("a")));
    }
    world.script(0, failing(1, How::RetryAfter(secs(60))));
    // Message 0 is appended at once (the retry lane reads it) and acknowledged 10 ms later; the first try to move
    // message 1 is refused.
    broker.next_parkings([Some(ms(10)), None]);
    let handle = run(
        &broker,
        world
            .subscription()
            .concurrency(4)
            .max_in_flight(4)
            .retry(quiet_retry(3, ms(1))),
    );
    finished(&broker, &handle).await;
    let moved: Vec<_> = broker
        .partition("orders.g.retry", 0)
        .iter()
        .map(|one| id_of(one.payload().unwrap()))
        .collect();
    assert_eq!(world.succeeded(), [0, 1, 2, 3, 4], "retry lane {moved:?}");
}

#[tokio::test(start_paused = true)]
async fn messages_are_not_moved_past_the_holder_of_their_key_when_a_redriven_one_arrives() {
    let (world, broker) = (World::default(), Broker::new(1));
    for id in 0..5 {
        broker.put("orders", 0, message(id, Some("a")));
    }
    world.script(
        0,
        Script {
            takes: secs(10),
            fails: 1,
            how: How::RetryAfter(secs(60)),
        },
    );
    let handle = run(
        &broker,
        world
            .subscription()
            .concurrency(4)
            .max_in_flight(4)
            .retry(quiet_retry(3, ms(1))),
    );
    sleep(secs(1)).await;
    broker.put("orders.g.retry", 0, message(100, Some("a")));
    finished(&broker, &handle).await;
    let retry: Vec<_> = broker
        .partition("orders.g.retry", 0)
        .iter()
        .map(|one| id_of(one.payload().unwrap()))
        .collect();
    let order: Vec<_> = world.succeeded().into_iter().filter(|id| *id != 100).collect();
    assert_eq!(order, [0, 1, 2, 3, 4], "retry lane {retry:?}");
}

#[tokio::test(start_paused = true)]
async fn large_messages_stop_the_source_at_the_limit_of_bytes() {
    let (world, broker) = (World::default(), Broker::new(1));
    for id in 0..200 {
        world.script(id, failing(1, How::Stuck));
        let large = message(id, Some("a"))
            .with_header("padding", vec![b'x'; 50_000])
            .unwrap();
        broker.put("orders", 0, large);
    }
    let handle = run(
        &broker,
        world.subscription().concurrency(4).max_in_flight_bytes(1_000_000),
    );
    sleep(secs(10)).await;
    // A batch of the broker, seven messages, may come beyond the limit.
    assert!(
        (14..=28).contains(&broker.most_ahead()),
        "{} were received",
        broker.most_ahead()
    );
    assert_eq!(handle.status().running, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_of_a_spawned_handler_never_overlap() {
    let broker = Broker::new(1);
    broker.put("orders", 0, message(0, Some("a")));
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, seen) = (running.clone(), most.clone());
    let subscription = on("orders", move |_: Raw| {
        let (now, seen) = (now.clone(), seen.clone());
        async move {
            seen.fetch_max(now.fetch_add(1, Atomic::SeqCst) + 1, Atomic::SeqCst);
            // Work that cannot be stopped from outside.
            std::thread::sleep(ms(150));
            now.fetch_sub(1, Atomic::SeqCst);
            sleep(secs(3_600)).await;
        }
    });
    let subscription = subscription
        .spawn()
        .concurrency(4)
        .timeout(ms(20))
        .retry(quiet_retry(3, ms(1)));
    let handle = run(&broker, subscription);
    finished(&broker, &handle).await;
    assert_eq!(
        (most.load(Atomic::SeqCst), broker.messages("orders.DLT").len()),
        (1, 1)
    );
}

//! One behaviour a test, with times and counts that are exact because time is virtual.

use crate::broker::Broker;
use crate::world::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering as Atomic};
use std::time::Duration;
use tidings_core::*;
use tidings_runtime::*;
use tokio::time::{Instant, sleep};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn broker_with(count: u64, key: Option<&str>) -> Broker {
    let broker = Broker::new(1);
    for id in 0..count {
        broker.put("orders", 0, message(id, key));
    }
    broker
}

fn run(broker: &Broker, subscription: Subscription<()>) -> SubscriptionHandle {
    start(spec(broker, subscription, 1))
}

async fn drain(handle: &SubscriptionHandle, within: Duration) -> DrainReport {
    handle.drain(Instant::now() + within).await
}

fn failing(fails: u32, how: How) -> Script {
    Script {
        fails,
        how,
        ..Script::default()
    }
}

fn takes(takes: Duration) -> Script {
    Script {
        takes,
        ..Script::default()
    }
}

#[tokio::test(start_paused = true)]
async fn messages_in_turn_are_all_handled_and_committed() {
    let (world, broker) = (World::default(), broker_with(1_000, None));
    let handle = run(&broker, world.subscription());
    finished(&broker, &handle).await;
    assert_eq!(world.succeeded(), (0..1_000).collect::<Vec<_>>());
    assert_eq!(handle.status().handled, 1_000);
    assert_eq!(broker.stored("orders", 0).watermark, 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_failing_message_waits_as_the_policy_says_and_ends_in_the_dead_letters() {
    let (world, broker) = (World::default(), broker_with(1, Some("k")));
    world.script(0, failing(9, How::Transient));
    let retry = Retry::exponential(4, ms(100), 2.0).jitter(0.0);
    let handle = run(&broker, world.subscription().retry(retry));
    finished(&broker, &handle).await;
    let began: Vec<_> = world.handlings().iter().map(|handling| handling.began).collect();
    let waits: Vec<_> = began
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_millis())
        .collect();
    assert_eq!(waits, [100, 200, 400]);
    let attempts: Vec<_> = world
        .handlings()
        .iter()
        .map(|handling| handling.attempt)
        .collect();
    assert_eq!(attempts, [1, 2, 3, 4]);

    let dead = broker.partition("orders.DLT", 0);
    let original = &broker.partition("orders", 0)[0];
    assert_eq!(
        (dead.len(), dead[0].payload(), dead[0].key()),
        (1, original.payload(), original.key())
    );
    assert_eq!(dead[0].headers().get_str(names::MESSAGE_ID), Some("m-0"));
    let diagnosis = Diagnosis::from_headers(dead[0].headers().view());
    assert_eq!(diagnosis.position, Some(Position::new("orders", 0, 0)));
    assert_eq!(
        (diagnosis.attempts, diagnosis.reason.as_deref()),
        (Some(4), Some("exhausted"))
    );
    assert_eq!(
        (diagnosis.group.as_deref(), diagnosis.subscription.as_deref()),
        (Some("g"), Some("s"))
    );
    assert_eq!(diagnosis.error.as_deref(), Some("as the script says"));
    let failures = (diagnosis.first_failure.unwrap(), diagnosis.last_failure.unwrap());
    assert_eq!(failures.1.since(failures.0), ms(700));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_message_holds_its_key_and_nothing_else() {
    let (world, broker) = (World::default(), Broker::new(1));
    for (id, key) in [(0, "a"), (1, "a"), (2, "b"), (3, "c")] {
        broker.put("orders", 0, message(id, Some(key)));
    }
    world.script(0, failing(1, How::Transient));
    let handle = run(
        &broker,
        world.subscription().concurrency(4).retry(quiet_retry(3, ms(500))),
    );
    finished(&broker, &handle).await;
    assert_eq!(world.succeeded(), [2, 3, 0, 1]);
    assert_eq!(handle.status().parked, 0, "short waits stay in memory");
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_survives_a_restart_with_the_order_of_its_key() {
    let (world, broker) = (World::default(), Broker::new(1));
    for (id, key) in [(0, "a"), (1, "a"), (2, "b")] {
        broker.put("orders", 0, message(id, Some(key)));
    }
    world.script(0, failing(2, How::RetryAfter(Duration::from_secs(600))));
    let subscription = || world.subscription().concurrency(4).retry(quiet_retry(5, ms(1)));
    let began = Instant::now();
    let handle = run(&broker, subscription());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(
        broker.stored("orders", 0).finished.len() + broker.stored("orders", 0).watermark as usize,
        2
    );
    handle.abort();
    handle.stopped().await;
    let handle = run(&broker, subscription());
    sleep(Duration::from_secs(60)).await;
    broker.put("orders", 0, message(3, Some("a")));
    finished(&broker, &handle).await;
    assert_eq!(world.succeeded(), [2, 0, 1, 3]);
    let attempts: Vec<_> = world
        .handlings()
        .iter()
        .filter(|handling| handling.id == 0)
        .map(|handling| handling.attempt)
        .collect();
    assert_eq!(attempts, [1, 2, 3], "a restart does not start the count again");
    assert!(began.elapsed() >= Duration::from_secs(1_200));
    assert_eq!(
        broker.partition("orders.g.retry", 0).len(),
        1,
        "it waits in place, however often it fails"
    );
}

#[tokio::test(start_paused = true)]
async fn later_messages_overtake_when_the_policy_says_relaxed() {
    let (world, broker) = (World::default(), broker_with(3, Some("a")));
    world.script(0, failing(1, How::RetryAfter(Duration::from_secs(60))));
    let subscription = world
        .subscription()
        .retry_order(RetryOrder::Relaxed)
        .concurrency(2);
    let handle = run(&broker, subscription);
    finished(&broker, &handle).await;
    assert_eq!(world.succeeded(), [1, 2, 0]);
}

#[tokio::test(start_paused = true)]
async fn when_a_dead_letter_cannot_be_written_the_partition_waits_and_nothing_is_dropped() {
    let (world, broker) = (World::default(), broker_with(3, None));
    world.script(1, failing(1, How::Permanent));
    broker.refuse("orders.DLT", usize::MAX);
    let handle = run(&broker, world.subscription());
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(broker.stored("orders", 0).watermark, 1);
    assert!(handle.status().obstacle.unwrap().contains("orders.DLT"));
    broker.refuse("orders.DLT", 0);
    finished(&broker, &handle).await;
    assert_eq!(broker.partition("orders.DLT", 0).len(), 1);
    assert_eq!(handle.status().obstacle, None);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_and_a_stuck_handler_is_stopped() {
    let (world, broker) = (World::default(), broker_with(3, None));
    world.script(0, failing(1, How::Panic));
    world.script(1, failing(1, How::Stuck));
    let subscription = world
        .subscription()
        .timeout(Duration::from_secs(2))
        .retry(quiet_retry(3, ms(10)));
    let handle = run(&broker, subscription);
    finished(&broker, &handle).await;
    assert_eq!(world.succeeded().len(), 3);
    let stuck: Vec<_> = world
        .handlings()
        .into_iter()
        .filter(|handling| handling.id == 1)
        .collect();
    assert_eq!(stuck[0].ended.unwrap() - stuck[0].began, Duration::from_secs(2));
    assert_eq!((handle.status().failed, stuck.len()), (2, 2));
}

/// Whatever way a handler goes: in turn, as a task, with another attempt before.
#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_is_named_with_place_and_age_until_it_is_over() {
    for (ordering, spawn) in [
        (Ordering::Partition, false),
        (Ordering::Key, false),
        (Ordering::None, true),
    ] {
        let (world, broker) = (World::default(), broker_with(3, None));
        world.script(1, takes(Duration::from_secs(100)));
        let subscription = world
            .subscription()
            .ordering(ordering)
            .stuck_after(Duration::from_secs(20));
        let subscription = if spawn { subscription.spawn() } else { subscription };
        let handle = run(&broker, subscription);
        sleep(Duration::from_secs(19)).await;
        assert_eq!(handle.status().obstacle, None);
        sleep(Duration::from_secs(8)).await;
        let said = handle.status().obstacle.expect("it hangs");
        assert!(said.contains("orders/0@1 is not finished after 2"), "{said}");
        sleep(Duration::from_secs(60)).await;
        let said = handle.status().obstacle.expect("it hangs");
        assert!(said.contains("after 8"), "{said}");
        sleep(Duration::from_secs(20)).await;
        finished(&broker, &handle).await;
        assert_eq!(handle.status().obstacle, None, "it is over");
        assert_eq!(world.succeeded().len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_stretch_of_quick_messages_is_not_stuck() {
    let (world, broker) = (World::default(), broker_with(60, None));
    for id in 0..60 {
        world.script(id, takes(Duration::from_secs(3)));
    }
    let subscription = world
        .subscription()
        .ordering(Ordering::Partition)
        .stuck_after(Duration::from_secs(20));
    let handle = run(&broker, subscription);
    for _ in 0..58 {
        sleep(Duration::from_secs(3)).await;
        assert_eq!(handle.status().obstacle, None);
    }
    finished(&broker, &handle).await;
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Made(u64);

impl Event for Made {
    const NAME: &'static str = "made";
    const VERSION: u32 = 1;
    type Codec = JsonCodec;
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_returns_is_published_before_its_input_is_finished() {
    let broker = broker_with(2, None);
    broker.refuse("outputs", 5);
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let handler = move |Raw(payload): Raw| {
        count.fetch_add(1, Atomic::Relaxed);
        async move { Made(id_of(&payload)) }
    };
    let handle = run(&broker, on("orders", handler).to("outputs"));
    sleep(ms(10)).await;
    assert_eq!(
        broker.stored("orders", 0).watermark,
        0,
        "its output is not kept yet"
    );
    finished(&broker, &handle).await;
    let outputs = broker.messages("outputs");
    assert_eq!(outputs.len(), 2);
    assert_eq!(
        calls.load(Atomic::Relaxed),
        2,
        "the handler does not run again for its output's sake"
    );
    assert_eq!(outputs[0].headers().get_str(names::CAUSATION_ID), Some("m-0"));
    assert_eq!(outputs[0].headers().get_str(names::CORRELATION_ID), Some("m-0"));
}

#[tokio::test(start_paused = true)]
async fn an_output_has_the_same_id_whenever_its_input_is_handled_again() {
    let mut ids = Vec::new();
    for _ in 0..2 {
        let broker = broker_with(1, None);
        let handle = run(&broker, on("orders", |_: Raw| async { Made(1) }).to("outputs"));
        finished(&broker, &handle).await;
        ids.push(
            broker.messages("outputs")[0]
                .headers()
                .get_str(names::MESSAGE_ID)
                .map(str::to_owned),
        );
    }
    assert!(ids[0].is_some() && ids[0] == ids[1]);
}

#[tokio::test(start_paused = true)]
async fn a_manual_acknowledgement_decides_also_after_the_handler_returned() {
    let broker = broker_with(6, None);
    let handler = |Raw(payload): Raw, Attempt(attempt): Attempt, ack: Ack| async move {
        match (id_of(&payload), attempt) {
            (0, _) => ack.ack(),
            (1, 1) => ack.nack(),
            (2, 1) => ack.nack_after(Duration::from_secs(9)),
            (3, _) => ack.reject("not wanted"),
            (4, 1) => drop(ack),
            _ => drop(tokio::spawn(async move {
                sleep(Duration::from_secs(3)).await;
                ack.ack();
            })),
        }
    };
    let subscription = on("orders", handler)
        .ordering(Ordering::None)
        .concurrency(9)
        .retry(quiet_retry(2, ms(100)).durable_after(Duration::from_secs(60)));
    let began = Instant::now();
    let handle = run(&broker, subscription);
    sleep(ms(50)).await;
    assert_eq!(
        handle.status().running,
        1,
        "only the one that is still to be acknowledged"
    );
    finished(&broker, &handle).await;
    assert!(began.elapsed() >= Duration::from_secs(12));
    let dead = broker.messages("orders.DLT");
    assert_eq!(dead.len(), 1);
    assert_eq!(
        Diagnosis::from_headers(dead[0].headers().view())
            .reason
            .as_deref(),
        Some("rejected")
    );
    let status = handle.status();
    assert_eq!((status.handled, status.failed, status.retried), (5, 4, 3));
}

#[tokio::test(start_paused = true)]
async fn items_of_a_batch_have_outcomes_of_their_own() {
    let (world, broker) = (World::default(), broker_with(10, None));
    world.script(3, failing(1, How::Transient));
    world.script(7, failing(1, How::Permanent));
    let handle = run(
        &broker,
        world
            .batch_subscription()
            .batch(4, ms(30))
            .retry(quiet_retry(3, ms(100))),
    );
    finished(&broker, &handle).await;
    let mut succeeded = world.succeeded();
    succeeded.sort_unstable();
    assert_eq!(succeeded, [0, 1, 2, 3, 4, 5, 6, 8, 9]);
    assert_eq!(
        world.handlings().len(),
        11,
        "only the failed item is handled again"
    );
    assert_eq!(broker.messages("orders.DLT").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn pause_is_at_once_and_resume_goes_on() {
    let (world, broker) = (World::default(), broker_with(100, None));
    (0..100).for_each(|id| {
        world.script(
            id,
            Script {
                takes: ms(10),
                ..Script::default()
            },
        )
    });
    let handle = run(&broker, world.subscription());
    sleep(ms(105)).await;
    handle.pause();
    sleep(Duration::from_secs(10)).await;
    let begun = world.handlings().len();
    assert!((10..=11).contains(&begun), "{begun} were begun");
    assert_eq!(handle.status().phase, Phase::Paused);
    handle.resume();
    finished(&broker, &handle).await;
    assert_eq!(world.handlings().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn the_rate_limit_holds_whatever_the_concurrency() {
    for concurrency in [1, 16] {
        let (world, broker) = (World::default(), broker_with(300, None));
        let began = Instant::now();
        let handle = run(&broker, world.subscription().rate(50.0).concurrency(concurrency));
        finished(&broker, &handle).await;
        let took = began.elapsed().as_secs_f64();
        assert!((5.5..7.0).contains(&took), "300 at 50 a second took {took} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_stops_its_source_at_the_limit() {
    let (world, broker) = (World::default(), broker_with(500, None));
    (0..500).for_each(|id| world.script(id, failing(1, How::Stuck)));
    let handle = run(
        &broker,
        world
            .subscription()
            .max_in_flight(20)
            .ordering(Ordering::None)
            .concurrency(1_000),
    );
    sleep(Duration::from_secs(60)).await;
    assert!(
        broker.most_ahead() <= 20 + 7,
        "{} were received",
        broker.most_ahead()
    );
    assert_eq!(handle.status().lanes[0].open as u64, broker.most_ahead());
    let report = drain(&handle, ms(100)).await;
    assert_eq!(
        report,
        DrainReport {
            finished_in_time: false,
            abandoned: broker.most_ahead() as usize
        }
    );
    assert_eq!(broker.stored("orders", 0).watermark, 0);
}

#[tokio::test(start_paused = true)]
async fn a_drain_finishes_what_runs_and_starts_nothing() {
    let (world, broker) = (World::default(), broker_with(50, None));
    (0..50).for_each(|id| {
        world.script(
            id,
            Script {
                takes: Duration::from_secs(3),
                ..Script::default()
            },
        )
    });
    let handle = run(
        &broker,
        world.subscription().concurrency(4).ordering(Ordering::None),
    );
    sleep(ms(100)).await;
    let began = Instant::now();
    let report = drain(&handle, Duration::from_secs(30)).await;
    assert_eq!(
        report,
        DrainReport {
            finished_in_time: true,
            abandoned: 0
        }
    );
    assert!((Duration::from_secs(2)..Duration::from_secs(4)).contains(&began.elapsed()));
    assert_eq!(
        (world.succeeded().len(), broker.stored("orders", 0).watermark),
        (4, 4)
    );
    assert_eq!(handle.status().phase, Phase::Stopped);
}

#[tokio::test(start_paused = true)]
async fn work_of_a_revoked_lane_may_finish_until_the_deadline_and_not_after() {
    for (takes, commits) in [(ms(500), 1), (Duration::from_secs(5), 0)] {
        let (world, broker) = (World::default(), broker_with(1, None));
        world.script(
            0,
            Script {
                takes,
                ..Script::default()
            },
        );
        let handle = run(&broker, world.subscription());
        sleep(ms(100)).await;
        broker.revoke(&[0, 1], Duration::from_secs(1));
        sleep(ms(1_200)).await;
        assert_eq!(
            broker.stored("orders", 0).watermark,
            commits,
            "with a handler that takes {takes:?}"
        );
        finished(&broker, &handle).await;
        assert_eq!(world.handlings().len() as u64, 2 - commits);
    }
}

#[tokio::test(start_paused = true)]
async fn work_of_a_lost_lane_is_stopped_and_never_commits() {
    let (world, broker) = (World::default(), broker_with(1, None));
    world.script(
        0,
        Script {
            takes: Duration::from_secs(5),
            ..Script::default()
        },
    );
    let handle = run(&broker, world.subscription());
    sleep(ms(100)).await;
    broker.lose(&[0, 1]);
    sleep(ms(100)).await;
    let first = world.handlings()[0].clone();
    assert!(!first.ok && first.ended.is_some(), "the handler was dropped");
    finished(&broker, &handle).await;
    assert_eq!(world.succeeded(), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_failures_is_slowed_by_the_retry_budget() {
    let (world, broker) = (World::default(), broker_with(200, None));
    (0..200).for_each(|id| world.script(id, failing(1, How::Transient)));
    let retry = Retry::fixed(2, ms(10)).budget(0.0, 20.0);
    let began = Instant::now();
    let handle = run(
        &broker,
        world
            .subscription()
            .ordering(Ordering::None)
            .concurrency(500)
            .retry(retry),
    );
    finished(&broker, &handle).await;
    let took = began.elapsed().as_secs_f64();
    assert!(
        (8.5..11.0).contains(&took),
        "200 retries at 20 a second took {took} s"
    );
    assert_eq!(world.succeeded().len(), 200, "none was dropped for it");
}

#[tokio::test(start_paused = true)]
async fn what_the_filter_refuses_is_finished_without_a_call() {
    let (world, broker) = (World::default(), broker_with(10, None));
    let subscription = world
        .subscription()
        .filter(|delivery| id_of(delivery.payload().unwrap()).is_multiple_of(2));
    let handle = run(&broker, subscription);
    finished(&broker, &handle).await;
    assert_eq!(world.succeeded(), [0, 2, 4, 6, 8]);
    assert_eq!((handle.status().filtered, handle.status().handled), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn control_headers_out_of_range_are_not_believed() {
    let (world, broker) = (World::default(), Broker::new(1));
    let odd = [
        ("tidings-attempts", "99999999999999999999"),
        ("tidings-due", "9223372036854775807"),
        ("tidings-origin-offset", "-1"),
    ];
    let mut parked = message(0, Some("k"));
    for (name, value) in odd {
        parked.headers_mut().set(name, value).unwrap();
    }
    broker.put("orders.g.retry", 0, parked);
    let began = Instant::now();
    let handle = run(&broker, world.subscription());
    sleep(Duration::from_secs(31 * 86_400)).await;
    assert_eq!(
        world.succeeded(),
        [0],
        "no wait is longer than the longest back-off"
    );
    assert!(began.elapsed() >= MAX_BACKOFF);
    assert_eq!(handle.status().handled, 1);
}

#[tokio::test(start_paused = true)]
async fn messages_behind_a_parked_one_are_parked_when_the_lane_fills_up() {
    let (world, broker) = (World::default(), Broker::new(1));
    world.script(0, failing(1, How::RetryAfter(Duration::from_secs(3_600))));
    for id in 0..400 {
        broker.put(
            "orders",
            0,
            message(id, Some(if id % 2 == 0 { "slow" } else { "other" })),
        );
    }
    let subscription = world
        .subscription()
        .max_in_flight(40)
        .concurrency(4)
        .retry(quiet_retry(3, ms(1)));
    let handle = run(&broker, subscription);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.succeeded().len(), 200, "the other key is not held up");
    finished(&broker, &handle).await;
    let slow: Vec<_> = world.succeeded().into_iter().filter(|id| id % 2 == 0).collect();
    assert!(slow.len() == 200 && slow.is_sorted());
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_an_earlier_assignment_is_not_handled() {
    let (world, broker) = (World::default(), broker_with(1, None));
    let handle = run(&broker, world.subscription());
    finished(&broker, &handle).await;
    let late = RecordBatch::from_messages(LaneId(0), Epoch(0), 1, &[message(9, None)]);
    broker.report(SourceEvent::Batch(late));
    sleep(ms(100)).await;
    assert_eq!(world.succeeded(), [0]);
    assert_eq!(handle.status().lanes[0].received, 1);
}

#[tokio::test(start_paused = true)]
async fn failed_items_of_a_key_are_tried_again_in_their_order() {
    let (world, broker) = (World::default(), broker_with(8, Some("k")));
    (0..8).for_each(|id| world.script(id, failing(1, How::Transient)));
    let subscription = world.batch_subscription().batch(4, ms(30));
    let handle = run(&broker, subscription.retry(quiet_retry(3, ms(100))));
    finished(&broker, &handle).await;
    assert_eq!(world.succeeded(), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(world.handlings().len(), 16);
}

#[tokio::test(start_paused = true)]
async fn what_is_finished_above_the_watermark_is_not_handled_again_after_a_restart() {
    let (world, broker) = (World::default(), broker_with(6, None));
    world.script(0, failing(1, How::Stuck));
    let subscription = || world.subscription().ordering(Ordering::None).concurrency(4);
    let handle = run(&broker, subscription());
    sleep(Duration::from_secs(1)).await;
    handle.abort();
    handle.stopped().await;
    let handle = run(&broker, subscription());
    finished(&broker, &handle).await;
    let ids: Vec<_> = world.handlings().iter().map(|handling| handling.id).collect();
    assert_eq!(ids, [0, 1, 2, 3, 4, 5, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_timeout_is_that_of_one_message_also_in_turn() {
    let (world, broker) = (World::default(), broker_with(5, None));
    (0..5).for_each(|id| {
        world.script(
            id,
            Script {
                takes: ms(1_500),
                ..Script::default()
            },
        )
    });
    let handle = run(&broker, world.subscription().timeout(Duration::from_secs(2)));
    finished(&broker, &handle).await;
    assert_eq!((world.handlings().len(), handle.status().failed), (5, 0));
}

#[tokio::test(start_paused = true)]
async fn attempts_made_while_waiting_in_place_survive_a_restart() {
    let (world, broker) = (World::default(), broker_with(1, Some("k")));
    world.script(0, failing(9, How::RetryAfter(Duration::from_secs(60))));
    let subscription = || world.subscription().retry(quiet_retry(5, ms(1)));
    let handle = run(&broker, subscription());
    sleep(Duration::from_secs(150)).await;
    handle.abort();
    handle.stopped().await;
    let handle = run(&broker, subscription());
    finished(&broker, &handle).await;
    let attempts: Vec<_> = world
        .handlings()
        .iter()
        .map(|handling| handling.attempt)
        .collect();
    assert_eq!(attempts, [1, 2, 3, 4, 5]);
    assert_eq!(broker.messages("orders.DLT").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_is_slow_to_be_kept_holds_its_position() {
    let (world, broker) = (World::default(), broker_with(2, None));
    world.script(0, failing(1, How::Permanent));
    broker.refuse("orders.DLT", 3);
    let handle = run(&broker, world.subscription());
    sleep(ms(10)).await;
    assert_eq!(broker.stored("orders", 0).watermark, 0);
    finished(&broker, &handle).await;
    assert_eq!(broker.messages("orders.DLT").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_time_of_nothing_until_a_message_is_stuck_leaves_time_for_the_message() {
    let (world, broker) = (World::default(), broker_with(1, None));
    world.script(0, takes(ms(1_000)));
    let handle = run(&broker, world.subscription().stuck_after(Duration::ZERO));
    sleep(ms(500)).await;
    assert!(handle.status().obstacle.is_some(), "it is named at once");
    finished(&broker, &handle).await;
    assert_eq!(world.succeeded(), [0]);
}

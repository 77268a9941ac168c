//! Random subscriptions, messages, failures, restarts and rebalances; then what must hold whatever happened.

use crate::broker::Broker;
use crate::world::*;
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tidings_core::*;
use tidings_runtime::*;
use tokio::time::Instant;

#[derive(Debug, Clone)]
struct Plan {
    ordering: Ordering,
    concurrency: usize,
    max_in_flight: usize,
    attempts: u32,
    wait_ms: u64,
    durable_after_ms: u64,
    max_parked: usize,
    batch: Option<(usize, u64)>,
    spawn: bool,
    messages: Messages,
    disturbances: Vec<(u64, Disturbance)>,
    refuse_retry: usize,
    refuse_dead: usize,
}

type Messages = Vec<(u8, Script)>;

#[derive(Debug, Clone, Copy)]
enum Disturbance {
    Restart,
    Revoke { partition: u32, within_ms: u64 },
    Lose { partition: u32 },
    Pause,
}

fn script() -> impl Strategy<Value = Script> {
    let how = prop_oneof![
        6 => Just(How::Transient),
        1 => Just(How::Permanent),
        1 => Just(How::Panic),
        1 => (0u64..3_000).prop_map(|ms| How::Later(Duration::from_millis(ms))),
        1 => (0u64..3_000).prop_map(|ms| How::RetryAfter(Duration::from_millis(ms))),
    ];
    let takes = prop_oneof![2 => Just(0u64), 1 => 1u64..60];
    (takes, prop_oneof![4 => Just(0u32), 1 => 1u32..5], how).prop_map(|(takes, fails, how)| Script {
        takes: Duration::from_millis(takes),
        fails,
        how,
    })
}

fn disturbance() -> impl Strategy<Value = Disturbance> {
    prop_oneof![
        Just(Disturbance::Restart),
        (0..PARTITIONS, 0u64..200)
            .prop_map(|(partition, within_ms)| Disturbance::Revoke { partition, within_ms }),
        (0..PARTITIONS).prop_map(|partition| Disturbance::Lose { partition }),
        Just(Disturbance::Pause),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let ordering =
        prop_oneof![3 => Just(Ordering::Key), 1 => Just(Ordering::Partition), 1 => Just(Ordering::None)];
    let shape = (
        ordering,
        1usize..9,
        4usize..40,
        1u32..5,
        0u64..2_000,
        0u64..2_000,
        1usize..60,
    );
    let batch = prop::option::weighted(0.3, (1usize..9, 0u64..50));
    let messages = prop::collection::vec((0u8..5, script()), 1..60);
    let disturbances = prop::collection::vec((0u64..6_000, disturbance()), 0..9);
    (
        shape,
        batch,
        prop::bool::weighted(0.2),
        messages,
        disturbances,
        0usize..4,
        0usize..4,
    )
        .prop_map(
            |(shape, batch, spawn, messages, disturbances, refuse_retry, refuse_dead)| Plan {
                ordering: shape.0,
                concurrency: shape.1,
                max_in_flight: shape.2,
                attempts: shape.3,
                wait_ms: shape.4,
                durable_after_ms: shape.5,
                max_parked: shape.6,
                batch,
                spawn,
                messages,
                disturbances,
                refuse_retry,
                refuse_dead,
            },
        )
}

const PARTITIONS: u32 = 2;

fn subscription(plan: &Plan, world: &World) -> Subscription<()> {
    let retry = quiet_retry(plan.attempts, Duration::from_millis(plan.wait_ms))
        .durable_after(Duration::from_millis(plan.durable_after_ms));
    let subscription = match plan.batch {
        Some((size, linger)) => world
            .batch_subscription()
            .batch(size, Duration::from_millis(linger)),
        None => world.subscription(),
    };
    let subscription = if plan.spawn {
        subscription.spawn()
    } else {
        subscription
    };
    subscription
        .ordering(plan.ordering)
        .concurrency(plan.concurrency)
        .max_in_flight(plan.max_in_flight)
        .max_parked(plan.max_parked)
        .retry(retry)
}

async fn run(plan: &Plan) -> (World, Broker) {
    let (world, broker) = (World::default(), Broker::new(PARTITIONS));
    broker.appends_late();
    for (id, (_, script)) in (0..).zip(&plan.messages) {
        world.script(id, script.clone());
        world.script(1_000 + id, script.clone());
    }
    let publishing = {
        let (broker, messages) = (broker.clone(), plan.messages.clone());
        tokio::spawn(async move {
            for (id, (key, _)) in (0..).zip(&messages) {
                let key = key.to_string();
                let partition = partition_for_key(key.as_bytes(), PARTITIONS);
                broker.put("orders", partition, message(id, Some(&key)));
                if id % 5 == 2 {
                    // A redriven message of the same key.
                    broker.put("orders.g.retry", partition, message(1_000 + id, Some(&key)));
                }
                if id % 4 == 3 {
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(0..300))).await;
                }
            }
        })
    };
    broker.refuse("orders.g.retry", plan.refuse_retry);
    broker.refuse("orders.DLT", plan.refuse_dead);
    let mut handle = start(spec(&broker, subscription(plan, &world), PARTITIONS));
    let mut disturbances = plan.disturbances.clone();
    disturbances.sort_by_key(|(at, _)| *at);
    let began = Instant::now();
    for (at, disturbance) in disturbances {
        tokio::time::sleep_until(began + Duration::from_millis(at)).await;
        match disturbance {
            Disturbance::Restart => {
                handle.abort();
                handle.stopped().await;
                handle = start(spec(&broker, subscription(plan, &world), PARTITIONS));
            }
            Disturbance::Revoke { partition, within_ms } => {
                broker.revoke(
                    &[2 * partition, 2 * partition + 1],
                    Duration::from_millis(within_ms),
                );
            }
            Disturbance::Lose { partition } => broker.lose(&[2 * partition, 2 * partition + 1]),
            Disturbance::Pause => {
                handle.pause();
                tokio::time::sleep(Duration::from_millis(100)).await;
                handle.resume();
            }
        }
    }
    publishing.await.unwrap();
    finished(&broker, &handle).await;
    handle.drain(Instant::now() + Duration::from_secs(60)).await;
    (world, broker)
}

fn is_disturbed(plan: &Plan) -> bool {
    plan.disturbances
        .iter()
        .any(|(_, disturbance)| !matches!(disturbance, Disturbance::Pause))
}

/// Whether a message with this script ends in the dead letters.
fn is_hopeless(script: &Script, attempts: u32) -> bool {
    match script.how {
        _ if script.fails == 0 => false,
        How::Permanent => true,
        How::Later(_) => false,
        _ => script.fails >= attempts,
    }
}

fn check(plan: &Plan, world: &World, broker: &Broker) -> Result<(), TestCaseError> {
    let succeeded = world.succeeded();
    let dead: BTreeSet<u64> = broker
        .messages("orders.DLT")
        .iter()
        .map(|message| id_of(message.payload().unwrap()))
        .collect();
    for (id, (_, script)) in (0..).zip(&plan.messages) {
        prop_assert!(
            succeeded.contains(&id) || dead.contains(&id),
            "message {} is neither handled nor dead",
            id
        );
        if !is_disturbed(plan) {
            let hopeless = is_hopeless(script, plan.attempts);
            prop_assert_eq!(
                dead.contains(&id),
                hopeless,
                "message {} is rightly dead or not",
                id
            );
            prop_assert_eq!(
                succeeded.contains(&id),
                !hopeless,
                "message {} is rightly handled or not",
                id
            );
        }
    }
    // A message in the dead letters has left its place: delivered twice by a crash, it may succeed later.
    let kept: Vec<_> = succeeded.into_iter().filter(|id| !dead.contains(id)).collect();
    check_order(plan, world, &kept)?;
    check_attempts(plan, world)?;
    Ok(())
}

fn check_order(plan: &Plan, world: &World, succeeded: &[u64]) -> Result<(), TestCaseError> {
    if plan.ordering == Ordering::None {
        return Ok(());
    }
    let key_of = |id: u64| plan.messages[(id % 1_000) as usize].0;
    // Items of one batch call cannot be taken back when an earlier one of their key fails.
    if plan.batch.is_none() {
        for key in 0..5 {
            let of_key: Vec<_> = succeeded
                .iter()
                .copied()
                .filter(|id| *id < 1_000 && key_of(*id) == key)
                .collect();
            prop_assert!(
                of_key.is_sorted(),
                "key {} was handled in the order {:?}",
                key,
                of_key
            );
        }
    }
    let mut last_end: HashMap<u8, Instant> = HashMap::new();
    for handling in world.handlings() {
        let key = key_of(handling.id);
        if let Some(end) = last_end.get(&key) {
            prop_assert!(
                handling.began >= *end,
                "handlings of key {} overlap: {:?}",
                key,
                handling
            );
        }
        last_end.insert(key, handling.ended.expect("every handling has ended"));
    }
    Ok(())
}

/// Without a disturbance a message is delivered exactly as often as its script and the policy say.
fn check_attempts(plan: &Plan, world: &World) -> Result<(), TestCaseError> {
    if is_disturbed(plan) {
        return Ok(());
    }
    let mut deliveries: HashMap<u64, u32> = HashMap::new();
    for handling in world.handlings() {
        *deliveries.entry(handling.id).or_default() += 1;
    }
    for (id, (_, script)) in (0..).zip(&plan.messages) {
        let expected = match script.how {
            How::Permanent if script.fails > 0 => 1,
            How::Later(_) => script.fails + 1,
            // A panic in a batch is everybody's.
            How::Panic if plan.batch.is_some() => continue,
            _ => (script.fails + 1).min(plan.attempts),
        };
        let panics = plan.batch.is_some()
            && plan
                .messages
                .iter()
                .any(|(_, script)| script.how == How::Panic && script.fails > 0);
        if !panics {
            prop_assert_eq!(
                deliveries.get(&id),
                Some(&expected),
                "deliveries of message {}",
                id
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("SIMULATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(192), max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_keys_keep_their_order_whatever_happens(plan in plan()) {
        // A panic in a batch fails its other items too: which of them are dead then depends on how they were grouped.
        let mut plan = plan;
        if plan.batch.is_some() {
            plan.messages.iter_mut().filter(|(_, script)| script.how == How::Panic).for_each(|(_, script)| script.fails = 0);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        fastrand::seed(7);
        let (world, broker) = runtime.block_on(run(&plan));
        check(&plan, &world, &broker)?;
    }
}

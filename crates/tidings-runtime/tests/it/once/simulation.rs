//! Random exactly-once subscriptions, handlings, commits that fail, aborts, crashes and rebalances; then every message
//! has had its effects once, for whoever reads what is committed.

use super::broker::{Faults, TxBroker};
use super::world::*;
use crate::world::{How, message, quiet_retry};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;
use tidings_core::*;
use tidings_runtime::*;
use tokio::time::Instant;

const PARTITIONS: u32 = 2;
const ATTEMPTS: u32 = 3;
const SEEDS: u64 = 96;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Returning,
    Publishing,
    Batches(usize),
}

#[derive(Debug, Clone, Copy)]
enum Disturbance {
    /// The process dies; another one begins after that time.
    Crash,
    Drain,
    Revoke {
        partition: u32,
        within: Duration,
    },
    /// The broker gives the transaction up.
    Abort,
    Pause,
}

#[derive(Debug)]
struct Plan {
    shape: Shape,
    ordering: Ordering,
    order: RetryOrder,
    concurrency: usize,
    max_in_flight: usize,
    max_parked: usize,
    wait: Duration,
    durable_after: Duration,
    interval: Duration,
    every: u64,
    spawn: bool,
    ranges: usize,
    timeout: Duration,
    faults: Faults,
    messages: Vec<(u8, Deed)>,
    disturbances: Vec<(Duration, Disturbance)>,
}

fn millis(random: &mut Rng, most: u64) -> Duration {
    Duration::from_millis(random.u64(0..=most))
}

fn deed(random: &mut Rng, shape: Shape) -> Deed {
    let batch = matches!(shape, Shape::Batches(_));
    let how = match random.u8(0..10) {
        0 => How::Permanent,
        // A panic within a batch is everybody's.
        1 if !batch => How::Panic,
        2 => How::Later(millis(random, 3_000)),
        3 if !batch => How::Stuck,
        _ => How::Transient,
    };
    let publishes = if shape == Shape::Returning {
        0
    } else {
        random.usize(0..3)
    };
    Deed {
        takes: if random.bool() {
            millis(random, 60)
        } else {
            Duration::ZERO
        },
        fails: if random.u8(0..5) == 0 { random.u32(1..5) } else { 0 },
        how,
        returns: random.usize(0..3).max(usize::from(publishes == 0)),
        publishes,
        even_if_it_fails: random.bool(),
        waits: random.u8(0..4) > 0,
        leaves: (random.u8(0..4) == 0).then(|| Duration::from_millis(random.u64(1..400))),
    }
}

fn disturbance(random: &mut Rng) -> Disturbance {
    match random.u8(0..8) {
        0 | 1 => Disturbance::Crash,
        2 => Disturbance::Drain,
        3 | 4 => Disturbance::Revoke {
            partition: random.u32(0..PARTITIONS),
            within: millis(random, 400),
        },
        5 | 6 => Disturbance::Abort,
        _ => Disturbance::Pause,
    }
}

impl Plan {
    fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let shape = match random.u8(0..4) {
            0 => Shape::Returning,
            1 => Shape::Batches(random.usize(1..9)),
            _ => Shape::Publishing,
        };
        let troubled = random.bool();
        let mut chance = |most: u32| if troubled { random.u32(0..most) } else { 0 };
        let faults = Faults {
            publish_lost: chance(15),
            publish_refused: chance(15),
            commit_refused: chance(200),
            commit_unanswered: chance(200),
            commit_done_and_denied: chance(100),
            late: random.bool(),
        };
        let count = random.usize(10..60);
        let disturbances = if random.u8(0..4) == 0 {
            0
        } else {
            random.usize(1..8)
        };
        let mut disturbances: Vec<_> = (0..disturbances)
            .map(|_| (millis(&mut random, 4_000), disturbance(&mut random)))
            .collect();
        disturbances.sort_by_key(|(at, _)| *at);
        Self {
            shape,
            ordering: match random.u8(0..5) {
                0 => Ordering::Partition,
                1 => Ordering::None,
                _ => Ordering::Key,
            },
            order: if random.u8(0..4) == 0 {
                RetryOrder::Relaxed
            } else {
                RetryOrder::Kept
            },
            concurrency: random.usize(1..9),
            max_in_flight: random.usize(4..40),
            max_parked: random.usize(1..60),
            wait: millis(&mut random, 1_500),
            durable_after: millis(&mut random, 1_500),
            interval: Duration::from_millis(random.u64(1..300)),
            every: random.u64(1..40),
            spawn: random.u8(0..5) == 0 && !matches!(shape, Shape::Batches(_)),
            ranges: random.usize(0..6),
            timeout: Duration::from_secs(random.u64(8..30)),
            faults,
            messages: (0..count)
                .map(|_| (random.u8(0..5), deed(&mut random, shape)))
                .collect(),
            disturbances,
        }
    }

    fn subscription(&self, world: &World) -> Subscription<()> {
        let subscription = match self.shape {
            Shape::Returning => world.returning(),
            Shape::Publishing => world.publishing(),
            Shape::Batches(size) => world.batches().batch(size, Duration::from_millis(20)),
        };
        let subscription = if self.spawn {
            subscription.spawn()
        } else {
            subscription
        };
        subscription
            .ordering(self.ordering)
            .retry_order(self.order)
            .concurrency(self.concurrency)
            .max_in_flight(self.max_in_flight)
            .max_parked(self.max_parked)
            .timeout(Duration::from_secs(2))
            .commit(self.interval, self.every)
            .retry(quiet_retry(ATTEMPTS, self.wait).durable_after(self.durable_after))
    }
}

async fn disturb(
    plan: &Plan,
    world: &World,
    broker: &TxBroker,
    handle: SubscriptionHandle,
    disturbance: Disturbance,
) -> SubscriptionHandle {
    match disturbance {
        Disturbance::Crash | Disturbance::Drain => {
            if matches!(disturbance, Disturbance::Drain) {
                handle.drain(Instant::now() + Duration::from_secs(1)).await;
            } else {
                handle.abort();
                handle.stopped().await;
            }
            return start(spec(broker, plan.subscription(world)));
        }
        Disturbance::Revoke { partition, within } => {
            broker.edit(|state| {
                state
                    .revoke
                    .push((vec![2 * partition, 2 * partition + 1], within))
            });
        }
        Disturbance::Abort => broker.edit(|state| state.disturbed = true),
        Disturbance::Pause => {
            handle.pause();
            tokio::time::sleep(Duration::from_millis(150)).await;
            handle.resume();
        }
    }
    handle
}

async fn run(plan: &Plan) -> (World, TxBroker) {
    let (world, broker) = (World::default(), TxBroker::new(PARTITIONS));
    broker.edit(|state| {
        (state.ranges, state.timeout, state.faults) = (plan.ranges, plan.timeout, plan.faults);
    });
    for (id, (_, deed)) in (0..).zip(&plan.messages) {
        world.plan(id, deed.clone());
    }
    let publishing = {
        let (broker, keys) = (
            broker.clone(),
            plan.messages.iter().map(|(key, _)| *key).collect::<Vec<_>>(),
        );
        tokio::spawn(async move {
            for (id, key) in (0..).zip(keys) {
                let key = key.to_string();
                let partition = partition_for_key(key.as_bytes(), PARTITIONS);
                broker.put("orders", partition, message(id, Some(&key)));
                if id % 4 == 3 {
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(0..300))).await;
                }
            }
        })
    };
    let mut handle = start(spec(&broker, plan.subscription(&world)));
    let began = Instant::now();
    for (at, disturbance) in &plan.disturbances {
        tokio::time::sleep_until(began + *at).await;
        handle = disturb(plan, &world, &broker, handle, *disturbance).await;
    }
    publishing.await.unwrap();
    finished(&broker, &handle).await;
    handle.drain(Instant::now() + Duration::from_secs(60)).await;
    (world, broker)
}

fn check(seed: u64, plan: &Plan, broker: &TxBroker) {
    assert_eq!(
        broker.lock().timeouts,
        0,
        "seed {seed}: the engine is before the broker\n{plan:#?}"
    );
    let outputs = counts(&broker.committed("outputs"));
    let dead = counts(&broker.committed("orders.DLT"));
    // The handling of one item is not over before its batch is.
    if !matches!(plan.shape, Shape::Batches(_)) {
        let late = outputs.get("late");
        assert_eq!(late, None, "seed {seed}: published after its handling\n{plan:#?}");
    }
    for (id, (_, deed)) in (0u64..).zip(&plan.messages) {
        let id = id.to_string();
        let (seen, dead) = (outputs.get(&id).copied(), dead.get(&id).copied());
        let publishes = if plan.shape == Shape::Returning {
            0
        } else {
            deed.publishes
        };
        let once = (Some(deed.returns + publishes), None);
        assert!(
            (seen, dead) == once || (seen, dead) == (None, Some(1)),
            "seed {seed}: message {id} is seen {seen:?} times and dead {dead:?} times\n{plan:#?}"
        );
        if deed.fails == 0 && plan.faults.publish_lost + plan.faults.publish_refused == 0 {
            assert_eq!(
                (seen, dead),
                once,
                "seed {seed}: message {id} never fails\n{plan:#?}"
            );
        }
    }
    assert_eq!(
        broker.count("outside.outputs"),
        0,
        "seed {seed}: past the transaction"
    );
    check_order(seed, plan, broker);
}

fn check_order(seed: u64, plan: &Plan, broker: &TxBroker) {
    let kept = plan.order == RetryOrder::Kept || plan.ordering == Ordering::Partition;
    if plan.ordering == Ordering::None || !kept || matches!(plan.shape, Shape::Batches(_)) {
        return;
    }
    let mut by_key: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
    for message in broker.committed("outputs") {
        let id = crate::world::id_of(message.payload().unwrap());
        let key = message.key().unwrap().to_vec();
        by_key.entry(key).or_default().push(id);
    }
    for (key, ids) in by_key {
        assert!(
            ids.is_sorted(),
            "seed {seed}: key {key:?} is seen in the order {ids:?}\n{plan:#?}"
        );
    }
}

/// Names the seed of what panicked.
struct Seed(u64);

#[expect(clippy::print_stderr, reason = "a test says how to see it again")]
impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {} again: SIMULATIONS={}..{}", self.0, self.0, self.0 + 1);
        }
    }
}

/// Other seeds than the usual ones: `SIMULATIONS=2000` for so many, `SIMULATIONS=100..2000` for those.
fn seeds() -> Range<u64> {
    let Ok(wanted) = std::env::var("SIMULATIONS") else {
        return 0..SEEDS;
    };
    match wanted.split_once("..") {
        Some((from, to)) => from.parse().unwrap()..to.parse().unwrap(),
        None => 0..wanted.parse().unwrap(),
    }
}

#[test]
fn each_message_has_its_effects_once_whatever_happens() {
    for seed in seeds() {
        let _seed = Seed(seed);
        fastrand::seed(seed);
        let plan = Plan::new(seed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let (_, broker) = runtime.block_on(run(&plan));
        check(seed, &plan, &broker);
    }
}

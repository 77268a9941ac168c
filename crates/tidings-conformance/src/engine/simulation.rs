//! Random subscriptions, messages, failures, faults, restarts and rebalances; then what must hold whatever happened.
//! The model is simple: which messages must be handled, which must be dead, and in which order of a key.

use crate::apps::{PARTITIONS, Running, app, retry};
use crate::faulty::{EventFault, Faults};
use crate::features::Feature;
use crate::stage::{Broker, Stage, Verdict};
use crate::world::{How, Script, World, message};
use fastrand::Rng;
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;
use tidings::{Ordering, RetryOrder, Subscription};
use tidings_core::Outgoing;

/// How many plans are simulated. Each of them is its seed.
const SEEDS: u64 = 24;
const ATTEMPTS: u32 = 3;

/// What happens in one simulation.
#[derive(Debug)]
struct Plan {
    ordering: Ordering,
    concurrency: usize,
    max_in_flight: usize,
    max_parked: usize,
    wait: Duration,
    durable_after: Duration,
    batch: Option<usize>,
    messages: Vec<(u8, Script)>,
    disturbances: Vec<(Duration, Disturbance)>,
}

#[derive(Debug, Clone, Copy)]
enum Disturbance {
    Pause,
    Kill,
    /// The broker dies with it, where that loses nothing.
    Crash,
    /// Another member joins and leaves after that time.
    Visit(Duration),
    Expire,
    Storm,
    Events(EventFault),
    ForgetProgress,
    Heal,
}

fn millis(random: &mut Rng, most: u64) -> Duration {
    Duration::from_millis(random.u64(0..=most))
}

fn script(random: &mut Rng, batch: bool) -> Script {
    let how = match random.u8(0..10) {
        0 => How::Permanent,
        // A panic within a batch is everybody's: who is dead then depends on how they were gathered.
        1 if !batch => How::Panic,
        2 => How::Later(millis(random, 3_000)),
        3 => How::RetryAfter(millis(random, 3_000)),
        _ => How::Transient,
    };
    Script {
        takes: if random.bool() {
            millis(random, 60)
        } else {
            Duration::ZERO
        },
        fails: if random.u8(0..5) == 0 { random.u32(1..5) } else { 0 },
        how,
    }
}

fn disturbance(random: &mut Rng) -> Disturbance {
    match random.u8(0..10) {
        0 => Disturbance::Pause,
        1 => Disturbance::Kill,
        2 => Disturbance::Crash,
        3 | 4 => Disturbance::Visit(millis(random, 1_500)),
        5 => Disturbance::Expire,
        6 => Disturbance::Storm,
        7 => Disturbance::Events(if random.bool() {
            EventFault::Doubled
        } else {
            EventFault::Delayed(millis(random, 300))
        }),
        8 => Disturbance::ForgetProgress,
        _ => Disturbance::Heal,
    }
}

impl Plan {
    fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let batch = (random.u8(0..4) == 0).then(|| random.usize(1..9));
        let count = random.usize(20..80);
        let disturbed = random.u8(0..4) > 0;
        let disturbances = if disturbed { random.usize(1..7) } else { 0 };
        let mut disturbances: Vec<_> = (0..disturbances)
            .map(|_| (millis(&mut random, 4_000), disturbance(&mut random)))
            .collect();
        disturbances.sort_by_key(|(at, _)| *at);
        Self {
            ordering: match random.u8(0..5) {
                0 => Ordering::Partition,
                1 => Ordering::None,
                _ => Ordering::Key,
            },
            concurrency: random.usize(1..9),
            max_in_flight: random.usize(4..40),
            max_parked: random.usize(1..60),
            wait: millis(&mut random, 2_000),
            durable_after: millis(&mut random, 2_000),
            batch,
            messages: (0..count)
                .map(|_| (random.u8(0..6), script(&mut random, batch.is_some())))
                .collect(),
            disturbances,
        }
    }

    fn subscription(&self, world: &World) -> Subscription<()> {
        let subscription = match self.batch {
            Some(size) => world.batches().batch(size, Duration::from_millis(20)),
            None => world.subscription(),
        };
        subscription
            .ordering(self.ordering)
            .concurrency(self.concurrency)
            .max_in_flight(self.max_in_flight)
            .max_parked(self.max_parked)
            .retry_order(RetryOrder::Kept)
            .retry(retry(ATTEMPTS, self.wait).durable_after(self.durable_after))
    }

    /// Whether something other than a pause happened.
    fn is_disturbed(&self) -> bool {
        let calm = |disturbance: &Disturbance| matches!(disturbance, Disturbance::Pause | Disturbance::Heal);
        !self.disturbances.iter().all(|(_, disturbance)| calm(disturbance))
    }

    /// Whether a message with this script ends in the dead letters.
    fn is_hopeless(script: &Script) -> bool {
        match script.how {
            _ if script.fails == 0 => false,
            How::Permanent => true,
            How::Later(_) => false,
            _ => script.fails >= ATTEMPTS,
        }
    }

    fn deliveries(script: &Script) -> u32 {
        match script.how {
            How::Permanent if script.fails > 0 => 1,
            How::Later(_) => script.fails + 1,
            _ => (script.fails + 1).min(ATTEMPTS),
        }
    }
}

/// One simulation as it runs.
struct Simulation<'a> {
    stage: &'a Stage,
    plan: &'a Plan,
    seed: u64,
    /// Without faults: what is published here is acknowledged.
    inner: Broker,
    broker: Broker,
    faults: Faults,
    world: World,
    sent: usize,
}

impl Simulation<'_> {
    async fn start(&self) -> Running {
        let app = app().add(self.plan.subscription(&self.world));
        let quick = "[binder.main]\nsession_drain = \"300ms\"";
        self.stage.start_with(&self.broker, app, quick).await
    }

    /// Sends the next of the plan's messages.
    async fn send(&mut self, count: usize) {
        let messages = self.plan.messages.iter().enumerate().skip(self.sent).take(count);
        for (place, (key, script)) in messages {
            let id = place as u64;
            self.world.script(id, *script);
            let outgoing = Outgoing::new("orders", message(id, Some(&key.to_string())));
            self.inner.send(outgoing).await.expect("it is kept");
        }
        self.sent += count;
    }

    async fn disturb(&mut self, running: Running, disturbance: Disturbance) -> Running {
        match disturbance {
            Disturbance::Pause => {
                running.handle("billing").pause();
                tokio::time::sleep(Duration::from_millis(300)).await;
                running.handle("billing").resume();
            }
            Disturbance::Kill | Disturbance::Crash => {
                running.kill().await;
                let durable = self.stage.harness.features().has(Feature::Durable);
                if durable && matches!(disturbance, Disturbance::Crash) {
                    self.inner = self.stage.crash(self.inner.clone()).await;
                    (self.broker, self.faults) = Faults::over(&self.inner);
                }
                return self.start().await;
            }
            Disturbance::Visit(stay) => {
                let visitor = self.start().await;
                tokio::time::sleep(stay).await;
                drop(visitor.0.stop().await);
            }
            Disturbance::Expire => self.faults.expire(),
            Disturbance::Storm => self.faults.storm(self.seed, 0.4),
            Disturbance::Events(fault) => self.faults.events(Some(fault)),
            Disturbance::ForgetProgress => self.faults.forget_progress(),
            Disturbance::Heal => self.faults.heal(),
        }
        running
    }
}

async fn simulate(stage: &Stage, seed: u64) {
    let plan = Plan::new(seed);
    let stage = &stage.anew();
    let inner = stage.open().await;
    let (broker, faults) = Faults::over(&inner);
    let mut simulation = Simulation {
        stage,
        plan: &plan,
        seed,
        inner,
        broker,
        faults,
        world: World::default(),
        sent: 0,
    };
    let mut running = simulation.start().await;
    let begun = tokio::time::Instant::now();
    let chunk = plan.messages.len() / (plan.disturbances.len() + 1);
    for (at, disturbance) in &plan.disturbances {
        simulation.send(chunk).await;
        tokio::time::sleep_until(begun + *at).await;
        running = simulation.disturb(running, *disturbance).await;
    }
    simulation.send(plan.messages.len()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    simulation.faults.heal();
    if let Err(error) = running.0.settled_within(Duration::from_secs(10 * 3_600)).await {
        panic!("seed {seed}: {error}\n{plan:#?}");
    }
    check(seed, &plan, &simulation.world, &running).await;
    drop(running.0.stop().await);
    simulation.inner.close().await.expect("it can be closed");
}

async fn check(seed: u64, plan: &Plan, world: &World, running: &Running) {
    let succeeded = world.succeeded();
    let dead: BTreeSet<u64> = running
        .dead()
        .await
        .iter()
        .map(|text| text.parse().expect("a case sends numbers"))
        .collect();
    let known = 0..plan.messages.len() as u64;
    assert!(
        succeeded.iter().chain(&dead).all(|id| known.contains(id)),
        "seed {seed}: invented"
    );
    for (id, (_, script)) in (0..).zip(&plan.messages) {
        let (done, dead) = (succeeded.contains(&id), dead.contains(&id));
        assert!(done || dead, "seed {seed}: {id} is lost\n{plan:#?}");
        if !plan.is_disturbed() {
            let hopeless = Plan::is_hopeless(script);
            assert_eq!(
                (done, dead),
                (!hopeless, hopeless),
                "seed {seed}: {id}\n{plan:#?}"
            );
            let deliveries = world.of(id).len() as u32;
            assert_eq!(
                deliveries,
                Plan::deliveries(script),
                "seed {seed}: deliveries of {id}\n{plan:#?}"
            );
        }
    }
    check_order(seed, plan, world, &dead);
}

fn check_order(seed: u64, plan: &Plan, world: &World, dead: &BTreeSet<u64>) {
    if plan.ordering == Ordering::None {
        return;
    }
    world.keys_never_overlapped();
    // Items of one batch cannot be taken back when an earlier one of their key fails.
    if plan.batch.is_some() {
        return;
    }
    for (key, mut ids) in world.succeeded_by_key() {
        // A message in the dead letters has left its place: delivered twice by a fault, it may succeed later.
        ids.retain(|id| !dead.contains(id));
        assert!(
            ids.is_sorted(),
            "seed {seed}: key {key:?} was handled in the order {ids:?}\n{plan:#?}"
        );
    }
}

/// Other seeds than the usual ones: `SIMULATIONS=2000` for so many, `SIMULATIONS=100..2000` for those.
fn seeds() -> Range<u64> {
    let Ok(wanted) = std::env::var("SIMULATIONS") else {
        return 0..SEEDS;
    };
    let range = match wanted.split_once("..") {
        Some((from, to)) => from.parse().ok().zip(to.parse().ok()),
        None => wanted.parse().ok().map(|count| (0, count)),
    };
    let (from, to) =
        range.unwrap_or_else(|| panic!("SIMULATIONS={wanted}: say a number, or two as `100..2000`"));
    from..to
}

pub(crate) async fn nothing_is_lost_and_keys_keep_their_order_whatever_happens(stage: Stage) -> Verdict {
    stage.needs(&[
        Feature::VirtualTime,
        Feature::RetryLane,
        Feature::StoredPositions,
        Feature::Partitions,
    ])?;
    assert_eq!(PARTITIONS, 2, "few partitions make many meetings");
    for seed in seeds() {
        simulate(&stage, seed).await;
    }
    Ok(())
}

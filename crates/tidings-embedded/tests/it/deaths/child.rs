//! The service that dies: this test program, started again with a scene to play.

use crate::support::disk;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{
    Batch, BatchItem, Binder, Clock, Delivery, Failure, FromDelivery, HandlerContext, Ordering, Policy,
    Publisher, Retry, Routes, Subscription, on,
};
use tidings_embedded::{EmbeddedBroker, Fsync};
use tidings_runtime::{DeadLetterTarget, Input, SubscriptionHandle, SubscriptionSpec};
use tokio::time::{Instant, sleep};

pub(super) const NAMES: [&str; 6] = [
    "orders",
    "orders.billing.retry",
    "orders.DLT",
    "slow",
    "slow.audit.retry",
    "slow.DLT",
];
pub(super) const SLOW_MESSAGES: u64 = 8;
const SCENE: &str = "TIDINGS_TEST_SCENE";
const ROOT: &str = "TIDINGS_TEST_ROOT";

/// How messages are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Turn,
    Keyed,
    Batch,
    Partition,
    Spawned,
}

/// How the message kills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Abort,
    Overflow,
    Memory,
    Decode,
    Filter,
    Elsewhere,
    /// It does not.
    Mended,
}

const SHAPES: [Shape; 5] = [
    Shape::Turn,
    Shape::Keyed,
    Shape::Batch,
    Shape::Partition,
    Shape::Spawned,
];
const HOWS: [How; 7] = [
    How::Abort,
    How::Overflow,
    How::Memory,
    How::Decode,
    How::Filter,
    How::Elsewhere,
    How::Mended,
];

/// What a child plays.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    shape: Shape,
    how: How,
    attempts: u32,
    takes: Duration,
    slow_one: bool,
}

impl Scene {
    pub(super) fn of(shape: Shape, how: How) -> Self {
        Self {
            shape,
            how,
            attempts: 3,
            takes: Duration::from_millis(1),
            slow_one: false,
        }
    }

    pub(super) fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// A handler waits so long before it returns.
    pub(super) fn takes(mut self, time: Duration) -> Self {
        self.takes = time;
        self
    }

    /// Another subscription beside it blocks its thread for long with each message.
    pub(super) fn beside_a_slow_one(mut self) -> Self {
        self.slow_one = true;
        self
    }

    pub(super) fn tell(&self, command: &mut Command, root: &Path) {
        let text = format!(
            "{:?} {:?} {} {} {}",
            self.shape,
            self.how,
            self.attempts,
            self.takes.as_millis(),
            self.slow_one
        );
        command.env(SCENE, text).env(ROOT, root);
    }

    fn told() -> Option<(Self, PathBuf)> {
        let text = std::env::var(SCENE).ok()?;
        let words: Vec<_> = text.split(' ').collect();
        let shape = SHAPES
            .into_iter()
            .find(|shape| format!("{shape:?}") == words[0])?;
        let how = HOWS.into_iter().find(|how| format!("{how:?}") == words[1])?;
        let scene = Self {
            shape,
            how,
            attempts: words[2].parse().ok()?,
            takes: Duration::from_millis(words[3].parse().ok()?),
            slow_one: words[4] == "true",
        };
        Some((scene, std::env::var_os(ROOT)?.into()))
    }
}

/// A message as the handlers take it. Decoding may be what kills.
struct Item(String);

fn decode(delivery: &Delivery) -> Item {
    let text = std::str::from_utf8(delivery.payload().unwrap())
        .unwrap()
        .to_owned();
    if text == "poison" && Scene::told().is_some_and(|(scene, _)| scene.how == How::Decode) {
        std::process::abort();
    }
    Item(text)
}

impl<S> FromDelivery<S> for Item {
    fn from_delivery(delivery: &Delivery, _state: &S) -> Result<Self, Failure> {
        Ok(decode(delivery))
    }
}

impl BatchItem for Item {
    fn from_delivery(delivery: &Delivery) -> Result<Self, Failure> {
        Ok(decode(delivery))
    }
}

fn overflow(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 1_000]);
    // Far deeper than any stack.
    if depth == u64::MAX {
        0
    } else {
        overflow(depth + 1) + frame[7]
    }
}

async fn kill(how: How) {
    match how {
        How::Overflow => drop(std::hint::black_box(overflow(0))),
        How::Memory => {
            let mut all = Vec::new();
            loop {
                all.push(std::hint::black_box(vec![0_u8; 16 << 20]));
            }
        }
        How::Elsewhere => {
            let killing = tokio::task::spawn_blocking(|| {
                // The handler waits by now.
                std::thread::sleep(Duration::from_millis(20));
                std::process::abort()
            });
            drop(killing.await);
        }
        How::Mended => {}
        _ => std::process::abort(),
    }
}

/// One line in the history of a group; the whole line or nothing.
fn note(root: &Path, name: &str, line: &str) {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(root.join(name))
        .unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

async fn handle(scene: Scene, root: PathBuf, Item(text): Item) {
    note(&root, &format!("begun-{}", std::process::id()), &text);
    if text == "poison" {
        kill(scene.how).await;
        return note(&root, "billing", "30");
    }
    sleep(scene.takes).await;
    note(&root, "billing", &text);
}

fn billing(scene: &Scene, root: &Path) -> Subscription<()> {
    let (one, path) = (scene.clone(), root.to_owned());
    let single = on("orders", move |item: Item| {
        handle(one.clone(), path.clone(), item)
    });
    let subscription = match scene.shape {
        Shape::Turn => single.concurrency(1),
        Shape::Keyed => single.concurrency(32),
        Shape::Partition => single.ordering(Ordering::Partition),
        Shape::Spawned => single.concurrency(4).spawn(),
        Shape::Batch => {
            let (many, path) = (scene.clone(), root.to_owned());
            let batch = move |batch: Batch<Item>| {
                let (scene, path) = (many.clone(), path.clone());
                async move {
                    for item in batch {
                        handle(scene.clone(), path.clone(), item).await;
                    }
                }
            };
            on("orders", batch)
                .batch(20, Duration::from_millis(5))
                .concurrency(4)
        }
    };
    let subscription = match scene.how {
        How::Filter => subscription.filter(|delivery| {
            if delivery.payload() == Some(b"poison") {
                std::process::abort();
            }
            true
        }),
        _ => subscription,
    };
    subscription.retry(Retry::fixed(scene.attempts, Duration::from_millis(10)))
}

/// Blocks its thread with each message.
fn audit(root: &Path) -> Subscription<()> {
    let root = root.to_owned();
    let handler = move |Item(text): Item| {
        let root = root.clone();
        async move {
            std::thread::sleep(Duration::from_millis(100));
            note(&root, "audit", &text);
        }
    };
    on("slow", handler).retry(Retry::fixed(3, Duration::from_millis(10)))
}

fn spec(
    broker: &EmbeddedBroker,
    subscription: Subscription<()>,
    names: &[&str],
    group: &str,
) -> SubscriptionSpec {
    let parts = subscription.into_parts();
    let mut policy = Policy::default();
    parts.changes.apply(&mut policy);
    let clock = Clock::System;
    SubscriptionSpec {
        context: Arc::new(HandlerContext {
            app: "test".into(),
            subscription: group.into(),
            group: Some(group.into()),
            publisher: Publisher::new(Arc::new(Routes::default()), clock),
            clock,
        }),
        handler: parts.bind(Arc::new(()), &[]),
        policy,
        filter: parts.filter.clone(),
        output: None,
        binder: Arc::new(broker.clone()),
        discovery: tidings_runtime::Discovery::default(),
        inputs: vec![Input {
            destination: names[0].into(),
            retry: Some(names[1].into()),
            dead_letter: Some(DeadLetterTarget {
                destination: names[2].into(),
                partitions: 1,
            }),
        }],
        revoke_timeout: Duration::from_secs(20),
        publish_timeout: Duration::from_secs(30),
    }
}

async fn play(scene: Scene, root: PathBuf) {
    let broker = disk(&root, Fsync::Os);
    let mut handles: Vec<SubscriptionHandle> = Vec::new();
    if scene.slow_one {
        fill_slow(&broker).await;
        let spec = spec(&broker, audit(&root), &NAMES[3..], "audit");
        handles.push(tidings_runtime::start(spec));
        // Its first message executes when the other begins.
        sleep(Duration::from_millis(20)).await;
    }
    let spec = spec(&broker, billing(&scene, &root), &NAMES[..3], "billing");
    handles.push(tidings_runtime::start(spec));
    let deadline = Instant::now() + Duration::from_secs(50);
    while !handles.iter().all(|handle| handle.status().idle) {
        assert!(Instant::now() < deadline, "{handles:#?}");
        sleep(Duration::from_millis(5)).await;
    }
    for handle in &handles {
        let report = handle.drain(Instant::now() + Duration::from_secs(10)).await;
        assert!(report.finished_in_time, "{report:?}");
    }
    broker.close().await.unwrap();
}

async fn fill_slow(broker: &EmbeddedBroker) {
    let end = broker.positions("slow", None).await.unwrap()[0].end;
    for id in end..SLOW_MESSAGES {
        crate::support::publish(broker, "slow", 0, id.to_string())
            .await
            .unwrap();
    }
}

/// No test when nobody tells it what to play.
#[test]
fn a_child_handles_until_nothing_is_left() {
    let Some((scene, root)) = Scene::told() else {
        return;
    };
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit = |bytes| Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    setrlimit(Resource::Core, limit(0)).unwrap();
    setrlimit(Resource::As, limit(1 << 30)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(play(scene, root));
}

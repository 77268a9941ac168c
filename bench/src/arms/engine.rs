//! The engine as an arm: alone on prepared batches, and as an app on a broker.

use std::sync::Arc;
use std::time::Duration;

use tidings::{App, Config, Json, Key, Ordering, Running, Subscription, on};
use tidings_core::{Clock, HandlerContext, Policy, Publisher, Routes};
use tidings_runtime::{Input, SubscriptionSpec};

use crate::arms::by_hand::Work;
use crate::arms::gauge::{Gauge, Reading};
use crate::arms::replay::Replay;
use crate::arms::topic::{self, ORDERS};
use crate::error::BenchError;
use crate::order::{Order, Small};

/// How the engine runs handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One after the other: `ordering = partition`.
    InTurn,
    /// By key, with so many slots: `ordering = key`.
    ByKey(usize),
}

impl Mode {
    /// In words, for the table.
    pub(crate) fn name(self) -> String {
        match self {
            Mode::InTurn => "in turn".into(),
            Mode::ByKey(slots) => format!("key-ordered, {slots} slots"),
        }
    }

    /// The subscription with this policy.
    pub(crate) fn apply(self, subscription: Subscription<()>) -> Subscription<()> {
        match self {
            Mode::InTurn => subscription.ordering(Ordering::Partition).concurrency(1),
            Mode::ByKey(slots) => subscription.ordering(Ordering::Key).concurrency(slots),
        }
    }
}

/// A handler that does the work of the arm, subscribed to the topic.
pub(crate) fn subscription(work: Work, gauge: &'static Gauge) -> Subscription<()> {
    match work {
        Work::Key => on(
            ORDERS,
            move |Key(key): Key| async move { gauge.hit(key.len() as u64) },
        ),
        Work::Small => on(ORDERS, move |Json(small): Json<Small>| async move {
            gauge.hit(small.id + u64::from(small.quantity));
        }),
        Work::Order => on(ORDERS, move |Json(order): Json<Order>| async move {
            gauge.hit(order.checksum())
        }),
    }
}

/// Runs the engine on prepared batches until the last message.
pub(crate) async fn on_replay(
    replay: &Replay,
    mode: Mode,
    work: Work,
    gauge: &'static Gauge,
) -> Result<Reading, BenchError> {
    subscribed_to_replay(replay, mode.apply(subscription(work, gauge)), gauge).await
}

/// Runs the engine with that subscription on prepared batches until the last message.
pub(crate) async fn subscribed_to_replay(
    replay: &Replay,
    subscription: Subscription<()>,
    gauge: &'static Gauge,
) -> Result<Reading, BenchError> {
    publishing_on_replay(replay, subscription, Routes::default(), gauge).await
}

/// The same with channels that its handler may publish to.
pub(crate) async fn publishing_on_replay(
    replay: &Replay,
    subscription: Subscription<()>,
    routes: Routes,
    gauge: &'static Gauge,
) -> Result<Reading, BenchError> {
    let parts = subscription.into_parts();
    let mut policy = Policy::default();
    parts.changes.apply(&mut policy);
    let context = HandlerContext {
        app: "bench".into(),
        subscription: "bench".into(),
        group: Some("bench".into()),
        publisher: Publisher::new(Arc::new(routes), Clock::System),
        clock: Clock::System,
    };
    let handle = tidings_runtime::start(SubscriptionSpec {
        context: Arc::new(context),
        handler: parts.bind(Arc::new(()), &[]),
        policy,
        filter: None,
        output: parts.output.clone(),
        binder: Arc::new(replay.clone()),
        discovery: tidings_runtime::Discovery::default(),
        inputs: vec![Input {
            destination: ORDERS.into(),
            retry: None,
            dead_letter: None,
        }],
        revoke_timeout: Duration::from_secs(1),
        publish_timeout: Duration::from_secs(1),
    });
    let reading = gauge.finished().await?;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    handle.drain(deadline).await;
    // An engine that handled without finishing would be fast and useless.
    if replay.watermark() != replay.total() {
        return Err(BenchError::Disagree {
            what: "progress after a drain".into(),
            ours: replay.watermark().to_string(),
            reference: replay.total().to_string(),
        });
    }
    Ok(reading)
}

/// Runs an app with a fresh group on the broker behind the URL until the last message, and drains it.
pub(crate) async fn on_broker(
    url: &str,
    mode: Mode,
    work: Work,
    gauge: &'static Gauge,
) -> Result<Reading, BenchError> {
    let subscription = mode.apply(subscription(work, gauge)).group(topic::fresh_group());
    run_app(url, App::new("bench").add(subscription), gauge).await
}

/// Starts an app with a fresh group on the broker behind the URL.
pub(crate) async fn started(
    url: &str,
    mode: Mode,
    work: Work,
    gauge: &'static Gauge,
) -> Result<Running, BenchError> {
    let subscription = mode.apply(subscription(work, gauge)).group(topic::fresh_group());
    start(url, App::new("bench").add(subscription)).await
}

async fn start(url: &str, app: App) -> Result<Running, BenchError> {
    app.channel(ORDERS, |channel| channel.partitions(1))
        .start(config(url)?)
        .await
        .map_err(BenchError::part("starting the app"))
}

/// Runs an app of one partition until the gauge has seen its last message.
pub(crate) async fn run_app(url: &str, app: App, gauge: &'static Gauge) -> Result<Reading, BenchError> {
    let running = start(url, app).await?;
    let reading = gauge.finished().await;
    let drained = running.drain().await;
    if !drained.finished_in_time {
        return Err(BenchError::part("draining the app")(drained.problems.join("; ")));
    }
    reading
}

/// A configuration that says where the broker is and nothing else, whatever files and variables there are.
pub(crate) fn config(url: &str) -> Result<Config, BenchError> {
    Config::builder()
        .toml("bench", "")
        .env(Vec::<(String, String)>::new())
        .argument("the row", "binder.main.url", url)
        .load()
        .map_err(BenchError::part("configuring the app"))
}

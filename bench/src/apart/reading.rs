//! Our own arms that consume, on any broker: the driver alone, and an app.

use std::sync::Arc;
use std::time::Duration;

use tidings::{App, Json, Raw, Running, Subscription, on};
use tidings_core::{Binder, Clock, DynBinder, Progress, Source, SourceEvent, SourceInput, SourceSpec, Start};

use super::job::{Job, Outcome, Work, gauge};
use crate::arms::engine::{self, Mode};
use crate::arms::gauge::Gauge;
use crate::error::BenchError;
use crate::order::Order;

/// An app on the broker with a fresh group, as a user starts it: the channel, its retry topic, its dead letters.
pub(crate) async fn start(
    job: &Job,
    binder: Arc<dyn DynBinder>,
    subscription: Subscription<()>,
) -> Result<Running, BenchError> {
    start_with(job, binder, subscription, |app| app).await
}

pub(crate) async fn start_with(
    job: &Job,
    binder: Arc<dyn DynBinder>,
    subscription: Subscription<()>,
    more: impl FnOnce(App<()>) -> App<()>,
) -> Result<Running, BenchError> {
    let mode = match job.slots {
        0 => Mode::InTurn,
        slots => Mode::ByKey(slots),
    };
    let subscription = mode.apply(subscription).group(job.group.as_str());
    let app = App::new("bench")
        .add(subscription)
        .channel(job.topic.as_str(), |channel| channel.partitions(job.partitions));
    more(app)
        .with_state(())
        .start_on(engine::config("memory:")?, binder, Clock::System)
        .await
        .map_err(BenchError::part("starting the app"))
}

/// Handles the topic once.
pub(crate) async fn consume(job: &Job, binder: Arc<dyn DynBinder>) -> Result<Outcome, BenchError> {
    let gauge = gauge(job);
    let running = start(job, binder, handler(job, gauge)).await?;
    let reading = gauge.finished().await?;
    let drained = running.drain().await;
    match drained.finished_in_time {
        true => Outcome::of(&reading),
        false => Err(BenchError::part("draining the app")(drained.problems.join("; "))),
    }
}

fn handler(job: &Job, gauge: &'static Gauge) -> Subscription<()> {
    match job.work {
        Work::Order => on(job.topic.as_str(), move |Json(order): Json<Order>| async move {
            gauge.hit(order.checksum());
        }),
        Work::Raw => on(job.topic.as_str(), move |Raw(payload): Raw| async move {
            gauge.hit(Work::Raw.sum(&payload).unwrap_or_default());
        }),
    }
}

/// The driver's batches, handled in a loop.
pub(crate) async fn source(
    job: &Job,
    binder: &impl Binder,
    commit: (Duration, u64),
) -> Result<Outcome, BenchError> {
    let gauge = gauge(job);
    let spec = SourceSpec {
        partitions: None,
        subscription: "bench".into(),
        group: Some(job.group.as_str().into()),
        inputs: vec![SourceInput {
            destination: job.topic.as_str().into(),
            retry: None,
        }],
        start: Start::Earliest,
        max_batch_bytes: 256 * 1024,
        commit_interval: commit.0,
        commit_every: commit.1,
        revoke_timeout: Duration::from_secs(1),
        guarantee: tidings_core::Guarantee::AtLeastOnce,
    };
    let mut source = Binder::subscribe(binder, spec)
        .await
        .map_err(BenchError::part("subscribing"))?;
    while !gauge.is_done() {
        let SourceEvent::Batch(batch) = source.next().await.map_err(BenchError::part("reading"))? else {
            continue;
        };
        for record in batch.records() {
            gauge.hit(job.work.sum(batch.payload(record).unwrap_or_default())?);
        }
        let progress = Progress {
            watermark: batch.next(),
            ..Progress::default()
        };
        source.progress(batch.lane(), batch.epoch(), progress);
    }
    Outcome::of(&gauge.reading()?)
}

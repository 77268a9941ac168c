//! A process that joins a group, says when it has handled its first message, and waits to be stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidings::{Json, on};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::knobs;
use super::read::{Reader, Stores};
use crate::apart::job::{Arm, Job, Packing, Work};
use crate::apart::reading;
use crate::error::BenchError;
use crate::order::Order;

/// How long a slow handler takes.
const SLOW: Duration = Duration::from_millis(5);

/// Plays what `doing` says: `first` and `slow` with an app, with `-by-hand` at the end by the batch call.
pub(crate) fn first(
    runtime: &Runtime,
    doing: &str,
    servers: &str,
    topic: &str,
    group: &str,
    say: fn(),
) -> Result<(), BenchError> {
    let job = Job {
        arm: Arm::App,
        work: Work::Order,
        packing: Packing::Plain,
        servers: servers.to_owned(),
        topic: topic.to_owned(),
        out: String::new(),
        partitions: 1,
        group: group.to_owned(),
        warm: 0,
        total: 1,
        keys: 0,
        slots: 0,
        per_second: 0,
        linger_ms: 5,
        confirm_ms: 0,
        open: 0,
    };
    let wait = if doing.starts_with("slow") {
        SLOW
    } else {
        Duration::ZERO
    };
    match doing.ends_with("-by-hand") {
        true => by_hand(runtime, &job, wait, say),
        false => runtime.block_on(app(&job, wait, say)),
    }
}

async fn app(job: &Job, wait: Duration, say: fn()) -> Result<(), BenchError> {
    let handler = on(job.topic.as_str(), move |Json(order): Json<Order>| async move {
        std::hint::black_box(order.checksum());
        say();
        tokio::time::sleep(wait).await;
    });
    let running = reading::start(job, knobs::binder(job)?, handler).await?;
    running
        .wait_for_signal_and_drain()
        .await
        .map_err(BenchError::part("draining the app"))
}

fn by_hand(runtime: &Runtime, job: &Job, wait: Duration, say: fn()) -> Result<(), BenchError> {
    let stopped = Arc::new(AtomicBool::new(false));
    let ear = stopped.clone();
    let guard = runtime.enter();
    let mut terminate = signal(SignalKind::terminate()).map_err(BenchError::system("waiting for signals"))?;
    drop(guard);
    let reader = Reader::new(job, Stores::AtOnce)?;
    let reading = std::thread::spawn({
        let work = job.work;
        move || -> Result<(), BenchError> {
            while !ear.load(Ordering::Relaxed) {
                reader.batch(|message| {
                    std::hint::black_box(work.sum(message.payload())?);
                    say();
                    if !ear.load(Ordering::Relaxed) {
                        std::thread::sleep(wait);
                    }
                    Ok(())
                })?;
            }
            Ok(())
        }
    });
    runtime.block_on(terminate.recv());
    stopped.store(true, Ordering::Relaxed);
    reading
        .join()
        .unwrap_or_else(|_| Err(BenchError::part("the loop by hand")("it panicked")))
}

//! W10: messages that another process commits, by logical replication to a sink that confirms at once and keeps nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Postgres;
use tidings_core::{BoxFuture, Outgoing, Position, PublishError, Receipt, Sink};
use tidings_sql::{Reading, RelayOptions, ReplicationOptions, ReplicationRelay, SqlStore};
use tokio::sync::watch;

use super::{broken, server};
use crate::apart::job::{Arm, Job, Outcome, SqlArm};
use crate::error::BenchError;
use crate::machine;
use crate::measure::process_cpu;

/// Messages of a transaction.
const TOGETHER: u64 = 1_000;

/// Sends all messages of the job; the clocks run from when the sink begins to confirm, which is when all are committed, until
/// the last one is taken out of the table.
pub(super) async fn ours(job: &Job) -> Result<Outcome, BenchError> {
    let store = SqlStore::<Postgres>::open(&job.servers).await.map_err(broken)?;
    let (open, gate) = watch::channel(false);
    let relay = ReplicationRelay::new(
        &store,
        Arc::new(Gate { open: gate }),
        RelayOptions::default().publish_timeout(Duration::from_secs(600)),
        ReplicationOptions::default(),
    );
    let relay = relay.map_err(broken)?;
    relay.prepare().await.map_err(broken)?;
    let status = relay.status();
    let running = tokio::spawn(relay.run(std::future::pending()));
    while status.reading() != Reading::Replication {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let writing = job.with(Arm::Sql(SqlArm::Write));
    let written = tokio::task::spawn_blocking(move || writing.run()).await;
    written.map_err(broken)??;
    let (began, busy) = (Instant::now(), process_cpu());
    open.send_replace(true);
    while status.relay().sent() < job.total {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (wall, cpu) = (began.elapsed(), process_cpu().saturating_sub(busy));
    running.abort();
    if status.reading() != Reading::Replication {
        return Err(broken("it went over to polling"));
    }
    Ok(Outcome {
        messages: job.total,
        wall_s: wall.as_secs_f64(),
        cpu_s: cpu.as_secs_f64(),
        rss_mb: machine::resident_megabytes(std::process::id(), "VmHWM")?,
        ..Outcome::default()
    })
}

/// Commits them, in a process of its own.
pub(super) async fn write(job: &Job) -> Result<Outcome, BenchError> {
    let store = SqlStore::<Postgres>::open(&job.servers).await.map_err(broken)?;
    let step = usize::try_from(TOGETHER).unwrap_or(1);
    for first in (0..job.total).step_by(step) {
        server::write(&store, first..(first + TOGETHER).min(job.total)).await?;
    }
    Ok(Outcome {
        messages: job.total,
        ..Outcome::default()
    })
}

/// A broker that confirms at once, from some moment on.
#[derive(Debug)]
struct Gate {
    open: watch::Receiver<bool>,
}

impl Sink for Gate {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        let position = Position::new(outgoing.destination, 0, 0);
        if *self.open.borrow() {
            return Receipt::ready(Ok(position));
        }
        let mut open = self.open.clone();
        Receipt::boxed(async move {
            let opened = open.wait_for(|open| *open).await;
            opened.map(drop).map_err(|_| PublishError::Closed)?;
            Ok(position)
        })
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

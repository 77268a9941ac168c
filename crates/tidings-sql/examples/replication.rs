//! How much processor time a message costs that is sent by logical replication.
//!
//! ```sh
//! cargo run --release -p tidings-sql --example replication -- postgres://postgres@127.0.0.1:5432/bench 300000
//! ```
//!
//! Another process commits the messages (256 bytes, 1,000 a transaction) while a broker that answers nothing yet holds the
//! relay back; then it confirms each at once, and time and processor time are taken until the last one is out of the table.

#![allow(clippy::print_stdout, reason = "a program for people")]

use rustix::time::{ClockId, clock_gettime};
use sqlx::Postgres;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidings_core::{BoxFuture, Message, Outgoing, Position, PublishError, Receipt, Sink};
use tidings_sql::{
    Outbox, OutboxError, Reading, RelayOptions, ReplicationOptions, ReplicationRelay, SqlStore,
};
use tokio::sync::watch;

type Failed = Box<dyn Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["write", url, messages] => write(url, messages.parse()?).await,
        [url, messages] => relay(url, messages.parse()?).await,
        _ => Err("give an address of a PostgreSQL and a number of messages".into()),
    }
}

async fn write(url: &str, messages: u64) -> Result<(), Failed> {
    let store = SqlStore::<Postgres>::open(url).await?;
    let outbox = Outbox::to_channels(&store, ["orders"]);
    let payload = "x".repeat(256);
    for first in (0..messages).step_by(1_000) {
        let mut tx = store.begin().await?;
        let written = outbox.publishing(&mut tx, async |publisher| {
            for number in first..(first + 1_000).min(messages) {
                let message = Message::new(payload.clone()).with_key(format!("key-{}", number % 1_000));
                drop(publisher.send("orders", message));
            }
            Ok::<_, OutboxError>(())
        });
        written.await?;
        tx.commit().await?;
    }
    Ok(())
}

async fn relay(url: &str, messages: u64) -> Result<(), Failed> {
    let store = SqlStore::<Postgres>::open(url).await?;
    let (open, gate) = watch::channel(false);
    let relay = ReplicationRelay::new(
        &store,
        Arc::new(Gate { open: gate }),
        RelayOptions::default().publish_timeout(Duration::from_secs(600)),
        ReplicationOptions::default(),
    )?;
    let status = relay.status();
    let running = tokio::spawn(relay.run(std::future::pending()));
    while status.reading() != Reading::Replication {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let program = std::env::current_exe()?;
    let messages_as_text = messages.to_string();
    let mut writer = std::process::Command::new(program)
        .args(["write", url, messages_as_text.as_str()])
        .spawn()?;
    while writer.try_wait()?.is_none() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (began, busy) = (Instant::now(), processor_time());
    open.send_replace(true);
    while status.relay().sent() < messages {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (took, busy) = (began.elapsed(), processor_time() - busy);
    running.abort();
    let per = |time: Duration| messages as f64 / time.as_secs_f64();
    println!(
        "{messages} messages in {took:.2?}: {:.0} a second, {:.0} a second and core; {} ({:?})",
        per(took),
        per(busy),
        peak_memory()?,
        status.reading(),
    );
    Ok(())
}

/// Processor time of this process, of all its threads.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

fn peak_memory() -> Result<String, Failed> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    Ok(peak.unwrap_or_default().replace('\t', " "))
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

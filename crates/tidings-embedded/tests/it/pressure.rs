//! A producer that is far faster than whoever handles: what waits stays on the disk, and memory within its limits.
//!
//! Each case runs in a child process, whose resident memory is looked at all the time. What is published is several
//! times what may be in memory, so a buffer without a limit shows however slow the machine is.

use crate::engine::{NAMES, engine};
use crate::support::{destination, options};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tidings_core::{
    Batch, Binder, Failure, FailureKind, Message, Outgoing, Raw, Retry, Sink, Subscription, Timestamp, on,
};
use tidings_embedded::{EmbeddedBroker, Fsync};
use tidings_runtime::start;

/// Tells the child which case it is.
const CASE: &str = "TIDINGS_PRESSURE_CASE";
const PAYLOAD: usize = 1 << 10;
/// What is published: several times the memory that is allowed.
const PUBLISHED_BYTES: u64 = 160 << 20;
/// However slow the machine: by then enough was published to tell.
const LONGEST: Duration = Duration::from_secs(20);
/// Beyond what the process had before the first message: the limits below, a read buffer for each lane, frames of a
/// megabyte for each thread, redb's four, and as much again for what an allocator keeps.
const ALLOWED_BYTES: u64 = 40 << 20;
const IN_FLIGHT: usize = 1_000;
const IN_FLIGHT_BYTES: usize = 2 << 20;
const PENDING_BYTES: usize = 4 << 20;

fn run(case: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "pressure::child", "--nocapture"])
        .env(CASE, case)
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success() && said.contains("within its memory"),
        "{case}: {said}"
    );
}

#[test]
fn a_slow_handler_in_turn_keeps_memory_within_its_buffers() {
    run("in turn");
}

#[test]
fn slow_handlers_by_key_keep_memory_within_their_buffers() {
    run("by key");
}

#[test]
fn a_slow_batch_handler_keeps_memory_within_its_buffers() {
    run("batch");
}

#[test]
fn messages_that_are_parked_keep_memory_within_its_buffers() {
    run("parked");
}

#[test]
fn messages_that_end_in_dead_letters_keep_memory_within_their_buffers() {
    run("dead letters");
}

#[test]
fn a_publisher_that_never_waits_for_receipts_keeps_memory_within_its_buffers() {
    run("no receipts");
}

#[test]
fn a_publisher_of_messages_for_later_that_never_waits_keeps_memory_within_its_buffers() {
    run("later");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(case) = std::env::var(CASE) else { return };
    let root = tempfile::tempdir().unwrap();
    let fsync = if case == "no receipts" {
        Fsync::Always
    } else {
        Fsync::Os
    };
    let options = options(root.path())
        .fsync(fsync)
        .max_pending_bytes(PENDING_BYTES)
        .max_delayed_pending_bytes(PENDING_BYTES);
    let broker = EmbeddedBroker::open(options).unwrap();
    for name in NAMES {
        broker.prepare(destination(name, 1)).await.unwrap();
    }
    let handled = Arc::new(AtomicU64::new(0));
    let handle = subscription(&case, &handled).map(|subscription| start(engine(&broker, subscription)));
    let watch = Watch::begin();
    let published = publish(&broker, &case).await;
    let peak = watch.end();
    let handled = handled.load(Ordering::Relaxed) * PAYLOAD as u64;
    assert!(
        peak <= ALLOWED_BYTES,
        "{case}: {} MB of memory for {} MB",
        peak >> 20,
        published >> 20
    );
    assert!(
        published > 2 * ALLOWED_BYTES,
        "{case}: only {published} bytes were published"
    );
    assert!(
        handled * 10 < published,
        "{case}: the handler kept up, {handled} of {published}"
    );
    println!(
        "{case}: {} MB beyond the base for {} MB published, {} KB handled: within its memory",
        peak >> 20,
        published >> 20,
        handled >> 10
    );
    if let Some(handle) = handle {
        handle
            .drain(tokio::time::Instant::now() + Duration::from_secs(5))
            .await;
    }
}

fn subscription(case: &str, handled: &Arc<AtomicU64>) -> Option<Subscription<()>> {
    let counted = handled.clone();
    let work = move || {
        let counted = counted.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            counted.fetch_add(1, Ordering::Relaxed);
        }
    };
    let failing = |kind: FailureKind| {
        let work = work.clone();
        move |Raw(_): Raw| {
            let work = work.clone();
            async move {
                work().await;
                Err::<(), _>(Failure::transient("it does not work").with_kind(kind))
            }
        }
    };
    let fine = {
        let work = work.clone();
        move |Raw(_): Raw| work()
    };
    let retry = Retry::fixed(5, Duration::from_secs(60)).durable_after(Duration::from_millis(100));
    let subscription = match case {
        "in turn" => on("orders", fine),
        "by key" => on("orders", fine).concurrency(4),
        "batch" => {
            let work = work.clone();
            on("orders", move |_: Batch<Raw>| work()).batch(5, Duration::from_millis(10))
        }
        "parked" => on(
            "orders",
            failing(FailureKind::RetryAfter(Duration::from_secs(3_600))),
        )
        .retry(retry),
        "dead letters" => on("orders", failing(FailureKind::Permanent)),
        _ => return None,
    };
    Some(
        subscription
            .max_in_flight(IN_FLIGHT)
            .max_in_flight_bytes(IN_FLIGHT_BYTES),
    )
}

/// Publishes without looking at receipts. How many bytes.
async fn publish(broker: &EmbeddedBroker, case: &str) -> u64 {
    let sink: Arc<dyn Sink> = broker.sink();
    let begun = Instant::now();
    let mut published = 0;
    while published < PUBLISHED_BYTES && begun.elapsed() < LONGEST {
        let due = (case == "later").then(|| Timestamp::now().plus(Duration::from_secs(86_400)));
        let batch = (0..100u64).map(|number| {
            let message = Message::new(vec![7; PAYLOAD]).with_key(format!("{}", number % 10));
            let mut outgoing = Outgoing::new("orders", message);
            outgoing.due = due;
            outgoing
        });
        drop(sink.publish_all(batch.collect()));
        published += 100 * PAYLOAD as u64;
        tokio::task::yield_now().await;
    }
    published
}

/// Resident memory, looked at from a thread of its own.
struct Watch {
    base: u64,
    ended: Arc<OnceLock<()>>,
    thread: std::thread::JoinHandle<u64>,
}

impl Watch {
    fn begin() -> Self {
        let ended = Arc::new(OnceLock::new());
        let until = ended.clone();
        let thread = std::thread::spawn(move || {
            let mut peak = 0;
            while until.get().is_none() {
                peak = peak.max(resident_bytes());
                std::thread::sleep(Duration::from_millis(5));
            }
            peak.max(resident_bytes())
        });
        Self {
            base: resident_bytes(),
            ended,
            thread,
        }
    }

    /// The most beyond the base.
    fn end(self) -> u64 {
        self.ended.get_or_init(|| ());
        self.thread.join().unwrap().saturating_sub(self.base)
    }
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    // The size of a page where this is tested; a larger one would only make the limit stricter.
    pages * 4096
}

//! How fast the broker takes and gives messages on this machine, beside a loop that only writes.
//!
//! `cargo run --release -p tidings-embedded --example broker_throughput [DIRECTORY]`
#![allow(clippy::print_stdout, reason = "the rates are the output")]

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};
use tidings_core::{
    Binder, DestinationSpec, Guarantee, Message, Outgoing, Source, SourceEvent, SourceInput, SourceSpec,
    Start,
};
use tidings_embedded::{EmbeddedBroker, EmbeddedOptions, Fsync};

type Anything = Result<(), Box<dyn std::error::Error>>;

const MESSAGES: usize = 2_000_000;
const BATCH: usize = 500;
const PAYLOAD: [u8; 256] = [b'x'; 256];

#[tokio::main]
async fn main() -> Anything {
    let directory = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "target/throughput".to_owned());
    raw(Path::new(&directory))?;
    for url in ["memory:".to_owned(), format!("embedded:{directory}/broker")] {
        if url.starts_with("embedded") {
            drop(std::fs::remove_dir_all(format!("{directory}/broker")));
        }
        let begun = Instant::now();
        let broker = EmbeddedBroker::open(EmbeddedOptions::from_url(&url)?)?;
        prepare(&broker).await?;
        println!("{url}: open and prepare {:?}", begun.elapsed());
        in_batches(&broker).await?;
        read_all(&broker).await?;
        one_by_one(&broker).await?;
        latency(&broker).await?;
        broker.close().await?;
    }
    durable(&directory).await?;
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

/// When something began: by the clock, and by the processor time of all threads, which a busy machine does not
/// stretch. The latter is zero where there is no /proc.
struct Begun {
    instant: Instant,
    processor: Duration,
}

impl Begun {
    fn now() -> Self {
        Self {
            instant: Instant::now(),
            processor: processor_time().unwrap_or_default(),
        }
    }
}

fn processor_time() -> Option<Duration> {
    let mut nanos = 0;
    for thread in std::fs::read_dir("/proc/self/task").ok()?.flatten() {
        let times = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        nanos += times.split(' ').next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(nanos))
}

fn rate(what: &str, messages: usize, begun: Begun) {
    let seconds = begun.instant.elapsed().as_secs_f64();
    let processor = processor_time()
        .unwrap_or_default()
        .saturating_sub(begun.processor);
    let each = |seconds: f64| seconds * 1e9 / messages as f64;
    println!(
        "  {what}: {:.2} M/s, {:.0} ns each, {:.0} ns of processor time",
        messages as f64 / seconds / 1e6,
        each(seconds),
        each(processor.as_secs_f64())
    );
}

fn raw(directory: &Path) -> Anything {
    std::fs::create_dir_all(directory)?;
    let path = directory.join("raw");
    let mut file = std::fs::File::create(&path)?;
    let bytes = [b'x'; 280 * BATCH];
    let begun = Begun::now();
    for _ in 0..MESSAGES / BATCH {
        file.write_all(&bytes)?;
    }
    println!("raw:");
    rate("write 500 at once", MESSAGES, begun);
    std::fs::remove_file(path)?;
    Ok(())
}

async fn prepare(broker: &EmbeddedBroker) -> Anything {
    let orders = DestinationSpec::new("orders", 4);
    broker.prepare(orders).await?;
    Ok(())
}

fn message(number: usize) -> Outgoing {
    Outgoing::new(
        "orders",
        Message::new(PAYLOAD.as_slice()).with_key(format!("key-{}", number % 1000)),
    )
}

async fn in_batches(broker: &EmbeddedBroker) -> Anything {
    let sink = broker.sink();
    let destination: std::sync::Arc<str> = "orders".into();
    let messages: Vec<_> = (0..BATCH).map(|number| message(number).message).collect();
    let begun = Begun::now();
    for _ in 0..MESSAGES / BATCH {
        let all = messages
            .iter()
            .map(|message| Outgoing::new(destination.clone(), message.clone()))
            .collect();
        for receipt in sink.publish_all(all) {
            receipt.await?;
        }
    }
    rate("publish_all of 500", MESSAGES, begun);
    Ok(())
}

async fn one_by_one(broker: &EmbeddedBroker) -> Anything {
    let sink = broker.sink();
    let outgoing = message(1);
    let begun = Begun::now();
    for _ in 0..MESSAGES / 10 {
        sink.publish(outgoing.clone()).await?;
    }
    rate("publish, each awaited", MESSAGES / 10, begun);
    Ok(())
}

fn everything(start: Start) -> SourceSpec {
    SourceSpec {
        partitions: None,
        subscription: "reader".into(),
        group: None,
        inputs: vec![SourceInput {
            destination: "orders".into(),
            retry: None,
        }],
        start,
        max_batch_bytes: 1 << 20,
        commit_interval: Duration::from_millis(100),
        commit_every: 10_000,
        revoke_timeout: Duration::from_secs(5),
        guarantee: Guarantee::AtLeastOnce,
    }
}

async fn read_all(broker: &EmbeddedBroker) -> Anything {
    let mut source = broker.subscribe(everything(Start::Earliest)).await?;
    let (begun, mut read) = (Begun::now(), 0);
    while read < MESSAGES {
        if let SourceEvent::Batch(batch) = source.next().await? {
            read += batch.len();
        }
    }
    rate("read", MESSAGES, begun);
    Ok(())
}

/// From the call of `publish` to the batch in a task that waits for it.
async fn latency(broker: &EmbeddedBroker) -> Anything {
    let mut source = broker.subscribe(everything(Start::Latest)).await?;
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    let reader = tokio::spawn(async move {
        loop {
            match source.next().await {
                Ok(SourceEvent::Batch(_)) if sender.send(Instant::now()).await.is_err() => return,
                Err(_) => return,
                Ok(_) => {}
            }
        }
    });
    let (sink, mut times) = (broker.sink(), Vec::new());
    for number in 0..2_000 {
        tokio::time::sleep(Duration::from_micros(200)).await;
        let begun = Instant::now();
        sink.publish(message(number)).await?;
        if let Some(arrived) = receiver.recv().await {
            times.push(arrived - begun);
        }
    }
    times.sort_unstable();
    println!(
        "  publish to batch: p50 {:?}, p99 {:?}",
        times[times.len() / 2],
        times[times.len() * 99 / 100]
    );
    reader.abort();
    Ok(())
}

async fn durable(directory: &str) -> Anything {
    println!("embedded, fsync = always:");
    let options = EmbeddedOptions::from_url(&format!("embedded:{directory}/durable"))?.fsync(Fsync::Always);
    let broker = EmbeddedBroker::open(options)?;
    prepare(&broker).await?;
    let sink = broker.sink();
    for in_flight in [1, 64, 4096] {
        let rounds = if in_flight == 1 { 1_000 } else { 100 };
        let begun = Begun::now();
        for _ in 0..rounds {
            for receipt in sink.publish_all((0..in_flight).map(message).collect()) {
                receipt.await?;
            }
        }
        rate(&format!("{in_flight} in flight"), rounds * in_flight, begun);
    }
    broker.close().await?;
    Ok(())
}

//! What is counted: single-threaded cores that repeat almost exactly.

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tidings::{Key, Raw, Subscription, on};
use tidings_core::{
    BoxFuture, Clock, DynBinder, Message, Outgoing, Output, Position, PublishError, Publisher,
    RECEIPTS_PER_BLOCK, Receipt, ReceiptBlock, Route, Routes, Sink, names,
};
use tidings_log::{FrameBuilder, LogOptions, MemoryFiles, PartitionLog};

use crate::allocations;
use crate::arms::by_hand::Work;
use crate::arms::engine::{self, Mode};
use crate::arms::gauge::{Gauge, Watch};
use crate::arms::replay::Replay;
use crate::arms::topic::{self, ORDERS, Topic};
use crate::error::BenchError;
use crate::order;

/// Records of an append, and of a batch that the log is filled with.
const BATCH: u64 = 500;
/// Records that are read over and over.
const STORED: u64 = 10_000;

/// Messages that are published before they are handled.
const FEW: u64 = 1_000;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Core {
    /// Source in memory, dispatcher, ledger, progress: in turn.
    InTurn,
    /// The same with a small JSON decoded.
    InTurnDecoding,
    /// The same ordered by key.
    ByKey,
    /// The same with handlers that are pending once: slot, waker, task.
    ByKeyPending,
    /// In turn, with a handler that returns a message, and a broker that answers for 64 of them at a time.
    Returning,
    /// Building a frame of 500 records and appending it, into memory.
    Append,
    /// Reading records with their checksums, from memory.
    Scan,
    /// Stamping and publishing into a sink that keeps nothing.
    Publish,
    /// The same into the broker in memory, which keeps every message.
    PublishInMemory,
    /// A thousand published to the broker in memory and handled by an app, over and over, all on one thread.
    PublishAndHandle,
    /// Finding the headers that a delivery looks for.
    Headers,
}

impl Core {
    pub(crate) const ALL: [Core; 11] = [
        Core::InTurn,
        Core::InTurnDecoding,
        Core::ByKey,
        Core::ByKeyPending,
        Core::Returning,
        Core::Append,
        Core::Scan,
        Core::Publish,
        Core::PublishInMemory,
        Core::PublishAndHandle,
        Core::Headers,
    ];

    /// Its name in the record and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Core::InTurn => "engine, in turn",
            Core::InTurnDecoding => "engine, in turn, JSON of 29 bytes",
            Core::ByKey => "engine, key-ordered",
            Core::ByKeyPending => "engine, key-ordered, pending once",
            Core::Returning => "engine, in turn, returning a message",
            Core::Append => "log, append of 500",
            Core::Scan => "log, scan",
            Core::Publish => "publisher, stamp and send",
            Core::PublishInMemory => "publisher, into the broker in memory",
            Core::PublishAndHandle => "published and handled in memory, in turn, JSON of 29 bytes",
            Core::Headers => "headers, eight lookups",
        }
    }

    /// The messages of the shorter run: enough that the difference is the messages'.
    pub(crate) fn messages(self) -> u64 {
        match self {
            Core::InTurn | Core::InTurnDecoding | Core::ByKey | Core::ByKeyPending => 50_000,
            Core::Append | Core::Scan | Core::PublishInMemory | Core::PublishAndHandle => 50_000,
            // Whole blocks of receipts.
            Core::Returning => 640 * RECEIPTS_PER_BLOCK as u64,
            Core::Publish | Core::Headers => 10_000,
        }
    }

    fn run(self, messages: u64) -> Result<(), BenchError> {
        match self {
            Core::InTurn => engine(messages, |gauge| {
                Mode::InTurn.apply(engine::subscription(Work::Key, gauge))
            }),
            Core::InTurnDecoding => engine(messages, |gauge| {
                Mode::InTurn.apply(engine::subscription(Work::Small, gauge))
            }),
            Core::ByKey => engine(messages, |gauge| {
                Mode::ByKey(64).apply(engine::subscription(Work::Key, gauge))
            }),
            Core::ByKeyPending => engine(messages, |gauge| Mode::ByKey(64).apply(pending_once(gauge))),
            Core::Returning => returning(messages),
            Core::Append => append(messages).map(drop),
            Core::Scan => scan(messages),
            Core::Publish => topic::runtime()?.block_on(publish(Arc::new(NoSink), messages)),
            Core::PublishInMemory => topic::runtime()?.block_on(publish_in_memory(messages)),
            Core::PublishAndHandle => topic::runtime()?.block_on(publish_and_handle(messages)),
            Core::Headers => look_up(messages),
        }
    }
}

/// Runs the core that the arguments name and says how many allocations that took.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let [name, messages] = arguments else {
        eprintln!("error: `count` takes a core and a number of messages");
        return ExitCode::from(2);
    };
    let core = Core::ALL.into_iter().find(|core| core.name() == name);
    let (Some(core), Ok(messages)) = (core, messages.parse()) else {
        eprintln!("error: no core {name:?}, or {messages:?} is no number");
        return ExitCode::from(2);
    };
    allocations::start();
    let ran = core.run(messages);
    let count = allocations::stop();
    match ran {
        Ok(()) => {
            println!("{count}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The keys of the messages, made once: making them would be charged to the core.
fn keys() -> Vec<Bytes> {
    (0..1_000).map(|number| order::key(number, 1_000)).collect()
}

/// A handler that gives way once, as one that waits for something does.
fn pending_once(gauge: &'static Gauge) -> Subscription<()> {
    on(ORDERS, move |Key(key): Key| async move {
        tokio::task::yield_now().await;
        gauge.hit(key.len() as u64);
    })
}

fn engine(
    messages: u64,
    subscription: impl FnOnce(&'static Gauge) -> Subscription<()>,
) -> Result<(), BenchError> {
    let different: Vec<Message> = (0..STORED)
        .map(|number| Message::new(order::small_json()).with_key(order::key(number, 1_000)))
        .collect();
    let replay = Replay::new(&different, messages);
    let gauge = Gauge::leaked(0, messages, Watch::Nothing);
    gauge.begin();
    let run = engine::subscribed_to_replay(&replay, subscription(gauge), gauge);
    topic::runtime()?.block_on(run).map(drop)
}

fn returning(messages: u64) -> Result<(), BenchError> {
    // Nobody answers for a block that is not full.
    let messages = messages.next_multiple_of(RECEIPTS_PER_BLOCK as u64);
    let different: Vec<Message> = (0..STORED)
        .map(|number| {
            let message = Message::new(order::small_json()).with_key(order::key(number, 1_000));
            let id = format!("0190163d-8694-739b-aea5-{number:012x}");
            message.with_header(names::MESSAGE_ID, id)
        })
        .collect::<Result<_, _>>()
        .map_err(BenchError::part("making messages"))?;
    let replay = Replay::new(&different, messages);
    let gauge = Gauge::leaked(0, messages, Watch::Nothing);
    let subscription = on(ORDERS, move |Raw(payload): Raw, Key(key): Key| async move {
        gauge.hit(key.len() as u64);
        Output::message(Message::new(payload).with_key(key))
    });
    let subscription = Mode::InTurn.apply(subscription.to(ORDERS));
    let mut routes = Routes::default();
    let (sink, destination) = (Arc::new(ByBlock::default()), ORDERS.into());
    routes.insert(ORDERS, Route { sink, destination });
    gauge.begin();
    let run = engine::publishing_on_replay(&replay, subscription, routes, gauge);
    topic::runtime()?.block_on(run).map(drop)
}

/// A log in memory with so many records.
fn append(records: u64) -> Result<PartitionLog, BenchError> {
    let options = LogOptions::default();
    let mut frame = FrameBuilder::new(options.max_frame_bytes);
    let (log, _) = PartitionLog::open(Arc::new(MemoryFiles::new()), Path::new("orders/0"), options)
        .map_err(BenchError::part("opening the log"))?;
    let (payload, keys) = (order::order_json(1), keys());
    let mut keys = keys.iter().cycle();
    for first in (0..records).step_by(BATCH as usize) {
        frame.clear();
        for _ in first..(first + BATCH).min(records) {
            frame
                .push(
                    1_700_000_000_000,
                    keys.next().map(|key| &key[..]),
                    &[],
                    Some(&payload),
                )
                .map_err(BenchError::part("building a frame"))?;
        }
        log.append(&mut frame).map_err(BenchError::part("appending"))?;
    }
    Ok(log)
}

fn scan(records: u64) -> Result<(), BenchError> {
    let log = append(STORED)?;
    let mut read = 0;
    while read < records {
        let mut offset = 0;
        while offset < STORED {
            let chunk = log
                .read(offset, STORED, 1 << 20)
                .map_err(BenchError::part("reading the log"))?;
            read += chunk.len() as u64;
            offset = chunk.next_offset();
        }
    }
    Ok(())
}

/// Takes everything and keeps nothing.
#[derive(Debug)]
struct NoSink;

impl Sink for NoSink {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        std::hint::black_box(&outgoing);
        Receipt::ready(Ok(Position::new(ORDERS, 0, 0)))
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Takes everything, keeps nothing, and answers when a block of receipts is full.
#[derive(Debug, Default)]
struct ByBlock(Mutex<(Arc<ReceiptBlock>, usize)>);

impl Sink for ByBlock {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (block, place) = &mut *open;
        let receipt = block.receipt(*place, outgoing.destination.clone());
        *place += 1;
        if *place == RECEIPTS_PER_BLOCK {
            (0..RECEIPTS_PER_BLOCK).for_each(|place| block.kept(place, 0, 0));
            block.wake();
            *open = Default::default();
        }
        receipt
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

async fn publish(sink: Arc<dyn Sink>, messages: u64) -> Result<(), BenchError> {
    let mut routes = Routes::default();
    let destination = ORDERS.into();
    routes.insert(ORDERS, Route { sink, destination });
    let publisher = Publisher::new(Arc::new(routes), Clock::System);
    for key in keys().iter().cycle().take(messages as usize) {
        let message = Message::new(order::small_json()).with_key(key.clone());
        publisher
            .send(ORDERS, message)
            .await
            .map_err(BenchError::part("publishing"))?;
    }
    Ok(())
}

async fn publish_in_memory(messages: u64) -> Result<(), BenchError> {
    let topic = Topic::empty_in_memory().await?;
    publish(DynBinder::sink(&topic.broker().await?), messages).await
}

async fn publish_and_handle(messages: u64) -> Result<(), BenchError> {
    let topic = Topic::empty_in_memory().await?;
    let gauge = Gauge::leaked(0, messages, Watch::Nothing);
    gauge.begin();
    let running = engine::started(topic.url(), Mode::InTurn, Work::Small, gauge).await?;
    for first in (0..messages).step_by(FEW as usize) {
        let last = (first + FEW).min(messages);
        for _ in first..last {
            let receipt = running
                .publisher()
                .send(ORDERS, Message::new(order::small_json()));
            receipt.await.map_err(BenchError::part("publishing"))?;
        }
        gauge.reached(last).await;
    }
    running.drain().await;
    Ok(())
}

fn look_up(messages: u64) -> Result<(), BenchError> {
    let wanted = [
        names::MESSAGE_ID,
        names::TYPE,
        names::CONTENT_TYPE,
        names::ATTEMPTS,
        names::DUE,
        names::REDRIVES,
        "tenant",
        "missing",
    ];
    let mut message = Message::new("x");
    for (name, value) in [
        (names::MESSAGE_ID, "0190b8a0-6c1c-7000-8000-000000000000"),
        (names::TYPE, "order.placed"),
        (names::CONTENT_TYPE, "application/json"),
        (names::ATTEMPTS, "2"),
        ("tenant", "eu-west"),
    ] {
        message = message
            .with_header(name, value)
            .map_err(BenchError::part("writing headers"))?;
    }
    let mut found = 0;
    for _ in 0..messages {
        let headers = std::hint::black_box(message.headers());
        found += wanted.iter().filter_map(|name| headers.get(name)).count();
    }
    match found as u64 == messages * 5 {
        true => Ok(()),
        false => Err(BenchError::part("headers")("some were not found")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_core_runs_and_its_name_is_its_own() {
        for core in Core::ALL {
            core.run(1_000)
                .unwrap_or_else(|error| panic!("{}: {error}", core.name()));
            let same = Core::ALL.iter().filter(|other| other.name() == core.name());
            assert_eq!(same.count(), 1);
        }
    }
}

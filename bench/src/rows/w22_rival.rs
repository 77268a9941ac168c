//! W22 beside RustStream: its own payload, its own broker in memory, its own way of running, in the same pairs.

use std::thread;

use bytes::Bytes;
use tidings_core::{Message, Publisher};

use crate::arms::by_hand::Work;
use crate::arms::engine::{self, Mode};
use crate::arms::gauge::{Gauge, Reading, Watch};
use crate::arms::topic::{self, ORDERS, Place, Topic};
use crate::arms::{least, rival};
use crate::error::BenchError;
use crate::measure::Figure;
use crate::order;
use crate::pairs::Pairs;
use crate::report::Line;
use crate::rows::{Setting, agree};
use crate::verdict::{Target, Unit};

const MESSAGES: u64 = 1_000_000;
/// What RustStream's own program publishes before it handles.
const FEW: u64 = 1_000;

/// How messages come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// All of them lie there before one thread handles them; publishing is not measured.
    Backlog,
    /// One thread publishes a thousand and handles them, over and over.
    FewAtATime,
    /// One thread publishes one after the other while another handles.
    TwoThreads,
}

impl Shape {
    fn name(self) -> &'static str {
        match self {
            Shape::Backlog => "one thread, a backlog",
            Shape::FewAtATime => "one thread, publishing 1,000 and handling them in turns",
            Shape::TwoThreads => "two threads, published one message at a time",
        }
    }

    fn target(self) -> Target {
        match self {
            Shape::Backlog => Target::AtLeast(2.5e6),
            Shape::FewAtATime => Target::None,
            Shape::TwoThreads => Target::AtLeast(2e6),
        }
    }
}

/// Each shape in pairs.
pub(crate) fn run(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let shapes = [Shape::Backlog, Shape::FewAtATime, Shape::TwoThreads];
    let lines = shapes.into_iter().map(|shape| line(setting, shape));
    lines.chain([bound(setting)]).collect()
}

/// Two threads beside the least that keeps every message.
fn bound(setting: &Setting<'_>) -> Result<Line, BenchError> {
    let messages = setting.length.messages(MESSAGES);
    let gauge = || {
        let gauge = Gauge::leaked(messages / 10, messages, Watch::Time);
        gauge.begin();
        gauge
    };
    let pairs = Pairs::run(
        setting.length.rounds(),
        || Ok(ours(setting, Shape::TwoThreads, messages, gauge())?.sample),
        || Ok(least::two_threads(messages, gauge())?.sample),
    )?;
    let what = format!("memory, in turn, {}, JSON of 29 bytes", Shape::TwoThreads.name());
    let ratio = (Unit::Ratio, pairs.ratio(Figure::PerSecond));
    let beside = "a mutex around bytes that keeps all and makes no ids";
    Ok(Line::new(what, beside, ratio, Target::None)
        .with("ours", Unit::PerSecond, pairs.ours(Figure::PerSecond))
        .with("by hand", Unit::PerSecond, pairs.reference(Figure::PerSecond))
        .with("ours", Unit::Nanoseconds, pairs.ours(Figure::CpuNanoseconds))
        .with(
            "by hand",
            Unit::Nanoseconds,
            pairs.reference(Figure::CpuNanoseconds),
        ))
}

fn line(setting: &Setting<'_>, shape: Shape) -> Result<Line, BenchError> {
    let messages = setting.length.messages(MESSAGES);
    let gauge = || {
        let gauge = Gauge::leaked(messages / 10, messages, Watch::Time);
        if shape != Shape::Backlog {
            gauge.begin();
        }
        gauge
    };
    let mut checksums = (0, 0);
    let pairs = Pairs::run(
        setting.length.rounds(),
        || {
            let reading = ours(setting, shape, messages, gauge())?;
            checksums.0 = reading.checksum;
            Ok(reading.sample)
        },
        || {
            let reading = theirs(shape, messages, gauge())?;
            checksums.1 = reading.checksum;
            Ok(reading.sample)
        },
    )?;
    agree("W22, RustStream", checksums.0, checksums.1)?;
    let what = format!("memory, in turn, {}, JSON of 29 bytes", shape.name());
    let found = (Unit::PerSecond, pairs.ours(Figure::PerSecond));
    Ok(Line::new(what, "", found, shape.target())
        .with(
            "beside RustStream 0.7.7",
            Unit::Ratio,
            pairs.ratio(Figure::PerSecond),
        )
        .with("RustStream", Unit::PerSecond, pairs.reference(Figure::PerSecond))
        .with("ours", Unit::Nanoseconds, pairs.ours(Figure::CpuNanoseconds))
        .with(
            "RustStream",
            Unit::Nanoseconds,
            pairs.reference(Figure::CpuNanoseconds),
        ))
}

fn theirs(shape: Shape, messages: u64, gauge: &'static Gauge) -> Result<Reading, BenchError> {
    match shape {
        Shape::Backlog => rival::backlog(messages, gauge),
        Shape::FewAtATime => rival::few_at_a_time(messages, FEW, gauge),
        Shape::TwoThreads => rival::two_threads(messages, gauge),
    }
}

fn ours(
    setting: &Setting<'_>,
    shape: Shape,
    messages: u64,
    gauge: &'static Gauge,
) -> Result<Reading, BenchError> {
    let before = if shape == Shape::Backlog { messages } else { 0 };
    let directory = setting.directory()?;
    let runtime = topic::runtime()?;
    let topic = runtime.block_on(Topic::filled(Place::Memory, directory.path(), before, |_| {
        (Bytes::new(), order::small_json())
    }))?;
    match shape {
        Shape::Backlog => {
            let run = engine::on_broker(topic.url(), Mode::InTurn, Work::Small, gauge);
            runtime.block_on(run)
        }
        Shape::FewAtATime => runtime.block_on(async {
            let running = engine::started(topic.url(), Mode::InTurn, Work::Small, gauge).await?;
            for first in (0..messages).step_by(FEW as usize) {
                let now = FEW.min(messages - first);
                publish(running.publisher(), now).await?;
                gauge.reached(first + now).await;
            }
            running.drain().await;
            gauge.reading()
        }),
        Shape::TwoThreads => {
            let running = runtime.block_on(engine::started(topic.url(), Mode::InTurn, Work::Small, gauge))?;
            let publisher = running.publisher();
            let sent = thread::scope(|scope| {
                let sender = scope.spawn(|| topic::runtime()?.block_on(publish(publisher, messages)));
                let reading = runtime.block_on(gauge.finished());
                let sent = sender.join();
                sent.unwrap_or_else(|_| Err(BenchError::part("the publishing thread")("it panicked")))?;
                reading
            });
            runtime.block_on(running.drain());
            sent
        }
    }
}

async fn publish(publisher: &Publisher, messages: u64) -> Result<(), BenchError> {
    for _ in 0..messages {
        let receipt = publisher.send(ORDERS, Message::new(order::small_json()));
        receipt.await.map_err(BenchError::part("publishing"))?;
    }
    Ok(())
}

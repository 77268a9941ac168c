//! W22 with the broker in memory: a backlog on one thread, and publishing on one thread while another handles.

use std::thread;

use bytes::Bytes;
use tidings_core::{Clock, DynBinder, Message, Publisher, Route, Routes};
use tokio::sync::mpsc;

use crate::arms::by_hand::{self, Work};
use crate::arms::engine::{self, Mode};
use crate::arms::gauge::{Gauge, Watch};
use crate::arms::topic::{self, ORDERS, Place, Topic};
use crate::error::BenchError;
use crate::measure::{Figure, Sample};
use crate::order::{self, Small};
use crate::pairs::Pairs;
use crate::report::Line;
use crate::rows::{Setting, agree};
use crate::verdict::{Target, Unit};

const MESSAGES: u64 = 1_000_000;
const KEYS: u64 = 1_000;

/// What the small message must reach, and the order beside a poll loop.
pub(crate) fn run(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let mut lines = Vec::new();
    for work in [Work::Small, Work::Order] {
        lines.extend(backlog(setting, work)?);
    }
    for sending in [Sending::OneByOne, Sending::InBatches] {
        lines.push(two_threads(setting, sending)?);
    }
    Ok(lines)
}

/// The app on one thread, with everything published before; beside a poll loop on the same broker.
fn backlog(setting: &Setting<'_>, work: Work) -> Result<Vec<Line>, BenchError> {
    let full = if work == Work::Order {
        MESSAGES / 2
    } else {
        MESSAGES
    };
    let messages = setting.length.messages(full);
    let directory = setting.directory()?;
    let runtime = topic::runtime()?;
    let topic = runtime.block_on(Topic::filled(
        Place::Memory,
        directory.path(),
        messages,
        |number| {
            let payload = if work == Work::Order {
                order::order_json(number)
            } else {
                order::small_json()
            };
            (order::key(number, KEYS), payload)
        },
    ))?;
    let gauge = || Gauge::leaked(messages / 10, messages, Watch::Time);
    let mut checksums = (0, 0);
    let pairs = Pairs::run(
        setting.length.rounds(),
        || {
            let run = engine::on_broker(topic.url(), Mode::InTurn, work, gauge());
            let reading = topic::runtime()?.block_on(run)?;
            checksums.0 = reading.checksum;
            Ok(reading.sample)
        },
        || {
            let gauge = gauge();
            topic::runtime()?.block_on(async {
                let broker = topic.broker().await?;
                by_hand::consume(&broker, ORDERS, &topic::fresh_group(), work, gauge).await
            })?;
            let reading = gauge.reading()?;
            checksums.1 = reading.checksum;
            Ok(reading.sample)
        },
    )?;
    agree("W22, memory", checksums.0, checksums.1)?;
    Ok(backlog_lines(work, &pairs))
}

fn backlog_lines(work: Work, pairs: &Pairs) -> Vec<Line> {
    let what = format!("memory, in turn, one thread, {}", work.name());
    let ratio = (Unit::Ratio, pairs.ratio(Figure::CpuNanoseconds));
    let target = if work == Work::Order {
        Target::AtMost(1.10)
    } else {
        Target::None
    };
    let mut lines = vec![
        Line::new(
            format!("{what}: processor time"),
            "a poll loop by hand on the same broker",
            ratio,
            target,
        )
        .with("ours", Unit::Nanoseconds, pairs.ours(Figure::CpuNanoseconds))
        .with(
            "by hand",
            Unit::Nanoseconds,
            pairs.reference(Figure::CpuNanoseconds),
        ),
    ];
    if work == Work::Small {
        let ours = (Unit::PerSecond, pairs.ours(Figure::PerSecond));
        lines.push(Line::new(what, "", ours, Target::AtLeast(2.5e6)));
    }
    lines
}

/// How the publishing thread publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    /// Each message awaited before the next.
    OneByOne,
    /// Five hundred at a time.
    InBatches,
}

/// One thread publishes while another handles; beside a bounded channel of tokio with the same decoding behind it.
fn two_threads(setting: &Setting<'_>, sending: Sending) -> Result<Line, BenchError> {
    let messages = setting.length.messages(MESSAGES);
    let pairs = Pairs::run(
        setting.length.rounds(),
        || published_and_handled(setting, messages, sending),
        || sent_and_decoded(messages),
    )?;
    let (how, target) = match sending {
        Sending::OneByOne => ("one message at a time", Target::AtLeast(2e6)),
        Sending::InBatches => ("in batches of 500", Target::None),
    };
    let ours = (Unit::PerSecond, pairs.ours(Figure::PerSecond));
    let what = format!("memory, two threads, {}, published {how}", Work::Small.name());
    Ok(Line::new(what, "", ours, target)
        .with(
            "beside a bounded tokio channel",
            Unit::Ratio,
            pairs.ratio(Figure::PerSecond),
        )
        .with("channel", Unit::PerSecond, pairs.reference(Figure::PerSecond)))
}

fn published_and_handled(
    setting: &Setting<'_>,
    messages: u64,
    sending: Sending,
) -> Result<Sample, BenchError> {
    let directory = setting.directory()?;
    let runtime = topic::runtime()?;
    let topic = runtime.block_on(Topic::filled(Place::Memory, directory.path(), 0, |_| {
        (Bytes::new(), Bytes::new())
    }))?;
    let broker = runtime.block_on(topic.broker())?;
    let mut routes = Routes::default();
    let route = Route {
        sink: DynBinder::sink(&broker),
        destination: ORDERS.into(),
    };
    routes.insert(ORDERS, route);
    let publisher = Publisher::new(routes.into(), Clock::System);
    let gauge = Gauge::leaked(messages / 10, messages, Watch::Time);
    let run = engine::on_broker(topic.url(), Mode::InTurn, Work::Small, gauge);
    thread::scope(|scope| {
        let sender = scope.spawn(|| topic::runtime()?.block_on(publish(&publisher, messages, sending)));
        let reading = runtime.block_on(run);
        join(sender)?;
        Ok(reading?.sample)
    })
}

fn join(sender: thread::ScopedJoinHandle<'_, Result<(), BenchError>>) -> Result<(), BenchError> {
    sender
        .join()
        .unwrap_or_else(|_| Err(BenchError::part("the publishing thread")("it panicked")))
}

async fn publish(publisher: &Publisher, messages: u64, sending: Sending) -> Result<(), BenchError> {
    let mut keys = Keys::new();
    let mut message = |_| Message::new(order::small_json()).with_key(keys.next());
    match sending {
        Sending::OneByOne => {
            for number in 0..messages {
                let receipt = publisher.send(ORDERS, message(number));
                receipt.await.map_err(BenchError::part("publishing"))?;
            }
        }
        Sending::InBatches => {
            for first in (0..messages).step_by(500) {
                let batch = (first..(first + 500).min(messages)).map(&mut message).collect();
                publisher
                    .send_all(ORDERS, batch)
                    .await
                    .map_err(BenchError::part("publishing"))?;
            }
        }
    }
    Ok(())
}

/// Keys that exist already, in an order that looks random: to format one costs more than to send it through a channel.
struct Keys {
    all: Vec<Bytes>,
    number: usize,
}

impl Keys {
    fn new() -> Self {
        let all = (0..KEYS).map(|number| order::key(number, KEYS)).collect();
        Self { all, number: 0 }
    }

    fn next(&mut self) -> Bytes {
        let key = self.all.get(self.number).cloned().unwrap_or_default();
        self.number = (self.number + 1) % self.all.len();
        key
    }
}

/// The hand-written pair of threads: no topic, no group, nothing kept.
fn sent_and_decoded(messages: u64) -> Result<Sample, BenchError> {
    let (sender, mut receiver) = mpsc::channel::<(Bytes, Bytes)>(1_024);
    let gauge = Gauge::leaked(messages / 10, messages, Watch::Time);
    let runtime = topic::runtime()?;
    thread::scope(|scope| {
        let sending = scope.spawn(move || {
            topic::runtime()?.block_on(async {
                let mut keys = Keys::new();
                for _ in 0..messages {
                    let message = (keys.next(), order::small_json());
                    sender
                        .send(message)
                        .await
                        .map_err(BenchError::part("the channel"))?;
                }
                Ok(())
            })
        });
        let received: Result<(), BenchError> = runtime.block_on(async {
            while let Some((_, payload)) = receiver.recv().await {
                let small: Small = serde_json::from_slice(&payload).map_err(BenchError::part("decoding"))?;
                gauge.hit(small.id + u64::from(small.quantity));
            }
            Ok(())
        });
        join(sending)?;
        received
    })?;
    Ok(gauge.reading()?.sample)
}

//! W15, embedded: how long after it was due a message is handled in the same process, under an open load.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tidings::{App, Json, on};
use tidings_core::{
    Clock, DynBinder, Message, Progress, Publisher, Route, Routes, SourceEvent, SourceInput, SourceSpec,
    Start,
};
use tidings_embedded::EmbeddedBroker;
use tokio::sync::mpsc;

use crate::arguments::Length;
use crate::arms::engine::{self, Mode};
use crate::arms::gauge::{Gauge, Watch};
use crate::arms::latency::{self, Latencies, Percentiles};
use crate::arms::topic::{self, ORDERS, Place, Topic};
use crate::error::BenchError;
use crate::order::{self, Small};
use crate::pairs::Spread;
use crate::report::Line;
use crate::rows::Setting;
use crate::verdict::{Target, Unit};

const PER_SECOND: [u32; 2] = [1_000, 20_000];

/// Each place at each rate: the app, a poll loop by hand on the same broker, and a bare channel.
pub(crate) fn run(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let mut lines = Vec::new();
    for place in Place::ALL {
        for per_second in PER_SECOND {
            lines.extend(Load::new(setting, per_second).compare(place)?);
        }
    }
    Ok(lines)
}

/// An open load.
struct Load<'s> {
    setting: &'s Setting<'s>,
    per_second: u32,
    messages: u64,
}

/// The percentiles of the runs of one arm.
#[derive(Default)]
struct Runs(Vec<Percentiles>);

impl Runs {
    fn spread(&self, pick: impl Fn(&Percentiles) -> f64) -> (Unit, Spread) {
        (Unit::Microseconds, Spread::of(self.0.iter().map(pick)))
    }
}

impl<'s> Load<'s> {
    fn new(setting: &'s Setting<'s>, per_second: u32) -> Self {
        let seconds = match setting.length {
            Length::Full => Duration::from_millis(500),
            Length::Short => Duration::from_millis(25),
        };
        Self {
            setting,
            per_second,
            messages: (f64::from(per_second) * seconds.as_secs_f64()) as u64,
        }
    }

    /// Runs the arms as A B C C B A, after one uncounted run of each.
    fn compare(&self, place: Place) -> Result<Vec<Line>, BenchError> {
        let (mut app, mut by_hand, mut channel) = (Runs::default(), Runs::default(), Runs::default());
        self.app(place)?;
        self.by_hand(place)?;
        self.channel()?;
        for _ in 0..self.setting.length.rounds() {
            app.0.push(self.app(place)?);
            by_hand.0.push(self.by_hand(place)?);
            channel.0.push(self.channel()?);
            channel.0.push(self.channel()?);
            by_hand.0.push(self.by_hand(place)?);
            app.0.push(self.app(place)?);
        }
        let what = format!(
            "{}, {}/s, from when it was due to the handler",
            place.name(),
            self.per_second
        );
        let line = |name: &str, target, pick: fn(&Percentiles) -> f64| {
            Line::new(format!("{what}: {name}"), "", app.spread(pick), target)
                .with("a poll loop by hand", Unit::Microseconds, by_hand.spread(pick).1)
                .with("a bare tokio channel", Unit::Microseconds, channel.spread(pick).1)
        };
        Ok(vec![
            line("p50", Target::AtMost(20.0), |run| run.p50),
            line("p99", Target::None, |run| run.p99),
            line("p99.9", Target::None, |run| run.p999),
        ])
    }

    fn latencies(&self) -> Result<&'static Latencies, BenchError> {
        Latencies::leaked(self.per_second, self.messages / 10)
    }

    fn gauge(&self) -> &'static Gauge {
        Gauge::leaked(self.messages / 10, self.messages, Watch::Time)
    }

    fn app(&self, place: Place) -> Result<Percentiles, BenchError> {
        let directory = self.setting.directory()?;
        let runtime = topic::runtime()?;
        runtime.block_on(async {
            let topic = Topic::filled(place, directory.path(), 0, |_| (Bytes::new(), Bytes::new())).await?;
            let (latencies, gauge) = (self.latencies()?, self.gauge());
            let handler = on(ORDERS, move |Json(small): Json<Small>| async move {
                latencies.handled(small.id);
                gauge.hit(small.id);
            });
            let subscription = Mode::InTurn.apply(handler).group(topic::fresh_group());
            let app = App::new("bench")
                .add(subscription)
                .channel(ORDERS, |channel| channel.partitions(1));
            let running = app
                .start(engine::config(topic.url())?)
                .await
                .map_err(BenchError::part("starting the app"))?;
            let sending = send(running.publisher().clone(), latencies, self.messages);
            gauge.finished().await?;
            join(sending)?;
            running.drain().await;
            Ok(latencies.percentiles())
        })
    }

    fn by_hand(&self, place: Place) -> Result<Percentiles, BenchError> {
        let directory = self.setting.directory()?;
        let runtime = topic::runtime()?;
        runtime.block_on(async {
            let topic = Topic::filled(place, directory.path(), 0, |_| (Bytes::new(), Bytes::new())).await?;
            let broker = topic.broker().await?;
            let latencies = self.latencies()?;
            let sending = send(publisher(&broker), latencies, self.messages);
            poll(&broker, latencies, self.messages).await?;
            join(sending)?;
            topic::close(&broker, &topic).await?;
            Ok(latencies.percentiles())
        })
    }

    fn channel(&self) -> Result<Percentiles, BenchError> {
        let latencies = self.latencies()?;
        let messages = self.messages;
        let (sender, mut receiver) = mpsc::channel::<Bytes>(1_024);
        let sending = thread::spawn(move || {
            for number in 0..messages {
                let payload = latency::payload(number);
                latencies.wait_for(number);
                sender
                    .blocking_send(payload)
                    .map_err(BenchError::part("the channel"))?;
            }
            Ok(())
        });
        topic::runtime()?.block_on(async {
            while let Some(payload) = receiver.recv().await {
                let small: Small = serde_json::from_slice(&payload).map_err(BenchError::part("decoding"))?;
                latencies.handled(small.id);
            }
            Ok::<_, BenchError>(())
        })?;
        join(sending)?;
        Ok(latencies.percentiles())
    }
}

type Sending = thread::JoinHandle<Result<(), BenchError>>;

/// Publishes each message when it is due, on a thread of its own, and asks for the receipts when all are published:
/// a load does not wait for answers.
fn send(publisher: Publisher, latencies: &'static Latencies, messages: u64) -> Sending {
    thread::spawn(move || {
        topic::runtime()?.block_on(async {
            let mut receipts = Vec::with_capacity(usize::try_from(messages).unwrap_or_default());
            for number in 0..messages {
                let message =
                    Message::new(latency::payload(number)).with_key(order::fixed_key(number % 1_000));
                latencies.wait_for(number);
                receipts.push(publisher.send(ORDERS, message));
            }
            for receipt in receipts {
                receipt.await.map_err(BenchError::part("publishing"))?;
            }
            Ok(())
        })
    })
}

fn join(sending: Sending) -> Result<(), BenchError> {
    sending
        .join()
        .unwrap_or_else(|_| Err(BenchError::part("the publishing thread")("it panicked")))
}

fn publisher(broker: &EmbeddedBroker) -> Publisher {
    let mut routes = Routes::default();
    let route = Route {
        sink: DynBinder::sink(broker),
        destination: ORDERS.into(),
    };
    routes.insert(ORDERS, route);
    Publisher::new(routes.into(), Clock::System)
}

/// The loop that one writes by hand: batches, each decoded in turn, progress after each.
async fn poll(broker: &EmbeddedBroker, latencies: &Latencies, messages: u64) -> Result<(), BenchError> {
    let spec = SourceSpec {
        partitions: None,
        subscription: "by-hand".into(),
        group: Some(topic::fresh_group().into()),
        inputs: vec![SourceInput {
            destination: Arc::from(ORDERS),
            retry: None,
        }],
        start: Start::Earliest,
        max_batch_bytes: 256 * 1024,
        commit_interval: Duration::from_millis(100),
        commit_every: 10_000,
        revoke_timeout: Duration::from_secs(1),
        guarantee: tidings_core::Guarantee::AtLeastOnce,
    };
    let mut source = DynBinder::subscribe(broker, spec)
        .await
        .map_err(BenchError::part("subscribing by hand"))?;
    let mut handled = 0;
    while handled < messages {
        let SourceEvent::Batch(batch) = source.next().await.map_err(BenchError::part("reading by hand"))?
        else {
            continue;
        };
        for record in batch.records() {
            let payload = batch.payload(record).unwrap_or_default();
            let small: Small = serde_json::from_slice(payload).map_err(BenchError::part("decoding"))?;
            latencies.handled(small.id);
            handled += 1;
        }
        let progress = Progress {
            watermark: batch.next(),
            ..Progress::default()
        };
        source.progress(batch.lane(), batch.epoch(), progress);
    }
    source
        .close()
        .await
        .map_err(BenchError::part("leaving the group"))
}

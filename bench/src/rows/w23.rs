//! W23: what a message costs as a service grows, beside the same service when it was small; and what it costs to have
//! much that is idle.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidings_core::{
    Binder, Message, Outgoing, Progress, Sink, Source, SourceEvent, SourceInput, SourceSpec, Start,
};
use tidings_embedded::{EmbeddedBroker, EmbeddedOptions, EmbeddedSource, Fsync, Location};
use tokio::runtime::Runtime;

use crate::arms::files::{self, Pace};
use crate::arms::topic;
use crate::error::BenchError;
use crate::measure::{Figure, Sample, timed};
use crate::pairs::Pairs;
use crate::report::Line;
use crate::rows::w23_by_hand::ByHand;
use crate::rows::{Setting, w23_idle};
use crate::verdict::{Target, Unit};

/// Of each arm: enough that every partition of the largest gets some.
const MESSAGES: u64 = 60_000;
/// The first use of a log syncs it twice, so of ten thousand topics only these are published to.
const BUSY_TOPICS: usize = 1_000;
/// A message costs at the most this much of what it cost when there was one.
const GROWTH: f64 = 1.2;

/// How large a service is.
#[derive(Debug, Clone, Copy)]
struct Size {
    topics: u32,
    partitions: u32,
    /// Groups, each of which reads the first topic.
    subscriptions: u32,
}

const ONE: Size = Size {
    topics: 1,
    partitions: 1,
    subscriptions: 1,
};

impl Size {
    /// How many files get messages.
    fn files(self, pace: Pace) -> usize {
        match pace {
            Pace::Publish => (self.topics as usize).min(BUSY_TOPICS),
            Pace::Single | Pace::Spread | Pace::Backlog => self.partitions as usize,
        }
    }
}

/// Partitions, topics and subscriptions, each beside one; then what is idle.
pub(crate) fn run(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let mut lines = Vec::new();
    for partitions in [10, 100, 1_000] {
        let size = Size { partitions, ..ONE };
        let paces = [Pace::Single, Pace::Spread, Pace::Backlog];
        lines.extend(growth(
            setting,
            &format!("{partitions} partitions"),
            size,
            &paces,
        )?);
    }
    for topics in [100, 10_000] {
        let size = Size { topics, ..ONE };
        let paces = [Pace::Single, Pace::Publish];
        lines.extend(growth(setting, &format!("{topics} topics"), size, &paces)?);
    }
    for subscriptions in [10, 200] {
        let size = Size { subscriptions, ..ONE };
        let paces = [Pace::Backlog];
        lines.extend(growth(
            setting,
            &format!("{subscriptions} subscriptions"),
            size,
            &paces,
        )?);
    }
    lines.extend(w23_idle::run(setting)?);
    Ok(lines)
}

fn growth(setting: &Setting<'_>, what: &str, size: Size, paces: &[Pace]) -> Result<Vec<Line>, BenchError> {
    let (large, small) = (Bench::new(setting, size)?, Bench::new(setting, ONE)?);
    let directory = setting.directory()?;
    let published = size.files(Pace::Publish);
    let by_hand = match published.max(size.files(Pace::Single)) {
        1 => None,
        files => Some(ByHand::new(directory.path(), files, published)?),
    };
    let mut lines = Vec::new();
    for pace in paces {
        let how = how(*pace);
        let rounds = setting.length.rounds();
        let pairs = Pairs::run(rounds, || large.run(*pace), || small.run(*pace))?;
        let ratio = (Unit::Ratio, pairs.ratio(Figure::CpuNanoseconds));
        lines.push(
            Line::new(
                format!("{what}: {how}, processor time"),
                "the same with 1",
                ratio,
                Target::AtMost(GROWTH),
            )
            .with("ours", Unit::Nanoseconds, pairs.ours(Figure::CpuNanoseconds))
            .with(
                "with 1",
                Unit::Nanoseconds,
                pairs.reference(Figure::CpuNanoseconds),
            ),
        );
        if let Some(by_hand) = by_hand.as_ref().filter(|_| size.files(*pace) > 1) {
            lines.extend(by_hand.lines(&format!("{what}: {how}"), *pace, rounds, &large)?);
        }
    }
    Ok(lines)
}

fn how(pace: Pace) -> &'static str {
    match pace {
        Pace::Single => "published and read one at a time",
        Pace::Spread => "the same, partitions in no order",
        Pace::Backlog => "published one by one, then read",
        Pace::Publish => "published to up to 1,000 in turn",
    }
}

/// A broker of that size.
pub(super) struct Bench {
    runtime: Runtime,
    broker: EmbeddedBroker,
    names: Vec<Arc<str>>,
    size: Size,
    pub(super) messages: u64,
    _directory: tempfile::TempDir,
}

impl Bench {
    fn new(setting: &Setting<'_>, size: Size) -> Result<Self, BenchError> {
        let directory = setting.directory()?;
        let runtime = topic::runtime()?;
        let broker = open(&runtime, directory.path(), size.topics, size.partitions)?;
        Ok(Self {
            runtime,
            broker,
            names: (0..size.topics).map(name).collect(),
            size,
            messages: setting.length.messages(MESSAGES),
            _directory: directory,
        })
    }

    /// A message that several groups read counts as several.
    pub(super) fn run(&self, pace: Pace) -> Result<Sample, BenchError> {
        let readers = match pace {
            Pace::Publish => 0,
            Pace::Single | Pace::Spread | Pace::Backlog => self.size.subscriptions,
        };
        let published = self.messages / u64::from(readers.max(1));
        let mut sources = Vec::new();
        for _ in 0..readers {
            sources.push(self.runtime.block_on(self.subscribe())?);
        }
        let work = || self.runtime.block_on(self.work(pace, published, &mut sources));
        let (sample, done) = timed(published * u64::from(readers.max(1)), work);
        done?;
        for mut source in sources {
            self.runtime
                .block_on(source.close())
                .map_err(BenchError::part("closing a source"))?;
        }
        Ok(sample)
    }

    async fn work(
        &self,
        pace: Pace,
        published: u64,
        sources: &mut [EmbeddedSource],
    ) -> Result<(), BenchError> {
        let sink = Binder::sink(&self.broker);
        for number in 0..published {
            self.publish(&sink, pace, number).await?;
            if matches!(pace, Pace::Single | Pace::Spread) {
                for source in &mut *sources {
                    read(source, 1).await?;
                }
            }
        }
        if pace == Pace::Backlog {
            for source in sources {
                read(source, published).await?;
            }
        }
        Ok(())
    }

    async fn publish(&self, sink: &Arc<dyn Sink>, pace: Pace, number: u64) -> Result<(), BenchError> {
        let topic = match pace {
            Pace::Publish => number as usize % self.names.len().min(BUSY_TOPICS),
            Pace::Single | Pace::Spread | Pace::Backlog => 0,
        };
        let Some(name) = self.names.get(topic) else {
            return Ok(());
        };
        let message = Message::new(files::PAYLOAD);
        let mut outgoing = Outgoing::new(name.clone(), message);
        outgoing.partition = Some(pace.place(number, u64::from(self.size.partitions)) as u32);
        sink.publish(outgoing)
            .await
            .map(drop)
            .map_err(BenchError::part("publishing"))
    }

    async fn subscribe(&self) -> Result<EmbeddedSource, BenchError> {
        let spec = SourceSpec {
            partitions: None,
            subscription: "growth".into(),
            group: Some(topic::fresh_group().into()),
            inputs: vec![SourceInput {
                destination: name(0),
                retry: None,
            }],
            start: Start::Latest,
            max_batch_bytes: 1 << 20,
            commit_interval: files::INTERVAL,
            commit_every: files::EVERY,
            revoke_timeout: Duration::from_secs(5),
            guarantee: tidings_core::Guarantee::AtLeastOnce,
        };
        let mut source = Binder::subscribe(&self.broker, spec)
            .await
            .map_err(BenchError::part("subscribing"))?;
        // Until everything is assigned and it waits.
        while !matches!(next(&mut source).await?, SourceEvent::Idle) {}
        Ok(source)
    }
}

fn name(number: u32) -> Arc<str> {
    format!("topic-{number}").into()
}

/// Opens a broker with topics of so many partitions.
pub(super) fn open(
    runtime: &Runtime,
    directory: &Path,
    topics: u32,
    partitions: u32,
) -> Result<EmbeddedBroker, BenchError> {
    make(directory, topics, partitions).map_err(BenchError::file(directory))?;
    let options = EmbeddedOptions::new(Location::Directory(directory.to_owned())).fsync(Fsync::Os);
    let _within = runtime.enter();
    EmbeddedBroker::open(options).map_err(BenchError::part("opening the broker"))
}

/// Makes topics without syncing each of them five times, as the broker does. The directory of a partition is made when
/// it is first used.
fn make(directory: &Path, topics: u32, partitions: u32) -> std::io::Result<()> {
    let catalog = directory.join("catalog");
    std::fs::create_dir_all(&catalog)?;
    // Without it the broker takes the directory for a snapshot that was not finished.
    std::fs::write(directory.join("format"), "tidings-directory 1\n")?;
    for number in 0..topics {
        let name = name(number);
        let text = format!("tidings-topic 1\npartitions {partitions}\nname {name}\n");
        std::fs::write(catalog.join(&*name), text)?;
    }
    Ok(())
}

async fn next(source: &mut EmbeddedSource) -> Result<SourceEvent, BenchError> {
    source.next().await.map_err(BenchError::part("reading"))
}

/// Reads so many messages and reports them as finished.
async fn read(source: &mut EmbeddedSource, count: u64) -> Result<(), BenchError> {
    let mut left = count;
    while left > 0 {
        if let SourceEvent::Batch(batch) = next(source).await? {
            left = left.saturating_sub(batch.len() as u64);
            let Some(last) = batch.records().last() else {
                continue;
            };
            let progress = Progress {
                watermark: last.offset + 1,
                ..Progress::default()
            };
            source.progress(batch.lane(), batch.epoch(), progress);
        }
    }
    Ok(())
}

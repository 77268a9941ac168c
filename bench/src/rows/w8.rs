//! W8: what key order costs: consume, decode, handle and commit by key beside the same in turn.

use crate::arms::by_hand::{self, Work};
use crate::arms::engine::{self, Mode};
use crate::arms::gauge::{Gauge, Reading, Watch};
use crate::arms::topic::{self, ORDERS, Place, Topic};
use crate::error::BenchError;
use crate::measure::{Figure, Sample};
use crate::order;
use crate::pairs::Pairs;
use crate::report::Line;
use crate::rows::{Setting, agree};
use crate::verdict::{Target, Unit};

const MESSAGES: u64 = 400_000;
const KEYS: u64 = 1_000;
const BY_KEY: Mode = Mode::ByKey(16);

/// By key beside in turn, and in turn beside a poll loop by hand, on each broker.
pub(crate) fn run(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let mut lines = Vec::new();
    for place in Place::ALL {
        let bench = Bench::new(setting, place)?;
        let rounds = setting.length.rounds();
        let by_key = Pairs::run(rounds, || bench.engine(BY_KEY), || bench.engine(Mode::InTurn))?;
        let in_turn = Pairs::run(rounds, || bench.engine(Mode::InTurn), || bench.by_hand())?;
        let ratio = (Unit::Ratio, by_key.ratio(Figure::PerCpuSecond));
        lines.push(
            Line::new(
                format!("{}, {}", place.name(), BY_KEY.name()),
                "in turn, per processor second",
                ratio,
                Target::AtLeast(0.85),
            )
            .with("by key", Unit::PerSecond, by_key.ours(Figure::PerSecond))
            .with("in turn", Unit::PerSecond, by_key.reference(Figure::PerSecond)),
        );
        let ratio = (Unit::Ratio, in_turn.ratio(Figure::CpuNanoseconds));
        lines.push(
            Line::new(
                format!("{}, in turn, processor time", place.name()),
                "a poll loop by hand on the same broker",
                ratio,
                Target::None,
            )
            .with("ours", Unit::Nanoseconds, in_turn.ours(Figure::CpuNanoseconds))
            .with(
                "by hand",
                Unit::Nanoseconds,
                in_turn.reference(Figure::CpuNanoseconds),
            ),
        );
    }
    Ok(lines)
}

struct Bench {
    topic: Topic,
    _directory: tempfile::TempDir,
    messages: u64,
    checksum: u64,
}

impl Bench {
    fn new(setting: &Setting<'_>, place: Place) -> Result<Self, BenchError> {
        let directory = setting.directory()?;
        let messages = setting.length.messages(MESSAGES);
        let topic =
            topic::runtime()?.block_on(Topic::filled(place, directory.path(), messages, |number| {
                (order::key(number, KEYS), order::order_json(number))
            }))?;
        Ok(Self {
            topic,
            _directory: directory,
            messages,
            checksum: (0..messages)
                .map(|number| order::Order::numbered(number).checksum())
                .sum(),
        })
    }

    fn gauge(&self) -> &'static Gauge {
        Gauge::leaked(self.messages / 10, self.messages, Watch::Time)
    }

    fn engine(&self, mode: Mode) -> Result<Sample, BenchError> {
        let url = self.topic.url();
        let run = engine::on_broker(url, mode, Work::Order, self.gauge());
        self.checked(topic::runtime()?.block_on(run)?)
    }

    fn by_hand(&self) -> Result<Sample, BenchError> {
        let gauge = self.gauge();
        topic::runtime()?.block_on(async {
            let broker = self.topic.broker().await?;
            by_hand::consume(&broker, ORDERS, &topic::fresh_group(), Work::Order, gauge).await?;
            topic::close(&broker, &self.topic).await
        })?;
        self.checked(gauge.reading()?)
    }

    fn checked(&self, reading: Reading) -> Result<Sample, BenchError> {
        agree("W8", reading.checksum, self.checksum)?;
        Ok(reading.sample)
    }
}

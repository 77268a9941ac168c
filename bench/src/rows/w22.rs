//! W22: what the engine adds in process: alone on prepared batches, and with the broker in memory.

use tidings_core::Message;

use crate::arms::by_hand::{self, Work};
use crate::arms::engine::{self, Mode};
use crate::arms::gauge::{Gauge, Watch};
use crate::arms::replay::Replay;
use crate::arms::topic;
use crate::error::BenchError;
use crate::measure::{Figure, Sample};
use crate::order;
use crate::pairs::{Pairs, Spread};
use crate::report::Line;
use crate::rows::{Setting, agree, w22_broker, w22_rival};
use crate::verdict::{Target, Unit};

const KEYS: u64 = 1_000;
/// Different messages; the source goes round in them, 3 MB that do not fit the processor's fastest caches.
const DIFFERENT: u64 = 10_000;
const BY_KEY: Mode = Mode::ByKey(64);

/// First the engine alone, then with the broker in memory, then beside a rival.
pub(crate) fn run(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let mut lines = Vec::new();
    for mode in [Mode::InTurn, BY_KEY] {
        for work in [Work::Key, Work::Small, Work::Order] {
            let bench = Bench::new(setting, mode, work);
            let pairs = Pairs::run(setting.length.rounds(), || bench.engine(), || bench.bare_loop())?;
            lines.push(bench.line(&pairs));
            if work == Work::Key {
                lines.push(bench.allocations()?);
            }
        }
    }
    lines.extend(w22_broker::run(setting)?);
    lines.extend(w22_rival::run(setting)?);
    Ok(lines)
}

struct Bench {
    replay: Replay,
    messages: u64,
    mode: Mode,
    work: Work,
}

impl Bench {
    fn new(setting: &Setting<'_>, mode: Mode, work: Work) -> Self {
        let messages = setting.length.messages(match work {
            Work::Key | Work::Small => 2_000_000,
            Work::Order => 500_000,
        });
        let different: Vec<Message> = (0..DIFFERENT).map(|number| message(number, work)).collect();
        Self {
            replay: Replay::new(&different, messages),
            messages,
            mode,
            work,
        }
    }

    fn gauge(&self, watch: Watch) -> &'static Gauge {
        Gauge::leaked(self.messages / 10, self.messages, watch)
    }

    fn engine(&self) -> Result<Sample, BenchError> {
        let gauge = self.gauge(Watch::Time);
        let run = engine::on_replay(&self.replay, self.mode, self.work, gauge);
        Ok(topic::runtime()?.block_on(run)?.sample)
    }

    fn bare_loop(&self) -> Result<Sample, BenchError> {
        let gauge = self.gauge(Watch::Time);
        by_hand::replay(&self.replay, self.work, gauge)?;
        Ok(gauge.reading()?.sample)
    }

    /// What the engine adds where nothing is decoded; its share where something is.
    fn line(&self, pairs: &Pairs) -> Line {
        let what = format!("engine, {}, {}", self.mode.name(), self.work.name());
        let beside = "the bare loop over the same batches";
        let line = match self.work {
            Work::Key => {
                let limit = if self.mode == Mode::InTurn { 65.0 } else { 150.0 };
                let added = (Unit::Nanoseconds, pairs.difference(Figure::CpuNanoseconds));
                Line::new(format!("{what}: added"), beside, added, Target::AtMost(limit))
            }
            Work::Small | Work::Order => {
                let ratio = (Unit::Ratio, pairs.ratio(Figure::CpuNanoseconds));
                let target = if self.work == Work::Order {
                    Target::AtMost(1.10)
                } else {
                    Target::None
                };
                Line::new(what, beside, ratio, target)
            }
        };
        line.with("ours", Unit::Nanoseconds, pairs.ours(Figure::CpuNanoseconds))
            .with("bare", Unit::Nanoseconds, pairs.reference(Figure::CpuNanoseconds))
    }

    /// Counted in runs of their own, and both arms read the same, so that no arm can skip its work.
    fn allocations(&self) -> Result<Line, BenchError> {
        let gauge = self.gauge(Watch::Allocations);
        let run = engine::on_replay(&self.replay, self.mode, self.work, gauge);
        let ours = topic::runtime()?.block_on(run)?;
        let bare = self.gauge(Watch::Allocations);
        by_hand::replay(&self.replay, self.work, bare)?;
        let reference = bare.reading()?;
        agree("W22", ours.checksum, reference.checksum)?;
        let each = |count: u64| count as f64 / ours.sample.messages as f64;
        // A batch of 500 messages may allocate; a message in turn may not.
        let limit = if self.mode == Mode::InTurn { 0.02 } else { 1.02 };
        let found = (Unit::Allocations, Spread::of([each(ours.allocations)]));
        let what = format!(
            "engine, {}, allocations a message (a batch's own included)",
            self.mode.name()
        );
        Ok(Line::new(what, "", found, Target::AtMost(limit)).with(
            "bare",
            Unit::Allocations,
            Spread::of([each(reference.allocations)]),
        ))
    }
}

fn message(number: u64, work: Work) -> Message {
    let payload = match work {
        Work::Key | Work::Small => order::small_json(),
        Work::Order => order::order_json(number),
    };
    Message::new(payload).with_key(order::key(number, KEYS))
}

//! W7: handlers that wait 5 ms, in key order on one partition, beside bare tasks that only sleep.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidings::{App, Raw, on};

use crate::arms::engine::{self, Mode};
use crate::arms::gauge::{Gauge, Watch};
use crate::arms::topic::{self, ORDERS, Place, Topic};
use crate::error::BenchError;
use crate::measure::{Figure, Sample, timed};
use crate::order;
use crate::pairs::{Pairs, Spread};
use crate::report::Line;
use crate::rows::Setting;
use crate::verdict::{Target, Unit};

const WAIT: Duration = Duration::from_millis(5);
/// tokio rounds 5 ms up to 6, so this is 0.6 s an arm.
const ROUNDS_A_KEY: u64 = 100;

/// What bare tasks compute besides sleeping where the bound of this row is looked for.
const EXTRA: [Duration; 2] = [Duration::from_nanos(250), Duration::from_micros(1)];

/// Four numbers of keys on each broker, then the listener that is bound to its partition.
pub(crate) fn run(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let mut lines = Vec::new();
    for place in Place::ALL {
        let order = Arc::new(KeyOrder::default());
        for keys in [1, 10, 100, 1_000] {
            let bench = Bench::new(setting, place, keys, &order)?;
            let pairs = Pairs::run(
                setting.length.rounds(),
                || bench.engine(Mode::ByKey(usize::try_from(keys).unwrap_or(1))),
                || bench.bare_tasks(Duration::ZERO),
            )?;
            lines.push(bench.line(&pairs));
            if keys == 1_000 && place == Place::Memory {
                for extra in EXTRA {
                    lines.push(bench.bound(setting, extra)?);
                }
            }
            if keys == 100 {
                lines.push(bench.beside_partition_bound(setting)?);
            }
        }
        let violations = order.violations.load(Ordering::Relaxed) as f64;
        lines.push(Line::new(
            format!("{}: order violations in all of these", place.name()),
            "",
            (Unit::Count, Spread::of([violations])),
            Target::AtMost(0.0),
        ));
    }
    Ok(lines)
}

/// One topic with its keys.
struct Bench {
    topic: Topic,
    _directory: tempfile::TempDir,
    place: Place,
    keys: u64,
    messages: u64,
    order: Arc<KeyOrder>,
}

impl Bench {
    fn new(
        setting: &Setting<'_>,
        place: Place,
        keys: u64,
        order: &Arc<KeyOrder>,
    ) -> Result<Self, BenchError> {
        let directory = setting.directory()?;
        let messages = keys * setting.length.messages(ROUNDS_A_KEY);
        let runtime = topic::runtime()?;
        let topic = runtime.block_on(Topic::filled(place, directory.path(), messages, |number| {
            (
                order::fixed_key(number % keys),
                stamp(number % keys, number / keys),
            )
        }))?;
        Ok(Self {
            topic,
            _directory: directory,
            place,
            keys,
            messages,
            order: order.clone(),
        })
    }

    fn engine(&self, mode: Mode) -> Result<Sample, BenchError> {
        self.listen(mode, self.messages)
    }

    /// Handles the first `messages` of the topic in a fresh group.
    fn listen(&self, mode: Mode, messages: u64) -> Result<Sample, BenchError> {
        let gauge = Gauge::leaked(0, messages, Watch::Time);
        let run = Arc::new(Run::new(self.keys, self.order.clone()));
        let handler = move |Raw(payload): Raw| {
            gauge.begin();
            let guard = run.enter(&payload);
            async move {
                tokio::time::sleep(WAIT).await;
                drop(guard);
                gauge.hit(1);
            }
        };
        let subscription = mode.apply(on(ORDERS, handler)).group(topic::fresh_group());
        let app = App::new("bench").add(subscription);
        let reading = topic::runtime()?.block_on(engine::run_app(self.topic.url(), app, gauge))?;
        Ok(reading.sample)
    }

    /// As many tasks as keys, each sleeping as often as its key has messages: what tokio's timers allow.
    fn bare_tasks(&self, work: Duration) -> Result<Sample, BenchError> {
        let runtime = topic::runtime()?;
        let rounds = self.messages / self.keys;
        let (sample, result) = timed(self.messages, || {
            runtime.block_on(async {
                let mut tasks = tokio::task::JoinSet::new();
                for _ in 0..self.keys {
                    tasks.spawn(async move {
                        for _ in 0..rounds {
                            tokio::time::sleep(WAIT).await;
                            spin(work);
                        }
                    });
                }
                while let Some(task) = tasks.join_next().await {
                    task.map_err(BenchError::part("a bare task"))?;
                }
                Ok(())
            })
        });
        result.map(|()| sample)
    }

    fn line(&self, pairs: &Pairs) -> Line {
        let target = if self.keys >= 100 {
            Target::AtLeast(0.99)
        } else {
            Target::None
        };
        let what = format!("{}, {} keys and as many slots", self.place.name(), self.keys);
        let ratio = (Unit::Ratio, pairs.ratio(Figure::PerSecond));
        Line::new(what, "bare tokio tasks that only sleep", ratio, target)
            .with("ours", Unit::PerSecond, pairs.ours(Figure::PerSecond))
            .with("bare", Unit::PerSecond, pairs.reference(Figure::PerSecond))
            .with(
                "cpu per message",
                Unit::Nanoseconds,
                pairs.ours(Figure::CpuNanoseconds),
            )
            .with("bare", Unit::Nanoseconds, pairs.reference(Figure::CpuNanoseconds))
    }

    /// What is left of the bare tasks if each also computes a little after it woke: a thousand of them wake in the same
    /// tick of tokio's clock, and who is late for the tick sleeps a millisecond longer. So this is a bound for anything
    /// that takes so long a message, and no engine is in it.
    fn bound(&self, setting: &Setting<'_>, extra: Duration) -> Result<Line, BenchError> {
        let pairs = Pairs::run(
            setting.length.rounds(),
            || self.bare_tasks(extra),
            || self.bare_tasks(Duration::ZERO),
        )?;
        let what = format!(
            "bare tasks that compute {} ns besides, {} keys",
            extra.as_nanos(),
            self.keys
        );
        let ratio = (Unit::Ratio, pairs.ratio(Figure::PerSecond));
        Ok(Line::new(
            what,
            "bare tokio tasks that only sleep",
            ratio,
            Target::None,
        ))
    }

    /// The same engine told to keep the partition's order: one message at a time.
    fn beside_partition_bound(&self, setting: &Setting<'_>) -> Result<Line, BenchError> {
        let few = setting.length.messages(60).max(5);
        let pairs = Pairs::run(
            setting.length.rounds(),
            || self.engine(Mode::ByKey(100)),
            || self.listen(Mode::InTurn, few),
        )?;
        let ratio = (Unit::Ratio, pairs.ratio(Figure::PerSecond));
        let what = format!("{}, 100 keys and as many slots", self.place.name());
        Ok(Line::new(
            what,
            "one message of the partition at a time",
            ratio,
            Target::AtLeast(10.0),
        ))
    }
}

/// Computes for so long.
fn spin(work: Duration) {
    let began = Instant::now();
    while began.elapsed() < work {
        std::hint::spin_loop();
    }
}

/// Key and place in the key's order.
fn stamp(key: u64, turn: u64) -> Bytes {
    let mut bytes = Vec::with_capacity(16);
    bytes.extend_from_slice(&key.to_le_bytes());
    bytes.extend_from_slice(&turn.to_le_bytes());
    bytes.into()
}

fn read_stamp(payload: &[u8]) -> Option<(usize, u64)> {
    let (key, turn) = payload.split_first_chunk::<8>()?;
    let key = usize::try_from(u64::from_le_bytes(*key)).ok()?;
    Some((key, u64::from_le_bytes(turn.try_into().ok()?)))
}

/// Counts what must never happen, over all runs of a broker.
#[derive(Debug, Default)]
struct KeyOrder {
    violations: AtomicU64,
}

/// The keys of one run: whose turn it is, and who is being handled.
#[derive(Debug)]
struct Run {
    turns: Vec<AtomicU64>,
    busy: Arc<[AtomicBool]>,
    order: Arc<KeyOrder>,
}

impl Run {
    fn new(keys: u64, order: Arc<KeyOrder>) -> Self {
        Self {
            turns: (0..keys).map(|_| AtomicU64::new(0)).collect(),
            busy: (0..keys).map(|_| AtomicBool::new(false)).collect(),
            order,
        }
    }

    /// A handling begins: it must be its key's turn, and the key must not be in another's hands.
    fn enter(&self, payload: &[u8]) -> Option<Busy> {
        let found = read_stamp(payload).and_then(|(key, turn)| {
            let in_turn = self.turns.get(key)?.fetch_add(1, Ordering::Relaxed) == turn;
            let free = !self.busy.get(key)?.swap(true, Ordering::Relaxed);
            Some((key, in_turn && free))
        });
        if !matches!(found, Some((_, true))) {
            self.order.violations.fetch_add(1, Ordering::Relaxed);
        }
        found.map(|(key, _)| Busy {
            busy: self.busy.clone(),
            key,
        })
    }
}

/// Its key is being handled.
struct Busy {
    busy: Arc<[AtomicBool]>,
    key: usize,
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(busy) = self.busy.get(self.key) {
            busy.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_repetition_and_overtaking_are_violations() {
        let order = Arc::new(KeyOrder::default());
        let violations = || order.violations.load(Ordering::Relaxed);
        let run = Run::new(2, order.clone());
        drop(run.enter(&stamp(0, 0)));
        let first = run.enter(&stamp(1, 0));
        drop(run.enter(&stamp(0, 1)));
        assert_eq!(violations(), 0);
        drop(run.enter(&stamp(1, 1)));
        assert_eq!(violations(), 1, "overlap");
        drop(first);
        drop(run.enter(&stamp(0, 1)));
        assert_eq!(violations(), 2, "repetition");
        drop(run.enter(&stamp(1, 9)));
        assert_eq!(violations(), 3, "overtaking");
        drop(run.enter(b"?"));
        assert_eq!(violations(), 4, "no stamp");
    }
}

//! Counts what handlers handle; starts the clocks after the warm-up and stops them at the last message.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::allocations;
use crate::error::BenchError;
use crate::measure::{Sample, process_cpu};

/// No arm takes longer; one that does has lost a message.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether allocations are counted between the warm-up and the end. Counting costs time, so such a run is not timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    Time,
    Allocations,
    /// Nothing: who asks how much was done counts from outside. The processor's clock is not asked for, because under
    /// callgrind the library behind it finds no vDSO and dies.
    Nothing,
}

/// A counter for one run of one arm.
///
/// It has one writer at a time, because a subscription handles on one task: plain loads and stores, no locked
/// instruction that would be charged to the engine. Handlers hold it as `&'static`, as they would hold nothing at all.
#[derive(Debug)]
pub(crate) struct Gauge {
    warm: u64,
    total: u64,
    watch: Watch,
    seen: AtomicU64,
    sum: AtomicU64,
    began: OnceLock<Mark>,
    ended: OnceLock<(Mark, u64)>,
    done: Notify,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    wall: Instant,
    cpu: Duration,
}

impl Mark {
    fn now(watch: Watch) -> Self {
        let cpu = match watch {
            Watch::Nothing => Duration::ZERO,
            Watch::Time | Watch::Allocations => process_cpu(),
        };
        Self {
            wall: Instant::now(),
            cpu,
        }
    }
}

/// What a finished run says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) sample: Sample,
    pub(crate) checksum: u64,
    /// Zero unless they were counted.
    pub(crate) allocations: u64,
}

impl Gauge {
    /// A gauge for `total` messages, the first `warm` of which are not measured. It is never freed: a bench program
    /// makes a few hundred of them.
    pub(crate) fn leaked(warm: u64, total: u64, watch: Watch) -> &'static Self {
        Box::leak(Box::new(Self {
            warm: warm.min(total.saturating_sub(1)),
            total,
            watch,
            seen: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            began: OnceLock::new(),
            ended: OnceLock::new(),
            done: Notify::new(),
        }))
    }

    /// Starts the clocks now, if nothing has started them.
    pub(crate) fn begin(&self) {
        self.began.get_or_init(|| {
            if self.watch == Watch::Allocations {
                allocations::start();
            }
            Mark::now(self.watch)
        });
    }

    /// Counts one handled message, with what was read from it.
    #[inline]
    pub(crate) fn hit(&self, sum: u64) {
        let seen = self.seen.load(Ordering::Relaxed) + 1;
        self.seen.store(seen, Ordering::Relaxed);
        self.sum.store(
            self.sum.load(Ordering::Relaxed).wrapping_add(sum),
            Ordering::Relaxed,
        );
        if seen == self.warm {
            self.begin();
        }
        if seen == self.total {
            self.end();
        }
    }

    #[cold]
    fn end(&self) {
        self.ended.get_or_init(|| {
            let mark = Mark::now(self.watch);
            let count = if self.watch == Watch::Allocations {
                allocations::stop()
            } else {
                0
            };
            (mark, count)
        });
        self.done.notify_one();
    }

    /// Whether the last message was handled.
    pub(crate) fn is_done(&self) -> bool {
        self.ended.get().is_some()
    }

    /// Lets the other tasks of this thread run until so many messages were handled.
    pub(crate) async fn reached(&self, messages: u64) {
        while self.seen.load(Ordering::Relaxed) < messages {
            tokio::task::yield_now().await;
        }
    }

    /// Waits for the last message.
    ///
    /// # Errors
    /// That it did not come.
    pub(crate) async fn finished(&self) -> Result<Reading, BenchError> {
        let wait = async {
            while !self.is_done() {
                self.done.notified().await;
            }
        };
        // A message handled twice or never: the count says which.
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        waited.map_err(|_| BenchError::Part {
            part: "the arm",
            reason: format!(
                "handled {} of {} messages in {} s",
                self.seen.load(Ordering::Relaxed),
                self.total,
                PATIENCE.as_secs()
            ),
        })?;
        self.reading()
    }

    /// What a run says that is over now, not with its last message: what was published is kept by then.
    ///
    /// # Errors
    /// A message is missing.
    pub(crate) fn reading_now(&self) -> Result<Reading, BenchError> {
        let now = Mark::now(self.watch);
        let mut reading = self.reading()?;
        if let Some(began) = self.began.get() {
            reading.sample.wall = now.wall - began.wall;
            reading.sample.cpu = now.cpu.saturating_sub(began.cpu);
        }
        Ok(reading)
    }

    /// What a finished run says.
    ///
    /// # Errors
    /// That it is not finished.
    pub(crate) fn reading(&self) -> Result<Reading, BenchError> {
        let (Some(began), Some((ended, allocations))) = (self.began.get(), self.ended.get()) else {
            return Err(BenchError::Part {
                part: "the arm",
                reason: "ended before its last message".into(),
            });
        };
        Ok(Reading {
            sample: Sample {
                messages: self.total - self.warm,
                wall: ended.wall - began.wall,
                cpu: ended.cpu.saturating_sub(began.cpu),
            },
            checksum: self.sum.load(Ordering::Relaxed),
            allocations: *allocations,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_clocks_run_from_the_warm_up_to_the_last_message() {
        let gauge = Gauge::leaked(10, 110, Watch::Time);
        for number in 0..110 {
            assert!(!gauge.is_done());
            gauge.hit(number);
        }
        let reading = gauge.finished().await.unwrap();
        assert_eq!(reading.sample.messages, 100);
        assert_eq!(reading.checksum, (0..110).sum::<u64>());
        assert!(reading.sample.wall > Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_loses_a_message_is_an_error_that_says_how_many_came() {
        let gauge = Gauge::leaked(0, 3, Watch::Time);
        gauge.begin();
        gauge.hit(1);
        let error = gauge.finished().await.unwrap_err().to_string();
        assert!(error.contains("handled 1 of 3 messages"), "{error}");
        assert!(gauge.reading().is_err());
    }
}

//! One measured run of one arm: wall time, processor time, messages.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What a run took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    pub(crate) messages: u64,
    pub(crate) wall: Duration,
    /// User and system time of the whole process, all its threads.
    pub(crate) cpu: Duration,
}

/// What of a sample is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Messages per second of wall time: more is better.
    PerSecond,
    /// Messages per second of processor time: more is better.
    PerCpuSecond,
    /// Processor time per message: less is better.
    CpuNanoseconds,
    /// Wall time per message: less is better.
    WallNanoseconds,
}

impl Sample {
    /// The figure of this sample. A clock that did not move counts as one nanosecond.
    pub(crate) fn figure(&self, figure: Figure) -> f64 {
        let messages = self.messages.max(1) as f64;
        let cpu = self.cpu.as_secs_f64().max(1e-9);
        let wall = self.wall.as_secs_f64().max(1e-9);
        match figure {
            Figure::PerSecond => messages / wall,
            Figure::PerCpuSecond => messages / cpu,
            Figure::CpuNanoseconds => cpu / messages * 1e9,
            Figure::WallNanoseconds => wall / messages * 1e9,
        }
    }

    /// Two runs of one arm as one.
    pub(crate) fn joined(&self, other: &Sample) -> Sample {
        Sample {
            messages: self.messages + other.messages,
            wall: self.wall + other.wall,
            cpu: self.cpu + other.cpu,
        }
    }
}

/// A clock that runs only while something is measured.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    wall: Duration,
    cpu: Duration,
}

impl Stopwatch {
    /// Does the work and adds what it took.
    pub(crate) fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (cpu, wall) = (process_cpu(), Instant::now());
        let result = work();
        self.wall += wall.elapsed();
        self.cpu += process_cpu().saturating_sub(cpu);
        result
    }

    /// The wall time so far.
    pub(crate) fn wall(&self) -> Duration {
        self.wall
    }

    /// The sample of so many messages.
    pub(crate) fn sample(&self, messages: u64) -> Sample {
        Sample {
            messages,
            wall: self.wall,
            cpu: self.cpu,
        }
    }
}

/// Does the work once and returns its sample beside its result.
pub(crate) fn timed<T>(messages: u64, work: impl FnOnce() -> T) -> (Sample, T) {
    let mut watch = Stopwatch::default();
    let result = watch.time(work);
    (watch.sample(messages), result)
}

/// Does the work over and over for at least that long; each time is `messages` messages. For work whose speed is the
/// disk's, which nobody knows beforehand.
pub(crate) fn repeated<E>(
    at_least: Duration,
    messages: u64,
    mut work: impl FnMut() -> Result<(), E>,
) -> Result<Sample, E> {
    let (cpu, wall) = (process_cpu(), Instant::now());
    let mut times = 0;
    while times == 0 || wall.elapsed() < at_least {
        work()?;
        times += 1;
    }
    Ok(Sample {
        messages: times * messages,
        wall: wall.elapsed(),
        cpu: process_cpu().saturating_sub(cpu),
    })
}

/// User and system time of this process so far.
pub(crate) fn process_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_per_message_and_per_second() {
        let sample = Sample {
            messages: 2_000,
            wall: Duration::from_millis(2),
            cpu: Duration::from_millis(1),
        };
        for (figure, expected) in [
            (Figure::PerSecond, 1e6),
            (Figure::PerCpuSecond, 2e6),
            (Figure::CpuNanoseconds, 500.0),
            (Figure::WallNanoseconds, 1000.0),
        ] {
            let found = sample.figure(figure);
            assert!((found - expected).abs() < 1e-6 * expected, "{figure:?}: {found}");
        }
    }

    #[test]
    fn work_is_repeated_until_the_time_is_over_and_ends_at_its_first_error() {
        let mut calls = 0;
        let sample = repeated(Duration::from_millis(2), 7, || {
            calls += 1;
            Ok::<_, ()>(())
        });
        let sample = sample.unwrap();
        assert_eq!(sample.messages, calls * 7);
        assert!(sample.wall >= Duration::from_millis(2));
        assert_eq!(repeated(Duration::ZERO, 1, || Err("full")), Err("full"));
    }

    #[test]
    fn the_processors_clock_moves_while_something_is_computed() {
        let (sample, sum) = timed(1, || {
            (0..3_000_000u64).fold(0, |sum: u64, next| sum.rotate_left(3) ^ next)
        });
        assert_ne!(sum, 0);
        assert!(sample.cpu > Duration::ZERO && sample.wall > Duration::ZERO);
    }
}

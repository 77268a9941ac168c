//! Latencies under an open load: messages are due at fixed times, and each is measured from the time it was due.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;

use crate::error::BenchError;

/// Closer than this to its time, the publishing thread spins: a sleep overshoots by about as much.
const SPIN: Duration = Duration::from_micros(200);
/// The longest that can be recorded.
const LONGEST_NS: u64 = 60_000_000_000;

/// When messages are due, and how late each was handled. A pause of ours or of the machine delays what is due
/// meanwhile, and counts for each of them: nothing waits for an answer before it goes on.
#[derive(Debug)]
pub(crate) struct Latencies {
    start: Instant,
    interval: Duration,
    /// So many at the beginning are not counted.
    warm: u64,
    recorded: Mutex<Histogram<u64>>,
}

/// What one run found, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

impl Latencies {
    /// A schedule of that many messages a second, which begins in a moment. It is never freed, as gauges are not.
    pub(crate) fn leaked(per_second: u32, warm: u64) -> Result<&'static Self, BenchError> {
        let recorded =
            Histogram::new_with_max(LONGEST_NS, 3).map_err(BenchError::part("making a histogram"))?;
        Ok(Box::leak(Box::new(Self {
            start: Instant::now() + Duration::from_millis(20),
            interval: Duration::from_secs(1) / per_second,
            warm,
            recorded: Mutex::new(recorded),
        })))
    }

    fn due(&self, number: u64) -> Instant {
        let nanoseconds = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
        self.start + Duration::from_nanos(nanoseconds.saturating_mul(number))
    }

    /// Sleeps until the message is due, or a little longer: what shares a core with those whom it sends to must not spin.
    pub(crate) fn sleep_until(&self, number: u64) {
        let left = self.due(number).saturating_duration_since(Instant::now());
        if !left.is_zero() {
            std::thread::sleep(left);
        }
    }

    /// Waits until the message is due.
    pub(crate) fn wait_for(&self, number: u64) {
        let due = self.due(number);
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            match left.checked_sub(SPIN) {
                Some(long) if !long.is_zero() => std::thread::sleep(long),
                _ => std::hint::spin_loop(),
            }
        }
    }

    /// The message is being handled.
    pub(crate) fn handled(&self, number: u64) {
        if number >= self.warm {
            let late = Instant::now().saturating_duration_since(self.due(number));
            let nanoseconds = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
            self.recorded
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .saturating_record(nanoseconds);
        }
    }

    /// What was found so far.
    pub(crate) fn percentiles(&self) -> Percentiles {
        let recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let at = |quantile| recorded.value_at_quantile(quantile) as f64 / 1e3;
        Percentiles {
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
        }
    }
}

/// The message of that number: the small one, with its number in place of its id.
pub(crate) fn payload(number: u64) -> Bytes {
    format!(r#"{{"id":{number},"quantity":37}}"#).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_sent_late_is_late_from_when_it_was_due() {
        let latencies = Latencies::leaked(1_000, 1).unwrap();
        latencies.wait_for(21);
        for number in 0..=21 {
            latencies.handled(number);
        }
        let Percentiles { p50, p99, p999 } = latencies.percentiles();
        assert!(p50 >= 9_900.0, "the eleventh was due ten milliseconds ago: {p50}");
        assert!(
            p99 >= 19_900.0 && p999 >= p99,
            "the first that counts, twenty: {p99}"
        );
    }

    #[test]
    fn the_payload_says_its_number() {
        let small: crate::order::Small = serde_json::from_slice(&payload(17)).unwrap();
        assert_eq!((small.id, small.quantity), (17, 37));
    }
}

//! How long to wait before the next try: [`Backoff`].

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LAST: Duration = Duration::from_secs(30);

/// 50 ms, doubled each time up to 30 s, of which up to a half is left out by chance.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    tries: u32,
}

impl Backoff {
    pub(super) fn next(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.tries.min(16)).min(LAST);
        self.tries += 1;
        whole.mul_f64(1.0 - fastrand::f64() / 2.0)
    }

    pub(super) fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_its_end_and_begins_anew() {
        let mut backoff = Backoff::default();
        for expected in [50, 100, 200, 400] {
            let wait = backoff.next().as_millis();
            assert!((expected / 2..=expected).contains(&wait), "{wait} of {expected}");
        }
        let last = (0..100).map(|_| backoff.next()).last().unwrap_or_default();
        assert!((LAST / 2..=LAST).contains(&last), "{last:?}");
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}

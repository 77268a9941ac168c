//! How much a broker takes at once: [`Most`].

use std::time::Duration;
use tokio::time::Instant;

/// To try whether more is taken costs about this part of the time.
const TRIES: u32 = 10;
/// It is tried after that long at the latest, or what was sent while the broker was away would go on in small pieces.
const LONGEST: Duration = Duration::from_secs(60);

/// How many messages are in a transaction at most. What failed may have been too much for its time, a quota, a buffer: so it is
/// half of that, and after a while twice what is taken.
#[derive(Debug)]
pub(super) struct Most {
    count: usize,
    grows_at: Instant,
}

impl Most {
    /// As many as there are.
    pub(super) fn new() -> Self {
        Self {
            count: usize::MAX,
            grows_at: Instant::now(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// So many were taken.
    pub(super) fn worked(&mut self, count: usize) {
        if Instant::now() >= self.grows_at {
            self.count = self.count.max(count.saturating_mul(2));
        }
    }

    /// A transaction of so many failed, and the next one that is too much takes as long.
    pub(super) fn failed(&mut self, count: usize, after: Duration) {
        match count {
            // Whatever it is, it is not how many.
            ..=1 => *self = Self::new(),
            _ => {
                self.count = count / 2;
                self.grows_at = Instant::now() + (after * TRIES).min(LONGEST);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn half_of_what_failed_and_twice_what_is_taken_after_a_while() {
        let mut most = Most::new();
        most.failed(40, Duration::from_secs(1));
        assert_eq!(most.count(), 20);
        most.worked(20);
        assert_eq!(most.count(), 20, "too soon");
        tokio::time::advance(Duration::from_secs(1) * TRIES).await;
        most.worked(7);
        assert_eq!(most.count(), 20, "there were no more");
        most.worked(20);
        assert_eq!(most.count(), 40);
        most.failed(40, Duration::from_secs(3600));
        tokio::time::advance(LONGEST).await;
        most.worked(20);
        assert_eq!(most.count(), 40, "it has waited long enough");
        most.failed(1, Duration::from_secs(1));
        assert_eq!(most.count(), usize::MAX, "it was not how many");
    }
}

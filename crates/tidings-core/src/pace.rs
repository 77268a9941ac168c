//! Keeps a stretch of work that never waits short: [`Pace`].

use std::time::{Duration, Instant};

/// How long others of the same thread wait at the most, as far as it depends on the number of messages.
const LIMIT: Duration = Duration::from_millis(1);

/// Says when a stretch of messages has taken long enough. The clock is asked after 1, 2, 4, 8, 16 and 32 of them and
/// then after every 32, so it costs a message next to nothing.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    done: usize,
}

impl Pace {
    /// A stretch begins.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            began: Instant::now(),
            done: 0,
        }
    }

    /// Whether the stretch has taken long enough.
    #[must_use]
    #[cold]
    pub fn has_passed(&self) -> bool {
        self.began.elapsed() >= LIMIT
    }

    /// One more message is about to be handled: whether the stretch should end before it.
    #[inline]
    pub fn is_over(&mut self) -> bool {
        let done = self.done;
        self.done += 1;
        let looks = if done < 32 {
            done.is_power_of_two()
        } else {
            done.is_multiple_of(32)
        };
        looks && self.has_passed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_stretch_ends_at_the_next_look_and_a_fast_one_goes_on() {
        let mut pace = Pace::begin();
        assert!(!pace.is_over(), "the first message is always handled");
        std::thread::sleep(LIMIT);
        assert!(pace.is_over());
        let mut fast = Pace {
            began: Instant::now() + Duration::from_secs(60),
            done: 0,
        };
        assert!((0..1_000).all(|_| !fast.is_over()));
    }
}

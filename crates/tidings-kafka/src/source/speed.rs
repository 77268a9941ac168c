//! How fast a lane is taken: [`Speed`].

use std::time::Duration;
use tokio::time::Instant;

/// Over which time it is measured.
const WINDOW: Duration = Duration::from_millis(250);
/// What was taken in less time says nothing about a second.
const LEAST: Duration = Duration::from_millis(50);
/// Who takes nothing for so long begins anew: it stood still, and that says nothing about how fast it is.
const STOOD_STILL: Duration = Duration::from_secs(1);

/// Bytes that the engine takes of a lane a second.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Speed {
    /// Begin of the window, and the last time anything was taken.
    window: Option<(Instant, Instant)>,
    bytes: usize,
    before: usize,
}

impl Speed {
    /// So much was taken.
    pub(super) fn taken(&mut self, bytes: usize) {
        let now = Instant::now();
        let since = match self.window {
            Some((since, last)) if now - last < STOOD_STILL => since,
            _ => {
                self.bytes = 0;
                now
            }
        };
        self.bytes = self.bytes.saturating_add(bytes);
        self.window = Some((since, now));
        if now - since >= WINDOW {
            self.before = self.in_window(now - since);
            (self.bytes, self.window) = (0, Some((now, now)));
        }
    }

    /// The faster one of this window and the last: a lane that is waited for is not slow.
    pub(super) fn a_second(&self) -> usize {
        let Some((since, last)) = self.window else {
            return 0;
        };
        if last.elapsed() >= STOOD_STILL {
            return 0;
        }
        self.before.max(self.in_window(since.elapsed()))
    }

    fn in_window(&self, passed: Duration) -> usize {
        (self.bytes as f64 / passed.max(LEAST).as_secs_f64()) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_in_a_second_is_known_soon_and_forgotten_by_a_lane_that_stood_still() {
        let mut speed = Speed::default();
        assert_eq!(speed.a_second(), 0);
        for _ in 0..100 {
            speed.taken(1_000);
            advance(Duration::from_millis(10)).await;
            assert!(speed.a_second() <= 110_000, "{}", speed.a_second());
        }
        assert!(speed.a_second() >= 95_000, "{}", speed.a_second());
        advance(STOOD_STILL).await;
        assert_eq!(speed.a_second(), 0);
        // It does not count as slow for having stood still.
        speed.taken(1_000);
        advance(Duration::from_millis(10)).await;
        speed.taken(1_000);
        assert!(speed.a_second() >= 2 * 1_000 * 20, "{}", speed.a_second());
    }
}

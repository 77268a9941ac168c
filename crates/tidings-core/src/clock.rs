//! What time it is, for messages: the system's clock, or the virtual clock of a test.

use crate::message::Timestamp;
use tokio::time::Instant;

/// Where timestamps and due times come from.
///
/// Waiting is always done on tokio's clock. In production a timestamp is what the system's clock says; in tests with
/// paused time both must agree, so a virtual clock counts tokio's time from a fixed start.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    /// The system's clock.
    System,
    /// A start, and tokio's time since then.
    Virtual {
        /// The time on the calendar at `origin`.
        start: Timestamp,
        /// The instant of `start`.
        origin: Instant,
    },
}

impl Clock {
    /// A clock that counts tokio's time, paused or not, from 2026-01-01 00:00:00 UTC on.
    pub fn virtual_from_now() -> Self {
        Self::Virtual {
            start: Timestamp::from_millis(1_767_225_600_000),
            origin: Instant::now(),
        }
    }

    /// The time on the calendar.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Virtual { start, origin } => start.plus(origin.elapsed()),
        }
    }

    /// The instant at which that time is reached; now if it has passed.
    pub fn instant_at(&self, due: Timestamp) -> Instant {
        let wait = due.since(self.now());
        // Half a century is beyond every wait that is allowed, and within what an instant can hold.
        Instant::now() + wait.min(std::time::Duration::from_secs(50 * 365 * 86_400))
    }
}

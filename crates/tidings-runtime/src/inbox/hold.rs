//! What holds a subscription back while its inbox's database is away: [`Hold`].
//!
//! Nothing starts until the time has come to ask again, and then no more than the concurrency: so nothing spins, nothing is
//! parked, and the messages that failed wait in memory, as many as there were handled at once.

use crate::status::StatusBoard;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tidings_core::{Failure, FailureKind, InboxError};
use tokio::time::Instant;

/// The first wait before a database that is away is asked again, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How long a message waits that another transaction stood in the way of.
const BEHIND_ANOTHER: Duration = Duration::from_millis(50);
/// Its number on the status board.
const OBSTACLE: u64 = 5;

#[derive(Debug)]
pub(crate) struct Hold {
    store: String,
    board: Arc<StatusBoard>,
    /// Looked at before each delivery, so without a lock.
    is_away: AtomicBool,
    away: Mutex<Away>,
}

#[derive(Debug, Default)]
struct Away {
    until: Option<Instant>,
    wait: Duration,
}

impl Hold {
    pub(super) fn new(store: String, board: Arc<StatusBoard>) -> Self {
        Self {
            store,
            board,
            is_away: AtomicBool::new(false),
            away: Mutex::default(),
        }
    }

    /// Until when nothing is to start.
    pub(crate) fn until(&self, now: Instant) -> Option<Instant> {
        if !self.is_away.load(Ordering::Acquire) {
            return None;
        }
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.until.filter(|until| *until > now)
    }

    /// The database has done what it was asked for.
    pub(super) fn works(&self) {
        if self.is_away.swap(false, Ordering::AcqRel) {
            *self.away.lock().unwrap_or_else(PoisonError::into_inner) = Away::default();
            self.board.set_obstacle(OBSTACLE, None);
        }
    }

    /// What becomes of a handling because of that.
    pub(super) fn failure(&self, error: InboxError) -> Failure {
        let wait = match &error {
            InboxError::Work(_) => return error.into_failure(),
            InboxError::Conflict(_) => shorter(BEHIND_ANOTHER),
            _ => self.is_away(&error),
        };
        Failure::new(FailureKind::Unavailable(wait), error)
    }

    /// How long to wait for it.
    fn is_away(&self, error: &InboxError) -> Duration {
        let now = Instant::now();
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        match away.until {
            // Others were under way when the first one failed.
            Some(until) if until > now => return until - now,
            _ => {}
        }
        away.wait = (away.wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
        let wait = shorter(away.wait);
        away.until = Some(now + wait);
        self.is_away.store(true, Ordering::Release);
        let said = format!("{} (the inbox in {})", error, self.store);
        tracing::warn!(store = %self.store, %error, "the subscription waits for its inbox");
        self.board.set_obstacle(OBSTACLE, Some(said));
        wait
    }
}

/// That wait, up to a quarter shorter: many that wait for one database should not come back at once.
fn shorter(wait: Duration) -> Duration {
    wait.mul_f64(1.0 - fastrand::f64() / 4.0)
}

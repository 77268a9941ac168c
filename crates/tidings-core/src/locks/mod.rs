//! Locks that one of several processes holds for a while: [`LockStore`], [`LockRequest`], [`Lease`].

mod memory;

pub use memory::MemoryLocks;

use crate::BoxFuture;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Where locks are kept that one of several processes holds for a while.
///
/// Time is the store's own, for all processes the same. A holder that was paused for longer than its time cannot know it;
/// so each lock comes with a [fencing token](Lease::token), and whoever writes under a lock has the token checked where it
/// writes: [`check`](Self::check), or within the transaction of a database.
pub trait LockStore: Send + Sync + fmt::Debug {
    /// Takes a lock, or not, if somebody has it. It does not wait.
    ///
    /// # Errors
    /// [`LockError::Unavailable`]; the lock may have been taken then, and becomes free after its time.
    fn acquire<'a>(&'a self, request: &'a LockRequest) -> BoxFuture<'a, Result<Option<Lease>, LockError>>;

    /// Holds a lock from now on for that time at most; its token stays.
    ///
    /// # Errors
    /// [`LockError::Lost`] when it was held for too long already, also if nobody else took it; [`LockError::Unavailable`].
    fn renew<'a>(&'a self, lease: &'a Lease, at_most: Duration) -> BoxFuture<'a, Result<Lease, LockError>>;

    /// Gives a lock back. It is free at once, or when it was held for as long as it had to be
    /// ([`LockRequest::at_least`]). One that is lost already is nothing to complain about.
    ///
    /// # Errors
    /// [`LockError::Unavailable`]; the lock becomes free after its time.
    fn release(&self, lease: Lease) -> BoxFuture<'_, Result<(), LockError>>;

    /// Whether the lock is still held under that token. What is done after the answer may be too late: a store with
    /// transactions has a check that is a part of them.
    ///
    /// # Errors
    /// [`LockError::Unavailable`].
    fn check<'a>(&'a self, name: &'a str, token: u64) -> BoxFuture<'a, Result<bool, LockError>>;
}

/// The longest name of a lock, in bytes.
pub const MAX_LOCK_NAME: usize = 255;

/// Which lock, and for how long.
///
/// ```
/// use std::time::Duration;
/// use tidings_core::LockRequest;
///
/// let nightly = LockRequest::new("schedule.nightly", Duration::from_secs(600))?
///     .at_least(Duration::from_secs(30))?
///     .holder("shop-7");
/// assert!(LockRequest::new("x".repeat(256), Duration::from_secs(1)).is_err());
/// # drop(nightly);
/// # Ok::<(), tidings_core::LockError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct LockRequest {
    name: Arc<str>,
    at_most: Duration,
    at_least: Duration,
    holder: Arc<str>,
}

impl LockRequest {
    /// A lock of that name, 1 to 255 bytes without control characters. It is free after `at_most` (1 ms or more), whatever
    /// becomes of its holder.
    ///
    /// # Errors
    /// [`LockError::Name`], [`LockError::Times`].
    pub fn new(name: impl Into<Arc<str>>, at_most: Duration) -> Result<Self, LockError> {
        let name = name.into();
        if name.is_empty() || name.len() > MAX_LOCK_NAME || name.chars().any(char::is_control) {
            return Err(LockError::Name {
                name: name.escape_debug().take(MAX_LOCK_NAME).collect(),
                bytes: name.len(),
            });
        }
        if at_most < Duration::from_millis(1) {
            return Err(LockError::Times {
                name,
                problem: "it is held for less than a millisecond",
            });
        }
        Ok(Self {
            name,
            at_most,
            at_least: Duration::ZERO,
            holder: "".into(),
        })
    }

    /// It stays taken for that long, also if it is released earlier: clocks of processes that want it for the same
    /// occasion may differ by less. Default zero.
    ///
    /// # Errors
    /// [`LockError::Times`] when it is longer than the longest time.
    pub fn at_least(self, at_least: Duration) -> Result<Self, LockError> {
        if at_least > self.at_most {
            return Err(LockError::Times {
                name: self.name,
                problem: "it has to be held for longer than it may be",
            });
        }
        Ok(Self { at_least, ..self })
    }

    /// Who holds it, for people who look into the store.
    pub fn holder(self, holder: impl Into<Arc<str>>) -> Self {
        Self {
            holder: holder.into(),
            ..self
        }
    }

    /// The name of the lock.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// For how long it is held at most.
    pub fn longest(&self) -> Duration {
        self.at_most
    }

    /// For how long it is taken at least.
    pub fn shortest(&self) -> Duration {
        self.at_least
    }

    /// Who holds it, for people.
    pub fn who(&self) -> &str {
        &self.holder
    }
}

/// A lock that was taken. Dropping it does not give it back: [`LockStore::release`] does, or its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    name: Arc<str>,
    token: u64,
    until: Instant,
}

impl Lease {
    /// For stores: a lock of that name and token that was asked for at `asked` and is held for `at_most`. Since the store
    /// began to count later than it was asked, the holder never believes to have it for longer than it has.
    pub fn new(name: Arc<str>, token: u64, asked: Instant, at_most: Duration) -> Self {
        Self {
            name,
            token,
            until: asked + at_most.min(Duration::from_secs(50 * 365 * 86_400)),
        }
    }

    /// The name of the lock.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its fencing token: each holder of the lock has a greater one than those before.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// For how much longer it is held, by this process's own clock and rather too short: zero when it may be lost.
    pub fn remaining(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

/// Why a lock was not taken, kept or given back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The name is none.
    #[error(
        "\"{name}\" cannot be the name of a lock: it has {bytes} bytes, and 1 to 255 without control characters are allowed"
    )]
    Name {
        /// What was given, shortened.
        name: String,
        /// Its length in bytes.
        bytes: usize,
    },
    /// The times do not fit each other.
    #[error("the lock \"{name}\" cannot be asked for: {problem}")]
    Times {
        /// The name of the lock.
        name: Arc<str>,
        /// What is wrong.
        problem: &'static str,
    },
    /// It was held for too long and is lost: what was done under it since then may have been done by somebody else too.
    #[error("the lock \"{name}\" is not held under token {token} any more; stop what was done under it")]
    Lost {
        /// The name of the lock.
        name: Arc<str>,
        /// The token that it was held under.
        token: u64,
    },
    /// The store gave no answer, or failed.
    #[error("the lock \"{name}\" could not be asked for: {reason}")]
    Unavailable {
        /// The name of the lock.
        name: Arc<str>,
        /// What the store said.
        reason: String,
        /// Where it came from.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_times_are_checked() {
        let second = Duration::from_secs(1);
        for good in ["a", "schedule nightly ä", &"x".repeat(255)] {
            assert!(LockRequest::new(good, second).is_ok(), "{good}");
        }
        for bad in ["", "a\0b", "a\nb", &"x".repeat(256), &"ä".repeat(128)] {
            let refused = LockRequest::new(bad, second).unwrap_err();
            assert!(matches!(refused, LockError::Name { .. }), "{refused}");
            assert!(!refused.to_string().contains('\0'));
        }
        let refused = LockRequest::new("a", Duration::from_micros(10)).unwrap_err();
        assert!(matches!(refused, LockError::Times { .. }), "{refused}");
        let refused = LockRequest::new("a", second)
            .unwrap()
            .at_least(2 * second)
            .unwrap_err();
        assert!(matches!(refused, LockError::Times { .. }), "{refused}");
    }
}

//! Locks within one process: [`MemoryLocks`].

use super::{Lease, LockError, LockRequest, LockStore};
use crate::BoxFuture;
use crate::clock::Clock;
use crate::message::Timestamp;
use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Locks within one process, for tests and for apps that are the only one of their kind. In virtual time they are held in
/// virtual time.
#[derive(Debug)]
pub struct MemoryLocks {
    clock: Clock,
    locks: Mutex<Locks>,
}

#[derive(Debug, Default)]
struct Locks {
    /// One for all names: it grows for each of them, and what is free need not be remembered.
    last_token: u64,
    taken: BTreeMap<Arc<str>, Taken>,
}

#[derive(Debug)]
struct Taken {
    token: u64,
    held_until: Timestamp,
    /// Not earlier than this it is free.
    kept_until: Timestamp,
}

impl Taken {
    fn is_free(&self, now: Timestamp) -> bool {
        self.held_until.max(self.kept_until) <= now
    }
}

impl MemoryLocks {
    /// Locks that are held by that clock.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            locks: Mutex::default(),
        }
    }

    fn locks(&self) -> MutexGuard<'_, Locks> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, request: &LockRequest) -> Option<Lease> {
        let (asked, now) = (Instant::now(), self.clock.now());
        let mut locks = self.locks();
        locks.taken.retain(|_, taken| !taken.is_free(now));
        if locks.taken.contains_key(request.name()) {
            return None;
        }
        locks.last_token += 1;
        let token = locks.last_token;
        let taken = Taken {
            token,
            held_until: now.plus(request.longest()),
            kept_until: now.plus(request.shortest()),
        };
        locks.taken.insert(request.name().clone(), taken);
        Some(Lease::new(
            request.name().clone(),
            token,
            asked,
            request.longest(),
        ))
    }

    /// What is held under that token now.
    fn held<T>(&self, name: &str, token: u64, use_it: impl FnOnce(&mut Taken, Timestamp) -> T) -> Option<T> {
        let now = self.clock.now();
        let mut locks = self.locks();
        let taken = locks.taken.get_mut(name)?;
        (taken.token == token && taken.held_until > now).then(|| use_it(taken, now))
    }
}

impl LockStore for MemoryLocks {
    fn acquire<'a>(&'a self, request: &'a LockRequest) -> BoxFuture<'a, Result<Option<Lease>, LockError>> {
        Box::pin(ready(Ok(self.take(request))))
    }

    fn renew<'a>(&'a self, lease: &'a Lease, at_most: Duration) -> BoxFuture<'a, Result<Lease, LockError>> {
        let (name, token, asked) = (lease.name(), lease.token(), Instant::now());
        let renewed = self.held(name, token, |taken, now| taken.held_until = now.plus(at_most));
        Box::pin(ready(match renewed {
            Some(()) => Ok(Lease::new(name.clone(), token, asked, at_most)),
            None => Err(LockError::Lost {
                name: name.clone(),
                token,
            }),
        }))
    }

    fn release(&self, lease: Lease) -> BoxFuture<'_, Result<(), LockError>> {
        self.held(lease.name(), lease.token(), |taken, now| taken.held_until = now);
        Box::pin(ready(Ok(())))
    }

    fn check<'a>(&'a self, name: &'a str, token: u64) -> BoxFuture<'a, Result<bool, LockError>> {
        let held = self.held(name, token, |_, _| ()).is_some();
        Box::pin(ready(Ok(held)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_free_is_not_remembered() {
        let locks = MemoryLocks::new(Clock::virtual_from_now());
        for name in 0..100 {
            let request = LockRequest::new(format!("lock {name}"), Duration::from_secs(1)).unwrap();
            assert!(locks.acquire(&request).await.unwrap().is_some());
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        let request = LockRequest::new("last", Duration::from_secs(1)).unwrap();
        let lease = locks.acquire(&request).await.unwrap().unwrap();
        assert_eq!((lease.token(), locks.locks().taken.len()), (101, 1));
    }
}

//! How rows are read as they are committed, and how that fares: [`ReplicationOptions`], [`ReplicationStatus`].

use super::error::ReplicationError;
use super::slot::{LONGEST_NAME, Look};
use crate::relay::RelayStatus;
use sqlx::postgres::PgConnectOptions;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What is done when a slot is behind by more than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BehindLimit {
    /// It is said in the log and in the status. The default.
    #[default]
    Alarm,
    /// As well, and the slot is dropped; until it is started again, the relay goes on by polling. Nothing is lost: what was
    /// not sent is in the table.
    Poll,
}

/// How a [`ReplicationRelay`](crate::ReplicationRelay) reads. What is common to all relays is in
/// [`RelayOptions`](crate::RelayOptions).
#[derive(Clone)]
#[must_use]
pub struct ReplicationOptions {
    pub(crate) slot: Option<String>,
    pub(crate) publication: Option<String>,
    pub(crate) connect: Option<PgConnectOptions>,
    pub(crate) max_in_flight: usize,
    pub(crate) max_in_flight_bytes: usize,
    pub(crate) status_interval: Duration,
    pub(crate) lag_interval: Duration,
    pub(crate) lag_limit: u64,
    pub(crate) behind_limit: BehindLimit,
}

impl fmt::Debug for ReplicationOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicationOptions")
            .field("slot", &self.slot)
            .field("publication", &self.publication)
            .field("lag_limit", &self.lag_limit)
            .field("behind_limit", &self.behind_limit)
            .finish_non_exhaustive()
    }
}

impl Default for ReplicationOptions {
    fn default() -> Self {
        Self {
            slot: None,
            publication: None,
            connect: None,
            max_in_flight: 10_000,
            max_in_flight_bytes: 16 << 20,
            status_interval: Duration::from_secs(1),
            lag_interval: Duration::from_secs(10),
            lag_limit: 1 << 30,
            behind_limit: BehindLimit::default(),
        }
    }
}

impl ReplicationOptions {
    /// The slot, which is made if it is not there; default is made of the names of schema and database. All databases of a
    /// server have one list of slots.
    pub fn slot(mut self, slot: impl Into<String>) -> Self {
        self.slot = Some(slot.into());
        self
    }

    /// The publication, which is made if it is not there; default is the schema's name and `_outbox`.
    pub fn publication(mut self, publication: impl Into<String>) -> Self {
        self.publication = Some(publication.into());
        self
    }

    /// Another way to the same database, for a role with the right to replicate where the store's has none. What
    /// it says of TLS holds for replication too.
    pub fn connect(mut self, connect: PgConnectOptions) -> Self {
        self.connect = Some(connect);
        self
    }

    /// The most messages that are sent and not taken out yet; default 10,000.
    pub fn max_in_flight(mut self, messages: usize) -> Self {
        self.max_in_flight = messages.max(1);
        self
    }

    /// The most bytes of them, beyond the last message; default 16 MiB.
    pub fn max_in_flight_bytes(mut self, bytes: usize) -> Self {
        self.max_in_flight_bytes = bytes.max(1);
        self
    }

    /// How often the server is told how far everything is done with; default 1 s, and at most half of its
    /// `wal_sender_timeout`.
    pub fn status_interval(mut self, interval: Duration) -> Self {
        self.status_interval = interval.max(Duration::from_millis(10));
        self
    }

    /// How often it is measured how far the slot is behind; default 10 s.
    pub fn lag_interval(mut self, interval: Duration) -> Self {
        self.lag_interval = interval.max(Duration::from_millis(10));
        self
    }

    /// How many bytes of its log the server may keep for the slot before there is an alarm; default 1 GiB.
    ///
    /// It is looked after while the relay that holds the lease runs. Against a slot that nobody reads any more, only the
    /// server's own `max_slot_wal_keep_size` helps; a slot that was lost to it is made anew, and no message is missing.
    pub fn lag_limit(mut self, bytes: u64) -> Self {
        self.lag_limit = bytes;
        self
    }

    /// What is done beyond the limit; default [`BehindLimit::Alarm`].
    pub fn behind_limit(mut self, then: BehindLimit) -> Self {
        self.behind_limit = then;
        self
    }

    /// The names go into statements as they are, so nothing else may be in them.
    pub(crate) fn check(&self) -> Result<(), ReplicationError> {
        let names = [("slot", &self.slot), ("publication", &self.publication)];
        for (what, name) in names {
            let Some(name) = name else { continue };
            let good = |(index, byte): (usize, u8)| {
                byte.is_ascii_lowercase() || byte == b'_' || (index > 0 && byte.is_ascii_digit())
            };
            if !(1..=LONGEST_NAME).contains(&name.len()) || !name.bytes().enumerate().all(good) {
                let name = name.clone();
                return Err(ReplicationError::Name { what, name });
            }
        }
        Ok(())
    }
}

/// How rows come to a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reading {
    /// Not at all: another relay holds the lease.
    Waiting,
    /// As they are committed.
    Replication,
    /// By looking for them; [`ReplicationStatus::obstacle`] says why.
    Polling,
}

/// How a [`ReplicationRelay`](crate::ReplicationRelay) fares.
#[derive(Debug)]
pub struct ReplicationStatus {
    relay: Arc<RelayStatus>,
    reading: AtomicU8,
    lag: AtomicU64,
    alarm: AtomicBool,
    obstacle: Mutex<Option<String>>,
}

/// No lag is known.
const UNKNOWN: u64 = u64::MAX;

impl ReplicationStatus {
    pub(crate) fn new(relay: Arc<RelayStatus>) -> Self {
        Self {
            relay,
            reading: AtomicU8::new(0),
            lag: AtomicU64::new(UNKNOWN),
            alarm: AtomicBool::new(false),
            obstacle: Mutex::default(),
        }
    }

    /// What is common to all relays.
    pub fn relay(&self) -> Arc<RelayStatus> {
        self.relay.clone()
    }

    /// How rows come now.
    pub fn reading(&self) -> Reading {
        match self.reading.load(Ordering::Relaxed) {
            1 => Reading::Replication,
            2 => Reading::Polling,
            _ => Reading::Waiting,
        }
    }

    /// What keeps it from replicating now, in words. What keeps it from sending is [`RelayStatus::problem`].
    pub fn obstacle(&self) -> Option<String> {
        self.obstacle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many bytes of its log the server kept for the slot when it was last measured; none before that, and without a slot.
    pub fn slot_lag(&self) -> Option<u64> {
        Some(self.lag.load(Ordering::Relaxed)).filter(|lag| *lag != UNKNOWN)
    }

    /// Whether that is, or was when the slot was dropped, beyond [`ReplicationOptions::lag_limit`].
    pub fn lag_alarm(&self) -> bool {
        self.alarm.load(Ordering::Relaxed)
    }

    /// From now on it polls, for that reason.
    pub(crate) fn polls(&self, obstacle: String) {
        *self.obstacle.lock().unwrap_or_else(PoisonError::into_inner) = Some(obstacle);
        self.set_reading(Reading::Polling);
    }

    /// From now on it replicates.
    pub(crate) fn replicates(&self) {
        *self.obstacle.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.set_reading(Reading::Replication);
    }

    pub(crate) fn set_reading(&self, reading: Reading) {
        let number = match reading {
            Reading::Waiting => 0,
            Reading::Replication => 1,
            Reading::Polling => 2,
        };
        self.reading.store(number, Ordering::Relaxed);
    }

    /// Whether the limit is crossed by this look and was not before.
    pub(crate) fn looked(&self, look: Look, limit: u64) -> bool {
        self.lag.store(look.lag.unwrap_or(UNKNOWN), Ordering::Relaxed);
        // Of a slot that was dropped it is known how it was.
        let beyond = look.lag.map_or(self.lag_alarm(), |lag| lag > limit);
        let before = self.alarm.swap(beyond, Ordering::Relaxed);
        beyond && !before
    }

    pub(crate) fn forget_lag(&self) {
        self.lag.store(UNKNOWN, Ordering::Relaxed);
    }
}

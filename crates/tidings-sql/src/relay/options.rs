//! How a relay works, and how it fares: [`RelayOptions`], [`RelayStatus`].

use super::verdicts::ParkedKeys;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tidings_core::{Backlog, RelayRole};

/// Who sends what is in the outbox of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RelayMode {
    /// An app that publishes by the store starts a [`Relay`](crate::Relay). The default.
    #[default]
    Polling,
    /// An app that publishes by the store starts a [`ReplicationRelay`](crate::ReplicationRelay): PostgreSQL only.
    Replication,
    /// Another process, or the program by a relay of its own.
    Off,
}

/// How a relay works.
#[derive(Debug, Clone)]
#[must_use]
pub struct RelayOptions {
    pub(crate) batch: usize,
    pub(crate) batch_bytes: usize,
    pub(crate) lease: Duration,
    pub(crate) poll_interval: Duration,
    pub(crate) publish_timeout: Duration,
    pub(crate) longest_backoff: Duration,
    pub(crate) backlog_interval: Duration,
    pub(crate) parked_keys: ParkedKeys,
    pub(crate) fence: bool,
    pub(crate) fence_idle: Duration,
    pub(crate) holder: String,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            batch: 1_000,
            batch_bytes: 8 << 20,
            lease: Duration::from_secs(10),
            poll_interval: Duration::from_secs(1),
            publish_timeout: Duration::from_secs(30),
            longest_backoff: Duration::from_secs(30),
            backlog_interval: Duration::from_secs(10),
            parked_keys: ParkedKeys::default(),
            fence: true,
            fence_idle: Duration::from_secs(60),
            holder: String::new(),
        }
    }
}

impl RelayOptions {
    /// The most messages that are read, sent and deleted at once; default 1,000.
    pub fn batch(self, batch: usize) -> Self {
        Self {
            batch: batch.max(1),
            ..self
        }
    }

    /// The most bytes that are read at once, beyond the first message; default 8 MiB.
    pub fn batch_bytes(self, batch_bytes: usize) -> Self {
        Self { batch_bytes, ..self }
    }

    /// How long after its death another relay takes over; default 10 s, 30 ms at least. It is renewed at each third of it.
    pub fn lease(self, lease: Duration) -> Self {
        Self {
            lease: lease.max(Duration::from_millis(30)),
            ..self
        }
    }

    /// How long it waits for a call before it looks by itself, which is also how late messages are that another process
    /// writes into a SQLite file; default 1 s.
    pub fn poll_interval(self, poll_interval: Duration) -> Self {
        Self {
            poll_interval: poll_interval.max(Duration::from_millis(1)),
            ..self
        }
    }

    /// How long it waits for the broker's answers to a batch before it sends again what was not answered; default 30 s.
    pub fn publish_timeout(self, publish_timeout: Duration) -> Self {
        Self {
            publish_timeout,
            ..self
        }
    }

    /// The longest wait before a channel or a database that is away is tried again; default 30 s. The first wait is 50 ms, and
    /// each is twice as long as the one before.
    pub fn longest_backoff(self, longest_backoff: Duration) -> Self {
        Self {
            longest_backoff,
            ..self
        }
    }

    /// How often the one that sends measures how much waits; default 10 s.
    pub fn backlog_interval(self, backlog_interval: Duration) -> Self {
        Self {
            backlog_interval: backlog_interval.max(Duration::from_millis(10)),
            ..self
        }
    }

    /// What becomes of the later messages of a key when one of it is parked; default [`ParkedKeys::GoOn`].
    pub fn parked_keys(self, parked_keys: ParkedKeys) -> Self {
        Self { parked_keys, ..self }
    }

    /// Whether it takes the right to send from the one before when it begins to send, where the broker can tell them apart
    /// ([`Sink::sole`](tidings_core::Sink::sole); Kafka); default yes. The messages of a batch to one destination are a transaction then. Without it a relay that
    /// stood still beyond its lease may bring messages out of turn when it wakes.
    pub fn fence(self, fence: bool) -> Self {
        Self { fence, ..self }
    }

    /// How long the right to send to a destination is kept while nothing is sent there; default 1 min. On Kafka it is a client
    /// with connections of its own, and to take it again costs the next message some milliseconds.
    pub fn fence_idle(self, fence_idle: Duration) -> Self {
        Self { fence_idle, ..self }
    }

    /// Who this is, for people who look at the locks in the database.
    pub fn holder(self, holder: impl Into<String>) -> Self {
        Self {
            holder: holder.into(),
            ..self
        }
    }
}

/// How a relay fares. What waits in the outbox is known by [`Outbox::backlog`](crate::Outbox::backlog).
#[derive(Default)]
pub struct RelayStatus {
    role: AtomicU8,
    sent: AtomicU64,
    rounds: AtomicU64,
    parked: AtomicU64,
    failures: AtomicU64,
    problem: Mutex<Option<String>>,
    backlog: Mutex<Option<Backlog>>,
}

impl fmt::Debug for RelayStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayStatus")
            .field("role", &self.role())
            .field("sent", &self.sent())
            .field("parked", &self.parked())
            .field("problem", &self.problem())
            .finish()
    }
}

impl RelayStatus {
    /// Whether this relay is the one that sends.
    pub fn leads(&self) -> bool {
        self.role() == RelayRole::Leads
    }

    /// Whether it sends, another one does, or that is not known yet.
    pub fn role(&self) -> RelayRole {
        match self.role.load(Ordering::Relaxed) {
            1 => RelayRole::Leads,
            2 => RelayRole::Follows,
            _ => RelayRole::Starting,
        }
    }

    /// How many messages it has sent and taken out of the outbox.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// How often it has sent messages and taken them out.
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// How many messages it has parked.
    pub fn parked(&self) -> u64 {
        self.parked.load(Ordering::Relaxed)
    }

    /// How often something failed that is tried again.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// What keeps it from sending now, in words.
    pub fn problem(&self) -> Option<String> {
        self.problem
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How much waited when it was measured last: every [`RelayOptions::backlog_interval`] while it sends.
    pub fn backlog(&self) -> Option<Backlog> {
        *self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_role(&self, role: RelayRole) {
        let number = match role {
            RelayRole::Leads => 1,
            RelayRole::Follows => 2,
            _ => 0,
        };
        self.role.store(number, Ordering::Relaxed);
        if role != RelayRole::Leads {
            self.measured(None);
        }
    }

    pub(crate) fn measured(&self, backlog: Option<Backlog>) {
        *self.backlog.lock().unwrap_or_else(PoisonError::into_inner) = backlog;
    }

    pub(crate) fn add(&self, sent: usize, parked: usize) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
        self.sent.fetch_add(sent as u64, Ordering::Relaxed);
        self.parked.fetch_add(parked as u64, Ordering::Relaxed);
    }

    /// Something failed, and is tried again.
    pub(crate) fn failed(&self, problem: String) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
    }

    pub(crate) fn works(&self) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

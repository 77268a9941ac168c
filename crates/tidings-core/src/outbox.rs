//! Events that wait in a database until they are sent: the seam between an app and what sends them ([`OutboxStore`]).
//!
//! An app starts one [`OutboxRelay`] for each store that it publishes by, and ends it when its handlers have ended: so what
//! they committed is on its way before the app is gone.

use crate::BoxFuture;
use crate::publisher::Routes;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A database with an outbox.
pub trait OutboxStore: Send + Sync + fmt::Debug {
    /// Its name for people: what it is and where, without passwords.
    fn name(&self) -> String;

    /// What tells its outbox from all others: two stores on the same tables have the same.
    fn id(&self) -> String;

    /// How it is sent, for people: `by polling`, `by another process`.
    fn way(&self) -> &'static str;

    /// What sends from it; none if somebody else is to do that.
    fn relay(&self, start: RelayStart) -> Option<Box<dyn OutboxRelay>>;

    /// How much waits now.
    fn backlog(&self) -> BoxFuture<'static, Result<Backlog, Box<dyn Error + Send + Sync>>>;

    /// From now on this is told while the database works, or may: a test in virtual time must not let time pass then.
    fn tell(&self, at_work: Arc<dyn AtWork>) {
        let _ = at_work;
    }
}

/// Is told when a database begins to work and when it is done, several times at once.
pub trait AtWork: Send + Sync + fmt::Debug {
    /// It begins.
    fn begins(&self);

    /// It is done.
    fn ends(&self);
}

/// What a relay gets from its app.
#[derive(Debug)]
#[non_exhaustive]
pub struct RelayStart {
    /// Where channels lead.
    pub routes: Arc<Routes>,
    /// Who sends, for people who look at the database.
    pub holder: String,
}

impl RelayStart {
    /// A start with these.
    pub fn new(routes: Arc<Routes>, holder: impl Into<String>) -> Self {
        Self {
            routes,
            holder: holder.into(),
        }
    }
}

/// Sends what is in an outbox, if no other does.
pub trait OutboxRelay: Send {
    /// Tells how it fares, also while it runs.
    fn watch(&self) -> Arc<dyn OutboxWatch>;

    /// Runs until `drain` is ready with a moment. If it is the one that sends, it goes on until nothing is left or that
    /// moment has come, and lets another one send.
    ///
    /// # Errors
    /// What is left and why, as a sentence without its end.
    fn run(self: Box<Self>, drain: BoxFuture<'static, Instant>) -> BoxFuture<'static, Result<(), String>>;
}

/// Tells how a relay fares.
pub trait OutboxWatch: Send + Sync + fmt::Debug {
    /// How it fares now. Nothing is asked of the database.
    fn status(&self) -> OutboxStatus;
}

/// Which part a relay has among those of one outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RelayRole {
    /// It does not know yet.
    #[default]
    Starting,
    /// It sends.
    Leads,
    /// Another one sends.
    Follows,
}

impl RelayRole {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Leads => "leads",
            Self::Follows => "follows",
        }
    }
}

/// How a relay fares, and what it knows of its outbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxStatus {
    /// Whether it sends.
    pub role: RelayRole,
    /// Whether messages come as they are committed, without being looked for.
    pub replicates: bool,
    /// Messages that it has sent and taken out.
    pub sent: u64,
    /// Messages that it has parked: the broker refuses them for good.
    pub parked: u64,
    /// How often it has sent and taken out some.
    pub rounds: u64,
    /// How often something failed that is tried again.
    pub failures: u64,
    /// What keeps it from sending, or from sending as it should.
    pub obstacle: Option<String>,
    /// How much waited when it was measured last; none where another one sends.
    pub backlog: Option<Backlog>,
    /// Bytes of its log that the server keeps for the slot, where there is one.
    pub slot_lag: Option<u64>,
    /// Whether that is, or was when the slot was dropped, beyond the limit.
    pub lag_alarm: bool,
}

/// How much waits to be sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// Messages that wait; where there are very many, that many at least.
    pub messages: u64,
    /// For how long the first one has been waiting, by the database's clock.
    pub age: Option<Duration>,
    /// Messages that are parked, counted in the same way.
    pub parked: u64,
}

impl Backlog {
    /// A backlog of these.
    pub fn new(messages: u64, age: Option<Duration>, parked: u64) -> Self {
        Self {
            messages,
            age,
            parked,
        }
    }
}

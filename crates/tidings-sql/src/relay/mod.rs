//! Sending what is in the outbox: [`Relay`].

pub(crate) mod backoff;
pub(crate) mod batch;
pub(crate) mod broken;
mod configured;
mod ears;
mod fence;
mod fenced;
mod lane;
pub(crate) mod leading;
mod most;
mod of_app;
mod options;
pub(crate) mod outlet;
pub(crate) mod settling;
mod slow;
pub(crate) mod verdicts;

pub(crate) use of_app::RelayPlan;
pub use options::{RelayMode, RelayOptions, RelayStatus};
pub use verdicts::ParkedKeys;

use crate::dialect::Dialect;
use crate::store::SqlStore;
use crate::wait::Wait;
use backoff::FIRST;
use leading::Leading;
use outlet::Target;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tidings_core::{BoxFuture, Lease, LockError, LockRequest, LockStore, RelayRole, Routes, Sink};
use tokio::sync::watch;
use tokio::time::Instant;

/// Sends what is in the outbox of a database, in the order of each key, and takes out what the broker has confirmed.
///
/// Each process may run one: the one that holds a lease sends, the others wait for its death. A relay that was paused and has
/// lost its lease takes nothing out, because the transaction that does so checks the lease's fencing token. What was sent and
/// not taken out is sent again, with the same message ids: at least once. On Kafka it brings nothing out of turn either, since
/// the one that took over has taken the right to send from it ([`RelayOptions::fence`]).
///
/// - What the broker refuses for good is parked in a table of its own, with the reason ([`ParkedKeys`] says what becomes of
///   later messages of its key). Where a destination or the broker is at fault, its channel waits, and the others go on.
/// - It is woken by who writes: within the process, and on PostgreSQL through the database. It also looks by itself, after
///   [`RelayOptions::poll_interval`].
/// - A transaction that is committed late is found, whatever was sent meanwhile: rows are taken out one by one, and nothing
///   remembers how far it was.
///
/// ```
/// use sqlx::Sqlite;
/// use std::sync::Arc;
/// use tidings_core::{Binder, DestinationSpec, Message};
/// use tidings_embedded::{EmbeddedBroker, EmbeddedOptions};
/// use tidings_sql::{Outbox, Relay, RelayOptions, SqlStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = EmbeddedBroker::open(EmbeddedOptions::from_url("memory:")?)?;
/// broker.prepare(DestinationSpec::new("orders", 4)).await?;
/// let store = SqlStore::<Sqlite>::open("sqlite::memory:").await?;
///
/// let relay = Relay::new(&store, broker.sink(), RelayOptions::default());
/// let status = relay.status();
/// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
/// let running = tokio::spawn(relay.run(async move { drop(stopped.await) }));
///
/// let outbox = Outbox::to_channels(&store, ["orders"]);
/// let mut tx = store.begin().await?;
/// outbox.send(&mut tx, "orders", Message::new("7 teapots")).await?;
/// tx.commit().await?;
/// while status.sent() < 1 {
///     tokio::task::yield_now().await;
/// }
/// drop(stop);
/// running.await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Relay<DB: Dialect> {
    pub(crate) store: SqlStore<DB>,
    pub(crate) target: Target,
    pub(crate) options: RelayOptions,
    pub(crate) status: Arc<RelayStatus>,
}

/// Whether a relay is to end.
pub(crate) type Stop = watch::Receiver<bool>;

/// Which end a relay is to come to.
pub(crate) enum End {
    /// What is under way is finished.
    Now,
    /// All that is in the outbox is sent, until that moment at the most.
    SentUntil(Instant),
}

/// What does not end by itself.
pub(crate) enum Never {}

impl<DB: Dialect> Relay<DB> {
    /// A relay that sends to a broker on which destinations are called as the channels are.
    pub fn new(store: &SqlStore<DB>, sink: Arc<dyn Sink>, options: RelayOptions) -> Self {
        Self::to(store, Target::One(sink), options)
    }

    /// A relay that sends to where the channels of an app lead.
    pub fn by_routes(store: &SqlStore<DB>, routes: Arc<Routes>, options: RelayOptions) -> Self {
        Self::to(store, Target::Routes(routes), options)
    }

    pub(crate) fn to(store: &SqlStore<DB>, target: Target, options: RelayOptions) -> Self {
        Self {
            store: store.clone(),
            target,
            options,
            status: Arc::default(),
        }
    }

    /// How it fares, also while it runs.
    pub fn status(&self) -> Arc<RelayStatus> {
        self.status.clone()
    }

    /// Runs until `shutdown` is ready: then what is under way is finished, for as long as
    /// [`RelayOptions::publish_timeout`] at most, and the lease is given back. It does not end by itself: what fails is said in
    /// the log and in the [`status`](Self::status), and is tried again.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        self.run_by(&mut Polling, shutdown).await;
    }

    /// Runs, and sends by that way whenever it holds the lease.
    pub(crate) async fn run_by(&self, way: &mut dyn Way<DB>, shutdown: impl Future<Output = ()> + Send) {
        let end = async {
            shutdown.await;
            End::Now
        };
        // What is left is not asked for.
        let _ = self.run_to(way, end).await;
    }

    /// As [`run_by`](Self::run_by), until it is told which end it is to come to.
    ///
    /// # Errors
    /// What is left and why, if all was to be sent.
    pub(crate) async fn run_to(
        &self,
        way: &mut dyn Way<DB>,
        end: impl Future<Output = End> + Send,
    ) -> Result<(), String> {
        let (stop, stopped) = watch::channel(false);
        let until = OnceLock::new();
        let mut work = pin!(self.work(way, stopped, &until));
        tokio::select! {
            ended = &mut work => return ended,
            end = end => if let End::SentUntil(moment) = end {
                // Nobody else sets it.
                let _ = until.set(moment);
            }
        }
        // It can have ended only by being told to.
        let _ = stop.send(true);
        work.await
    }

    async fn work(
        &self,
        way: &mut dyn Way<DB>,
        mut stop: Stop,
        until: &OnceLock<Instant>,
    ) -> Result<(), String> {
        let locks = self.store.locks();
        let name = format!("{}.outbox", self.store.schema());
        let request = match LockRequest::new(name, self.options.lease) {
            Ok(request) => request.holder(self.options.holder.as_str()),
            Err(error) => {
                // The name of a schema is shorter than that of a lock may be.
                self.status.failed(error.to_string());
                return Err(error.to_string());
            }
        };
        let mut away = Wait::new(FIRST, self.options.longest_backoff);
        // One that is to end before it knows its part asks once: it may be the only one.
        while !*stop.borrow() || (until.get().is_some() && self.status.role() == RelayRole::Starting) {
            let wait = match locks.acquire(&request).await {
                Ok(Some(lease)) => {
                    away.reset();
                    self.lead(way, Leading::new(self, &locks, lease), &mut stop, until)
                        .await?;
                    continue;
                }
                Ok(None) => {
                    away.reset();
                    self.status.set_role(RelayRole::Follows);
                    self.status.works();
                    self.options.lease / 4
                }
                Err(error) => {
                    self.say(&error);
                    if *stop.borrow() {
                        return Err(error.to_string());
                    }
                    away.take()
                }
            };
            rest(wait, &mut stop).await;
        }
        Ok(())
    }

    /// # Errors
    /// What is left, of one that is to send all before it ends.
    async fn lead(
        &self,
        way: &mut dyn Way<DB>,
        mut leading: Leading<'_, DB>,
        stop: &mut Stop,
        until: &OnceLock<Instant>,
    ) -> Result<(), String> {
        self.status.set_role(RelayRole::Leads);
        tracing::debug!(
            token = leading.lease().token(),
            "sending from the outbox in {}",
            self.store.place()
        );
        let mut left = Ok(());
        let mut ended = tokio::select! {
            ended = way.lead(&mut leading, stop) => ended,
            never = self.measure() => match never {},
        };
        match (&ended, until.get()) {
            (Ok(_), Some(until)) => (ended, left) = leading.finish(*until).await,
            (Ok(_), None) => {
                if let Err(error) = leading.settle_all(None).await {
                    // Whoever sends next finds it in the table.
                    tracing::debug!(?error, "what was answered last is not taken out");
                }
                ended = Ok(leading.lease().clone());
            }
            _ => {}
        }
        self.status.set_role(RelayRole::Follows);
        match ended {
            Ok(lease) => {
                if let Err(error) = self.store.locks().release(lease).await {
                    // It becomes free by itself.
                    tracing::debug!(%error, "the lease of the outbox was not given back");
                }
            }
            Err(error) => self.say(&error),
        }
        left
    }

    /// Measures how much waits, now and then.
    async fn measure(&self) -> Never {
        loop {
            match self.store.backlog().await {
                Ok(backlog) => self.status.measured(Some(backlog)),
                // Whoever sends meets the same, and says so.
                Err(error) => tracing::debug!(%error, "it is not known how much waits in the outbox"),
            }
            tokio::time::sleep(self.options.backlog_interval).await;
        }
    }

    fn say(&self, error: &LockError) {
        tracing::warn!(%error, "the outbox in {} is not sent from here", self.store.place());
        self.status.failed(error.to_string());
    }
}

/// How messages come from the outbox to the one that holds the lease.
pub(crate) trait Way<DB: Dialect>: Send {
    /// Sends until it is told to stop, and returns the lease; or until that is lost.
    fn lead<'a>(
        &'a mut self,
        leading: &'a mut Leading<'_, DB>,
        stop: &'a mut Stop,
    ) -> BoxFuture<'a, Result<Lease, LockError>>;
}

/// It looks for them.
pub(crate) struct Polling;

impl<DB: Dialect> Way<DB> for Polling {
    fn lead<'a>(
        &'a mut self,
        leading: &'a mut Leading<'_, DB>,
        stop: &'a mut Stop,
    ) -> BoxFuture<'a, Result<Lease, LockError>> {
        Box::pin(leading.run(stop))
    }
}

/// Waits, or less if the relay is to end.
pub(crate) async fn rest(wait: Duration, stop: &mut Stop) {
    tokio::select! {
        () = tokio::time::sleep(wait) => {}
        // Also when nobody can tell any more.
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

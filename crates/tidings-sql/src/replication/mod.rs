//! Sending what is in the outbox as it is committed, without looking for it: [`ReplicationRelay`].

mod address;
mod bytes_in;
mod connection;
mod error;
mod flight;
mod following;
mod landing;
mod lsn;
mod options;
mod pgoutput;
mod slot;
mod snapshot;

pub use error::ReplicationError;
pub use options::{BehindLimit, Reading, ReplicationOptions, ReplicationStatus};

use crate::relay::backoff::FIRST;
use crate::relay::broken::Broken;
use crate::relay::leading::Leading;
use crate::relay::verdicts::ParkedKeys;
use crate::relay::{End, Never, Relay, RelayOptions, Stop, Way};
use crate::store::SqlStore;
use crate::wait::Wait;
use connection::Connection;
use flight::UNANSWERED;
use following::{Ended, Following, Looks};
use lsn::Lsn;
use slot::{Feed, Look};
use sqlx::Postgres;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{BoxFuture, Lease, LockError, Routes, Sink};
use tokio::sync::watch;
use tokio::time::Instant;

/// How long it is waited for a connection and a slot.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends what is in the outbox of a PostgreSQL as it is committed: by logical replication, without looking for it.
///
/// Everything that is said of the [`Relay`] holds, and both kinds may run beside each other: they share the lease. The server
/// needs `wal_level = logical`, version 14 or later, and a role with the right to replicate.
///
/// - Messages are sent in the order of the commits. They are rows all the same, and taken out when they were confirmed: so
///   whenever something is in the way (a channel that takes nothing, a connection that is lost, a slot that is in use), what
///   is in the table is sent by polling meanwhile, and nothing hangs on the slot.
/// - At its start it sends what it finds in the table, and from then on what is committed later. The slot moves on when
///   everything up to a transaction was confirmed and taken out.
/// - A slot makes the server keep its log. How far it is behind is measured, and has a
///   [limit](ReplicationOptions::lag_limit).
/// - What is sent twice, after a crash or when another relay takes over, has the same message ids.
/// - With [`ParkedKeys::Wait`] it polls for as long as something is parked.
///
/// ```no_run
/// # use sqlx::Postgres;
/// # use std::sync::Arc;
/// # use tidings_core::Sink;
/// use tidings_sql::{BehindLimit, RelayOptions, ReplicationOptions, ReplicationRelay, SqlStore};
///
/// # async fn example(sink: Arc<dyn Sink>) -> Result<(), Box<dyn std::error::Error>> {
/// let store = SqlStore::<Postgres>::open("postgres://shop:secret@localhost/shop").await?;
/// let options = ReplicationOptions::default().lag_limit(4 << 30).behind_limit(BehindLimit::Poll);
/// let relay = ReplicationRelay::new(&store, sink, RelayOptions::default(), options)?;
/// relay.prepare().await?;
/// relay.run(std::future::pending()).await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ReplicationRelay {
    relay: Relay<Postgres>,
    options: ReplicationOptions,
    feed: Feed,
    status: Arc<ReplicationStatus>,
}

impl ReplicationRelay {
    /// A relay that sends to a broker on which destinations are called as the channels are.
    ///
    /// # Errors
    /// [`ReplicationError::Name`].
    pub fn new(
        store: &SqlStore<Postgres>,
        sink: Arc<dyn Sink>,
        relay: RelayOptions,
        options: ReplicationOptions,
    ) -> Result<Self, ReplicationError> {
        Self::of(Relay::new(store, sink, relay), options)
    }

    /// A relay that sends to where the channels of an app lead.
    ///
    /// # Errors
    /// [`ReplicationError::Name`].
    pub fn by_routes(
        store: &SqlStore<Postgres>,
        routes: Arc<Routes>,
        relay: RelayOptions,
        options: ReplicationOptions,
    ) -> Result<Self, ReplicationError> {
        Self::of(Relay::by_routes(store, routes, relay), options)
    }

    pub(crate) fn of(relay: Relay<Postgres>, options: ReplicationOptions) -> Result<Self, ReplicationError> {
        Ok(Self {
            feed: Feed::new(&relay.store, &options)?,
            status: Arc::new(ReplicationStatus::new(relay.status())),
            relay,
            options,
        })
    }

    /// How it fares, also while it runs.
    pub fn status(&self) -> Arc<ReplicationStatus> {
        self.status.clone()
    }

    /// Makes the publication and the slot, unless they are there. [`run`](Self::run) does it too; here it can be asked what is
    /// lacking. From then on the server keeps its log until a relay has read it.
    ///
    /// # Errors
    /// What is lacking, and what to do.
    pub async fn prepare(&self) -> Result<(), ReplicationError> {
        self.feed.prepare().await
    }

    /// Drops the slot, for who goes back to polling: a slot that nobody reads fills the server's disk.
    ///
    /// # Errors
    /// It is in use, or may not be dropped.
    pub async fn drop_slot(&self) -> Result<(), ReplicationError> {
        self.feed.drop_slot().await
    }

    /// Runs as [`Relay::run`] does. Where replication is not possible it polls, says why in the log and in the
    /// [`status`](Self::status), and tries again.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let (relay, mut way) = self.into_way();
        relay.run_by(&mut way, shutdown).await;
    }

    /// As [`Relay::run_to`].
    pub(crate) async fn run_to(self, end: impl Future<Output = End> + Send) -> Result<(), String> {
        let (relay, mut way) = self.into_way();
        relay.run_to(&mut way, end).await
    }

    fn into_way(self) -> (Relay<Postgres>, Replicating) {
        let way = Replicating {
            feed: self.feed,
            options: self.options,
            status: self.status,
            dropped: false,
        };
        (self.relay, way)
    }
}

struct Replicating {
    feed: Feed,
    options: ReplicationOptions,
    status: Arc<ReplicationStatus>,
    /// The slot was too far behind.
    dropped: bool,
}

impl Way<Postgres> for Replicating {
    fn lead<'a>(
        &'a mut self,
        leading: &'a mut Leading<'_, Postgres>,
        stop: &'a mut Stop,
    ) -> BoxFuture<'a, Result<Lease, LockError>> {
        Box::pin(async move {
            let (feed, options, status) = (self.feed.clone(), self.options.clone(), self.status.clone());
            let (seen, looks) = watch::channel(None);
            let ended = tokio::select! {
                ended = self.send(leading, stop, looks) => ended,
                never = look_after(&feed, &options, &status, seen) => match never {},
            };
            self.status.set_reading(Reading::Waiting);
            ended
        })
    }
}

impl Replicating {
    async fn send(
        &mut self,
        leading: &mut Leading<'_, Postgres>,
        stop: &mut Stop,
        mut looks: Looks,
    ) -> Result<Lease, LockError> {
        let mut again = Wait::new(FIRST, leading.relay.options.longest_backoff);
        while !*stop.borrow() {
            if self.is_behind(&looks) && !self.dropped {
                self.give_up_slot(leading).await?;
            }
            if self.dropped {
                self.status
                    .polls("the slot was too far behind; start the relay again to make a new one".into());
                return leading.run(stop).await;
            }
            match self.follow(leading, stop, &mut looks).await {
                Ok((Ended::Told, _)) => break,
                Ok((Ended::Behind, _)) => continue,
                Ok((Ended::Interrupted(reason), done)) => {
                    if done > Lsn(0) {
                        again.reset();
                    }
                    self.say(leading, reason);
                }
                Err(Broken::Lost(error)) => return Err(error),
                Err(Broken::Away(problem)) => self.say(leading, problem),
            }
            let until = Instant::now() + again.take();
            let behind = || !self.dropped && self.is_behind(&looks);
            // What is not answered would hold up all others.
            let is_time = |leading: &Leading<'_, Postgres>| {
                Instant::now() >= until && leading.answers_within(UNANSWERED)
            };
            let enough = |leading: &Leading<'_, Postgres>| behind() || is_time(leading);
            leading.run_until(stop, enough).await?;
        }
        Ok(leading.lease().clone())
    }

    fn say(&self, leading: &Leading<'_, Postgres>, reason: String) {
        let store = &leading.relay.store;
        tracing::warn!(reason, "the outbox in {} is polled, for now", store.place());
        leading.relay.status.failed(reason.clone());
        self.status.polls(reason);
    }

    fn is_behind(&self, looks: &Looks) -> bool {
        let lag = looks.borrow().and_then(|look| look.lag);
        self.options.behind_limit == BehindLimit::Poll && lag.is_some_and(|lag| lag > self.options.lag_limit)
    }

    /// From now on it polls.
    async fn give_up_slot(&mut self, leading: &mut Leading<'_, Postgres>) -> Result<(), LockError> {
        self.dropped = true;
        let slot = &self.feed.slot;
        match leading.renewing(self.feed.drop_slot()).await {
            Ok(Ok(())) => {
                tracing::warn!(
                    slot,
                    "the slot was too far behind and is dropped; from now on the outbox is polled"
                );
                self.status.forget_lag();
            }
            Ok(Err(error)) => {
                tracing::error!(slot, %error, "the slot is too far behind and could not be dropped: drop it by hand");
            }
            Err(Broken::Lost(error)) => {
                self.dropped = false;
                return Err(error);
            }
            Err(Broken::Away(problem)) => leading.relay.status.failed(problem),
        }
        Ok(())
    }

    /// Sends what is in the table, and then what is committed, until something is in the way.
    async fn follow(
        &self,
        leading: &mut Leading<'_, Postgres>,
        stop: &mut Stop,
        looks: &mut Looks,
    ) -> Result<(Ended, Lsn), Broken> {
        let interrupted = |reason: String| Ok((Ended::Interrupted(reason), Lsn(0)));
        // What comes by replication may not overtake it.
        if !leading.settle_all(Some(Instant::now() + UNANSWERED)).await? {
            return interrupted(leading.not_answered());
        }
        let opened = async {
            if let Some(reason) = self.waits_for_parked(leading.relay).await? {
                return Ok(Err(reason));
            }
            self.feed.prepare().await?;
            self.feed.open().await.map(Ok)
        };
        let opened = tokio::time::timeout(PATIENCE, opened);
        let mut connection = match leading.renewing(opened).await? {
            Ok(Ok(Ok(connection))) => connection,
            Ok(Ok(Err(reason))) => return interrupted(reason),
            Ok(Err(error)) => return interrupted(error.to_string()),
            Err(_) => {
                return interrupted(format!(
                    "no slot or no connection for replication within {PATIENCE:?}; is a transaction open for longer?"
                ));
            }
        };
        // Only now, since nobody else takes rows out any more: nobody else has the slot and the lease.
        let start = match self.feed.start().await {
            Ok(start) => start,
            Err(error) => return interrupted(error.to_string()),
        };
        leading.up_to = start.newest;
        let swept = match start.newest {
            Some(_) => self.sweep(leading, stop, &mut connection).await,
            None => Ok(None),
        };
        leading.up_to = None;
        leading.let_go();
        if let Some(ended) = swept? {
            connection.close().await;
            return Ok((ended, Lsn(0)));
        }
        self.status.replicates();
        leading.relay.status.works();
        Following::new(leading, &self.options, connection, start.snapshot)
            .run(stop, looks)
            .await
    }

    /// Sends what was in the table when replication began, by looking for it.
    async fn sweep(
        &self,
        leading: &mut Leading<'_, Postgres>,
        stop: &Stop,
        connection: &mut Connection,
    ) -> Result<Option<Ended>, Broken> {
        loop {
            if *stop.borrow() {
                return Ok(Some(Ended::Told));
            }
            let sent = leading.round().await?;
            let mut obstacle = None;
            if !leading.is_well() {
                obstacle = Some(leading.relay.status.problem().unwrap_or_default());
            } else if sent == 0 && !leading.is_calm() {
                let are_all = leading.settle_all(Some(Instant::now() + UNANSWERED)).await?;
                obstacle = (!are_all).then(|| leading.not_answered());
            } else if sent == 0 {
                // Some of these may be parked.
                let parked = self.waits_for_parked(leading.relay).await;
                obstacle = parked.unwrap_or_else(|error| Some(error.to_string()));
                if obstacle.is_none() {
                    return Ok(None);
                }
            }
            // The server wants to hear something now and then.
            let said = connection.confirm(Lsn(0)).await;
            if let Some(reason) = obstacle.or_else(|| said.err().map(|error| error.to_string())) {
                return Ok(Some(Ended::Interrupted(reason)));
            }
        }
    }

    /// Why nothing is sent by replication, which does not know what is to wait.
    async fn waits_for_parked(&self, relay: &Relay<Postgres>) -> Result<Option<String>, ReplicationError> {
        let waits = relay.options.parked_keys == ParkedKeys::Wait && self.feed.has_parked().await?;
        Ok(waits.then(|| "messages are parked, and their keys wait".to_owned()))
    }
}

/// Measures how far the slot is behind, and alarms. While the table is polled, the slot moves on by itself.
async fn look_after(
    feed: &Feed,
    options: &ReplicationOptions,
    status: &ReplicationStatus,
    seen: watch::Sender<Option<Look>>,
) -> Never {
    loop {
        match feed.look().await {
            Ok(look) => {
                if status.looked(look, options.lag_limit) {
                    tracing::error!(
                        slot = feed.slot,
                        lag = look.lag,
                        limit = options.lag_limit,
                        "the slot is too far behind: the server keeps its log for it, and may run out of disk"
                    );
                }
                seen.send_replace(Some(look));
                if look.lag.is_some()
                    && status.reading() == Reading::Polling
                    && let Err(error) = feed.advance().await
                {
                    // It is in use, or it will be tried again.
                    tracing::debug!(%error, "the slot was not moved on");
                }
            }
            // Whoever sends meets the same, and says so.
            Err(error) => tracing::debug!(%error, "it is not known how far the slot is behind"),
        }
        tokio::time::sleep(options.lag_interval).await;
    }
}

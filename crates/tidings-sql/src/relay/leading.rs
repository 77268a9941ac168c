//! What the one relay does that holds the lease: read, send, take out: [`Leading`].

use super::backoff::{Channels, FIRST};
use super::fenced::Fence;
use super::outlet::Outlet;
use super::verdicts::{Answer, ParkedKeys, Verdicts, judge};
use super::{Relay, Stop, rest};
use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::locks::SqlLocks;
use crate::outbox::rows::{Reading, Row};
use crate::store::SqlStore;
use crate::value::Value;
use crate::wait::Wait;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tidings_core::{Lease, LockError, LockStore, Outgoing, Position, PublishError, Receipt};
use tokio::time::Instant;

/// The first look after a call comes that soon; each wait is twice as long as the one before.
const FIRST_LOOK: Duration = Duration::from_millis(1);
/// How often it is tried to listen to other processes.
const LISTEN_AGAIN: Duration = Duration::from_secs(10);

pub(crate) struct Leading<'a, DB: Dialect> {
    pub(crate) relay: &'a Relay<DB>,
    locks: &'a SqlLocks<DB>,
    lease: Lease,
    pub(crate) outlet: Outlet,
    /// The last row that rounds look at; none is no end.
    pub(crate) up_to: Option<i64>,
    channels: Channels,
    looking: Wait,
    ears: Ears<DB>,
}

/// Why a round was not finished.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The lease is lost: somebody else sends now.
    Lost(LockError),
    /// The database is away; it is tried again.
    Away(String),
}

impl From<SqlError> for Broken {
    fn from(error: SqlError) -> Self {
        Self::Away(error.to_string())
    }
}

impl From<LockError> for Broken {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Lost { .. } => Self::Lost(error),
            _ => Self::Away(error.to_string()),
        }
    }
}

impl<'a, DB: Dialect> Leading<'a, DB> {
    pub(super) fn new(relay: &'a Relay<DB>, locks: &'a SqlLocks<DB>, lease: Lease) -> Self {
        let options = &relay.options;
        let fence = options.fence.then(|| Fence::new(&relay.store, &lease));
        Self {
            relay,
            locks,
            lease,
            outlet: relay.target.open(fence.as_ref()),
            up_to: None,
            channels: Channels::new(options.longest_backoff),
            looking: Wait::new(FIRST_LOOK, options.poll_interval),
            ears: Ears::default(),
        }
    }

    /// Sends until it is told to stop, and gives back the lease; or until that is lost.
    pub(crate) async fn run(&mut self, stop: &mut Stop) -> Result<Lease, LockError> {
        self.run_until(stop, |_| false).await
    }

    /// As [`run`](Self::run), or less, if it is enough already.
    pub(crate) async fn run_until(
        &mut self,
        stop: &mut Stop,
        enough: impl Fn(&Self) -> bool + Send,
    ) -> Result<Lease, LockError> {
        let mut away = Wait::new(FIRST, self.relay.options.longest_backoff);
        while !*stop.borrow() && !enough(self) {
            match self.round().await {
                Ok(0) => {
                    away.reset();
                    self.listen(stop).await;
                }
                Ok(_) => {
                    away.reset();
                    self.looking.reset();
                }
                Err(Broken::Lost(error)) => return Err(error),
                Err(Broken::Away(problem)) => {
                    tracing::warn!(problem, "the outbox in {} waits", self.relay.store.place());
                    self.relay.status.failed(problem);
                    rest(away.take(), stop).await;
                }
            }
        }
        Ok(self.lease.clone())
    }

    /// Sends all that is left, until that moment at the most; the lease or how it was lost, and what is left and why.
    pub(crate) async fn finish(&mut self, until: Instant) -> (Result<Lease, LockError>, Result<(), String>) {
        let work = async {
            let mut away = Wait::new(FIRST, self.relay.options.longest_backoff);
            loop {
                let now = Instant::now();
                let next = self.channels.next(now);
                match self.round().await {
                    Ok(0) => match next {
                        None => return Ok(()),
                        Some(next) => tokio::time::sleep_until(next).await,
                    },
                    Ok(_) => away.reset(),
                    Err(Broken::Lost(error)) => return Err(error),
                    Err(Broken::Away(problem)) => {
                        self.relay.status.failed(problem);
                        tokio::time::sleep(away.take()).await;
                    }
                }
            }
        };
        match tokio::time::timeout_at(until, work).await {
            Ok(Ok(())) => (Ok(self.lease.clone()), Ok(())),
            // Whoever has it sends what is left.
            Ok(Err(error)) => (Err(error), Ok(())),
            Err(_) => {
                let why = self.relay.status.problem();
                let why = why.unwrap_or_else(|| "there was no time for all of them".into());
                (
                    Ok(self.lease.clone()),
                    Err(format!("messages are left in it: {why}")),
                )
            }
        }
    }

    /// The lease, as it was renewed last.
    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Whether every channel can be published to, as far as is known.
    pub(crate) fn calm(&self) -> bool {
        self.channels.next(Instant::now()).is_none()
    }

    /// Reads a batch, sends it, and takes out what was taken; how many rows there were.
    pub(crate) async fn round(&mut self) -> Result<usize, Broken> {
        self.keep_lease().await?;
        let options = &self.relay.options;
        let reading = Reading {
            rows: options.batch,
            bytes: options.batch_bytes,
            without: self.channels.held(Instant::now()),
            parked_keys_wait: options.parked_keys == ParkedKeys::Wait,
        };
        let mut rows = self.relay.store.read_outbox(&reading).await?;
        if let Some(last) = self.up_to {
            rows.truncate(rows.partition_point(|row| row.id <= last));
        }
        if rows.is_empty() {
            if reading.without.is_empty() {
                self.relay.status.works();
            }
            return Ok(0);
        }
        // Time may have passed: what is sent by two is sent twice, and out of turn by the one who came late.
        self.keep_lease().await?;
        let answers = self.send(&mut rows).await?;
        let verdicts = judge(&rows, &answers, options.parked_keys);
        self.settle(&verdicts).await?;
        self.note(&rows, &verdicts);
        Ok(rows.len())
    }

    /// Renews the lease when a third of it is over.
    pub(crate) async fn keep_lease(&mut self) -> Result<(), LockError> {
        let whole = self.relay.options.lease;
        if self.lease.remaining() <= whole * 2 / 3 {
            self.lease = self.locks.renew(&self.lease, whole).await?;
        }
        Ok(())
    }

    /// Sends a batch and waits for the answers, while the lease is renewed. The rows keep everything but their messages.
    async fn send(&mut self, rows: &mut [Row]) -> Result<Vec<Answer>, Broken> {
        let after = self.relay.options.publish_timeout;
        let (outgoing, refused) = taken(rows);
        let mut receipts = self.outlet.publish_all(outgoing).into_iter();
        let deadline = Instant::now() + after;
        let answers = async {
            let mut answers = Vec::with_capacity(rows.len());
            for (row, refused) in rows.iter().zip(refused) {
                answers.push(match refused {
                    Some(reason) => Answer::Refused(format!("the row holds no message: {reason}")),
                    None => Answer::of(answer(receipts.next(), row, deadline, after).await),
                });
            }
            answers
        };
        self.renewing(answers).await
    }

    /// Does something that takes its time, while the lease is renewed.
    pub(crate) async fn renewing<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Broken> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = tokio::time::sleep(self.relay.options.lease / 3) => {
                    // Otherwise the next third may do, and the fence is there.
                    if let Err(error @ LockError::Lost { .. }) = self.keep_lease().await {
                        return Err(error.into());
                    }
                }
            }
        }
    }

    /// As [`settle`], under the lease.
    async fn settle(&mut self, verdicts: &Verdicts) -> Result<(), Broken> {
        settle(&self.relay.store, &self.lease, verdicts).await.map(drop)
    }

    /// Remembers which channels work and which do not, and says so.
    pub(crate) fn note(&mut self, rows: &[Row], verdicts: &Verdicts) {
        let now = Instant::now();
        let status = &self.relay.status;
        for row in rows
            .iter()
            .filter(|row| !verdicts.stuck.contains_key(&row.channel))
        {
            self.channels.works(&row.channel);
        }
        for (channel, reason) in &verdicts.stuck {
            tracing::warn!(%channel, reason, "messages in the outbox wait");
            self.channels.hold(channel, now);
            status.failed(format!("channel \"{channel}\": {reason}"));
        }
        for (id, reason) in &verdicts.refused {
            tracing::warn!(id, reason, "a message in the outbox is parked");
        }
        status.add(verdicts.done.len(), verdicts.refused.len());
        if self.channels.next(now).is_none() {
            status.works();
        }
    }

    /// Waits until there may be something: somebody calls, a channel is to be tried again, or it is time to look.
    async fn listen(&mut self, stop: &mut Stop) {
        let now = Instant::now();
        let look = now + self.looking.take().min(self.relay.options.lease / 3);
        let until = self.channels.next(now).map_or(look, |next| next.min(look));
        self.ears.open(&self.relay.store).await;
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.relay.store.wake().called() => self.looking.reset(),
            () = self.ears.heard() => self.looking.reset(),
        }
    }
}

/// Takes out what was sent and parks what was refused, if the lease is still held; how many rows were there.
pub(crate) async fn settle<DB: Dialect>(
    store: &SqlStore<DB>,
    lease: &Lease,
    verdicts: &Verdicts,
) -> Result<u64, Broken> {
    if verdicts.done.is_empty() && verdicts.refused.is_empty() {
        return Ok(0);
    }
    // If the server dies before that is on its disk, they are found again and sent again.
    let mut tx = store.begin_unsynced().await?;
    tx.check_fence(lease.name(), lease.token()).await?;
    let statements = store.outbox_statements();
    for (id, reason) in &verdicts.refused {
        let values = [Value::Int(*id), Value::Text(reason)];
        tx.execute("parking a message", statements.park(), &values)
            .await?;
    }
    let refused = verdicts.refused.iter().map(|(id, _)| *id);
    let gone: Vec<i64> = verdicts.done.iter().copied().chain(refused).collect();
    let doing = "taking out what was sent";
    let found = tx
        .execute(doing, statements.delete(), &[Value::Ints(&gone)])
        .await?;
    tx.commit().await?;
    Ok(found)
}

/// The messages of rows, and for each row why it holds none.
fn taken(rows: &mut [Row]) -> (Vec<Outgoing>, Vec<Option<String>>) {
    let mut outgoing = Vec::with_capacity(rows.len());
    let take = |row: &mut Row| match std::mem::replace(&mut row.outgoing, Err(String::new())) {
        Ok(message) => {
            outgoing.push(message);
            None
        }
        Err(reason) => Some(reason),
    };
    let refused = rows.iter_mut().map(take).collect();
    (outgoing, refused)
}

/// One answer of the broker.
async fn answer(
    receipt: Option<Receipt>,
    row: &Row,
    deadline: Instant,
    after: Duration,
) -> Result<Position, PublishError> {
    let Some(mut receipt) = receipt else {
        // A sink that forgets a message has not taken it.
        return Err(PublishError::Closed);
    };
    // Most are there when the first one is, and need no clock.
    if let Poll::Ready(answer) = poll_fn(|context| Poll::Ready(Pin::new(&mut receipt).poll(context))).await {
        return answer;
    }
    match tokio::time::timeout_at(deadline, receipt).await {
        Ok(answer) => answer,
        Err(_) => Err(PublishError::Timeout {
            destination: row.channel.clone(),
            after,
        }),
    }
}

/// What hears other processes, where they can be heard.
struct Ears<DB: Dialect> {
    listener: Option<DB::Listener>,
    again: Option<Instant>,
}

impl<DB: Dialect> Default for Ears<DB> {
    fn default() -> Self {
        Self {
            listener: None,
            again: None,
        }
    }
}

impl<DB: Dialect> Ears<DB> {
    /// Begins to listen, unless it does or has failed to a short while ago.
    async fn open(&mut self, store: &SqlStore<DB>) {
        let now = Instant::now();
        if !DB::CAN_NOTIFY || self.listener.is_some() || self.again.is_some_and(|again| again > now) {
            return;
        }
        match store.listen().await {
            Ok(listener) => self.listener = Some(listener),
            Err(error) => {
                // It looks by itself meanwhile.
                tracing::debug!(%error, "other processes are not heard");
                self.again = Some(now + LISTEN_AGAIN);
            }
        }
    }

    /// Waits for a call of another process.
    async fn heard(&mut self) {
        let Some(listener) = &mut self.listener else {
            return std::future::pending().await;
        };
        if let Err(error) = DB::heard(listener).await {
            tracing::debug!(%error, "other processes are not heard any more");
            self.listener = None;
            self.again = Some(Instant::now() + LISTEN_AGAIN);
        }
    }
}

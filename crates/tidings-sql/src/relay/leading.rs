//! What the one relay does that holds the lease: read, send, take out: [`Leading`].

use super::backoff::{Channels, FIRST};
use super::batch::Batch;
use super::broken::Broken;
use super::ears::Ears;
use super::fence::Fence;
use super::outlet::Outlet;
use super::slow::Slow;
use super::verdicts::ParkedKeys;
use super::{Relay, Stop, rest};
use crate::dialect::Dialect;
use crate::kept::Kept;
use crate::locks::SqlLocks;
use crate::outbox::reading::Reading;
use crate::wait::Wait;
use bytes::BytesMut;
use std::future::poll_fn;
use std::time::Duration;
use tidings_core::{Lease, LockError, LockStore};
use tokio::time::Instant;

/// The first look after a call comes that soon; each wait is twice as long as the one before.
const FIRST_LOOK: Duration = Duration::from_millis(1);
/// So long the answers to a batch keep everybody waiting; after it, only the channels that are not answered.
const TOGETHER: Duration = Duration::from_millis(500);

pub(crate) struct Leading<'a, DB: Dialect> {
    pub(crate) relay: &'a Relay<DB>,
    locks: &'a SqlLocks<DB>,
    pub(super) lease: Lease,
    pub(crate) outlet: Outlet,
    /// The last row that rounds look at; none is no end.
    pub(crate) up_to: Option<i64>,
    pub(super) channels: Channels,
    pub(super) slow: Slow,
    pub(super) kept: Kept<DB>,
    /// Of the rows that were read.
    memory: BytesMut,
    looking: Wait,
    ears: Ears<DB>,
}

impl<'a, DB: Dialect> Leading<'a, DB> {
    pub(super) fn new(relay: &'a Relay<DB>, locks: &'a SqlLocks<DB>, lease: Lease) -> Self {
        let options = &relay.options;
        let fence = options
            .fence
            .then(|| Fence::new(&relay.store, &lease, options.fence_idle));
        Self {
            relay,
            locks,
            lease,
            outlet: relay.target.open(fence.as_ref(), options.parked_keys),
            up_to: None,
            channels: Channels::new(options.longest_backoff),
            slow: Slow::default(),
            kept: Kept::new(&relay.store),
            memory: BytesMut::new(),
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
                    self.kept.let_go();
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
                let next = self.channels.next(Instant::now());
                match self.round().await {
                    Ok(0) if next.is_none() && self.slow.is_empty() => return Ok(()),
                    Ok(0) => self.pause(next).await,
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

    /// Keeps no connection until the next round.
    pub(crate) fn let_go(&mut self) {
        self.kept.let_go();
    }

    /// Whether no channel is in trouble, as far as is known.
    pub(crate) fn is_well(&self) -> bool {
        self.channels.are_well()
    }

    /// Whether, besides, no answer is missing for longer than that.
    pub(crate) fn answers_within(&self, patience: Duration) -> bool {
        self.is_well() && self.slow.since().is_none_or(|since| since.elapsed() < patience)
    }

    /// Whether, besides, everything that was sent is answered.
    pub(crate) fn is_calm(&self) -> bool {
        self.is_well() && self.slow.is_empty()
    }

    /// Reads a batch, sends it, and takes out what was taken, of that and of what was sent before; how many rows there were.
    pub(crate) async fn round(&mut self) -> Result<usize, Broken> {
        self.keep_lease().await?;
        let late = self.settle_slow().await?;
        let options = &self.relay.options;
        let now = Instant::now();
        let mut without = self.channels.held(now);
        without.extend(self.slow.channels().cloned());
        let reading = Reading {
            rows: options.batch,
            bytes: options.batch_bytes,
            without,
            parked_keys_wait: options.parked_keys == ParkedKeys::Wait,
        };
        let mut rows = self
            .relay
            .store
            .read_outbox(&reading, &mut self.kept, &mut self.memory)
            .await?;
        if !self.channels.are_well() && reading.is_all(&rows) {
            let (rows, slow) = (&rows, &self.slow);
            self.channels.found(now, |channel| {
                slow.channels().any(|slow| slow == channel) || rows.iter().any(|row| row.channel == *channel)
            });
        }
        if let Some(last) = self.up_to {
            rows.truncate(rows.partition_point(|row| row.id <= last));
        }
        if rows.is_empty() {
            if self.is_calm() {
                self.relay.status.works();
            }
            return Ok(late);
        }
        // Time may have passed: what is sent by two is sent twice, and out of turn by the one who came late.
        self.keep_lease().await?;
        let count = rows.len();
        let mut batch = Batch::send(&mut self.outlet, rows, options.publish_timeout);
        let together = TOGETHER.min(options.publish_timeout);
        let answers = tokio::time::timeout(together, poll_fn(|context| batch.poll_answers(context)));
        if self.renewing(answers).await?.is_err() {
            let slow;
            (batch, slow) = batch.part();
            self.slow.add(slow);
        }
        self.settle(batch).await?;
        Ok(count + late)
    }

    /// Renews the lease when a third of it is over.
    pub(crate) async fn keep_lease(&mut self) -> Result<(), LockError> {
        let whole = self.relay.options.lease;
        if self.lease.remaining() <= whole * 2 / 3 {
            self.lease = self.locks.renew(&self.lease, whole).await?;
        }
        Ok(())
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

    /// Waits until there may be something: somebody calls, a channel is to be tried again, or it is time to look.
    async fn listen(&mut self, stop: &mut Stop) {
        self.kept.let_go();
        let now = Instant::now();
        let look = now + self.looking.take().min(self.relay.options.lease / 3);
        let others = [self.channels.next(now), self.slow.deadline()];
        let until = others.into_iter().flatten().fold(look, Instant::min);
        self.ears.open(&self.relay.store).await;
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            _ = stop.wait_for(|stop| *stop) => {}
            () = poll_fn(|context| self.slow.poll_answers(context)) => self.looking.reset(),
            () = self.relay.store.wake().called() => self.looking.reset(),
            () = self.ears.heard() => self.looking.reset(),
        }
    }
}

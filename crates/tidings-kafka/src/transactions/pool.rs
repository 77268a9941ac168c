//! Transactions outside of subscriptions: [`Pool`].

use super::id::random;
use super::transactor::Transactor;
use super::worker::{GivenUp, Outcome};
use crate::client::{ClientState, Topics};
use crate::lock::lock;
use crate::options::ClientOptions;
use crate::sink::{Transacting, Use};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings_core::{BoxFuture, PublishError, Sink, SinkTransaction};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, timeout_at};

/// Producers of transactions, one for each that is open at the same time. They are kept: to get the right to an id takes
/// the broker a while.
pub(crate) struct Pool {
    options: ClientOptions,
    state: Arc<ClientState>,
    topics: Arc<Topics>,
    idle: Mutex<Idle>,
    numbers: AtomicU64,
    name: String,
}

#[derive(Default)]
struct Idle {
    producers: Vec<Pooled>,
    closed: bool,
}

/// A producer with what is told of it.
pub(super) struct Pooled {
    pub(super) transactor: Transactor,
    outcomes: UnboundedReceiver<(u64, Outcome)>,
    /// It is being made ready, and tells so with this ticket.
    settling: Option<u64>,
}

impl Pool {
    pub(crate) fn new(options: ClientOptions, state: Arc<ClientState>, topics: Arc<Topics>) -> Self {
        // With a given name what a process leaves open is given up when it begins again.
        let name = options.instance().map_or_else(random, str::to_owned);
        Self {
            options,
            state,
            topics,
            idle: Mutex::default(),
            numbers: AtomicU64::new(0),
            name,
        }
    }

    /// Begins a transaction.
    pub(crate) async fn begin(self: Arc<Self>) -> Result<Box<dyn SinkTransaction>, PublishError> {
        let idle = {
            let mut idle = lock(&self.idle);
            if idle.closed {
                return Err(PublishError::Closed);
            }
            idle.producers.pop()
        };
        let mut open = Opened {
            pooled: Some(idle.map_or_else(|| self.another(), Ok)?),
            pool: self.clone(),
        };
        let until = Instant::now() + self.options.request_timeout();
        if let Some(pooled) = &mut open.pooled {
            pooled.is_ready(until, self.options.request_timeout()).await?;
            // Whoever still has the sink of the one before publishes nothing into this one.
            pooled.transactor.sink().admit();
        }
        Ok(Box::new(open))
    }

    fn another(&self) -> Result<Pooled, PublishError> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let id = format!("tidings-publisher-{}-{number}", self.name);
        self.producer(&id, Use::Single)
    }

    /// A producer of transactions under that id, which is being made ready.
    pub(super) fn producer(&self, id: &str, purpose: Use) -> Result<Pooled, PublishError> {
        let (sender, outcomes) = unbounded_channel();
        let tell = move |ticket, outcome| drop(sender.send((ticket, outcome)));
        let sink = Transacting::open(
            &self.options,
            id,
            self.state.clone(),
            self.topics.clone(),
            purpose,
        );
        let transactor = sink.and_then(|sink| Transactor::start(sink, tell));
        let mut transactor = transactor.map_err(|error| unavailable(error.to_string()))?;
        let settling = Some(transactor.settle());
        Ok(Pooled {
            transactor,
            outcomes,
            settling,
        })
    }

    fn give_back(&self, pooled: Pooled) {
        let mut idle = lock(&self.idle);
        if !idle.closed {
            idle.producers.push(pooled);
        }
    }

    /// What this binder is called in its program.
    pub(super) fn binder(&self) -> Option<&str> {
        self.options.binder()
    }

    /// How long the broker is waited for.
    pub(super) fn patience(&self) -> Duration {
        self.options.request_timeout()
    }

    /// Lets go of the producers; transactions that are open go on to their end.
    pub(crate) fn close(&self) {
        let mut idle = lock(&self.idle);
        idle.closed = true;
        idle.producers.clear();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Pooled {
    /// Waits until nothing is open and the producer has its right.
    pub(super) async fn is_ready(&mut self, until: Instant, after: Duration) -> Result<(), PublishError> {
        let mut obstacle = None;
        while let Some(ticket) = self.settling {
            match timeout_at(until, self.outcomes.recv()).await {
                Ok(Some((told, Outcome::Settled))) if told == ticket => self.settling = None,
                Ok(Some((_, Outcome::Waiting(fault)))) => obstacle = Some(fault),
                Ok(Some(_)) => {}
                Ok(None) => return Err(PublishError::Closed),
                Err(_) => {
                    let why = obstacle.map_or_else(
                        || format!("the broker has not answered for {after:?}"),
                        |fault| fault.to_string(),
                    );
                    return Err(unavailable(format!("no transaction can be begun: {why}")));
                }
            }
        }
        Ok(())
    }

    pub(super) async fn commit(&mut self) -> Result<(), PublishError> {
        let ticket = self.transactor.commit(None);
        while let Some((told, outcome)) = self.outcomes.recv().await {
            match outcome {
                Outcome::Committed if told == ticket => return Ok(()),
                Outcome::GivenUp(GivenUp { reason, .. }) if told == ticket => {
                    return Err(unavailable(format!(
                        "the transaction failed, and unless its answer was lost nothing of it is seen: {reason}"
                    )));
                }
                Outcome::Waiting(fault) => {
                    tracing::warn!(reason = %fault, "a transaction is not committed yet");
                }
                _ => {}
            }
        }
        Err(PublishError::Closed)
    }
}

/// A transaction that is open. Dropped, it is given up, and its producer is kept.
struct Opened {
    pooled: Option<Pooled>,
    pool: Arc<Pool>,
}

impl SinkTransaction for Opened {
    fn sink(&self) -> Arc<dyn Sink> {
        match &self.pooled {
            Some(pooled) => pooled.transactor.sink().sink(),
            // It is taken by the commit only, which takes all of this.
            None => Arc::new(Ended),
        }
    }

    fn commit(mut self: Box<Self>) -> BoxFuture<'static, Result<(), PublishError>> {
        Box::pin(async move {
            let Some(pooled) = &mut self.pooled else {
                return Err(PublishError::Closed);
            };
            pooled.commit().await?;
            if let Some(pooled) = self.pooled.take() {
                self.pool.give_back(pooled);
            }
            Ok(())
        })
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(mut pooled) = self.pooled.take() {
            if pooled.settling.is_none() {
                pooled.settling = Some(pooled.transactor.settle());
            }
            self.pool.give_back(pooled);
        }
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

/// Takes nothing.
#[derive(Debug)]
pub(super) struct Ended;

impl Sink for Ended {
    fn publish(&self, _: tidings_core::Outgoing) -> tidings_core::Receipt {
        tidings_core::Receipt::failed(PublishError::Closed)
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        Box::pin(std::future::ready(Err(PublishError::Closed)))
    }
}

fn unavailable(reason: String) -> PublishError {
    PublishError::Unavailable {
        destination: "a transaction".into(),
        reason,
    }
}

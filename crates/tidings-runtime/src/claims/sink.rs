//! Puts large payloads aside before their messages are published: [`ClaimLayer`].

use super::transactions::{ClaimSole, ClaimSource, ClaimTransaction};
use super::{ClaimRule, digest};
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidings_core::headers::HeadersError;
use tidings_core::{
    BinderError, BinderLayer, BoxFuture, Claim, ClaimError, DynBinder, DynSource, Guarantee, LayeredSource,
    Outgoing, PublishError, Receipt, ReceiptSender, Sink, SinkTransaction, SoleSink, SourceSpec, names,
};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A broker whose large payloads go elsewhere: see [`ClaimRule`].
#[derive(Debug)]
pub struct ClaimLayer {
    inner: Arc<dyn DynBinder>,
    sink: Arc<ClaimSink>,
}

impl ClaimLayer {
    /// The broker, with a rule for each of these destinations.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(inner: Arc<dyn DynBinder>, rules: HashMap<Arc<str>, ClaimRule>) -> Self {
        let rules = Arc::new(rules);
        let sink = ClaimSink::before(inner.sink(), &rules, Handle::current());
        Self {
            inner,
            sink: Arc::new(sink),
        }
    }
}

impl BinderLayer for ClaimLayer {
    fn inner(&self) -> &Arc<dyn DynBinder> {
        &self.inner
    }

    fn sink(&self) -> Arc<dyn Sink> {
        self.sink.clone()
    }

    fn subscribe(&self, spec: SourceSpec) -> BoxFuture<'_, Result<Box<dyn DynSource>, BinderError>> {
        let transactional = spec.guarantee == Guarantee::ExactlyOnce;
        let (subscribing, sink) = (self.inner.subscribe(spec), self.sink.clone());
        Box::pin(async move {
            let source = subscribing.await?;
            Ok(match transactional {
                true => Box::new(LayeredSource(ClaimSource::new(source, sink))) as Box<dyn DynSource>,
                false => source,
            })
        })
    }
}

/// Messages of a destination go straight to the broker, until one has a payload to be put aside: then it and those
/// behind it wait in line, because messages of one partition keep the order of the calls.
pub(super) struct ClaimSink {
    inner: Arc<dyn Sink>,
    rules: Arc<HashMap<Arc<str>, ClaimRule>>,
    queues: HashMap<Arc<str>, Arc<Queue>>,
    runtime: Handle,
}

struct Queue {
    rule: ClaimRule,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Whether a task takes the jobs in turn.
    working: bool,
    /// Bytes of the messages in line, and of what it takes to keep them there.
    bytes: u64,
    /// Why a message did not come to the broker, until somebody asks.
    refused: Option<PublishError>,
}

impl State {
    /// One that is not at fault itself counts more.
    fn note(&mut self, refusal: &PublishError) {
        if self.refused.as_ref().is_none_or(PublishError::is_permanent) {
            self.refused = Some(refusal.clone());
        }
    }
}

enum Job {
    Publish {
        outgoing: Preparing,
        size: u64,
        sender: ReceiptSender,
    },
    /// Everything before it was handed to the broker.
    Tell(oneshot::Sender<()>),
}

enum Preparing {
    Ready(Box<Outgoing>),
    /// Payloads are put aside beside each other, and their messages published in turn.
    PutAside(JoinHandle<Result<Outgoing, PublishError>>),
}

impl Queue {
    fn new(rule: ClaimRule) -> Self {
        Self {
            rule,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_large(&self, outgoing: &Outgoing) -> bool {
        let payload = outgoing.message.payload();
        payload.is_some_and(|payload| payload.len() > self.rule.above_bytes)
    }

    /// Why a message cannot get in line.
    fn refusal(&self, state: &State, outgoing: &Outgoing, size: u64) -> Option<PublishError> {
        let limit = self.rule.max_bytes;
        if size > limit {
            return Some(PublishError::TooLarge {
                destination: outgoing.destination.clone(),
                size: usize::try_from(size).unwrap_or(usize::MAX),
                limit: usize::try_from(limit).unwrap_or(usize::MAX),
            });
        }
        (state.bytes > 0 && state.bytes + kept_bytes(size) > limit).then(|| PublishError::Unavailable {
            destination: outgoing.destination.clone(),
            reason: format!(
                "{} bytes are on their way into the claim store already, claim_max_bytes is {limit}",
                state.bytes
            ),
        })
    }

    /// The next job, and the end of the work if there is none.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        let job = state.jobs.pop_front();
        state.working = job.is_some();
        job
    }
}

/// What a message of that size takes in line: the smallest ones would otherwise be without a limit.
fn kept_bytes(size: u64) -> u64 {
    const PLACE: usize = size_of::<Job>() + size_of::<Outgoing>();
    size + PLACE as u64
}

impl ClaimSink {
    pub(super) fn before(
        inner: Arc<dyn Sink>,
        rules: &Arc<HashMap<Arc<str>, ClaimRule>>,
        runtime: Handle,
    ) -> Self {
        let queue = |rule: &ClaimRule| Arc::new(Queue::new(rule.clone()));
        let queues = rules
            .iter()
            .map(|(destination, rule)| (destination.clone(), queue(rule)));
        Self {
            inner,
            rules: rules.clone(),
            queues: queues.collect(),
            runtime,
        }
    }

    /// The same before another sink, with lines of its own.
    pub(super) fn over(&self, inner: Arc<dyn Sink>) -> Self {
        Self::before(inner, &self.rules, self.runtime.clone())
    }

    /// Resolves when everything that is in line now was handed to the broker or refused; false if the runtime has ended
    /// the work.
    pub(super) fn all_in_line_published(&self) -> impl Future<Output = bool> + Send + use<> {
        let mut told = Vec::new();
        for queue in self.queues.values() {
            let mut state = queue.state();
            if state.working {
                let (tell, done) = oneshot::channel();
                self.enqueue(queue, &mut state, Job::Tell(tell));
                told.push(done);
            }
        }
        async move {
            let mut all = true;
            for done in told {
                all &= done.await.is_ok();
            }
            all
        }
    }

    /// Why a message did not come to the broker since the last time.
    pub(super) fn take_refusal(&self) -> Option<PublishError> {
        self.queues
            .values()
            .filter_map(|queue| queue.state().refused.take())
            .next()
    }

    /// Puts a job in line, and somebody to work if nobody does.
    fn enqueue(&self, queue: &Arc<Queue>, state: &mut State, job: Job) {
        state.jobs.push_back(job);
        if !std::mem::replace(&mut state.working, true) {
            self.runtime.spawn(work(queue.clone(), self.inner.clone()));
        }
    }

    fn in_line(&self, queue: &Arc<Queue>, outgoing: Outgoing) -> Receipt {
        let is_large = queue.is_large(&outgoing);
        let mut state = queue.state();
        if !is_large && !state.working {
            drop(state);
            return self.inner.publish(outgoing);
        }
        let size = outgoing.message.size() as u64;
        if let Some(refusal) = queue.refusal(&state, &outgoing, size) {
            state.note(&refusal);
            return Receipt::failed(refusal);
        }
        state.bytes += kept_bytes(size);
        let outgoing = match is_large {
            false => Preparing::Ready(Box::new(outgoing)),
            true => {
                let put = put_aside(queue.rule.store.clone(), outgoing);
                Preparing::PutAside(self.runtime.spawn(put))
            }
        };
        let (sender, receipt) = Receipt::pair();
        let job = Job::Publish {
            outgoing,
            size,
            sender,
        };
        self.enqueue(queue, &mut state, job);
        receipt
    }
}

impl Sink for ClaimSink {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        match self.queues.get(&outgoing.destination) {
            Some(queue) => self.in_line(queue, outgoing),
            None => self.inner.publish(outgoing),
        }
    }

    fn publish_all(&self, outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        let goes_straight = |one: &Outgoing| match self.queues.get(&one.destination) {
            Some(queue) => !queue.is_large(one) && !queue.state().working,
            None => true,
        };
        if outgoing.iter().all(goes_straight) {
            return self.inner.publish_all(outgoing);
        }
        outgoing.into_iter().map(|one| self.publish(one)).collect()
    }

    fn begin(&self) -> BoxFuture<'static, Result<Box<dyn SinkTransaction>, PublishError>> {
        let (beginning, rules, runtime) = (self.inner.begin(), self.rules.clone(), self.runtime.clone());
        Box::pin(async move { Ok(ClaimTransaction::begun(beginning.await?, &rules, runtime)) })
    }

    fn can_be_sole(&self) -> bool {
        self.inner.can_be_sole()
    }

    fn sole(&self, name: &str) -> BoxFuture<'static, Result<Box<dyn SoleSink>, PublishError>> {
        let (taking, rules, runtime) = (self.inner.sole(name), self.rules.clone(), self.runtime.clone());
        Box::pin(async move {
            let inner = taking.await?;
            Ok(Box::new(ClaimSole {
                inner,
                rules,
                runtime,
            }) as Box<dyn SoleSink>)
        })
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        let (published, inner) = (self.all_in_line_published(), self.inner.clone());
        Box::pin(async move {
            match published.await {
                true => inner.flush().await,
                false => Err(PublishError::Closed),
            }
        })
    }
}

impl fmt::Debug for ClaimSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimSink")
            .field("inner", &self.inner)
            .field("destinations", &self.queues.keys())
            .finish()
    }
}

/// Hands messages to the broker, in the order in which they came.
async fn work(queue: Arc<Queue>, inner: Arc<dyn Sink>) {
    while let Some(job) = queue.next() {
        match job {
            Job::Publish {
                outgoing,
                size,
                sender,
            } => {
                let prepared = match outgoing {
                    Preparing::Ready(outgoing) => Ok(*outgoing),
                    Preparing::PutAside(put) => put.await.unwrap_or(Err(PublishError::Closed)),
                };
                let receipt = prepared.map(|outgoing| inner.publish(outgoing));
                queue.state().bytes -= kept_bytes(size);
                match receipt {
                    // Whoever waits is told when the broker keeps it; the next ones do not wait for that.
                    Ok(receipt) => drop(tokio::spawn(async move { sender.resolve(receipt.await) })),
                    Err(error) => {
                        queue.state().note(&error);
                        sender.resolve(Err(error));
                    }
                }
            }
            // Whoever asked may have stopped waiting.
            Job::Tell(tell) => drop(tell.send(())),
        }
    }
}

/// The message with a reference in place of its payload, once that is kept. The payload is empty then and not absent:
/// that would be a tombstone.
async fn put_aside(
    store: Arc<dyn tidings_core::ClaimStore>,
    outgoing: Outgoing,
) -> Result<Outgoing, PublishError> {
    let payload = outgoing.message.payload().cloned().unwrap_or_default();
    let digest = digest(payload.clone()).await.ok_or(PublishError::Closed)?;
    let claim = Claim::new(store.id(), payload.len() as u64, digest);
    let put = store.put(&claim, payload).await;
    put.map_err(|error| refused(error, &outgoing.destination))?;
    let Outgoing {
        destination,
        partition,
        message,
        due,
    } = outgoing;
    let message = message.with_payload(Some(Bytes::new()));
    let header = message.with_header(names::CLAIM, claim.to_string());
    let message = header.map_err(|error: HeadersError| PublishError::Headers(error))?;
    Ok(Outgoing {
        destination,
        partition,
        message,
        due,
    })
}

fn refused(error: ClaimError, destination: &Arc<str>) -> PublishError {
    let destination = destination.clone();
    let reason = error.to_string();
    match error.is_permanent() {
        true => PublishError::Unauthorized { destination, reason },
        false => PublishError::Unavailable { destination, reason },
    }
}

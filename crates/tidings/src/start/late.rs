//! A broker that was away when the service started, as its subscriptions see it: [`late`].

use super::destinations::Destinations;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tidings_core::{
    BinderError, BinderLayer, BoxFuture, DynBinder, DynSource, Layered, Outgoing, PublishError, Receipt,
    Sink, SinkTransaction, SoleSink, SourceError, SourceSpec,
};
use tokio::sync::watch;

/// How long a subscription waits at the gate before it says again that it does.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether subscriptions may begin. Clones are the same gate.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    state: watch::Sender<State>,
}

#[derive(Debug, Clone)]
enum State {
    /// Not yet: why.
    Waiting(String),
    /// What they read and write is there.
    Open(Arc<Destinations>),
    /// They never may: why.
    Refused(String),
}

impl Gate {
    pub(super) fn waiting(reason: String) -> Self {
        Self {
            state: watch::Sender::new(State::Waiting(reason)),
        }
    }

    pub(super) fn wait(&self, reason: String) {
        self.state.send_replace(State::Waiting(reason));
    }

    pub(super) fn open(&self, destinations: Destinations) {
        self.state.send_replace(State::Open(Arc::new(destinations)));
    }

    pub(super) fn refuse(&self, reason: String) {
        self.state.send_replace(State::Refused(reason));
    }

    /// Why it is not open.
    pub(crate) fn trouble(&self) -> Option<String> {
        match &*self.state.borrow() {
            State::Open(_) => None,
            State::Waiting(reason) | State::Refused(reason) => Some(reason.clone()),
        }
    }

    /// What is known of the destinations.
    fn destinations(&self) -> Option<Arc<Destinations>> {
        match &*self.state.borrow() {
            State::Open(destinations) => Some(destinations.clone()),
            _ => None,
        }
    }

    /// Whether it is open now.
    fn ask(&self) -> Result<(), SourceError> {
        match &*self.state.borrow() {
            State::Open(_) => Ok(()),
            State::Waiting(reason) => Err(SourceError::Unavailable {
                reason: reason.clone(),
            }),
            State::Refused(reason) => Err(SourceError::Refused {
                reason: reason.clone(),
            }),
        }
    }

    /// Waits a while until it is decided.
    async fn stand(&self) -> Result<(), SourceError> {
        let mut state = self.state.subscribe();
        let decided = state.wait_for(|state| !matches!(state, State::Waiting(_)));
        // Whichever it is, the answer is asked for below.
        let _ = tokio::time::timeout(PATIENCE, decided).await;
        self.ask()
    }
}

/// The broker with the gate in front of its subscriptions.
pub(super) fn late(inner: Arc<dyn DynBinder>, gate: Gate) -> Arc<dyn DynBinder> {
    Arc::new(Layered(Late {
        inner,
        gate,
        told: Mutex::default(),
    }))
}

#[derive(Debug)]
struct Late {
    inner: Arc<dyn DynBinder>,
    gate: Gate,
    /// Subscriptions that know why they wait.
    told: Mutex<BTreeSet<Arc<str>>>,
}

impl Late {
    /// Whether a subscription was told before; from now on it was.
    fn knows(&self, subscription: &Arc<str>) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        !told.insert(subscription.clone())
    }
}

impl BinderLayer for Late {
    fn inner(&self) -> &Arc<dyn DynBinder> {
        &self.inner
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(LateSink {
            inner: self.inner.sink(),
            gate: self.gate.clone(),
        })
    }

    fn subscribe(&self, spec: SourceSpec) -> BoxFuture<'_, Result<Box<dyn DynSource>, BinderError>> {
        Box::pin(async move {
            // The first answer comes at once, so that its status says why; the next one when it is decided.
            match self.knows(&spec.subscription) {
                false => self.gate.ask()?,
                true => self.gate.stand().await?,
            }
            self.inner.subscribe(spec).await
        })
    }
}

/// Where its subscriptions write their waiting messages and dead letters. How many partitions the destinations have was
/// not known when they started.
#[derive(Debug)]
struct LateSink {
    inner: Arc<dyn Sink>,
    gate: Gate,
}

impl LateSink {
    /// A partition that is not there is left to the key.
    fn placed(&self, mut outgoing: Outgoing) -> Outgoing {
        if let Some(partition) = outgoing.partition
            && let Some(destinations) = self.gate.destinations()
            && let Some(partitions) = destinations.partitions(&outgoing.destination)
            && partition >= partitions
        {
            outgoing.partition = None;
        }
        outgoing
    }
}

impl Sink for LateSink {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        self.inner.publish(self.placed(outgoing))
    }

    fn publish_all(&self, outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        let placed = outgoing.into_iter().map(|one| self.placed(one));
        self.inner.publish_all(placed.collect())
    }

    fn begin(&self) -> BoxFuture<'static, Result<Box<dyn SinkTransaction>, PublishError>> {
        self.inner.begin()
    }

    fn can_be_sole(&self) -> bool {
        self.inner.can_be_sole()
    }

    fn sole(&self, name: &str) -> BoxFuture<'static, Result<Box<dyn SoleSink>, PublishError>> {
        self.inner.sole(name)
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        self.inner.flush()
    }
}

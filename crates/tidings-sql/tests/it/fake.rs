//! A broker that remembers what it was given and answers as a test wants, and relays that send to it.

use crate::support::TestDb;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidings_core::{BoxFuture, Message, Outgoing, Position, PublishError, Receipt, Sink, names};
use tidings_sql::{Outbox, Relay, RelayOptions, RelayStatus, ReplicationRelay, ReplicationStatus, SqlStore};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

type Mood = dyn Fn(&Outgoing) -> Receipt + Send + Sync;

pub(crate) struct Fake {
    given: Mutex<Vec<Outgoing>>,
    mood: Box<Mood>,
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

pub(crate) fn taken(outgoing: &Outgoing) -> Receipt {
    Receipt::ready(Ok(Position::new(outgoing.destination.clone(), 0, 0)))
}

pub(crate) fn away(outgoing: &Outgoing) -> Receipt {
    Receipt::failed(PublishError::Unavailable {
        destination: outgoing.destination.clone(),
        reason: "it is away".into(),
    })
}

impl Fake {
    /// It takes everything.
    pub(crate) fn new() -> Arc<Self> {
        Self::with(taken)
    }

    pub(crate) fn with(mood: impl Fn(&Outgoing) -> Receipt + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            given: Mutex::default(),
            mood: Box::new(mood),
        })
    }

    pub(crate) fn given(&self) -> Vec<Outgoing> {
        self.given.lock().unwrap().clone()
    }

    /// What it was given, as text.
    pub(crate) fn payloads(&self) -> Vec<String> {
        self.given()
            .iter()
            .map(|outgoing| text(&outgoing.message))
            .collect()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        let id = |outgoing: &Outgoing| {
            let headers = outgoing.message.headers();
            headers.get_str(names::MESSAGE_ID).unwrap().to_owned()
        };
        self.given().iter().map(id).collect()
    }
}

pub(crate) fn text(message: &Message) -> String {
    let payload = message.payload().map(AsRef::as_ref).unwrap_or_default();
    String::from_utf8_lossy(payload).into_owned()
}

impl Sink for Fake {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        self.given.lock().unwrap().push(outgoing.clone());
        (self.mood)(&outgoing)
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Waits for something that must come about.
#[track_caller]
pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    let deadline = Instant::now() + Duration::from_secs(60);
    async move {
        while !is_so() {
            assert!(Instant::now() < deadline, "never came about: {what}, {place}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A relay that runs until it is told to stop.
pub(crate) struct Running {
    pub(crate) status: Arc<RelayStatus>,
    stop: oneshot::Sender<()>,
    pub(crate) task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start<DB: TestDb>(
        store: &SqlStore<DB>,
        sink: Arc<dyn Sink>,
        options: RelayOptions,
    ) -> Self {
        let relay = Relay::new(store, sink, options);
        let (stop, stopped) = oneshot::channel();
        Self {
            status: relay.status(),
            stop,
            task: tokio::spawn(relay.run(async move { drop(stopped.await) })),
        }
    }

    /// One that reads as it is committed.
    pub(crate) fn replicating(relay: ReplicationRelay) -> (Self, Arc<ReplicationStatus>) {
        let status = relay.status();
        let (stop, stopped) = oneshot::channel();
        let running = Self {
            status: status.relay(),
            stop,
            task: tokio::spawn(relay.run(async move { drop(stopped.await) })),
        };
        (running, status)
    }

    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.task.await.unwrap();
    }
}

/// How long the lease of a relay lasts that is to lose it.
pub(crate) const SHORT_LEASE: Duration = Duration::from_millis(600);

pub(crate) fn quick() -> RelayOptions {
    RelayOptions::default()
        .lease(Duration::from_secs(3))
        .poll_interval(Duration::from_millis(50))
}

pub(crate) async fn send<DB: TestDb>(outbox: &Outbox<DB>, key: &str, payload: &str) {
    let mut tx = outbox.store().begin().await.unwrap();
    let message = Message::new(payload.to_owned()).with_key(key.to_owned());
    outbox.send(&mut tx, "orders", message).await.unwrap();
    tx.commit().await.unwrap();
}

/// One message to that channel.
pub(crate) async fn send_to<DB: TestDb>(outbox: &Outbox<DB>, channel: &str) {
    let mut tx = outbox.store().begin().await.unwrap();
    outbox.send(&mut tx, channel, Message::new("it")).await.unwrap();
    tx.commit().await.unwrap();
}

pub(crate) async fn waiting<DB: TestDb>(outbox: &Outbox<DB>) -> u64 {
    outbox.backlog().await.unwrap().messages
}

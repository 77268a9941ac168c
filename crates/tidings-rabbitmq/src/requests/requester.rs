//! What sends requests: [`RabbitRequester`].

use super::desk::{Desk, Envelope};
use crate::connection::Link;
use crate::message::read;
use crate::options::ClientOptions;
use crate::sink::RabbitSink;
use crate::trouble::Trouble;
use futures_core::Stream;
use lapin::Consumer;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tidings_core::{
    BoxFuture, Message, OpenRequests, Outgoing, PublishError, RequestError, RequestStatus, Requester,
    SourceError, names,
};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// The first wait before another channel is opened, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Whether there is a channel for requests.
#[derive(Debug, Clone)]
enum Phase {
    /// Nobody has asked for one.
    Idle,
    /// Not yet, and why not if one was lost or refused.
    Opening(Option<String>),
    Ready(Arc<Desk>),
}

/// Sends requests on a channel of its own, after the other when one is lost.
pub(super) struct RabbitRequester {
    shared: Arc<Shared>,
    runtime: Handle,
    keeper: Mutex<Option<AbortHandle>>,
}

struct Shared {
    options: Arc<ClientOptions>,
    runtime: Handle,
    link: Arc<Link>,
    sink: Arc<RabbitSink>,
    open: Arc<OpenRequests>,
    phase: watch::Sender<Phase>,
}

impl RabbitRequester {
    pub(super) fn new(
        options: Arc<ClientOptions>,
        runtime: Handle,
        link: Arc<Link>,
        sink: Arc<RabbitSink>,
        open: Arc<OpenRequests>,
    ) -> Self {
        let shared = Shared {
            options,
            runtime: runtime.clone(),
            link,
            sink,
            open,
            phase: watch::Sender::new(Phase::Idle),
        };
        Self {
            shared: Arc::new(shared),
            runtime,
            keeper: Mutex::default(),
        }
    }

    fn begin(&self) {
        let begins = self.shared.phase.send_if_modified(|phase| {
            let begins = matches!(phase, Phase::Idle);
            if begins {
                *phase = Phase::Opening(None);
            }
            begins
        });
        if begins {
            let keeping = self.runtime.spawn(keep(self.shared.clone()));
            *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeping.abort_handle());
        }
    }

    fn stop(&self) {
        self.shared.open.close();
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(keeper) = keeper {
            keeper.abort();
        }
    }
}

impl Requester for RabbitRequester {
    fn request(&self, request: Outgoing) -> BoxFuture<'static, Result<Message, RequestError>> {
        self.begin();
        Box::pin(request_by(self.shared.clone(), request))
    }

    fn status(&self) -> RequestStatus {
        let mut status = self.shared.open.status();
        status.obstacle = match &*self.shared.phase.borrow() {
            Phase::Idle => None,
            // Why there is no connection is known before it is known that there is no channel.
            Phase::Opening(reason) => self.shared.link.state().borrow().trouble().or(reason.clone()),
            Phase::Ready(_) => self.shared.link.state().borrow().trouble(),
        };
        status
    }

    fn close(&self) {
        self.stop();
    }
}

impl Drop for RabbitRequester {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for RabbitRequester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitRequester")
            .field("open", &self.shared.open)
            .finish_non_exhaustive()
    }
}

async fn request_by(shared: Arc<Shared>, request: Outgoing) -> Result<Message, RequestError> {
    let (to, mut message) = shared.addressed(request)?;
    let mut open = shared.open.open()?;
    // What the server puts there is the address.
    let written = message.headers_mut().edit(|writer| {
        writer
            .remove(names::REPLY_TO)
            .remove(names::REPLY_PARTITION)
            .set(names::CORRELATION_ID, open.id())
    });
    written.map_err(PublishError::from)?;
    let desk = loop {
        let desk = tokio::select! {
            biased;
            // The service ends.
            ended = &mut open => return ended,
            desk = shared.desk() => desk?,
        };
        open.comes_by(desk.way);
        // What is lost is noted first, and then told to whom it concerns: this one may just have come too late for that.
        if shared.is_there(desk.way) {
            break desk;
        }
    };
    tokio::select! {
        biased;
        // The channel was lost, or the service ends.
        ended = &mut open => return ended,
        found = desk.find(&to) => found?,
    }
    let (id, table) = (open.id().to_owned(), shared.open.clone());
    // To its end, also if nobody waits any more: what comes back with its confirmation may be another's.
    shared
        .runtime
        .spawn(async move { desk.publish(to, message, &id, &table).await });
    open.await
}

impl Shared {
    /// Where a request goes, after the checks that every message passes.
    fn addressed(&self, request: Outgoing) -> Result<(Envelope, Message), PublishError> {
        let target = self.sink.target_of(&request)?;
        let to = Envelope {
            exchange: target.exchange.clone(),
            routing_key: target.routing_key(&request.message).into_owned(),
            destination: request.destination,
        };
        Ok((to, request.message))
    }

    /// The channel that the reply comes by, once there is one and the server takes messages.
    async fn desk(&self) -> Result<Arc<Desk>, RequestError> {
        let mut state = self.link.state();
        // Gone with its runtime, which is told below.
        let _ = state.wait_for(|state| !state.is_blocked()).await;
        let mut phase = self.phase.subscribe();
        let ready = phase.wait_for(|phase| matches!(phase, Phase::Ready(_)));
        match ready.await.as_deref() {
            Ok(Phase::Ready(desk)) => Ok(desk.clone()),
            _ => Err(RequestError::Closed),
        }
    }

    fn is_there(&self, way: u64) -> bool {
        matches!(&*self.phase.borrow(), Phase::Ready(desk) if desk.way == way)
    }
}

/// Keeps a channel for requests, for as long as there are connections.
async fn keep(shared: Arc<Shared>) {
    let (mut wait, mut way) = (FIRST_WAIT, 0);
    loop {
        way += 1;
        let reason = match Desk::open(&shared.link, &shared.options, way).await {
            Ok((desk, consumer)) => {
                wait = FIRST_WAIT;
                shared.phase.send_replace(Phase::Ready(Arc::new(desk)));
                let ended = follow(&shared, consumer).await;
                format!("the channel was lost that had its address: {ended}")
            }
            Err(SourceError::Closed) => break,
            Err(error) => error.to_string(),
        };
        tracing::debug!(%reason, "no channel for requests to RabbitMQ; opening another");
        shared.phase.send_replace(Phase::Opening(Some(reason.clone())));
        shared.open.lose(way, &reason);
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
    shared.open.close();
}

/// Hands replies out until the channel ends, and says why it did.
async fn follow(shared: &Shared, mut consumer: Consumer) -> String {
    loop {
        match std::future::poll_fn(|context| Pin::new(&mut consumer).poll_next(context)).await {
            Some(Ok(delivery)) => {
                shared.open.answer(read(&delivery.properties, &delivery.data));
            }
            Some(Err(error)) => return Trouble::of(&error, shared.options.auth()).to_string(),
            None => {
                let trouble = shared.link.state().borrow().trouble();
                return trouble.unwrap_or_else(|| "the server closed it".to_owned());
            }
        }
    }
}

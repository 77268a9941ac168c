//! Makes connections, one after the other: [`Link`].

use super::backoff::Backoff;
use super::open::Live;
use super::state::LinkState;
use crate::options::ClientOptions;
use crate::trouble::{Kind, Trouble};
use futures_core::Stream;
use lapin::Event;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidings_core::SourceError;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

/// How long whoever asks something waits, for the connection and for the answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// A connection that lasted as long was a good one: the next try comes at once.
const GOOD: Duration = Duration::from_secs(5);
/// Events tell of an end; should one not, it is noticed after this time.
const LOOK: Duration = Duration::from_millis(500);

/// One logical connection for one purpose. It is made when it is first needed, and anew until it is closed.
#[derive(Debug)]
pub(crate) struct Link {
    state: watch::Receiver<LinkState>,
    signals: Arc<Signals>,
    runtime: Handle,
}

#[derive(Debug, Default)]
struct Signals {
    needed: Notify,
    closed: watch::Sender<bool>,
}

impl Link {
    /// A link that nobody needs yet, which waits for its socket on the program's runtime if it is given. The server's pages show the purpose as a part of the connection's name.
    pub(crate) fn start(
        runtime: &Handle,
        program: Option<Handle>,
        options: Arc<ClientOptions>,
        purpose: &'static str,
    ) -> Self {
        let (tell, state) = watch::channel(LinkState::Idle);
        let signals = Arc::new(Signals::default());
        let supervisor = Supervisor {
            host: fastrand::usize(..options.hosts().len().max(1)),
            options,
            purpose,
            program,
            tell,
            signals: signals.clone(),
            generation: 0,
        };
        runtime.spawn(supervisor.run());
        Self {
            state,
            signals,
            runtime: runtime.clone(),
        }
    }

    /// Where what nobody waits for is done.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Has it make a connection.
    pub(crate) fn need(&self) {
        self.signals.needed.notify_one();
    }

    pub(crate) fn state(&self) -> watch::Receiver<LinkState> {
        self.state.clone()
    }

    /// The connection, made first if there is none.
    ///
    /// # Errors
    /// Nobody is let in, or it is closed. As long as the server is away, there is no answer: see [`Link::silent`].
    pub(crate) async fn live(&self) -> Result<Arc<Live>, SourceError> {
        self.need();
        let mut state = self.state();
        let found = state.wait_for(|state| {
            state.live().is_some() || matches!(state, LinkState::Closed | LinkState::Denied { .. })
        });
        match found.await.as_deref() {
            Ok(LinkState::Denied { reason }) => Err(SourceError::Unauthorized {
                reason: reason.to_string(),
            }),
            Ok(state) => state.live().cloned().ok_or(SourceError::Closed),
            Err(_) => Err(SourceError::Closed),
        }
    }

    /// Why there was no answer within [`PATIENCE`].
    pub(crate) fn silent(&self) -> SourceError {
        let trouble = self.state.borrow().trouble();
        SourceError::Unavailable {
            reason: trouble.unwrap_or_else(|| format!("no answer within {PATIENCE:?}")),
        }
    }

    /// Takes leave of the server; no connection is made any more. It takes little more than 2 s at the most.
    pub(crate) async fn close(&self) {
        self.signals.closed.send_replace(true);
        let mut state = self.state.clone();
        // The supervisor may be gone with its runtime, which is as good.
        let _ = state.wait_for(|state| matches!(state, LinkState::Closed)).await;
    }
}

struct Supervisor {
    options: Arc<ClientOptions>,
    purpose: &'static str,
    program: Option<Handle>,
    tell: watch::Sender<LinkState>,
    signals: Arc<Signals>,
    /// The host that is tried next.
    host: usize,
    generation: u64,
}

impl Supervisor {
    async fn run(mut self) {
        let mut closed = self.signals.closed.subscribe();
        let closed = async move {
            let _ = closed.wait_for(|closed| *closed).await;
        };
        let mut closed = pin!(closed);
        let signals = self.signals.clone();
        tokio::select! {
            () = &mut closed => {}
            () = signals.needed.notified() => self.keep(closed).await,
        }
        self.tell.send_replace(LinkState::Closed);
    }

    async fn keep(&mut self, mut closed: Pin<&mut impl Future<Output = ()>>) {
        let mut backoff = Backoff::default();
        let mut since = Instant::now();
        loop {
            let made = tokio::select! {
                () = &mut closed => return,
                made = self.connect() => made,
            };
            let trouble = match made {
                Err(trouble) => trouble,
                Ok(live) => {
                    let from = Instant::now();
                    let trouble = tokio::select! {
                        () = &mut closed => None,
                        trouble = self.watch(&live) => Some(trouble),
                    };
                    let Some(trouble) = trouble else {
                        live.close().await;
                        return;
                    };
                    since = Instant::now();
                    if from.elapsed() >= GOOD {
                        backoff.reset();
                    }
                    trouble
                }
            };
            self.tell_of(&trouble, since);
            tokio::select! {
                () = &mut closed => return,
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
    }

    async fn connect(&mut self) -> Result<Arc<Live>, Trouble> {
        let hosts = self.options.hosts();
        let Some(host) = hosts.get(self.host % hosts.len().max(1)).cloned() else {
            return Err(Trouble::denied("the address has no host"));
        };
        self.host = self.host.wrapping_add(1);
        self.generation += 1;
        let program = self.program.clone();
        let live = Live::open(&self.options, &host, self.purpose, program, self.generation).await?;
        tracing::debug!(host = %host, purpose = self.purpose, generation = self.generation, "connected to RabbitMQ");
        Ok(Arc::new(live))
    }

    /// Tells how a connection is, until it is no more.
    async fn watch(&self, live: &Arc<Live>) -> Trouble {
        let mut events = pin!(live.connection.events_listener());
        self.tell.send_replace(LinkState::Up(live.clone()));
        let mut last = None;
        loop {
            let event = tokio::select! {
                event = std::future::poll_fn(|context| events.as_mut().poll_next(context)) => event,
                () = live.given_up.notified() => {
                    return last.unwrap_or_else(|| Trouble::away("it did not confirm what was published in time"));
                }
                () = tokio::time::sleep(LOOK) => None,
            };
            match event {
                Some(Event::ConnectionBlocked(words)) => {
                    tracing::warn!(
                        purpose = self.purpose,
                        words,
                        "RabbitMQ takes no messages for now"
                    );
                    let blocked = LinkState::Blocked(live.clone(), words.into());
                    self.tell.send_replace(blocked);
                }
                Some(Event::ConnectionUnblocked) => {
                    self.tell.send_replace(LinkState::Up(live.clone()));
                }
                // Errors of channels are told too.
                Some(Event::Error(error)) => last = Some(Trouble::of(&error, self.options.auth())),
                _ => {}
            }
            if !live.connection.status().connected() {
                return last.unwrap_or_else(|| Trouble::away("the connection has ended"));
            }
        }
    }

    fn tell_of(&self, trouble: &Trouble, since: Instant) {
        let reason: Arc<str> = trouble.to_string().into();
        // A line for each reason, not for each try.
        let known = match &*self.tell.borrow() {
            LinkState::Away { reason: known, .. } | LinkState::Denied { reason: known } => *known == reason,
            _ => false,
        };
        if !known {
            tracing::warn!(purpose = self.purpose, reason = %reason, "no connection to RabbitMQ; trying on");
        }
        self.tell.send_replace(match trouble.kind {
            Kind::Away => LinkState::Away { reason, since },
            Kind::Denied => LinkState::Denied { reason },
        });
    }
}

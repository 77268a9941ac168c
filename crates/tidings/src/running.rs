//! A service that runs: [`Running`].

mod caught_up;
mod drain;
mod letters;
#[cfg(feature = "manage")]
mod manage;
pub(crate) mod outboxes;
mod seek;

#[cfg(feature = "manage")]
pub(crate) use manage::Management;

use crate::binders::Binders;
use crate::describe::Description;
use crate::error::Error;
use crate::health::{End, Health, PartHealth};
use crate::plan::RunningPattern;
use crate::signal::shutdown_signal;
use outboxes::RunningOutbox;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidings_core::{Clock, DynBinder, OutboxStatus, Publisher, RequestStatus, Requester};
use tidings_runtime::{ProducerHandle, ProducerStatus, SubscriptionHandle, SubscriptionStatus};
use tokio::sync::{Mutex, OnceCell};
use tokio::task::AbortHandle;

/// A service that runs. Cloning is cheap; all clones are the same service.
///
/// Call [`drain`](Self::drain) before the program ends: what runs is finished and stored then. Without it nothing is
/// lost, but what was not stored yet is handled again at the next start.
#[derive(Clone)]
pub struct Running {
    pub(crate) inner: Arc<Inner>,
}

/// What a running service consists of.
pub(crate) struct Inner {
    pub(crate) app: String,
    pub(crate) publisher: Publisher,
    pub(crate) subscriptions: Vec<RunningSubscription>,
    pub(crate) producers: Vec<RunningProducer>,
    pub(crate) outboxes: Vec<RunningOutbox>,
    pub(crate) channels: BTreeMap<String, RunningChannel>,
    /// What sends requests, by binder.
    pub(crate) requesters: BTreeMap<String, Arc<dyn Requester>>,
    pub(crate) binders: Binders,
    /// What still prepares the destinations of brokers that were away at the start.
    pub(crate) preparing: Vec<AbortHandle>,
    pub(crate) description: Description,
    pub(crate) clock: Clock,
    pub(crate) drain_timeout: Duration,
    pub(crate) publish_timeout: Duration,
    /// Two redrives at once would send the same letters twice.
    pub(crate) redriving: Mutex<()>,
    /// Whether it is being drained, or was: what ends now ends as it should.
    pub(crate) draining: AtomicBool,
    pub(crate) drained: OnceCell<Drained>,
    /// Where operators ask; empty if they cannot.
    #[cfg(feature = "manage")]
    pub(crate) manage: std::sync::OnceLock<tidings_manage::Server>,
}

#[derive(Debug)]
pub(crate) struct RunningSubscription {
    pub(crate) name: String,
    pub(crate) group: Option<Arc<str>>,
    pub(crate) binder: String,
    /// These partitions; none for all.
    pub(crate) chosen: Option<Vec<u32>>,
    /// It reads patterns: what it reads changes while it runs.
    #[cfg(feature = "test")]
    pub(crate) has_patterns: bool,
    pub(crate) handle: Arc<SubscriptionHandle>,
}

#[derive(Debug)]
pub(crate) struct RunningProducer {
    pub(crate) name: String,
    pub(crate) handle: Arc<ProducerHandle>,
}

#[derive(Debug)]
pub(crate) struct RunningChannel {
    pub(crate) binder: String,
    pub(crate) destination: Arc<str>,
    pub(crate) dead_letters: Vec<String>,
    /// It stands for every destination that matches.
    pub(crate) pattern: Option<RunningPattern>,
}

/// What every part of a running service has done and is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The subscriptions by name.
    pub subscriptions: BTreeMap<String, SubscriptionStatus>,
    /// The producers by name.
    pub producers: BTreeMap<String, ProducerStatus>,
    /// The outboxes that are sent from here, by the database that they are in.
    pub outboxes: BTreeMap<String, OutboxStatus>,
    /// Requests and what became of them, by the binder that they go to.
    pub requests: BTreeMap<String, RequestStatus>,
}

/// How a service ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Whether everything that ran was finished within the deadline.
    pub finished_in_time: bool,
    /// Messages whose handling was given up at the deadline. They are delivered again at the next start.
    pub abandoned: usize,
    /// Whose work that was, each with what it gave up: `subscription billing gave up 2 messages`.
    pub given_up: Vec<String>,
    /// What did not end in time, and what could not be flushed or closed.
    pub problems: Vec<String>,
}

impl Drained {
    /// Whether everything was finished, stored, flushed and closed.
    pub fn is_clean(&self) -> bool {
        self.finished_in_time && self.problems.is_empty()
    }

    /// What was not, each as a sentence without its end.
    fn failures(&self) -> Vec<String> {
        self.given_up.iter().chain(&self.problems).cloned().collect()
    }
}

impl Running {
    pub(crate) fn new(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The name of the app.
    pub fn name(&self) -> &str {
        &self.inner.app
    }

    /// Publishes to the app's channels.
    pub fn publisher(&self) -> &Publisher {
        &self.inner.publisher
    }

    /// What time it is for the service.
    pub fn clock(&self) -> Clock {
        self.inner.clock
    }

    /// What it does, and where each value comes from.
    pub fn describe(&self) -> &Description {
        &self.inner.description
    }

    /// Controls a subscription: pause, resume, status.
    ///
    /// # Errors
    /// [`Error::Unknown`] with the names that there are.
    pub fn subscription(&self, name: &str) -> Result<&SubscriptionHandle, Error> {
        let subscriptions = &self.inner.subscriptions;
        let found = subscriptions
            .iter()
            .find(|subscription| subscription.name == name);
        found.map(|subscription| &*subscription.handle).ok_or_else(|| {
            let known = subscriptions
                .iter()
                .map(|subscription| subscription.name.as_str());
            Error::unknown("subscription", name, known)
        })
    }

    /// Controls a producer: pause, resume, status.
    ///
    /// # Errors
    /// [`Error::Unknown`] with the names that there are.
    pub fn producer(&self, name: &str) -> Result<&ProducerHandle, Error> {
        let producers = &self.inner.producers;
        let found = producers.iter().find(|producer| producer.name == name);
        found.map(|producer| &*producer.handle).ok_or_else(|| {
            Error::unknown(
                "producer",
                name,
                producers.iter().map(|producer| producer.name.as_str()),
            )
        })
    }

    /// What every part has done and is doing.
    pub fn status(&self) -> Status {
        let subscriptions = self.inner.subscriptions.iter();
        let producers = self.inner.producers.iter();
        Status {
            subscriptions: subscriptions
                .map(|one| (one.name.clone(), one.handle.status()))
                .collect(),
            producers: producers
                .map(|one| (one.name.clone(), one.handle.status()))
                .collect(),
            outboxes: outboxes::statuses(&self.inner.outboxes),
            requests: self
                .inner
                .requesters
                .iter()
                .map(|(binder, requester)| (binder.clone(), requester.status()))
                .collect(),
        }
    }

    /// Whether it works, and why not.
    pub fn health(&self) -> Health {
        let drained = self.inner.drained.initialized();
        let draining = self.inner.draining.load(Ordering::Relaxed);
        let end = if draining { End::Drained } else { End::Unexpected };
        let binders = self.inner.binders.health();
        let binders = binders.map(|(name, health)| PartHealth::binder(name, health));
        let subscriptions = self.inner.subscriptions.iter().map(|one| {
            let status = one.handle.status();
            PartHealth::part("subscription", &one.name, status.phase, end, status.obstacle)
        });
        let producers = self.inner.producers.iter().map(|one| {
            let status = one.handle.status();
            PartHealth::part(
                "producer",
                &one.name,
                status.phase,
                End::Expected,
                status.obstacle,
            )
        });
        let outboxes = self.inner.outboxes.iter().map(|one| one.health(draining));
        let parts = binders.chain(subscriptions).chain(producers);
        let mut parts: Vec<_> = parts.chain(outboxes).collect();
        if drained {
            // A closed broker is not an illness of a service that has ended.
            parts.retain(|part| part.kind != "binder");
        }
        Health::of(parts)
    }

    /// A broker, for tools: positions, destinations, reading without a group.
    ///
    /// # Errors
    /// [`Error::Unknown`] with the names that there are.
    pub fn binder(&self, name: &str) -> Result<&Arc<dyn DynBinder>, Error> {
        let binders = &self.inner.binders;
        binders
            .get(name)
            .ok_or_else(|| Error::unknown("binder", name, binders.iter().map(|(name, _)| name)))
    }

    /// The broker that a channel lives on, and its destination there, which may be a pattern.
    ///
    /// # Errors
    /// [`Error::Unknown`] with the names that there are.
    pub fn channel(&self, name: &str) -> Result<(&Arc<dyn DynBinder>, &Arc<str>), Error> {
        let channel = self.inner.channel(name)?;
        Ok((self.binder(&channel.binder)?, &channel.destination))
    }

    /// Waits for SIGTERM or ctrl-C, then drains. A second signal ends the process at once.
    ///
    /// # Errors
    /// [`Error::Signal`]; [`Error::Unfinished`] with what the drain gave up, which is delivered again at the next start.
    pub async fn wait_for_signal_and_drain(&self) -> Result<(), Error> {
        shutdown_signal().await?;
        let drained = self.drain().await;
        if drained.is_clean() {
            return Ok(());
        }
        Err(Error::Unfinished {
            given_up: drained.failures(),
        })
    }

    /// Ends the service: nothing new starts, what runs is finished and stored, what was committed to an outbox is sent,
    /// what was published is acknowledged, and the brokers are closed. That may take `app.drain_timeout`; what is not
    /// done then is given up, and whatever a broker does the drain ends at most three seconds later, four with an outbox.
    /// What is left in an outbox is sent by another process, or after the next start. Called again, it waits for the same end.
    pub async fn drain(&self) -> Drained {
        let drained = self
            .inner
            .drained
            .get_or_init(|| self.inner.drain())
            .await
            .clone();
        if drained.is_clean() {
            tracing::info!(app = %self.inner.app, "drained");
        } else {
            let what = drained.failures().join("; ");
            let abandoned = drained.abandoned;
            tracing::warn!(app = %self.inner.app, abandoned, "not everything was finished: {what}");
        }
        drained
    }
}

impl Inner {
    pub(crate) fn channel(&self, name: &str) -> Result<&RunningChannel, Error> {
        let known = || self.channels.keys().map(String::as_str);
        self.channels
            .get(name)
            .ok_or_else(|| Error::unknown("channel", name, known()))
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("app", &self.inner.app)
            .field("subscriptions", &self.inner.subscriptions)
            .field("producers", &self.inner.producers)
            .field("outboxes", &self.inner.outboxes)
            .field("binders", &self.inner.binders)
            .finish_non_exhaustive()
    }
}

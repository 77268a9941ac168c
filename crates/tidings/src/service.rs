//! An app with its state, ready to run: [`Service`].

use crate::binders::{Brokers, Ground};
use crate::channel::DeclaredChannel;
use crate::configuration::IntoConfig;
use crate::describe::Description;
use crate::error::Error;
use crate::part::{BoundProducer, BoundSubscription};
use crate::plan::{DeclaredOutbox, Knowledge, Plan};
use crate::running::Running;
use crate::signal::{listen, shutdown_signal};
use crate::start::start;
use std::fmt;
use std::io::Write;
use std::sync::Arc;
use tidings_config::Config;
use tidings_core::{Clock, DynBinder};

/// An app with its state, ready to run. Made by [`App::with_state`](crate::App::with_state).
#[must_use = "a service does nothing until it is run or started"]
pub struct Service {
    pub(crate) name: String,
    pub(crate) subscriptions: Vec<BoundSubscription>,
    pub(crate) producers: Vec<BoundProducer>,
    pub(crate) channels: Vec<DeclaredChannel>,
    pub(crate) outboxes: Vec<DeclaredOutbox>,
}

impl Service {
    /// What it would do with this configuration, and where each value comes from. Nothing is opened.
    ///
    /// # Errors
    /// [`Error::Wiring`] with every mistake, each with its place and its cure.
    pub fn describe(&self, config: &Config) -> Result<Description, Error> {
        Ok(Description::new(
            self,
            &Plan::new(self, config, Knowledge::Whole)?,
        ))
    }

    /// Runs until SIGTERM or ctrl-C, then drains: nothing new starts, what runs is finished and stored, within
    /// `app.drain_timeout`. A second signal ends the process at once, with the exit code 143 or 130.
    ///
    /// The description is printed to stderr at the start. A program that wants to do this in its own way uses
    /// [`start`](Self::start).
    ///
    /// # Errors
    /// As [`start`](Self::start); [`Error::Unfinished`] with what the drain gave up. So a `main` that returns it ends
    /// with the code 0 only after a drain that finished everything, and otherwise with 1.
    pub async fn run(self, config: impl IntoConfig) -> Result<(), Error> {
        // Before anything runs, so that no signal finds the process without an ear for it.
        listen().await?;
        let running = tokio::select! {
            biased;
            started = self.start(config) => started?,
            signal = shutdown_signal() => {
                let signal = signal?;
                tracing::info!(?signal, "stopped before it had started");
                return Ok(());
            }
        };
        // A closed stderr is no reason not to run.
        let _ = write!(std::io::stderr().lock(), "{}", running.describe());
        running.wait_for_signal_and_drain().await
    }

    /// Starts everything on the current tokio runtime and returns what controls it.
    ///
    /// # Errors
    /// [`Error::Wiring`] with every mistake, [`Error::Config`] or [`Error::Mistakes`] with those of a configuration that
    /// is read here; [`Error::Binder`] if a broker cannot be opened or a destination not be
    /// prepared. Nothing runs then.
    pub async fn start(self, config: impl IntoConfig) -> Result<Running, Error> {
        let ground = Ground {
            brokers: Brokers::Configured,
            clock: Clock::System,
            wrap: None,
        };
        let plan = config.into_loaded().plan(&self)?;
        start(self, plan, ground).await
    }

    /// Starts everything on a broker that is open already, in place of every one that the configuration names. The
    /// broker is not closed when the service is drained. For programs that open their broker in their own way, and
    /// for tests of brokers; `clock` must be the broker's own.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_on(
        self,
        config: impl IntoConfig,
        broker: Arc<dyn DynBinder>,
        clock: Clock,
    ) -> Result<Running, Error> {
        let ground = Ground {
            brokers: Brokers::Given(broker),
            clock,
            wrap: None,
        };
        let plan = config.into_loaded().plan(&self)?;
        start(self, plan, ground).await
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("name", &self.name)
            .field("subscriptions", &self.subscriptions)
            .field("producers", &self.producers)
            .field("channels", &self.channels)
            .field("outboxes", &self.outboxes)
            .finish()
    }
}

//! Faults between the engine and any broker: [`Faults::over`] puts them in between.

mod binder;
mod plan;
mod sink;
mod source;

use crate::stage::Broker;
use binder::Faulty;
use plan::Plan;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tidings_core::{Assignment, Layered, Progress};
use tokio::sync::Notify;

/// What happens to a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublishFault {
    /// It is answered that the broker is away, and not published.
    Refused,
    /// It is answered that it will never be allowed, and not published.
    Forbidden,
    /// It is not published, and nobody answers.
    Lost,
    /// It is published, and nobody answers.
    Unanswered,
    /// It is published, and answered as if it may not have been.
    Doubted,
    /// It is published at once and answered so much later.
    Late(Duration),
}

/// What happens to the events of sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventFault {
    /// Each batch comes so much later; other events overtake it.
    Delayed(Duration),
    /// Each batch comes twice.
    Doubled,
}

/// Hears of all progress that is reported, at that instant.
pub(crate) type ProgressWatch = Arc<dyn Fn(&Assignment, &Progress) + Send + Sync>;

/// Steers the faults of one [`Faulty`] broker.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    plan: Arc<Mutex<Plan>>,
    changed: Arc<Notify>,
}

impl Faults {
    /// The same broker with faults in between; none until they are asked for.
    pub(crate) fn over(broker: &Broker) -> (Broker, Self) {
        let faults = Self::default();
        let faulty = Layered(Faulty {
            inner: broker.0.clone(),
            faults: faults.clone(),
        });
        (Broker(Arc::new(faulty)), faults)
    }

    /// The next so many publishes to that destination.
    pub(crate) fn publishes(&self, destination: &str, fault: PublishFault, times: usize) {
        self.edit(|plan| plan.add(destination, fault, times));
    }

    /// A share of all publishes, at random, to whatever destination.
    pub(crate) fn storm(&self, seed: u64, share: f64) {
        self.edit(|plan| plan.storm = Some((fastrand::Rng::with_seed(seed), share)));
    }

    /// All batches from now on.
    pub(crate) fn events(&self, fault: Option<EventFault>) {
        self.edit(|plan| plan.events = fault);
    }

    /// All progress from now on is forgotten, and commits fail.
    pub(crate) fn forget_progress(&self) {
        self.edit(|plan| plan.forgets_progress = true);
    }

    /// From now on nobody answers who stores progress or leaves its group.
    pub(crate) fn hang(&self) {
        self.edit(|plan| plan.hangs = true);
    }

    /// The next so many waits for an event fail: the broker is away.
    pub(crate) fn away(&self, times: usize) {
        self.edit(|plan| plan.away = times);
    }

    /// Every member loses its membership now, as after a session that was too quiet, and joins again.
    pub(crate) fn expire(&self) {
        self.edit(|plan| plan.expiries += 1);
    }

    /// Calls this for all progress that is reported, also where it is forgotten.
    pub(crate) fn watch(&self, watch: impl Fn(&Assignment, &Progress) + Send + Sync + 'static) {
        self.edit(|plan| plan.watch = Some(Arc::new(watch)));
    }

    /// How many publishes there were to a destination, whatever became of them.
    pub(crate) fn tries(&self, destination: &str) -> usize {
        self.edit(|plan| plan.tries.get(destination).copied().unwrap_or(0))
    }

    /// Takes all faults back.
    pub(crate) fn heal(&self) {
        self.edit(Plan::heal);
    }

    fn edit<T>(&self, change: impl FnOnce(&mut Plan) -> T) -> T {
        let result = change(&mut self.plan.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_waiters();
        result
    }

    fn look<T>(&self, look: impl FnOnce(&mut Plan) -> T) -> T {
        look(&mut self.plan.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

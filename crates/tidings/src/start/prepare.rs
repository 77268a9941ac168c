//! Prepares the destinations of every broker, now or when it comes: [`Prepared`].

use super::destinations::{Destinations, Preparing};
use super::late::{Gate, late};
use crate::binders::Binders;
use crate::error::Error;
use crate::plan::{Mistakes, Plan};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{BinderError, BinderHealth, DynBinder, SourceError};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// A broker that has said for so long that it is away is not waited for any more: the service starts without it. Long
/// enough for a second address to answer when the first does not.
const GRACE: Duration = Duration::from_secs(1);
/// How often it is asked how it is.
const LOOK: Duration = Duration::from_millis(50);
/// The first wait before a broker that was away is tried again, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What is known of the destinations when the parts start.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    ready: BTreeMap<String, Destinations>,
    /// Brokers that were away, as their subscriptions see them.
    late: BTreeMap<String, Arc<dyn DynBinder>>,
    /// What prepares those.
    pub(super) later: Vec<AbortHandle>,
}

/// What came of a first attempt.
enum Tried {
    Ready(Destinations),
    Away(String),
}

impl Prepared {
    /// Prepares what it can, and sees to the rest when its broker comes.
    ///
    /// # Errors
    /// What a broker says that is there; every destination that is not as it was planned.
    pub(super) async fn all(plan: &Arc<Plan>, binders: &mut Binders) -> Result<Self, Error> {
        let mut mistakes = Mistakes::default();
        let mut prepared = Self::default();
        let mut away = Vec::new();
        for planned in &plan.binders {
            let name = planned.name.as_str();
            let at = Preparing {
                plan,
                name,
                binder: &**binders.planned(name),
            };
            match attempt(at, &mut mistakes).await? {
                Tried::Ready(destinations) => drop(prepared.ready.insert(name.to_owned(), destinations)),
                Tried::Away(reason) => away.push((name.to_owned(), reason)),
            }
        }
        mistakes.finish()?;
        for (name, reason) in away {
            tracing::warn!(binder = %name, "started without it, it is away: {reason}");
            prepared.see_to_it_later(plan, name, Gate::waiting(reason), binders);
        }
        Ok(prepared)
    }

    fn see_to_it_later(&mut self, plan: &Arc<Plan>, name: String, gate: Gate, binders: &mut Binders) {
        let binder = binders.planned(&name).clone();
        self.late.insert(name.clone(), late(binder.clone(), gate.clone()));
        binders.wait_for(&name, gate.clone());
        let task = tokio::spawn(later(plan.clone(), name, binder, gate));
        self.later.push(task.abort_handle());
    }

    /// A broker as subscriptions use it.
    pub(super) fn for_subscriptions(&self, name: &str, binders: &Binders) -> Arc<dyn DynBinder> {
        self.late
            .get(name)
            .unwrap_or_else(|| binders.planned(name))
            .clone()
    }

    /// How many partitions a destination has. Of a broker that is away any number: when the time comes, a partition that
    /// is not there is left to the key.
    pub(super) fn partitions(&self, binder: &str, destination: &str) -> u32 {
        if self.late.contains_key(binder) {
            return u32::MAX;
        }
        let ready = self.ready.get(binder);
        ready.and_then(|ready| ready.partitions(destination)).unwrap_or(1)
    }
}

/// Prepares everything on a broker, unless it turns out to be away.
async fn attempt(at: Preparing<'_>, mistakes: &mut Mistakes) -> Result<Tried, Error> {
    let prepared = tokio::select! {
        prepared = Destinations::prepare(at, mistakes) => prepared,
        reason = stays_away(at.binder) => return Ok(Tried::Away(reason)),
    };
    match prepared {
        Ok(destinations) => Ok(Tried::Ready(destinations)),
        Err(error) => match away(at.binder) {
            Some(reason) if may_pass(&error) => Ok(Tried::Away(reason)),
            _ => Err(error),
        },
    }
}

/// Why a broker cannot be reached, if it is one that may come by itself. One that lives in this process does not.
fn away(binder: &dyn DynBinder) -> Option<String> {
    if matches!(binder.kind(), "embedded" | "memory") {
        return None;
    }
    match binder.health() {
        BinderHealth::Down(reason) => Some(reason),
        BinderHealth::Up => None,
    }
}

/// Resolves when the broker has been away for a while.
async fn stays_away(binder: &dyn DynBinder) -> String {
    let mut since = None;
    loop {
        match away(binder) {
            None => since = None,
            Some(reason) => {
                let since = *since.get_or_insert_with(Instant::now);
                if since.elapsed() >= GRACE {
                    return reason;
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether the same attempt may succeed later.
fn may_pass(error: &Error) -> bool {
    let Error::Binder { error, .. } = error else {
        return false;
    };
    matches!(
        error,
        BinderError::Open { .. }
            | BinderError::Failed { .. }
            | BinderError::Source(SourceError::Unavailable { .. })
    )
}

/// Prepares everything on a broker that is away, as often as it takes, and lets its subscriptions begin.
async fn later(plan: Arc<Plan>, name: String, binder: Arc<dyn DynBinder>, gate: Gate) {
    let mut wait = FIRST_WAIT;
    loop {
        tokio::time::sleep(wait).await;
        let mut mistakes = Mistakes::default();
        let at = Preparing {
            plan: &plan,
            name: &name,
            binder: &*binder,
        };
        let prepared = Destinations::prepare(at, &mut mistakes).await;
        match prepared.and_then(|destinations| mistakes.finish().map(|()| destinations)) {
            Ok(destinations) => {
                tracing::info!(binder = %name, "connected");
                return gate.open(destinations);
            }
            Err(error) if may_pass(&error) => {
                gate.wait(away(&*binder).unwrap_or_else(|| error.to_string()));
            }
            Err(error) => {
                tracing::error!(binder = %name, %error, "what lives there cannot run");
                return gate.refuse(error.to_string());
            }
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

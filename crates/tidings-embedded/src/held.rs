//! Partitions that a member was given and cannot open at the moment: [`Held`].
//!
//! A process may have no more file descriptors, or a network disk may be away for a moment. The member learns of such a
//! partition only when it can be read, and until then it is tried again and again.

use crate::group::{Grant, Unit};
use crate::lock::lock;
use crate::partition::Partition;
use crate::shared::Shared;
use crate::signal::Signal;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings_core::{Epoch, SourceError};
use tokio::time::Instant;

/// How long to wait before the second try.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What waits until it can be opened.
#[derive(Debug, Default)]
pub(crate) struct Held {
    waiting: Vec<Waiting>,
    /// What the reader was not told yet.
    error: Option<SourceError>,
    wait: Duration,
    next_try: Option<Instant>,
    trying: Option<Arc<Trying>>,
}

#[derive(Debug)]
struct Waiting {
    grant: Grant,
    partitions: Vec<Arc<Partition>>,
}

/// A try on another thread, and what became of it.
type Trying = Mutex<Option<Tried>>;

#[derive(Debug, Default)]
struct Tried {
    opened: Vec<Epoch>,
    error: Option<SourceError>,
}

/// Opens all of them. What is damaged for good counts as opened: its lane tells.
pub(crate) fn open(shared: &Shared, partitions: &[Arc<Partition>]) -> Result<(), SourceError> {
    for partition in partitions {
        if let Err(error) = partition.log(shared) {
            let error = partition.unreadable(shared, &error, 0);
            if error.is_transient() {
                return Err(error);
            }
        }
    }
    Ok(())
}

impl Held {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Keeps what could not be opened, and why.
    pub(crate) fn hold(&mut self, grant: Grant, partitions: Vec<Arc<Partition>>, error: SourceError) {
        self.waiting.push(Waiting { grant, partitions });
        self.error.get_or_insert(error);
        if self.next_try.is_none() {
            self.put_off(FIRST_WAIT);
        }
    }

    fn put_off(&mut self, wait: Duration) {
        self.wait = wait;
        self.next_try = Some(Instant::now() + wait);
    }

    /// Somebody else is to have it. Whether it was here.
    pub(crate) fn forget(&mut self, unit: Unit) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| waiting.grant.unit != unit);
        if self.waiting.is_empty() {
            *self = Self::default();
        }
        self.waiting.len() < before
    }

    /// When to look again; a try on another thread says so itself.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.next_try.filter(|_| self.trying.is_none())
    }

    /// What can be opened now. Each failure is told once.
    pub(crate) fn look(
        &mut self,
        shared: &Arc<Shared>,
        signal: &Arc<Signal>,
    ) -> Result<Vec<Grant>, SourceError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if let Some(trying) = &self.trying {
            let tried = lock(trying).take();
            return Ok(tried.map_or_else(Vec::new, |tried| self.conclude(tried)));
        }
        if self.next_try.is_some_and(|at| at <= Instant::now()) {
            self.try_again(shared, signal);
        }
        Ok(Vec::new())
    }

    fn try_again(&mut self, shared: &Arc<Shared>, signal: &Arc<Signal>) {
        let trying = Arc::new(Trying::default());
        self.trying = Some(trying.clone());
        let all: Vec<_> = self
            .waiting
            .iter()
            .map(|waiting| (waiting.grant.unit.epoch, waiting.partitions.clone()))
            .collect();
        let (again, signal) = (shared.clone(), signal.clone());
        drop(shared.spawn_blocking(move || {
            let mut tried = Tried::default();
            for (epoch, partitions) in all {
                match open(&again, &partitions) {
                    Ok(()) => tried.opened.push(epoch),
                    Err(error) => tried.error = Some(error),
                }
            }
            *lock(&trying) = Some(tried);
            signal.raise();
        }));
    }

    fn conclude(&mut self, tried: Tried) -> Vec<Grant> {
        self.trying = None;
        let is_open = |waiting: &Waiting| tried.opened.contains(&waiting.grant.unit.epoch);
        let (open, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(is_open);
        self.waiting = waiting;
        if self.waiting.is_empty() {
            *self = Self::default();
        } else {
            self.error = tried.error;
            self.put_off((self.wait * 2).min(LONGEST_WAIT));
        }
        open.into_iter().map(|waiting| waiting.grant).collect()
    }
}

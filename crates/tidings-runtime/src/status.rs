//! What a running subscription says of itself: [`SubscriptionStatus`].

use crate::spec::Input;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tidings_core::{LaneRole, Timestamp};

/// What a subscription is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Phase {
    /// Joining its group, or waiting for a broker that is away.
    #[default]
    Connecting,
    /// Handling messages, or waiting for some.
    Running,
    /// Paused by hand: nothing starts.
    Paused,
    /// Finishing what it began; nothing new starts.
    Draining,
    /// Ended.
    Stopped,
    /// Ended because the broker refuses it for good.
    Failed,
}

/// One lane of a running subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneStatus {
    /// The destination.
    pub destination: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// What it holds.
    pub role: LaneRole,
    /// Every offset below is finished.
    pub watermark: u64,
    /// The next offset to be received.
    pub received: u64,
    /// Messages received and not finished.
    pub open: usize,
}

/// What a subscription has done and is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionStatus {
    /// What it is doing.
    pub phase: Phase,
    /// Its lanes.
    pub lanes: Vec<LaneStatus>,
    /// Handlers running, outputs and dead letters being written.
    pub running: usize,
    /// Messages that wait in memory for their next attempt.
    pub waiting: usize,
    /// Messages that wait behind another of their key.
    pub queued: usize,
    /// Handled with success.
    pub handled: u64,
    /// Those of them that the inbox knew: their handler was not called.
    pub duplicates: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Attempts after the first.
    pub retried: u64,
    /// Messages moved to the retry lane.
    pub parked: u64,
    /// Messages written to the dead letters.
    pub dead_lettered: u64,
    /// Messages dropped because the policy says so.
    pub dropped: u64,
    /// Messages that the filter refused.
    pub filtered: u64,
    /// What became of replies to requests.
    pub replies: ReplyStatus,
    /// What stands in the way now: the broker is away, a dead letter cannot be written, a lane is damaged.
    pub obstacle: Option<String>,
    /// The last failure and when it was.
    pub last_failure: Option<(Timestamp, String)>,
    /// Whether everything that was received is finished and every lane was read to its end.
    pub idle: bool,
}

/// What became of the replies of a subscription, those included that tell of a failure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplyStatus {
    /// Kept by the broker, for their requesters.
    pub sent: u64,
    /// Of messages that ask for no reply. They go nowhere.
    pub unaddressed: u64,
    /// Of messages that ask for it in a place where replies may not go, see `app.reply_addresses`. They go nowhere.
    pub refused: u64,
    /// Their address is gone, or this service may not write there: dropped.
    pub orphaned: u64,
    /// The broker did not take them in time: dropped.
    pub not_taken: u64,
}

/// Obstacles below this number are those of the source.
pub(crate) const OBSTACLES_OF_SOURCE: u64 = 16;

/// That a handling is stuck, which is shown if nothing else stands in the way: it may be the reason.
pub(crate) const STUCK: u64 = u64::MAX;

/// Counters that only the subscription's task writes.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) handled: Counter,
    pub(crate) failed: Counter,
    pub(crate) retried: Counter,
    pub(crate) parked: Counter,
    pub(crate) dead_lettered: Counter,
    pub(crate) dropped: Counter,
    pub(crate) filtered: Counter,
}

/// What became of replies.
#[derive(Debug, Default)]
pub(crate) struct ReplyCounters {
    pub(crate) sent: Counter,
    pub(crate) unaddressed: Counter,
    pub(crate) refused: Counter,
    pub(crate) orphaned: Counter,
    pub(crate) not_taken: Counter,
}

impl ReplyCounters {
    fn read(&self) -> ReplyStatus {
        ReplyStatus {
            sent: self.sent.value(),
            unaddressed: self.unaddressed.value(),
            refused: self.refused.value(),
            orphaned: self.orphaned.value(),
            not_taken: self.not_taken.value(),
        }
    }
}

/// A count with one writer: a plain load and store, no locked instruction.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(count),
            Ordering::Relaxed,
        );
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The status as the subscription's task last wrote it.
#[derive(Debug, Default)]
pub(crate) struct StatusBoard {
    pub(crate) counters: Counters,
    pub(crate) replies: ReplyCounters,
    /// Messages that the inbox knew. Also counted by handlings on other threads.
    duplicates: AtomicU64,
    status: Mutex<SubscriptionStatus>,
    obstacles: Mutex<BTreeMap<u64, String>>,
    inputs: Mutex<Vec<Input>>,
}

impl StatusBoard {
    pub(crate) fn edit(&self, change: impl FnOnce(&mut SubscriptionStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn count_duplicates(&self, count: u64) {
        self.duplicates.fetch_add(count, Ordering::Relaxed);
    }

    /// What is read now.
    pub(crate) fn set_inputs(&self, inputs: Vec<Input>) {
        *self.inputs.lock().unwrap_or_else(PoisonError::into_inner) = inputs;
    }

    pub(crate) fn inputs(&self) -> Vec<Input> {
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says what stands in the way, or that it does not any more. The lowest number is shown.
    pub(crate) fn set_obstacle(&self, number: u64, obstacle: Option<String>) {
        let mut obstacles = self.lock_obstacles();
        match obstacle {
            Some(text) => obstacles.insert(number, text),
            None => obstacles.remove(&number),
        };
    }

    fn lock_obstacles(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, String>> {
        self.obstacles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read(&self) -> SubscriptionStatus {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let counters = &self.counters;
        status.obstacle = self.lock_obstacles().values().next().cloned();
        status.handled = counters.handled.value();
        status.duplicates = self.duplicates.load(Ordering::Relaxed);
        status.failed = counters.failed.value();
        status.retried = counters.retried.value();
        status.parked = counters.parked.value();
        status.dead_lettered = counters.dead_lettered.value();
        status.dropped = counters.dropped.value();
        status.filtered = counters.filtered.value();
        status.replies = self.replies.read();
        status
    }
}

//! What is to happen at a time: [`Timers`].

use crate::tasks::TaskId;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use tidings_core::Epoch;
use tokio::time::Instant;

/// What is to happen. Each is checked when it comes: it may have become pointless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// A task's wait is over.
    Due(TaskId),
    /// Work in a slot may have taken too long.
    Timeout(usize),
    /// A batch has waited for more items.
    Linger { lane: usize, batch: u64 },
    /// The rate limit allows the next delivery.
    Rate,
    /// A handling may be stuck.
    Stuck,
    /// Something may go on.
    Look,
    /// A revoked lane is taken away.
    Revoke { lane: usize, epoch: Epoch },
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    at: Instant,
    /// Timers of one instant come in the order in which they were set.
    order: u64,
    timer: Timer,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// A heap of timers.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<Entry>>,
    order: u64,
}

impl Timers {
    /// Sets a timer.
    pub(crate) fn set(&mut self, at: Instant, timer: Timer) {
        self.order += 1;
        self.heap.push(Reverse(Entry {
            at,
            order: self.order,
            timer,
        }));
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Forgets the others.
    pub(crate) fn retain(&mut self, keep: impl Fn(Timer) -> bool) {
        self.heap.retain(|Reverse(entry)| keep(entry.timer));
        self.heap.shrink_to(2 * self.heap.len());
    }

    /// When the next one comes.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// The next one that has come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry.timer)
    }
}

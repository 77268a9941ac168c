//! Which partitions have something unsynced, and the fsync at an interval: [`Syncer`].

use crate::guard::Guard;
use crate::lock::lock;
use crate::opening;
use crate::options::Fsync;
use crate::partition::Partition;
use crate::shared::Shared;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// Syncs what was appended: before progress is stored, and once per interval if that is the policy. While nothing is
/// appended there is no task and no timer.
#[derive(Debug, Default)]
pub(crate) struct Syncer {
    unsynced: Mutex<Vec<Arc<Partition>>>,
    /// A task syncs at the interval.
    running: AtomicBool,
    /// A task tries again what has failed.
    retrying: AtomicBool,
    /// Held while partitions are synced, so that whoever comes second waits for those that the first has taken. In it:
    /// which partitions failed. What they had acknowledged is in doubt until it was written again.
    failed: Mutex<Vec<Failed>>,
}

/// A partition that could not be synced.
#[derive(Debug)]
struct Failed {
    partition: Arc<Partition>,
    reason: String,
    /// When to write again what is in doubt.
    next_try: Instant,
    wait: Duration,
}

/// How long after a failed sync what is in doubt is written again.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait between two tries: each of them writes.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl Syncer {
    /// Something was appended to that partition.
    pub(crate) fn appended(&self, shared: &Arc<Shared>, partition: &Arc<Partition>) {
        if !shared.syncs_later() {
            return;
        }
        if partition.mark_unsynced() {
            lock(&self.unsynced).push(partition.clone());
        }
        if let Fsync::Interval(interval) = shared.fsync {
            self.run(shared, interval);
        }
    }

    /// Sees to it that a task syncs. Each append asks: the one that marked its partition may have started a task on a
    /// runtime that has gone since.
    fn run(&self, shared: &Arc<Shared>, interval: Duration) {
        if self.running.load(Ordering::SeqCst) || self.running.swap(true, Ordering::SeqCst) {
            return;
        }
        let weak = Arc::downgrade(shared);
        // A runtime that shuts down drops the task, also before it began: the next append must start another.
        let ending = Guard::new(move || {
            if let Some(shared) = weak.upgrade() {
                shared.syncer.running.store(false, Ordering::SeqCst);
            }
        });
        shared.spawn(run(Arc::downgrade(shared), interval, ending));
    }

    /// Everything that was acknowledged before the call is on the disk afterwards, in whichever partition; blocks. Only
    /// partitions that were appended to since the last call are looked at.
    ///
    /// Fails from the first failed sync on, because a second one could succeed without having written anything. A
    /// second later, and then ever less often, what is in doubt is verified and written again; when that is synced, it
    /// is as if nothing had happened.
    pub(crate) fn sync(&self, shared: &Arc<Shared>) -> Result<(), String> {
        let mut failed = lock(&self.failed);
        let unsynced = std::mem::take(&mut *lock(&self.unsynced));
        for partition in &unsynced {
            // Before the sync: what is appended during it must be marked again.
            partition.unmark_unsynced();
        }
        for (partition, error) in opening::sync_all(shared, &unsynced) {
            note(shared, &mut failed, &partition, &error.to_string());
        }
        failed.retain_mut(|one| !one.is_over(shared));
        let Some(first) = failed.first() else {
            return Ok(());
        };
        self.again(shared);
        match shared.syncs_later() {
            true => Err(format!("{}: {}", first.partition.place(), first.reason)),
            // What is acknowledged is on the disk: the failed sync concerns nobody else.
            false => Ok(()),
        }
    }

    fn is_whole(&self) -> bool {
        lock(&self.failed).is_empty()
    }

    /// A sync failed elsewhere: it is tried again here.
    pub(crate) fn failed(&self, shared: &Arc<Shared>, partition: &Arc<Partition>, reason: &str) {
        note(shared, &mut lock(&self.failed), partition, reason);
        self.again(shared);
    }

    /// Sees to it that somebody tries again, also in a quiet system.
    fn again(&self, shared: &Arc<Shared>) {
        if shared.is_closing() || self.retrying.swap(true, Ordering::AcqRel) {
            return;
        }
        let weak = Arc::downgrade(shared);
        // A runtime that shuts down drops the task, also before it began: the next failure must start another.
        let ended = Guard::new(move || {
            if let Some(shared) = weak.upgrade() {
                shared.syncer.retrying.store(false, Ordering::Release);
            }
        });
        shared.spawn(retry(Arc::downgrade(shared), ended));
    }

    /// Whether the task that syncs may end.
    fn end_if_idle(&self) -> bool {
        self.running.store(false, Ordering::SeqCst);
        // Who appended before that took this task for one that goes on.
        lock(&self.unsynced).is_empty() || self.running.swap(true, Ordering::SeqCst)
    }
}

async fn run<F: FnOnce()>(weak: Weak<Shared>, interval: Duration, mut ending: Guard<F>) {
    loop {
        tokio::time::sleep(interval).await;
        let Some(shared) = weak.upgrade() else { return };
        let synced = shared
            .blocking(|shared| {
                // A failure is noted in health, and the partition refuses from now on.
                let _ = shared.syncer.sync(shared);
                Ok(())
            })
            .await;
        if synced.is_ok() && shared.syncer.end_if_idle() {
            ending.disarm();
            return;
        }
    }
}

fn note(shared: &Shared, failed: &mut Vec<Failed>, partition: &Arc<Partition>, reason: &str) {
    if !failed.iter().any(|one| Arc::ptr_eq(&one.partition, partition)) {
        // It has refused since the sync failed, so what is handed out from now on leads to nothing there.
        shared.progress.all().iter().for_each(|entry| entry.doubt());
        failed.push(Failed {
            partition: partition.clone(),
            reason: reason.to_owned(),
            next_try: Instant::now() + FIRST_WAIT,
            wait: FIRST_WAIT,
        });
    }
}

impl Failed {
    /// Whether everything that was in doubt is on the disk. Looks at most once per wait.
    fn is_over(&mut self, shared: &Shared) -> bool {
        if Instant::now() < self.next_try {
            return false;
        }
        match self.partition.recover(shared) {
            Ok(()) => true,
            Err(error) => {
                self.reason = error.to_string();
                self.wait = (self.wait * 2).min(LONGEST_WAIT);
                self.next_try = Instant::now() + self.wait;
                false
            }
        }
    }
}

async fn retry<F: FnOnce()>(weak: Weak<Shared>, ended: Guard<F>) {
    loop {
        tokio::time::sleep(FIRST_WAIT).await;
        let Some(shared) = weak.upgrade().filter(|shared| !shared.is_closing()) else {
            return;
        };
        // What could not be synced is told by health, and tried again.
        drop(shared.blocking(|shared| shared.syncer.sync(shared)).await);
        if shared.syncer.is_whole() {
            drop(ended);
            if !shared.syncer.is_whole() {
                // It failed since, and took this task for one that goes on.
                shared.syncer.again(&shared);
            }
            // Progress that had to wait for it.
            shared.keeper.start(&shared);
            return;
        }
    }
}

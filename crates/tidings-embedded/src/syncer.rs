//! Which partitions have something unsynced, and the fsync at an interval: [`Syncer`].

use crate::guard::Guard;
use crate::lock::lock;
use crate::options::Fsync;
use crate::partition::Partition;
use crate::shared::Shared;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// Syncs what was appended: before progress is stored, and once per interval if that is the policy. While nothing is
/// appended there is no task and no timer.
#[derive(Debug, Default)]
pub(crate) struct Syncer {
    work: Mutex<Work>,
    /// Held while partitions are synced, so that whoever comes second waits for those that the first has taken. In it:
    /// which partition failed. What it had acknowledged stays in doubt until the broker is opened again.
    failed: Mutex<Option<String>>,
}

#[derive(Debug, Default)]
struct Work {
    unsynced: Vec<Arc<Partition>>,
    running: bool,
}

impl Syncer {
    /// Something was appended to that partition.
    pub(crate) fn appended(&self, shared: &Arc<Shared>, partition: &Arc<Partition>) {
        if !shared.syncs_later() || !partition.mark_unsynced() {
            return;
        }
        let mut work = lock(&self.work);
        work.unsynced.push(partition.clone());
        if let Fsync::Interval(interval) = shared.fsync
            && !std::mem::replace(&mut work.running, true)
        {
            shared.spawn(run(Arc::downgrade(shared), interval));
        }
    }

    /// Everything that was acknowledged before the call is on the disk afterwards, in whichever partition; blocks. Only
    /// partitions that were appended to since the last call are looked at.
    ///
    /// Fails from the first failed sync on, because what was acknowledged in that partition cannot be synced any more.
    pub(crate) fn sync(&self, shared: &Shared) -> Result<(), String> {
        let mut failed = lock(&self.failed);
        let unsynced = std::mem::take(&mut lock(&self.work).unsynced);
        for partition in unsynced {
            // Before the sync: what is appended during it must be marked again.
            partition.unmark_unsynced();
            if let Err(error) = partition.sync(shared) {
                failed.get_or_insert_with(|| format!("{}: {error}", partition.place()));
            }
        }
        failed.clone().map_or(Ok(()), Err)
    }

    fn end_if_idle(&self) -> bool {
        let mut work = lock(&self.work);
        work.running = !work.unsynced.is_empty();
        !work.running
    }
}

async fn run(weak: Weak<Shared>, interval: Duration) {
    let flag = weak.clone();
    // A runtime that shuts down drops the task: the next append must start another.
    let mut ending = Guard::new(move || {
        if let Some(shared) = flag.upgrade() {
            lock(&shared.syncer.work).running = false;
        }
    });
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

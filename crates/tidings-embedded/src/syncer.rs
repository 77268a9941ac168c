//! The fsync at an interval: [`Syncer`].

use crate::guard::Guard;
use crate::lock::lock;
use crate::options::Fsync;
use crate::partition::Partition;
use crate::shared::Shared;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// Syncs what was appended, once per interval. While nothing is appended there is no task and no timer.
#[derive(Debug, Default)]
pub(crate) struct Syncer {
    work: Mutex<Work>,
}

#[derive(Debug, Default)]
struct Work {
    unsynced: Vec<Arc<Partition>>,
    running: bool,
}

impl Syncer {
    /// Something was appended to that partition.
    pub(crate) fn appended(&self, shared: &Arc<Shared>, partition: &Arc<Partition>) {
        let Fsync::Interval(interval) = shared.fsync else {
            return;
        };
        if !partition.mark_unsynced() {
            return;
        }
        let mut work = lock(&self.work);
        work.unsynced.push(partition.clone());
        if !std::mem::replace(&mut work.running, true) {
            shared.spawn(run(Arc::downgrade(shared), interval));
        }
    }

    /// The partitions that something was appended to since they were asked for last.
    pub(crate) fn take(&self) -> Vec<Arc<Partition>> {
        std::mem::take(&mut lock(&self.work).unsynced)
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
                for partition in shared.syncer.take() {
                    // A failure is noted in health, and the partition refuses from now on.
                    drop(partition.sync(shared));
                }
                Ok(())
            })
            .await;
        if synced.is_ok() && shared.syncer.end_if_idle() {
            ending.disarm();
            return;
        }
    }
}

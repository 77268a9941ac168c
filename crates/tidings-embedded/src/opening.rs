//! Many partitions at once: opening and syncing their logs.

use crate::lock::lock;
use crate::partition::Partition;
use crate::shared::Shared;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tidings_log::LogError;

/// How many logs are opened, or synced, at the same time. Opening after a crash writes and syncs what was unsynced, and
/// syncs of different files share most of their wait.
const AT_ONCE: usize = 16;
/// Fewer are done faster one by one than threads are started.
const FEW: usize = 8;

/// Opens those that are not open; blocks. What cannot be opened is told to whoever needs it.
pub(crate) fn open_all(shared: &Shared, partitions: &[Arc<Partition>]) {
    let closed: Vec<_> = partitions
        .iter()
        .filter(|partition| partition.opened().is_none())
        .collect();
    if closed.len() < FEW || shared.is_in_memory() {
        return;
    }
    at_once(&closed, |partition| drop(partition.log(shared)));
}

/// Syncs them; blocks. Those that could not be, and why.
pub(crate) fn sync_all(shared: &Shared, partitions: &[Arc<Partition>]) -> Vec<(Arc<Partition>, LogError)> {
    let failed = Mutex::new(Vec::new());
    at_once(partitions, |partition| {
        if let Err(error) = partition.sync(shared) {
            lock(&failed).push((partition.clone(), error));
        }
    });
    std::mem::take(&mut *lock(&failed))
}

fn at_once<T: Sync>(all: &[T], work: impl Fn(&T) + Sync) {
    if all.len() < FEW {
        all.iter().for_each(work);
        return;
    }
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(one);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..AT_ONCE.min(all.len()) {
            scope.spawn(work);
        }
        work();
    });
}

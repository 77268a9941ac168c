//! Opening many logs at once.

use crate::partition::Partition;
use crate::shared::Shared;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many logs are opened at the same time. After a crash each writes and syncs what was unsynced, and syncs of
/// different files share most of their wait.
const AT_ONCE: usize = 16;
/// Fewer are opened faster one by one than threads are started.
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
    let next = AtomicUsize::new(0);
    let open = || {
        while let Some(partition) = closed.get(next.fetch_add(1, Ordering::Relaxed)) {
            drop(partition.log(shared));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..AT_ONCE.min(closed.len()) {
            scope.spawn(open);
        }
        open();
    });
}

//! Compaction by key of the destinations that ask for it: [`Compactor`].

use crate::guard::Guard;
use crate::lock::lock;
use crate::shared::Shared;
use crate::topics::Topic;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use tidings_core::Cleanup;
use tidings_log::Compaction;

/// How much of a partition must be new, in percent, before it is worth reading all of it.
const MIN_DIRTY_PERCENT: u8 = 50;
/// The longest sleep between two frames, so that closing does not wait.
const LONGEST_SLEEP: Duration = Duration::from_millis(20);

/// Whether compaction runs.
#[derive(Debug, Default)]
pub(crate) struct Compactor {
    /// A task looks from time to time.
    started: AtomicBool,
    /// Held while partitions are compacted, one after the other.
    running: Mutex<()>,
}

impl Compactor {
    /// Waits until nothing is compacted any more. No other begins once the broker is closing.
    pub(crate) fn settle(&self) {
        drop(lock(&self.running));
    }
}

/// Looks from time to time from now on, if the destination is to be compacted. The task ends with the broker.
pub(crate) fn start_if_wanted(shared: &Arc<Shared>, topic: &Topic) {
    let is_wanted = topic.cleanup() != Cleanup::Delete && !shared.is_read_only();
    if is_wanted && !shared.compactor.started.swap(true, Ordering::AcqRel) {
        let weak = Arc::downgrade(shared);
        // A runtime that shuts down drops the task, also before it began: the next destination starts another.
        let ended = Guard::new(move || {
            if let Some(shared) = weak.upgrade() {
                shared.compactor.started.store(false, Ordering::Release);
            }
        });
        shared.spawn(run(
            Arc::downgrade(shared),
            shared.options.compaction_interval,
            ended,
        ));
    }
}

async fn run<F: FnOnce()>(weak: Weak<Shared>, interval: Duration, _ended: Guard<F>) {
    loop {
        tokio::time::sleep(interval).await;
        let Some(shared) = weak.upgrade().filter(|shared| !shared.is_closing()) else {
            return;
        };
        let compacted = shared
            .blocking(|shared| compact_all(shared, MIN_DIRTY_PERCENT))
            .await;
        if let Err(reason) = compacted {
            tracing::error!(reason, "a partition could not be compacted");
        }
    }
}

/// Compacts every partition of which so much is new. One that refuses does not keep the others.
pub(crate) fn compact_all(shared: &Arc<Shared>, min_dirty_percent: u8) -> Result<(), String> {
    let _running = lock(&shared.compactor.running);
    let mut refused = None;
    for topic in shared.topics.all() {
        if let Cleanup::Compact { tombstone_retention } = topic.cleanup()
            && let Err(reason) = compact(shared, &topic, tombstone_retention, min_dirty_percent)
        {
            refused = Some(reason);
        }
    }
    refused.map_or(Ok(()), Err)
}

fn compact(
    shared: &Shared,
    topic: &Topic,
    tombstone_retention: Option<Duration>,
    min_dirty_percent: u8,
) -> Result<(), String> {
    let retention = tombstone_retention.unwrap_or(shared.options.tombstone_retention);
    let mut refused = None;
    for partition in topic.partitions.iter().take_while(|_| !shared.is_closing()) {
        let mut pace = Pace::new(shared);
        let compacted = partition.log(shared).and_then(|log| {
            let compaction = Compaction {
                tombstone_retention_ms: u64::try_from(retention.as_millis()).unwrap_or(u64::MAX),
                now_ms: shared.clock().now().as_millis(),
                max_key_bytes: shared.options.compaction_memory_bytes,
                min_dirty_percent,
                throttle: &mut |bytes| pace.went(shared, bytes),
            };
            log.compact(compaction).map_err(Arc::new)
        });
        match compacted {
            Ok(done) if done.segments > 0 => {
                tracing::debug!(place = %partition.place(), ?done, "compacted");
            }
            Ok(_) => {}
            Err(error) => refused = Some(format!("{}: {error}", partition.place())),
        }
    }
    refused.map_or(Ok(()), Err)
}

/// Keeps compaction to its share of the disk.
struct Pace {
    begun: Instant,
    bytes: u64,
    per_second: Option<u64>,
}

impl Pace {
    fn new(shared: &Shared) -> Self {
        Self {
            begun: Instant::now(),
            bytes: 0,
            // In memory this is the caller's thread, which must not sleep.
            per_second: shared
                .options
                .compaction_bytes_per_second
                .filter(|_| !shared.is_in_memory()),
        }
    }

    /// Sleeps as long as it takes to be no faster than allowed.
    fn went(&mut self, shared: &Shared, bytes: u64) -> ControlFlow<()> {
        self.bytes += bytes;
        let due = match self.per_second {
            Some(per_second) => Duration::from_secs_f64(self.bytes as f64 / per_second.max(1) as f64),
            None => Duration::ZERO,
        };
        loop {
            if shared.is_closing() {
                return ControlFlow::Break(());
            }
            match due.checked_sub(self.begun.elapsed()) {
                Some(left) if !left.is_zero() => std::thread::sleep(left.min(LONGEST_SLEEP)),
                _ => return ControlFlow::Continue(()),
            }
        }
    }
}

//! Sending as the only one: [`Fenced`].

use super::fence::Fence;
use super::lane::{Batch, Lane};
use super::verdicts::ParkedKeys;
use crate::dialect::Dialect;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use tidings_core::{Outgoing, Receipt, Sink};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

/// A broker that takes messages of the holder of the lease only, by a right of its own for each destination.
///
/// One right for all would tie them together: Kafka ends no transaction with a partition that has no leader, whether it is
/// committed or given up, and until then nobody gets its id.
pub(crate) struct Fenced {
    lanes: HashMap<Arc<str>, Open>,
    open: Box<dyn Fn(Arc<str>) -> Open + Send + Sync>,
}

/// A lane at work. Dropped, what is under way is given up.
struct Open {
    queue: UnboundedSender<Batch>,
    task: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fenced {
    pub(crate) fn new<DB: Dialect>(fence: &Fence<DB>, sink: Arc<dyn Sink>, parked_keys: ParkedKeys) -> Self {
        let fence = fence.clone();
        let open = move |destination| {
            let (queue, batches) = unbounded_channel();
            let lane = Lane::new(fence.clone(), sink.clone(), destination, parked_keys);
            let task = tokio::spawn(lane.run(batches)).abort_handle();
            Open { queue, task }
        };
        Self {
            lanes: HashMap::new(),
            open: Box::new(open),
        }
    }

    /// Sends; a receipt for each, in their order. Of a destination one batch is to be under way at a time: what stands behind a
    /// message that was not taken must not arrive before it.
    pub(crate) fn publish_all(&mut self, outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        let mut batches: Vec<(Arc<str>, Batch)> = Vec::new();
        let mut last = 0;
        let take = |one: Outgoing| {
            let goes_there = |(destination, _): &(Arc<str>, Batch)| *destination == one.destination;
            if !batches.get(last).is_some_and(goes_there) {
                last = batches.iter().position(goes_there).unwrap_or(batches.len());
            }
            if last == batches.len() {
                batches.push((one.destination.clone(), Batch::new()));
            }
            let (sender, receipt) = Receipt::pair();
            if let Some((_, batch)) = batches.get_mut(last) {
                batch.push_back((one, sender));
            }
            receipt
        };
        let receipts = outgoing.into_iter().map(take).collect();
        for (destination, batch) in batches {
            if self
                .lanes
                .get(&destination)
                .is_some_and(|lane| lane.queue.is_closed())
            {
                tracing::error!(%destination, "sending from the outbox has ended by a panic, and begins anew");
                self.lanes.remove(&destination);
            }
            let lane = self.lanes.entry(destination);
            let lane = lane.or_insert_with_key(|destination| (self.open)(destination.clone()));
            // If its task ends now, the senders are dropped, and every receipt says that it is closed.
            let _ = lane.queue.send(batch);
        }
        receipts
    }
}

impl fmt::Debug for Fenced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fenced")
            .field("destinations", &self.lanes.keys())
            .finish_non_exhaustive()
    }
}

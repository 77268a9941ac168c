//! How long messages can wait before they come to a retry queue: [`Waits`].

use crate::topology::Topology;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{BinderError, Create};

/// The waits that there are queues for, in seconds.
const TIERS: [u64; 15] = [
    1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400,
];

/// The longest of these waits, the shortest first, that is not longer than that one.
fn tier(tiers: &[u64], wait: Duration) -> Option<Duration> {
    let fits = tiers.iter().rev().map(|seconds| Duration::from_secs(*seconds));
    fits.into_iter().find(|tier| *tier <= wait)
}

/// The queues in which messages for a retry queue may wait, the shortest wait first. Those of them exist that were needed.
pub(crate) fn queues_of_waits(retry: &str) -> impl Iterator<Item = Arc<str>> {
    TIERS
        .iter()
        .map(move |seconds| queue_of_wait(retry, Duration::from_secs(*seconds)))
}

pub(crate) fn queue_of_wait(retry: &str, tier: Duration) -> Arc<str> {
    format!("{retry}.{}s", tier.as_secs()).into()
}

/// The waits in front of a retry queue.
#[derive(Debug, Clone)]
pub(crate) enum Waits {
    /// Each has a queue as soon as it is needed.
    Made,
    /// Nothing may be made, and these have one, in seconds.
    There(Arc<[u64]>),
}

impl Waits {
    /// The longest that is not longer than that one.
    pub(crate) fn longest_within(&self, wait: Duration) -> Option<Duration> {
        match self {
            Self::Made => tier(&TIERS, wait),
            Self::There(tiers) => tier(tiers, wait),
        }
    }

    /// Whether a queue for one may be made.
    pub(crate) fn create(&self) -> Create {
        match self {
            Self::Made => Create::IfMissing,
            Self::There(_) => Create::Never,
        }
    }

    /// What there is where nothing may be made; none if there is no retry queue. What that means for the group is told.
    ///
    /// # Errors
    /// The server does not answer.
    pub(crate) async fn there(topology: &Topology, retry: &Arc<str>) -> Result<Option<Self>, BinderError> {
        let longest = topology.consuming().longest_hold;
        if !is_there(topology, retry).await? {
            tracing::warn!(queue = %retry, "there is no retry queue, and none may be made (create = \"never\"): what waits is \
                held in its own queue, {} s at the most, and no dead letter can be sent back; make the queue, or let it be made",
                longest.as_secs());
            return Ok(None);
        }
        let mut there = Vec::new();
        for seconds in TIERS {
            let queue = queue_of_wait(retry, Duration::from_secs(seconds));
            if is_there(topology, &queue).await? {
                there.push(seconds);
            }
        }
        if there.is_empty() {
            tracing::warn!(queue = %retry, "there is no queue for waits, and none may be made (create = \"never\"): what waits is \
                held in the retry queue, {} s at the most; make {retry}.60s or the like, with x-message-ttl and a dead letter \
                exchange back, or let them be made", longest.as_secs());
        }
        Ok(Some(Self::There(there.into())))
    }
}

async fn is_there(topology: &Topology, queue: &Arc<str>) -> Result<bool, BinderError> {
    match topology.counts(queue).await {
        Ok(_) => Ok(true),
        Err(BinderError::UnknownDestination { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_never_longer_than_it_should_be() {
        for (millis, seconds) in [
            (0, None),
            (999, None),
            (1_000, Some(1)),
            (4_999, Some(2)),
            (90_000, Some(60)),
            (900_000, Some(600)),
            (40 * 86_400_000, Some(86_400)),
        ] {
            let tier = tier(&TIERS, Duration::from_millis(millis));
            assert_eq!(tier.map(|tier| tier.as_secs()), seconds, "{millis} ms");
        }
    }
}

//! A running subscription has seen everything that was there: [`Running::caught_up`].

use super::{Running, RunningSubscription};
use crate::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{BinderError, DynBinder, LaneRole, is_chosen};
use tokio::time::{Instant, sleep};

/// How often is looked at what this process knows, which costs next to nothing.
const LOOK: Duration = Duration::from_millis(20);

/// How often a broker is asked what other members of the group have stored.
const ASK: Duration = Duration::from_millis(500);

/// A partition of a destination, and where it ended.
#[derive(Debug)]
struct End {
    destination: Arc<str>,
    partition: u32,
    offset: u64,
}

impl Running {
    /// Waits until a subscription has finished everything that was there when this was called: what is rebuilt from
    /// events is complete then. Finished is what was handled or given up by its policy; what waits in the retry lane for
    /// a later attempt is, too, as its turn there may come in days.
    ///
    /// In a group that is about all members: what others have finished is known as far as they have stored it. Offsets without a
    /// message, as compaction and the marks of transactions leave them, are passed as well, which a handler that compares the
    /// positions of its messages cannot see.
    ///
    /// ```no_run
    /// # async fn example(running: &tidings::Running) -> Result<(), tidings::Error> {
    /// running.caught_up("prices").await?;
    /// println!("every price is known");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no such subscription; [`Error::Binder`] if the broker keeps no old messages, or cannot
    /// say where they end; [`Error::Ended`] if the subscription ends before.
    pub async fn caught_up(&self, subscription: &str) -> Result<(), Error> {
        let handle = self.subscription(subscription)?;
        let all = &self.inner.subscriptions;
        let Some(subscription) = all.iter().find(|one| one.name == subscription) else {
            return Ok(());
        };
        let binder = self.binder(&subscription.binder)?;
        let unread = ends(&**binder, subscription).await;
        let mut left = unread.map_err(|error| Error::binder(&subscription.binder, error))?;
        let mut asked = Instant::now();
        loop {
            let status = handle.status();
            left.retain(|end| {
                !status.lanes.iter().any(|lane| {
                    lane.role == LaneRole::Main
                        && lane.destination == end.destination
                        && lane.partition == end.partition
                        && lane.watermark >= end.offset
                })
            });
            if asked.elapsed() >= ASK {
                stored(&**binder, subscription, &mut left).await;
                asked = Instant::now();
            }
            if left.is_empty() {
                return Ok(());
            }
            tokio::select! {
                () = handle.stopped() => return Err(Error::Ended { subscription: subscription.name.clone() }),
                () = sleep(LOOK) => {}
            }
        }
    }
}

/// What is there to be read now.
async fn ends(binder: &dyn DynBinder, subscription: &RunningSubscription) -> Result<Vec<End>, BinderError> {
    if !binder.capabilities().replay {
        return Err(BinderError::Unsupported {
            broker: binder.kind(),
            feature: "positions up to which messages were read",
            cure: "use a broker with replay for this channel",
        });
    }
    subscription.handle.discover().await;
    let mut ends = Vec::new();
    for input in subscription.handle.inputs() {
        let positions = binder.positions(&input.destination, None).await?;
        let chosen = subscription.chosen.as_deref();
        let there = positions
            .iter()
            .filter(|at| at.first < at.end && is_chosen(chosen, at.partition));
        ends.extend(there.map(|at| End {
            destination: input.destination.clone(),
            partition: at.partition,
            offset: at.end,
        }));
    }
    Ok(ends)
}

/// Leaves out what the group has stored as finished. A broker that cannot be asked now is asked again.
async fn stored(binder: &dyn DynBinder, subscription: &RunningSubscription, left: &mut Vec<End>) {
    let Some(group) = &subscription.group else { return };
    let mut destinations: Vec<_> = left.iter().map(|end| end.destination.clone()).collect();
    destinations.dedup();
    for destination in destinations {
        let Ok(positions) = binder.positions(&destination, Some(group)).await else {
            return;
        };
        left.retain(|end| {
            end.destination != destination
                || !positions.iter().any(|at| {
                    let done = at
                        .progress
                        .as_ref()
                        .is_some_and(|progress| progress.watermark >= end.offset);
                    at.partition == end.partition && done
                })
        });
    }
}

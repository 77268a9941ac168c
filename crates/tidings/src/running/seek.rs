//! A running subscription goes on elsewhere: [`Running::seek`].

use super::{Running, RunningSubscription};
use crate::error::Error;
use tidings_core::{BinderError, DynBinder, PartitionPosition, Position, Start};

impl Running {
    /// Lets a subscription go on elsewhere in everything that it reads: from the beginning, at the end, at an offset, or
    /// with the first message of a time. What was handled before is handled again where it goes back, and what lies
    /// between is skipped where it goes ahead.
    ///
    /// What runs is finished first, for at most `binder.session_drain`, and stopped then; what has not started is given
    /// up, and comes again where reading goes on. Its group's progress becomes the new position. Messages that wait in
    /// the retry lane are no part of this: they go on waiting, also those that a replay brings a second time. An offset
    /// before the first message or behind the last is the nearest one that there is.
    ///
    /// Only this process's partitions move: in a group with several members each of them has to be asked. Returns where
    /// reading goes on, once it does; what is missing belongs to another member, or is being handed over. A
    /// subscription that handles exactly once does not move while it runs: nothing is returned.
    ///
    /// ```no_run
    /// # async fn example(running: &tidings::Running) -> Result<(), tidings::Error> {
    /// use tidings::{Start, hours};
    /// let yesterday = running.clock().now().as_millis() - hours(24).as_millis() as i64;
    /// running.seek("billing", Start::Time(tidings::Timestamp::from_millis(yesterday))).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no such subscription; [`Error::Binder`] if the broker keeps no old messages, or cannot
    /// say where that is.
    pub async fn seek(&self, subscription: &str, to: Start) -> Result<Vec<Position>, Error> {
        self.seek_where(subscription, to, |_| true).await
    }

    /// As [`seek`](Self::seek), in one partition of each destination that the subscription reads.
    ///
    /// # Errors
    /// As [`seek`](Self::seek).
    pub async fn seek_partition(
        &self,
        subscription: &str,
        partition: u32,
        to: Start,
    ) -> Result<Vec<Position>, Error> {
        self.seek_where(subscription, to, |found| found == partition)
            .await
    }

    async fn seek_where(
        &self,
        name: &str,
        to: Start,
        is_meant: impl Fn(u32) -> bool + Send,
    ) -> Result<Vec<Position>, Error> {
        let handle = self.subscription(name)?;
        let found = self.inner.subscriptions.iter().find(|one| one.name == name);
        let Some(subscription) = found else {
            return Ok(Vec::new());
        };
        let binder = self.binder(&subscription.binder)?;
        let positions = targets(&**binder, subscription, to, is_meant).await;
        let positions = positions.map_err(|error| Error::binder(&subscription.binder, error))?;
        Ok(handle.seek(positions).await)
    }
}

/// Where each partition is to go on.
async fn targets(
    binder: &dyn DynBinder,
    subscription: &RunningSubscription,
    to: Start,
    is_meant: impl Fn(u32) -> bool,
) -> Result<Vec<Position>, BinderError> {
    if !binder.capabilities().replay {
        return Err(BinderError::Unsupported {
            broker: binder.kind(),
            feature: "messages that can be read again",
            cure: "use a broker with replay for this channel",
        });
    }
    let mut targets = Vec::new();
    for input in &subscription.handle.inputs() {
        let found = binder.positions(&input.destination, None).await?;
        for at in found.into_iter().filter(|at| is_meant(at.partition)) {
            let offset = offset(binder, &input.destination, &at, to).await?;
            targets.push(Position::new(input.destination.clone(), at.partition, offset));
        }
    }
    Ok(targets)
}

async fn offset(
    binder: &dyn DynBinder,
    destination: &str,
    at: &PartitionPosition,
    to: Start,
) -> Result<u64, BinderError> {
    let wanted = match to {
        Start::Latest => at.end,
        Start::Offset(offset) => offset,
        Start::Time(time) => binder.offset_at(destination, at.partition, time).await?,
        // `Earliest`, and the safe choice for what a later version may add: nothing is skipped.
        _ => at.first,
    };
    Ok(wanted.clamp(at.first, at.end.max(at.first)))
}

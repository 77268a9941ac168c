//! Whether an app has come to rest: a check that is repeated until it holds twice.

use super::watched::Watch;
use crate::error::Error;
use crate::running::outboxes::RunningOutbox;
use crate::running::{Inner, Running, RunningSubscription};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{DynBinder, is_chosen};
use tidings_runtime::{Phase, SubscriptionStatus};
use tokio::time::Instant;

/// Between two checks there is a hundredth of the time that was waited already: with a paused clock time runs on beyond
/// the rest by no more than that, and a wait of an hour needs no more than a few hundred checks.
const PAUSE_RATIO: u32 = 100;

pub(super) async fn settled(running: &Running, watch: &Watch, limit: Duration) -> Result<(), Error> {
    let start = Instant::now();
    let mut at_rest: Option<Snapshot> = None;
    loop {
        // With a paused clock the sleep ends only when no task has anything left to do.
        let pause = if at_rest.is_some() {
            Duration::ZERO
        } else {
            start.elapsed() / PAUSE_RATIO
        };
        tokio::time::sleep(pause.max(Duration::from_millis(1))).await;
        let Look {
            snapshot,
            waiting,
            hopeless,
        } = look(running, watch).await?;
        if waiting.is_empty() {
            // Twice the same: nothing began between looking at one part and looking at another.
            if at_rest.as_ref() == Some(&snapshot) {
                return Ok(());
            }
            at_rest = Some(snapshot);
        } else if hopeless || start.elapsed() >= limit {
            return Err(Error::NotSettled {
                after: start.elapsed(),
                waiting,
            });
        } else {
            at_rest = None;
        }
    }
}

/// How long connecting is waited for; brokers in memory need no time at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits until every subscription has its lanes: one that starts at the latest message would miss what is published
/// before that.
pub(super) async fn connected(running: &Running) {
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let connecting = || {
        let mut all = running
            .inner
            .subscriptions
            .iter()
            .map(|subscription| subscription.handle.status());
        all.any(|status| match status.phase {
            Phase::Connecting => true,
            Phase::Running => status.lanes.is_empty() && !status.idle,
            _ => false,
        })
    };
    while connecting() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Where every log ended and how much was done when an app was looked at.
type Snapshot = Vec<(String, u64)>;

/// What an app was doing when it was looked at.
struct Look {
    snapshot: Snapshot,
    /// What is not settled, one line each.
    waiting: Vec<String>,
    /// A subscription was refused for good.
    hopeless: bool,
}

async fn look(running: &Running, watch: &Watch) -> Result<Look, Error> {
    let inner: &Inner = &running.inner;
    let mut snapshot = Snapshot::new();
    let mut waiting = Vec::new();
    let mut hopeless = false;
    for subscription in &inner.subscriptions {
        if subscription.has_patterns {
            subscription.handle.discover().await;
        }
        let status = subscription.handle.status();
        // Nothing can be expected of these.
        if matches!(status.phase, Phase::Paused | Phase::Stopped) {
            continue;
        }
        hopeless |= status.phase == Phase::Failed;
        snapshot.push((
            subscription.name.clone(),
            status.handled + status.failed + status.dead_lettered,
        ));
        let binder = running.binder(&subscription.binder)?;
        let mut behind = look_at_lanes(subscription, &status, binder, &mut snapshot).await?;
        if behind.is_empty() && !status.idle {
            behind.push(format!("{} running, {} waiting", status.running, status.waiting));
        }
        if !behind.is_empty() {
            waiting.push(reason(subscription, &status, &behind));
        }
    }
    for outbox in &inner.outboxes {
        snapshot.push((outbox.name.clone(), outbox.status().sent));
        waiting.extend(unsent(outbox).await);
    }
    let now = inner.clock.now();
    if let Some(due) = watch.latest_due().filter(|due| *due > now) {
        waiting.push(format!("a delayed message is due in {:?}", due.since(now)));
    }
    Ok(Look {
        snapshot,
        waiting,
        hopeless,
    })
}

/// What is in an outbox, if anything is.
async fn unsent(outbox: &RunningOutbox) -> Option<String> {
    let waits = match outbox.store.backlog().await {
        Ok(backlog) if backlog.messages == 0 => return None,
        Ok(backlog) => format!("{} unsent", backlog.messages),
        Err(error) => error.to_string(),
    };
    let obstacle = outbox.status().obstacle.map(|obstacle| format!(" ({obstacle})"));
    let obstacle = obstacle.unwrap_or_default();
    Some(format!("outbox {}: {waits}{obstacle}", outbox.name))
}

fn reason(subscription: &RunningSubscription, status: &SubscriptionStatus, behind: &[String]) -> String {
    let obstacle = status
        .obstacle
        .as_ref()
        .map(|obstacle| format!(" ({obstacle})"))
        .unwrap_or_default();
    let failure = status
        .last_failure
        .as_ref()
        .map(|(_, text)| format!("; last failure: {text}"))
        .unwrap_or_default();
    let phase = match status.phase {
        Phase::Running => String::new(),
        phase => format!(" is {phase:?},"),
    };
    format!(
        "subscription {}:{phase} {}{obstacle}{failure}",
        subscription.name,
        behind.join(", ")
    )
}

/// The lanes in which there is something left.
async fn look_at_lanes(
    subscription: &RunningSubscription,
    status: &SubscriptionStatus,
    binder: &Arc<dyn DynBinder>,
    snapshot: &mut Snapshot,
) -> Result<Vec<String>, Error> {
    let mut behind = Vec::new();
    // Where messages are taken, the offsets of a lane begin anew with each member and say nothing of what there is.
    let counted = binder.capabilities().replay || subscription.group.is_none();
    let inputs = subscription.handle.inputs();
    let destinations = inputs
        .iter()
        .flat_map(|input| std::iter::once(&input.destination).chain(&input.retry));
    for destination in destinations {
        let positions = binder.positions(destination, subscription.group.as_deref()).await;
        let positions = positions.map_err(|error| Error::binder(&subscription.binder, error))?;
        for at in positions {
            snapshot.push((format!("{destination}/{}", at.partition), at.end));
            if !is_chosen(subscription.chosen.as_deref(), at.partition) {
                continue;
            }
            let lane = status
                .lanes
                .iter()
                .filter(|_| counted)
                .find(|lane| lane.destination == *destination && lane.partition == at.partition);
            // A lane that another member of the group has: its progress is known as far as it is stored.
            let stored = at.progress.as_ref().map(|progress| progress.watermark);
            let done = lane.map(|lane| lane.watermark).or(stored).unwrap_or(at.first);
            if done < at.end {
                behind.push(format!(
                    "{destination}/{} is handled to {done} of {}",
                    at.partition, at.end
                ));
            }
        }
    }
    Ok(behind)
}

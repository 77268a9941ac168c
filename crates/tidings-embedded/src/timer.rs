//! Who appends delayed messages when they are due: [`DelayedTimer`].

use crate::delayed::{self, Due, Row};
use crate::guard::Guard;
use crate::lock::lock;
use crate::shared::Shared;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tidings_core::Timestamp;
use tokio::sync::Notify;

/// How many messages are appended between two transactions.
const ROWS: usize = 1_000;
/// How many bytes of them.
const BYTES: usize = 4 << 20;
/// How long to wait when something refuses.
const AGAIN: Duration = Duration::from_secs(1);
/// The longest sleep: the system's clock may be set while we wait.
const LONGEST: Duration = Duration::from_secs(60);
/// The place that health names.
const PLACE: &str = "delayed messages";
/// Later than every message.
const NEVER: Timestamp = Timestamp::from_millis(i64::MAX);

/// One task, and only while there are delayed messages.
#[derive(Debug, Default)]
pub(crate) struct DelayedTimer {
    sleep: Arc<Sleep>,
    /// Held during a round, between whose appends and removals nobody may close the broker: what was appended and not
    /// removed would come again.
    round: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Sleep {
    /// Until when the task sleeps; none when there is no task.
    until: Mutex<Option<Timestamp>>,
    earlier: Notify,
}

impl DelayedTimer {
    /// Waits for the round that runs. No other begins once the broker is closing.
    pub(crate) async fn settle(&self) {
        drop(self.round.lock().await);
    }

    /// A message that is due then was stored: starts the task, or wakes it if it would sleep too long.
    pub(crate) fn stored(&self, shared: &Arc<Shared>, due: Timestamp) {
        let mut until = lock(&self.sleep.until);
        match *until {
            Some(time) if time <= due => {}
            Some(_) => {
                *until = Some(due);
                self.sleep.earlier.notify_one();
            }
            None => {
                *until = Some(due);
                shared.spawn(run(Arc::downgrade(shared), self.sleep.clone()));
            }
        }
    }
}

/// What a round found.
enum Found {
    /// There may be more that is due.
    More,
    /// Nothing is due before.
    Until(Timestamp),
    /// There is none at all.
    Nothing,
}

async fn run(weak: Weak<Shared>, sleep: Arc<Sleep>) {
    // A runtime that shuts down drops the task anywhere: then there is none any more.
    let mut ending = Guard::new(|| *lock(&sleep.until) = None);
    let mut appended = Vec::new();
    loop {
        // The broker is held during a round only: one that everybody has forgotten can go away while we sleep.
        let Some(shared) = weak.upgrade().filter(|shared| !shared.is_closing()) else {
            return;
        };
        // What is stored from here on finds that we sleep for ever and wakes us; what was stored before, the round
        // finds.
        *lock(&sleep.until) = Some(NEVER);
        let wait = match round(&shared, &mut appended).await {
            Ok(Found::More) => continue,
            Ok(found) => {
                shared.health.clear(PLACE);
                match sleep_until(&sleep, &found) {
                    Some(due) => due.since(shared.clock().now()).min(LONGEST),
                    None => {
                        ending.disarm();
                        return;
                    }
                }
            }
            Err(reason) => {
                shared.health.report(PLACE, &reason);
                AGAIN
            }
        };
        drop(shared);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = sleep.earlier.notified() => {}
        }
    }
}

/// Notes until when the task sleeps; none when it ends, because nothing was stored since the round looked.
fn sleep_until(sleep: &Sleep, found: &Found) -> Option<Timestamp> {
    let mut until = lock(&sleep.until);
    let stored_since = until.filter(|time| *time != NEVER);
    *until = match (found, stored_since) {
        (Found::Until(due), Some(earlier)) => Some(earlier.min(*due)),
        (Found::Until(due), None) => Some(*due),
        (_, stored_since) => stored_since,
    };
    *until
}

/// Appends what is due and removes its rows. `appended` has rows whose records are safe already: if the transaction
/// that removes them fails, only it is tried again.
async fn round(shared: &Arc<Shared>, appended: &mut Vec<Due>) -> Result<Found, String> {
    let _round = shared.timer.round.lock().await;
    if shared.is_closing() {
        return Ok(Found::Nothing);
    }
    let mut refused = None;
    if appended.is_empty() {
        let now = shared.clock().now();
        let rows = shared
            .blocking(move |shared| shared.keeper.state()?.due(now, ROWS, BYTES))
            .await?;
        if rows.is_empty() {
            let first = shared
                .blocking(|shared| shared.keeper.state()?.first_due())
                .await?;
            return Ok(first.map_or(Found::Nothing, Found::Until));
        }
        (*appended, refused) = append(shared, rows).await;
    }
    if !appended.is_empty() {
        // A row goes only when its record cannot be lost any more. After a crash in between it is appended again.
        shared.blocking(|shared| shared.sync_all()).await?;
        shared.keeper.remove(shared, appended.clone()).await?;
        appended.clear();
    }
    match refused {
        Some(reason) => Err(reason),
        None => Ok(Found::More),
    }
}

/// Publishes in order and waits for all; what was appended, and why something was not.
async fn append(shared: &Arc<Shared>, rows: Vec<Row>) -> (Vec<Due>, Option<String>) {
    let mut receipts = Vec::with_capacity(rows.len());
    let mut refused = None;
    for row in rows {
        match delayed::decode(&row.bytes) {
            Some(message) => receipts.push((row.due, shared.publish_delayed(message))),
            None => {
                refused =
                    Some("a stored message cannot be read: it was written by a newer version".to_owned())
            }
        }
    }
    let mut appended = Vec::with_capacity(receipts.len());
    for (due, receipt) in receipts {
        match receipt.await {
            Ok(_) => appended.push(due),
            Err(error) => refused = Some(error.to_string()),
        }
    }
    (appended, refused)
}

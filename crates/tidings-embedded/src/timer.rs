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

    /// Holds off the next round until the guard is dropped, on a thread that may block: what is due is then either still
    /// stored or appended, and not both.
    pub(crate) fn hold(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.round.blocking_lock()
    }

    /// A message that is due then was stored: starts the task, or wakes it if it would sleep too long.
    pub(crate) fn stored(&self, shared: &Arc<Shared>, due: Timestamp) {
        {
            let mut until = lock(&self.sleep.until);
            if let Some(time) = *until {
                if due < time {
                    *until = Some(due);
                    self.sleep.earlier.notify_one();
                }
                return;
            }
            *until = Some(due);
        }
        let sleep = self.sleep.clone();
        // A runtime that shuts down drops the task anywhere, also here and before it began: then there is none any more.
        let ending = Guard::new(move || *lock(&sleep.until) = None);
        shared.spawn(run(Arc::downgrade(shared), self.sleep.clone(), ending));
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

async fn run<F: FnOnce()>(weak: Weak<Shared>, sleep: Arc<Sleep>, mut ending: Guard<F>) {
    let mut rounds = Rounds::default();
    loop {
        // The broker is held during a round only: one that everybody has forgotten can go away while we sleep.
        let Some(shared) = weak.upgrade().filter(|shared| !shared.is_closing()) else {
            return;
        };
        // What is stored from here on finds that we sleep for ever and wakes us; what was stored before, the round
        // finds.
        *lock(&sleep.until) = Some(NEVER);
        let wait = match round(&shared, &mut rounds).await {
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

/// Where the rounds are.
#[derive(Debug, Default)]
struct Rounds {
    /// Rows whose records are safe already: if the transaction that removes them fails, only it is tried again.
    appended: Vec<Due>,
    /// Everything up to there was tried, and some of it was refused: the others go on behind it.
    tried: Option<Due>,
    refused: Option<String>,
}

/// Appends what is due and removes its rows.
async fn round(shared: &Arc<Shared>, rounds: &mut Rounds) -> Result<Found, String> {
    let _round = shared.timer.round.lock().await;
    if shared.is_closing() {
        return Ok(Found::Nothing);
    }
    if rounds.appended.is_empty() {
        let (now, tried) = (shared.clock().now(), rounds.tried);
        let rows = shared
            .blocking(move |shared| shared.keeper.state()?.due(tried, now, ROWS, BYTES))
            .await?;
        let Some(last) = rows.last().map(|row| row.due) else {
            return end_of_due(shared, rounds).await;
        };
        let refused;
        (rounds.appended, refused) = append(shared, rows).await;
        if refused.is_some() || rounds.tried.is_some() {
            rounds.tried = Some(last);
        }
        rounds.refused = refused.or(rounds.refused.take());
    }
    if !rounds.appended.is_empty() {
        // A row goes only when its record cannot be lost any more. After a crash in between it is appended again.
        shared.blocking(|shared| shared.syncer.sync(shared)).await?;
        shared.keeper.remove(shared, rounds.appended.clone()).await?;
        rounds.appended.clear();
    }
    Ok(Found::More)
}

/// Everything that is due was tried: what was refused is tried again from the first on, after a while.
async fn end_of_due(shared: &Arc<Shared>, rounds: &mut Rounds) -> Result<Found, String> {
    rounds.tried = None;
    if let Some(reason) = rounds.refused.take() {
        return Err(reason);
    }
    let first = shared
        .blocking(|shared| shared.keeper.state()?.first_due())
        .await?;
    Ok(first.map_or(Found::Nothing, Found::Until))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::EmbeddedOptions;
    use std::path::Path;
    use tidings_core::Message;

    #[tokio::test(start_paused = true)]
    async fn messages_that_cannot_be_appended_do_not_hold_up_those_that_are_due_later() {
        let shared = Arc::new(Shared::open(EmbeddedOptions::from_url("memory:").unwrap()).unwrap());
        let topic = shared
            .topics
            .create(&*shared.files, Path::new("/memory"), "orders", 1)
            .unwrap();
        let now = shared.clock().now();
        let good = delayed::encode("orders", 0, now, &Message::new("tea"));
        let unreadable = std::iter::repeat_n((1, b"?".to_vec()), ROWS * 2);
        let mut receipts = Vec::new();
        for (due, bytes) in unreadable.chain([(2, good)]) {
            let due = Timestamp::from_millis(due);
            receipts.push(shared.keeper.put(&shared, topic.name.clone(), 0, due, bytes));
        }
        for receipt in receipts {
            receipt.await.unwrap();
        }
        tokio::time::timeout(Duration::from_secs(10), async {
            while topic.partitions[0].log(&shared).unwrap().next_offset() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .expect("the one that can be read is appended");
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(
            topic.partitions[0].log(&shared).unwrap().next_offset(),
            1,
            "and only once"
        );
        assert!(matches!(
            shared.health.state(),
            tidings_core::BinderHealth::Down(_)
        ));
    }
}

//! Waking the relay: [`Wake`].
//!
//! A row is announced when it is written, which is before its transaction is committed. NOTIFY within the transaction would
//! come at the right moment, but PostgreSQL commits such transactions one after the other. So a relay that is woken looks
//! again and again, in growing steps; what is announced too early is found by the next look.

use crate::dialect::Dialect;
use crate::store::SqlStore;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Other processes are told no more often than that.
const PAUSE: Duration = Duration::from_millis(10);

/// Tells relays, in this process and in others, that there is something to send.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    here: Notify,
    wanted: AtomicBool,
    announcing: AtomicBool,
}

impl Wake {
    /// Tells them. It does not wait.
    pub(crate) fn call<DB: Dialect>(&self, store: &SqlStore<DB>) {
        self.here.notify_one();
        if !DB::CAN_NOTIFY {
            return;
        }
        self.wanted.store(true, Ordering::Release);
        if !self.announcing.swap(true, Ordering::AcqRel) {
            tokio::spawn(announce(store.clone()));
        }
    }

    /// Waits until somebody in this process has something to send.
    pub(crate) async fn called(&self) {
        self.here.notified().await;
    }
}

/// Tells other processes, as long as there is something new to tell. Many writers are one announcement.
async fn announce<DB: Dialect>(store: SqlStore<DB>) {
    loop {
        while store.wake().wanted.swap(false, Ordering::AcqRel) {
            if let Err(error) = store.notify().await {
                // The relay looks by itself, only later.
                tracing::debug!(%error, "other processes were not told of messages in the outbox");
            }
            tokio::time::sleep(PAUSE).await;
        }
        store.wake().announcing.store(false, Ordering::Release);
        // Somebody may have come between the last look and the line above, and found this still at work.
        let came = store.wake().wanted.load(Ordering::Acquire);
        if !came || store.wake().announcing.swap(true, Ordering::AcqRel) {
            return;
        }
    }
}

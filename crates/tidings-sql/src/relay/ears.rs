//! Hearing of what other processes write: [`Ears`].

use crate::dialect::Dialect;
use crate::store::SqlStore;
use std::time::Duration;
use tokio::time::Instant;

/// How often it is tried to listen to other processes.
const LISTEN_AGAIN: Duration = Duration::from_secs(10);

/// What hears other processes, where they can be heard.
pub(super) struct Ears<DB: Dialect> {
    listener: Option<DB::Listener>,
    again: Option<Instant>,
}

impl<DB: Dialect> Default for Ears<DB> {
    fn default() -> Self {
        Self {
            listener: None,
            again: None,
        }
    }
}

impl<DB: Dialect> Ears<DB> {
    /// Begins to listen, unless it does or has failed to a short while ago.
    pub(super) async fn open(&mut self, store: &SqlStore<DB>) {
        let now = Instant::now();
        if !DB::CAN_NOTIFY || self.listener.is_some() || self.again.is_some_and(|again| again > now) {
            return;
        }
        match store.listen().await {
            Ok(listener) => self.listener = Some(listener),
            Err(error) => {
                // It looks by itself meanwhile.
                tracing::debug!(%error, "other processes are not heard");
                self.again = Some(now + LISTEN_AGAIN);
            }
        }
    }

    /// Waits for a call of another process.
    pub(super) async fn heard(&mut self) {
        let Some(listener) = &mut self.listener else {
            return std::future::pending().await;
        };
        if let Err(error) = DB::heard(listener).await {
            tracing::debug!(%error, "other processes are not heard any more");
            self.listener = None;
            self.again = Some(Instant::now() + LISTEN_AGAIN);
        }
    }
}

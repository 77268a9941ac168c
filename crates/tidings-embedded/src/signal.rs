//! How a reader that waits is woken: [`Signal`].

use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Tells one reader that there may be something new. Raising it twice before the reader looks is one swap and no
/// wake-up, so a busy reader costs a writer almost nothing.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    raised: AtomicBool,
    notify: Notify,
}

impl Signal {
    /// Wakes the reader. What was written before is seen by a reader that lowers the signal afterwards.
    pub(crate) fn raise(&self) {
        if !self.raised.swap(true, Ordering::AcqRel) {
            self.notify.notify_one();
        }
    }

    /// Taken back by the reader before it looks, so that whatever comes while it looks raises the signal again.
    pub(crate) fn lower(&self) {
        self.raised.swap(false, Ordering::AcqRel);
    }

    /// Waits until it is raised.
    pub(crate) async fn raised(&self) {
        while !self.raised.load(Ordering::Acquire) {
            self.notify.notified().await;
        }
    }
}

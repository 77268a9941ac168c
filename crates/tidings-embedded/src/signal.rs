//! How a reader that waits is woken: [`Signal`].

use tokio::sync::Notify;

mod flag {
    use std::sync::atomic::{AtomicBool, Ordering, fence};

    include!("flag.rs");
}

/// Tells one reader that there may be something new. Raising it again before the reader looks costs a fence and no
/// wake-up, so a busy reader costs a writer almost nothing.
#[derive(Debug)]
pub(crate) struct Signal {
    flag: flag::Flag,
    notify: Notify,
}

impl Default for Signal {
    fn default() -> Self {
        Self {
            flag: flag::Flag::new(),
            notify: Notify::new(),
        }
    }
}

impl Signal {
    /// Wakes the reader. What was written before is seen by a reader that lowers the signal afterwards.
    pub(crate) fn raise(&self) {
        if self.flag.raise() {
            self.notify.notify_one();
        }
    }

    /// Taken back by the reader before it looks, so that whatever comes while it looks raises the signal again.
    pub(crate) fn lower(&self) {
        self.flag.lower();
    }

    /// Waits until it is raised.
    pub(crate) async fn raised(&self) {
        while !self.flag.is_up() {
            self.notify.notified().await;
        }
    }
}

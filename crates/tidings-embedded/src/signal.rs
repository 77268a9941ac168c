//! How a reader that waits is woken: [`Signal`]; and how it knows where to look: [`News`].

use crate::lock::lock;
use std::sync::{Arc, Mutex};
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
    /// Places where there may be something new. Each is there once.
    told: Mutex<Vec<u32>>,
}

impl Default for Signal {
    fn default() -> Self {
        Self {
            flag: flag::Flag::new(),
            notify: Notify::new(),
            told: Mutex::default(),
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

    /// Puts the places where there may be something new into `into`, which is empty. Done after lowering the signal; each
    /// is to be [heard](News::hear) before it is looked at.
    pub(crate) fn take_told(&self, into: &mut Vec<u32>) {
        std::mem::swap(&mut *lock(&self.told), into);
    }
}

/// What one of the places that a reader reads tells it. So a reader of a thousand partitions looks only at those that
/// have something.
#[derive(Debug)]
pub(crate) struct News {
    signal: Arc<Signal>,
    place: u32,
    told: flag::Told,
}

impl News {
    /// Of that place, for that reader.
    pub(crate) fn new(signal: Arc<Signal>, place: u32) -> Self {
        Self {
            signal,
            place,
            told: flag::Told::new(),
        }
    }

    /// There may be something new: the reader looks there after this. What was written before is seen then.
    pub(crate) fn tell(&self) {
        if self.told.tell() {
            lock(&self.signal.told).push(self.place);
        }
        self.signal.raise();
    }

    /// The reader is about to look.
    pub(crate) fn hear(&self) {
        self.told.hear();
    }
}

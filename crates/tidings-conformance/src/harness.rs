//! What the suite needs to know of a broker under test: [`Harness`].

use crate::features::Features;
use std::sync::Arc;
use tidings_core::{BinderError, BoxFuture, Clock, DynBinder};

/// How a case wants its broker.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Opening {
    /// What time it is for the broker.
    pub clock: Clock,
    /// The most bytes of a message, if the case sets it.
    pub max_message_bytes: Option<usize>,
    /// Segments of a few KiB, and retention that looks every second.
    pub small_segments: bool,
    /// The storage can be broken by [`Harness::break_storage`].
    pub breakable: bool,
}

impl Opening {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            max_message_bytes: None,
            small_segments: false,
            breakable: false,
        }
    }
}

/// How a storage breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageFault {
    /// There is no room, until it is healed.
    Full,
    /// What was written does not reach the disk, until it is healed; the broker hears of it.
    SyncFails,
}

/// One fresh place for a broker under test: a directory, a container, a virtual host. Dropping it cleans up.
pub trait Harness: Send + Sync + 'static {
    /// The broker, for messages: `embedded`.
    fn name(&self) -> &'static str;

    /// What it can do.
    fn features(&self) -> Features;

    /// Why no case can run at all, for example because the broker is a server and there is none. Every case is skipped
    /// by name then.
    fn missing(&self) -> Option<&'static str> {
        None
    }

    /// Opens the broker, also again after it was closed or has crashed: what is kept in this place is there then.
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn DynBinder>, BinderError>>;

    /// Lets the broker die as by `kill -9` at this moment. What comes from handles of before must not reach the place
    /// any more.
    ///
    /// # Panics
    /// Unless there is [`Feature::Durable`](crate::Feature::Durable).
    fn crash(&self, broker: Arc<dyn DynBinder>) -> BoxFuture<'_, ()> {
        drop(broker);
        panic!("{} says that it is durable and has no crash", self.name())
    }

    /// How many messages of a destination a group has not finished, as the broker itself says of a group without
    /// members; none while it still knows of one. Asked only of a broker without [`Feature::Replay`](crate::Feature::Replay).
    fn unfinished<'a>(&'a self, destination: &'a str, group: &'a str) -> BoxFuture<'a, Option<u64>> {
        let _ = (destination, group);
        Box::pin(std::future::ready(None))
    }

    /// Opens the place for reading, also beside its owner.
    ///
    /// # Panics
    /// Unless there is [`Feature::ReadOnly`](crate::Feature::ReadOnly).
    fn open_read_only(&self, clock: Clock) -> BoxFuture<'_, Result<Arc<dyn DynBinder>, BinderError>> {
        let _ = clock;
        panic!("{} says that it can be opened read-only and cannot", self.name())
    }

    /// Breaks the storage of a broker that was opened as [`Opening::breakable`]; none heals it.
    ///
    /// # Panics
    /// Unless there is [`Feature::StorageFaults`](crate::Feature::StorageFaults).
    fn break_storage(&self, fault: Option<StorageFault>) {
        panic!(
            "{} says that its storage can be broken by {fault:?} and cannot",
            self.name()
        )
    }
}

//! What code says of a channel: [`Channel`].

use std::panic::Location;
use std::time::Duration;
use tidings_core::{Cleanup, Create};

/// How a channel should be; everything that is not said has a default. Configuration (`[channel.NAME]`) overrides it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "return it from the closure that is given to `App::channel`"]
pub struct Channel {
    pub(crate) destination: Option<String>,
    pub(crate) binder: Option<String>,
    pub(crate) partitions: Option<u32>,
    pub(crate) create: Option<Create>,
    pub(crate) retention_time: Option<Duration>,
    pub(crate) retention_bytes: Option<u64>,
    pub(crate) cleanup: Option<Cleanup>,
}

impl Channel {
    /// The topic, exchange or queue on the broker; by default the channel's own name.
    pub fn destination(mut self, destination: impl Into<String>) -> Self {
        self.destination = Some(destination.into());
        self
    }

    /// The binder (`[binder.NAME]`) that it lives on; by default `main`.
    pub fn binder(mut self, binder: impl Into<String>) -> Self {
        self.binder = Some(binder.into());
        self
    }

    /// How many partitions the destination gets if it is created; by default 4. An existing one is never changed.
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// Whether a missing destination is created; by default it is.
    pub fn create(mut self, create: Create) -> Self {
        self.create = Some(create);
        self
    }

    /// Messages older than this may be deleted.
    pub fn retention_time(mut self, time: Duration) -> Self {
        self.retention_time = Some(time);
        self
    }

    /// The oldest messages may be deleted beyond this many bytes.
    pub fn retention_bytes(mut self, bytes: u64) -> Self {
        self.retention_bytes = Some(bytes);
        self
    }

    /// What goes besides what is too old or too much; by default nothing.
    pub fn cleanup(mut self, cleanup: Cleanup) -> Self {
        self.cleanup = Some(cleanup);
        self
    }
}

/// A channel that code speaks of.
#[derive(Debug, Clone)]
pub(crate) struct DeclaredChannel {
    pub(crate) name: String,
    pub(crate) channel: Channel,
    pub(crate) place: &'static Location<'static>,
}

//! What code says of a channel: [`Channel`].

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{ClaimStore, Cleanup, Create};

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
    pub(crate) claim_check: Option<usize>,
    pub(crate) claim_store: Option<Store>,
    pub(crate) claim_max_bytes: Option<u64>,
    #[cfg(feature = "rabbitmq")]
    pub(crate) rabbitmq: Option<tidings_rabbitmq::DestinationOptions>,
}

/// A claim store. Two are the same if messages call them the same and they are in the same place.
#[derive(Debug, Clone)]
pub(crate) struct Store(pub(crate) Arc<dyn ClaimStore>);

impl PartialEq for Store {
    fn eq(&self, other: &Self) -> bool {
        (self.0.id(), self.0.place()) == (other.0.id(), other.0.place())
    }
}

impl Eq for Store {}

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

    /// Payloads larger than this are put into the [claim store](Self::claim_store) before their message is published,
    /// and the message carries a reference. Handlers get the payload as if it had travelled; tools that read the
    /// destination itself see the reference.
    ///
    /// Nothing is removed from the store by itself: nobody knows who still reads a message.
    pub fn claim_check(mut self, above_bytes: usize) -> Self {
        self.claim_check = Some(above_bytes);
        self
    }

    /// Where the channel's large payloads are. Services that only read the channel need it too.
    pub fn claim_store(mut self, store: impl ClaimStore) -> Self {
        self.claim_store = Some(Store(Arc::new(store)));
        self
    }

    /// The largest payload that is put into the store or fetched from it, by default 256 MiB. So much may be on its way
    /// into it at once. What is fetched is in memory while it is handled: up to this for each of the subscription's
    /// concurrent handlings, and for each item of a batch.
    pub fn claim_max_bytes(mut self, bytes: u64) -> Self {
        self.claim_max_bytes = Some(bytes);
        self
    }

    /// What it is on a RabbitMQ: exchange, routing key, bindings and queues. On other brokers it says nothing.
    #[cfg(feature = "rabbitmq")]
    pub fn rabbitmq(mut self, options: tidings_rabbitmq::DestinationOptions) -> Self {
        self.rabbitmq = Some(options);
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

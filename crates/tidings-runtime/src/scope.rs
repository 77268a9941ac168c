//! What one handling publishes with that works in a transaction, of the broker or of an inbox: [`Scope`].
//!
//! It ends with the handling. So what a handler leaves behind on another task, or a handler that was abandoned and does
//! not know it yet, cannot publish into the transaction of another handling.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tidings_core::{BoxFuture, HandlerContext, Outgoing, PublishError, Receipt, Sink, SinkTransaction};

const OVER: &str = "its handling is over; await what you publish before the handler returns, or leave it to the next handling";
const WITHIN: &str =
    "what the handler publishes is in the transaction of its message already; publish directly";
const UNANNOUNCED: &str =
    "its handler does not say that it publishes; take `Publisher` as an argument, or return the event";

/// Whether a handling goes on, and whether it has published.
#[derive(Debug)]
struct Scope {
    sink: Arc<dyn Sink>,
    /// Held for reading while something is handed to the broker, so that nothing is under way once it was closed.
    open: RwLock<bool>,
    used: AtomicBool,
}

/// Refuses what comes after the handling, or before the first.
#[derive(Debug)]
struct Door(Arc<Scope>);

impl Sink for Door {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        let open = self.0.open.read().unwrap_or_else(PoisonError::into_inner);
        if !*open {
            return refused(outgoing, OVER);
        }
        self.0.used.store(true, Ordering::Release);
        self.0.sink.publish(outgoing)
    }

    fn publish_all(&self, outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        let open = self.0.open.read().unwrap_or_else(PoisonError::into_inner);
        if !*open {
            return outgoing.into_iter().map(|one| refused(one, OVER)).collect();
        }
        self.0.used.store(true, Ordering::Release);
        self.0.sink.publish_all(outgoing)
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        self.0.sink.flush()
    }

    fn begin(&self) -> BoxFuture<'static, Result<Box<dyn SinkTransaction>, PublishError>> {
        within()
    }
}

/// The answer to who begins a transaction within one.
fn within() -> BoxFuture<'static, Result<Box<dyn SinkTransaction>, PublishError>> {
    Box::pin(std::future::ready(Err(PublishError::NoTransaction {
        destination: "a transaction of its own".into(),
        reason: WITHIN,
    })))
}

fn refused(outgoing: Outgoing, reason: &'static str) -> Receipt {
    Receipt::failed(PublishError::NoTransaction {
        destination: outgoing.destination,
        reason,
    })
}

/// The engine's side of a scope: it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct ScopeOwner(Arc<Scope>);

impl ScopeOwner {
    /// A scope into that sink.
    pub(crate) fn new(sink: Arc<dyn Sink>) -> Self {
        Self(Arc::new(Scope {
            sink,
            open: RwLock::new(true),
            used: AtomicBool::new(false),
        }))
    }

    /// Ends it. Whether the handling has published by itself.
    pub(crate) fn end(self) -> bool {
        self.close();
        self.0.used.load(Ordering::Acquire)
    }

    fn close(&self) {
        *self.0.open.write().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Where the handling publishes.
    pub(crate) fn door(&self) -> Arc<dyn Sink> {
        Arc::new(Door(self.0.clone()))
    }

    /// What deliveries share, with a publisher that ends with this.
    pub(crate) fn context(&self, base: &HandlerContext) -> Arc<HandlerContext> {
        Arc::new(base.with_publisher(base.publisher.through(self.door())))
    }
}

impl Drop for ScopeOwner {
    fn drop(&mut self) {
        self.close();
    }
}

/// Refuses everything: for deliveries whose handlers don't say that they publish.
#[derive(Debug)]
struct Closed;

impl Sink for Closed {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        refused(outgoing, UNANNOUNCED)
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn begin(&self) -> BoxFuture<'static, Result<Box<dyn SinkTransaction>, PublishError>> {
        within()
    }
}

/// What deliveries share that may not publish by themselves.
pub(crate) fn mute(base: &HandlerContext) -> Arc<HandlerContext> {
    Arc::new(base.with_publisher(base.publisher.through(Arc::new(Closed))))
}

//! What runs around a handler: an `async fn(Delivery, Next) -> Result<Outputs, Failure>`, and [`Invoke`], a handler
//! with its state and middleware, which is what the engine calls.

use crate::BoxFuture;
use crate::delivery::{Delivery, HandlerContext};
use crate::extract::Needs;
use crate::handler::{ErasedHandler, HandlerKind, HandlerResult, Sequence, SequenceEnd};
use crate::outcome::{BatchOutcome, Publishes};
use std::fmt;
use std::sync::Arc;

/// Runs around a handler. Implemented for functions of a [`Delivery`] and a [`Next`].
///
/// It sees one attempt at a time, inside retry and timeout: what it returns is what the attempt comes to.
pub trait Middleware: Send + Sync + 'static {
    /// Handles a delivery, usually by [`Next::run`].
    fn call(&self, delivery: Delivery, next: Next) -> BoxFuture<'static, HandlerResult>;
}

impl<F, Fut> Middleware for F
where
    F: Fn(Delivery, Next) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = HandlerResult> + Send + 'static,
{
    fn call(&self, delivery: Delivery, next: Next) -> BoxFuture<'static, HandlerResult> {
        Box::pin(self(delivery, next))
    }
}

/// The rest of the way to the handler.
pub struct Next {
    layers: Arc<[Arc<dyn Middleware>]>,
    at: usize,
    inner: Arc<dyn Invoke>,
}

impl Next {
    /// Goes on: to the next middleware, or to the handler.
    pub fn run(self, delivery: Delivery) -> BoxFuture<'static, HandlerResult> {
        match self.layers.get(self.at).cloned() {
            Some(layer) => layer.call(
                delivery,
                Next {
                    at: self.at + 1,
                    ..self
                },
            ),
            None => self.inner.one(&delivery),
        }
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Next({} of {})", self.at, self.layers.len())
    }
}

/// A handler with its state and middleware: what the engine calls.
pub trait Invoke: Send + Sync {
    /// The function's name.
    fn name(&self) -> &'static str;
    /// One by one, or several at once.
    fn kind(&self) -> HandlerKind;
    /// What its arguments need.
    fn needs(&self) -> Needs;
    /// What its result can publish.
    fn publishes(&self) -> Publishes;
    /// Whether [`sequence`](Self::sequence) may be used: not with middleware, not with manual acknowledgement.
    fn has_sequence(&self) -> bool;
    /// Handles one delivery.
    fn one(&self, delivery: &Delivery) -> BoxFuture<'static, HandlerResult>;
    /// Handles a stretch of a batch in turn.
    fn sequence(&self, sequence: Sequence) -> BoxFuture<'static, SequenceEnd>;
    /// Handles several deliveries at once.
    fn batch(
        &self,
        deliveries: &[Delivery],
        context: &Arc<HandlerContext>,
    ) -> BoxFuture<'static, BatchOutcome>;
}

/// A handler with its state.
pub(crate) struct Bound<S> {
    pub(crate) handler: Arc<dyn ErasedHandler<S>>,
    pub(crate) state: Arc<S>,
}

impl<S: Send + Sync + 'static> Invoke for Bound<S> {
    fn name(&self) -> &'static str {
        self.handler.name()
    }

    fn kind(&self) -> HandlerKind {
        self.handler.kind()
    }

    fn needs(&self) -> Needs {
        self.handler.needs()
    }

    fn publishes(&self) -> Publishes {
        self.handler.publishes()
    }

    fn has_sequence(&self) -> bool {
        let needs = self.handler.needs();
        self.handler.kind() == HandlerKind::Single && !needs.manual_ack && needs.transaction.is_none()
    }

    fn one(&self, delivery: &Delivery) -> BoxFuture<'static, HandlerResult> {
        self.handler.run_one(delivery, &self.state)
    }

    fn sequence(&self, sequence: Sequence) -> BoxFuture<'static, SequenceEnd> {
        self.handler.run_sequence(sequence, self.state.clone())
    }

    fn batch(
        &self,
        deliveries: &[Delivery],
        context: &Arc<HandlerContext>,
    ) -> BoxFuture<'static, BatchOutcome> {
        self.handler.run_batch(deliveries, context, &self.state)
    }
}

/// A handler behind middleware.
struct Layered {
    layers: Arc<[Arc<dyn Middleware>]>,
    inner: Arc<dyn Invoke>,
}

impl Invoke for Layered {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn kind(&self) -> HandlerKind {
        self.inner.kind()
    }

    fn needs(&self) -> Needs {
        self.inner.needs()
    }

    fn publishes(&self) -> Publishes {
        self.inner.publishes()
    }

    fn has_sequence(&self) -> bool {
        false
    }

    fn one(&self, delivery: &Delivery) -> BoxFuture<'static, HandlerResult> {
        Next {
            layers: self.layers.clone(),
            at: 0,
            inner: self.inner.clone(),
        }
        .run(delivery.clone())
    }

    fn sequence(&self, sequence: Sequence) -> BoxFuture<'static, SequenceEnd> {
        let index = sequence.delivery.index();
        let handling = self.one(&sequence.delivery);
        Box::pin(async move { SequenceEnd::Stopped(index, handling.await) })
    }

    fn batch(
        &self,
        deliveries: &[Delivery],
        context: &Arc<HandlerContext>,
    ) -> BoxFuture<'static, BatchOutcome> {
        self.inner.batch(deliveries, context)
    }
}

/// The handler behind these middleware, the first outermost.
pub fn layered(layers: Vec<Arc<dyn Middleware>>, inner: Arc<dyn Invoke>) -> Arc<dyn Invoke> {
    if layers.is_empty() {
        inner
    } else {
        Arc::new(Layered {
            layers: layers.into(),
            inner,
        })
    }
}

//! Handlers at type level: [`Handler`] and [`BatchHandler`] are implemented for functions; [`ErasedHandler`] is what a
//! subscription keeps.
//!
//! Erasure happens once per subscription. [`ErasedHandler::run_sequence`] handles a stretch of a batch with one boxed
//! future, so handling in turn allocates nothing per message.

use crate::BoxFuture;
use crate::delivery::{Delivery, HandlerContext};
use crate::extract::{Batch, BatchItem, FromContext, FromDelivery, Needs};
use crate::failure::Failure;
use crate::marks::Mark;
use crate::outcome::{BatchOutcome, IntoBatchOutcome, IntoOutcome, Outputs, Publishes};
use crate::pace::Pace;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What a handling comes to.
pub type HandlerResult = Result<Outputs, Failure>;

/// A plain `async fn` whose arguments are extractors and whose result is an outcome. Implemented for functions and
/// closures of up to eight arguments.
pub trait Handler<Args, S>: Clone + Send + Sync + 'static {
    /// What its arguments need.
    const NEEDS: Needs;
    /// What its result can publish.
    const PUBLISHES: Publishes;

    /// Extracts the arguments and calls the function; the future does not borrow the delivery.
    fn call(
        &self,
        delivery: &Delivery,
        state: &S,
    ) -> impl Future<Output = HandlerResult> + Send + use<Self, Args, S>;
}

/// An `async fn` whose first argument is a [`Batch`] and whose other arguments need no delivery.
pub trait BatchHandler<Args, S>: Clone + Send + Sync + 'static {
    /// What its arguments need.
    const NEEDS: Needs;
    /// What its result can publish.
    const PUBLISHES: Publishes;

    /// Decodes the items and calls the function.
    fn call(
        &self,
        deliveries: &[Delivery],
        context: &Arc<HandlerContext>,
        state: &S,
    ) -> impl Future<Output = BatchOutcome> + Send + use<Self, Args, S>;
}

macro_rules! handlers {
    ($($name:ident),*) => {
        #[allow(non_snake_case, unused_variables, reason = "one macro for every number of arguments")]
        impl<F, Fut, S, $($name),*> Handler<($($name,)*), S> for F
        where
            F: Fn($($name),*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future + Send + 'static,
            Fut::Output: IntoOutcome,
            S: 'static,
            $($name: FromDelivery<S> + 'static,)*
        {
            const NEEDS: Needs = Needs::NOTHING$(.and($name::NEEDS))*;
            const PUBLISHES: Publishes = <Fut::Output as IntoOutcome>::PUBLISHES;

            fn call(
                &self,
                delivery: &Delivery,
                state: &S,
            ) -> impl Future<Output = HandlerResult> + Send + use<F, Fut, S, $($name),*> {
                let start = || -> Result<_, Failure> {
                    $(let $name = $name::from_delivery(delivery, state)?;)*
                    Ok(self($($name),*))
                };
                let started = start();
                async move {
                    match started {
                        Ok(handling) => handling.await.into_outcome(),
                        Err(failure) => Err(failure),
                    }
                }
            }
        }
    };
}

handlers!();
handlers!(A1);
handlers!(A1, A2);
handlers!(A1, A2, A3);
handlers!(A1, A2, A3, A4);
handlers!(A1, A2, A3, A4, A5);
handlers!(A1, A2, A3, A4, A5, A6);
handlers!(A1, A2, A3, A4, A5, A6, A7);
handlers!(A1, A2, A3, A4, A5, A6, A7, A8);

macro_rules! batch_handlers {
    ($($name:ident),*) => {
        #[allow(non_snake_case, unused_variables, reason = "one macro for every number of arguments")]
        impl<F, Fut, S, Item, $($name),*> BatchHandler<(Item, $($name,)*), S> for F
        where
            F: Fn(Batch<Item>, $($name),*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future + Send + 'static,
            Fut::Output: IntoBatchOutcome,
            S: 'static,
            Item: BatchItem + Send + 'static,
            $($name: FromContext<S> + 'static,)*
        {
            const NEEDS: Needs = Needs::NOTHING$(.and($name::NEEDS))*;
            const PUBLISHES: Publishes = <Fut::Output as IntoBatchOutcome>::PUBLISHES;

            fn call(
                &self,
                deliveries: &[Delivery],
                context: &Arc<HandlerContext>,
                state: &S,
            ) -> impl Future<Output = BatchOutcome> + Send + use<F, Fut, S, Item, $($name),*> {
                let decoded = DecodedBatch::of(deliveries);
                let DecodedBatch { items, places, undecodable } = decoded;
                let start = || -> Result<_, Failure> {
                    $(let $name = $name::from_context(context, state)?;)*
                    Ok(if items.is_empty() { None } else { Some(self(Batch::new(items), $($name),*)) })
                };
                let started = start();
                async move {
                    match started {
                        Ok(Some(handling)) => {
                            let outcome = handling.await.into_batch_outcome();
                            outcome.placed(&places, undecodable)
                        }
                        Ok(None) => BatchOutcome::all_handled().placed(&places, undecodable),
                        Err(failure) => BatchOutcome::all_failed(failure),
                    }
                }
            }
        }
    };
}

batch_handlers!();
batch_handlers!(A1);
batch_handlers!(A1, A2);
batch_handlers!(A1, A2, A3);
batch_handlers!(A1, A2, A3, A4);

/// The items of a batch that could be decoded, where they stood, and the ones that could not.
struct DecodedBatch<T> {
    items: Vec<T>,
    places: Vec<usize>,
    undecodable: Vec<(usize, Failure)>,
}

impl<T: BatchItem> DecodedBatch<T> {
    fn of(deliveries: &[Delivery]) -> Self {
        let mut decoded = Self {
            items: Vec::with_capacity(deliveries.len()),
            places: Vec::with_capacity(deliveries.len()),
            undecodable: Vec::new(),
        };
        for (place, delivery) in deliveries.iter().enumerate() {
            match T::from_delivery(delivery) {
                Ok(item) => {
                    decoded.items.push(item);
                    decoded.places.push(place);
                }
                Err(failure) => decoded.undecodable.push((place, failure)),
            }
        }
        decoded
    }
}

/// A stretch of a batch to be handled in turn.
pub struct Sequence {
    /// The first delivery of the stretch; it is moved on from record to record.
    pub delivery: Delivery,
    /// Where the stretch ends: the index after its last record.
    pub end: usize,
    /// How far it is, and whether it should stop.
    pub control: Arc<SequenceControl>,
    /// The mark of the first delivery, which moves along with it.
    pub mark: Option<Mark>,
    /// Where what records return goes; without one such a record ends the stretch.
    pub outlet: Option<Arc<dyn Outlet>>,
}

/// Takes what records of a [`Sequence`] return, so that the stretch can go on.
pub trait Outlet: Send + Sync {
    /// Publishes what the record returned that the delivery stands at, before the next one is handled. True if the
    /// stretch should end before that.
    fn take(&self, delivery: &Delivery, outputs: Outputs) -> bool;
}

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sequence")
            .field("delivery", &self.delivery)
            .field("end", &self.end)
            .finish()
    }
}

/// What the engine and a running [`Sequence`] tell each other.
#[derive(Debug, Default)]
pub struct SequenceControl {
    progress: AtomicUsize,
    stop: AtomicBool,
}

impl SequenceControl {
    /// The index of the record being handled: all before it are handled. True also when the future is pending, was
    /// dropped, or panicked.
    pub fn progress(&self) -> usize {
        self.progress.load(Ordering::Relaxed)
    }

    /// Prepares for a stretch that begins at that index.
    pub fn begin(&self, index: usize) {
        self.progress.store(index, Ordering::Relaxed);
        self.stop.store(false, Ordering::Relaxed);
    }

    /// Asks the sequence to end before the next record.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Decides whether a delivery is handled.
pub type Filter = Arc<dyn Fn(&Delivery) -> bool + Send + Sync>;

/// How a stretch ended.
#[derive(Debug)]
pub enum SequenceEnd {
    /// Every record before that index is handled, and the [`Outlet`] has what it returned. The index is that of the
    /// stretch's end, or of the next record if the engine or the outlet asked to stop.
    Finished(usize),
    /// The record at that index failed, or returned something without an outlet: the engine goes on with it, and starts
    /// another stretch after it.
    Stopped(usize, HandlerResult),
}

/// Whether a handler takes messages one by one or several at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandlerKind {
    /// One by one.
    Single,
    /// Several at once.
    Batch,
}

/// A handler whose argument types are forgotten.
pub trait ErasedHandler<S>: Send + Sync {
    /// The function's name.
    fn name(&self) -> &'static str;
    /// One by one, or several at once.
    fn kind(&self) -> HandlerKind;
    /// What its arguments need.
    fn needs(&self) -> Needs;
    /// What its result can publish.
    fn publishes(&self) -> Publishes;
    /// Handles one delivery.
    fn run_one(&self, delivery: &Delivery, state: &S) -> BoxFuture<'static, HandlerResult>;
    /// Handles a stretch of a batch in turn. Only for handlers of kind [`HandlerKind::Single`].
    fn run_sequence(&self, sequence: Sequence, state: Arc<S>) -> BoxFuture<'static, SequenceEnd>;
    /// Handles several deliveries at once; the outcome counts by their indices.
    fn run_batch(
        &self,
        deliveries: &[Delivery],
        context: &Arc<HandlerContext>,
        state: &S,
    ) -> BoxFuture<'static, BatchOutcome>;
}

/// A function that takes messages one by one, with its arguments' types.
pub(crate) struct Single<H, Args> {
    pub(crate) handler: H,
    pub(crate) args: PhantomData<fn() -> Args>,
}

impl<S, H, Args> ErasedHandler<S> for Single<H, Args>
where
    H: Handler<Args, S>,
    Args: 'static,
    S: Send + Sync + 'static,
{
    fn name(&self) -> &'static str {
        std::any::type_name::<H>()
    }

    fn kind(&self) -> HandlerKind {
        HandlerKind::Single
    }

    fn needs(&self) -> Needs {
        H::NEEDS
    }

    fn publishes(&self) -> Publishes {
        H::PUBLISHES
    }

    fn run_one(&self, delivery: &Delivery, state: &S) -> BoxFuture<'static, HandlerResult> {
        Box::pin(self.handler.call(delivery, state))
    }

    fn run_sequence(&self, sequence: Sequence, state: Arc<S>) -> BoxFuture<'static, SequenceEnd> {
        let handler = self.handler.clone();
        Box::pin(async move {
            let Sequence {
                mut delivery,
                end,
                control,
                mark,
                outlet,
            } = sequence;
            let cell = mark.as_ref().and_then(Mark::cell);
            let mut pace = Pace::begin();
            for index in delivery.index()..end {
                control.progress.store(index, Ordering::Relaxed);
                if pace.is_over() || control.stop.load(Ordering::Relaxed) {
                    return SequenceEnd::Finished(index);
                }
                delivery.move_to(index);
                if let Some(cell) = cell {
                    cell.move_to(delivery.lane_offset());
                }
                match handler.call(&delivery, &state).await {
                    // Apart from what is empty otherwise, because there is nothing to drop.
                    Ok(Outputs::None) => {}
                    Ok(outputs) if outputs.is_empty() => {}
                    result => match (result, &outlet) {
                        (Ok(outputs), Some(outlet)) => {
                            // Its handler has returned: a process that dies from here on does not die of it.
                            if let Some(cell) = cell {
                                cell.clear();
                            }
                            if outlet.take(&delivery, outputs) {
                                control.progress.store(index + 1, Ordering::Relaxed);
                                return SequenceEnd::Finished(index + 1);
                            }
                        }
                        (result, _) => return SequenceEnd::Stopped(index, result),
                    },
                }
            }
            control.progress.store(end, Ordering::Relaxed);
            SequenceEnd::Finished(end)
        })
    }

    fn run_batch(
        &self,
        _deliveries: &[Delivery],
        _context: &Arc<HandlerContext>,
        _state: &S,
    ) -> BoxFuture<'static, BatchOutcome> {
        let failure = Failure::transient("this handler takes messages one by one");
        Box::pin(std::future::ready(BatchOutcome::all_failed(failure)))
    }
}

/// A function that takes several messages at once, with its arguments' types.
pub(crate) struct Many<H, Args> {
    pub(crate) handler: H,
    pub(crate) args: PhantomData<fn() -> Args>,
}

impl<S, H, Args> ErasedHandler<S> for Many<H, Args>
where
    H: BatchHandler<Args, S>,
    Args: 'static,
    S: Send + Sync + 'static,
{
    fn name(&self) -> &'static str {
        std::any::type_name::<H>()
    }

    fn kind(&self) -> HandlerKind {
        HandlerKind::Batch
    }

    fn needs(&self) -> Needs {
        H::NEEDS
    }

    fn publishes(&self) -> Publishes {
        H::PUBLISHES
    }

    /// A message that waits for another attempt is a batch of one.
    fn run_one(&self, delivery: &Delivery, state: &S) -> BoxFuture<'static, HandlerResult> {
        let handling = self
            .handler
            .call(std::slice::from_ref(delivery), delivery.context(), state);
        Box::pin(async move {
            let (outputs, failures) = handling.await.into_parts(1);
            match failures.into_iter().next().flatten() {
                None => Ok(outputs),
                Some(failure) => Err(failure),
            }
        })
    }

    fn run_sequence(&self, sequence: Sequence, state: Arc<S>) -> BoxFuture<'static, SequenceEnd> {
        let index = sequence.delivery.index();
        let handling = self.run_one(&sequence.delivery, &state);
        Box::pin(async move { SequenceEnd::Stopped(index, handling.await) })
    }

    fn run_batch(
        &self,
        deliveries: &[Delivery],
        context: &Arc<HandlerContext>,
        state: &S,
    ) -> BoxFuture<'static, BatchOutcome> {
        Box::pin(self.handler.call(deliveries, context, state))
    }
}

//! Parts of an app that only publish: a function called every so often ([`every`]), or a stream of events
//! ([`from_stream`]).

use crate::BoxFuture;
use crate::delivery::HandlerContext;
use crate::extract::{FromContext, Needs};
use crate::failure::Failure;
use crate::handler::HandlerResult;
use crate::outcome::{IntoOutcome, Publishes};
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// An `async fn` without a message: its arguments are `State<T>` and `Publisher`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a producer",
    label = "not a producer",
    note = "a producer is an `async fn` whose arguments are `State<T>` or `Publisher` and whose return value is `()`, an event, `Option`, `Vec` or a `Result` of those"
)]
pub trait Job<Args, S>: Clone + Send + Sync + 'static {
    /// What its arguments need.
    const NEEDS: Needs;
    /// What its result can publish.
    const PUBLISHES: Publishes;

    /// Calls the function.
    fn call(
        &self,
        context: &Arc<HandlerContext>,
        state: &S,
    ) -> impl Future<Output = HandlerResult> + Send + use<Self, Args, S>;
}

macro_rules! jobs {
    ($($name:ident),*) => {
        #[allow(non_snake_case, unused_variables, reason = "one macro for every number of arguments")]
        impl<F, Fut, S, $($name),*> Job<($($name,)*), S> for F
        where
            F: Fn($($name),*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future + Send + 'static,
            Fut::Output: IntoOutcome,
            S: 'static,
            $($name: FromContext<S> + 'static,)*
        {
            const NEEDS: Needs = Needs::NOTHING$(.and($name::NEEDS))*;
            const PUBLISHES: Publishes = <Fut::Output as IntoOutcome>::PUBLISHES;

            fn call(
                &self,
                context: &Arc<HandlerContext>,
                state: &S,
            ) -> impl Future<Output = HandlerResult> + Send + use<F, Fut, S, $($name),*> {
                let start = || -> Result<Fut, Failure> {
                    $(let $name = $name::from_context(context, state)?;)*
                    Ok(self($($name),*))
                };
                let started = start();
                async move {
                    match started {
                        Ok(working) => working.await.into_outcome(),
                        Err(failure) => Err(failure),
                    }
                }
            }
        }
    };
}

jobs!();
jobs!(A1);
jobs!(A1, A2);
jobs!(A1, A2, A3);
jobs!(A1, A2, A3, A4);

/// Calls a function every so often and publishes what it returns. The first call is at once, when the app starts; each
/// further one `interval` after the one before, or as soon as that one is done if it takes longer. Calls never overlap,
/// and none is made up for.
#[track_caller]
pub fn every<Args: 'static, S: Send + Sync + 'static>(
    interval: Duration,
    job: impl Job<Args, S>,
) -> Producer<S> {
    let (name, needs, publishes) = described(&job);
    let poll: PollJob<S> = Arc::new(move |context, state| Box::pin(job.call(context, state)));
    Producer::new(name, needs, publishes, Production::Polled { interval, poll })
}

fn described<Args, S, J: Job<Args, S>>(_job: &J) -> (&'static str, Needs, Publishes) {
    (std::any::type_name::<J>(), J::NEEDS, J::PUBLISHES)
}

/// Publishes every item of a stream. The function makes the stream when the app starts; the producer ends with it.
///
/// The next item is asked for only after the last one is kept by the broker.
#[track_caller]
pub fn from_stream<S, F, T>(stream: F) -> Producer<S>
where
    S: Send + Sync + 'static,
    F: Fn(&S) -> T + Send + Sync + 'static,
    T: EventStream + 'static,
{
    let open: OpenStream<S> = Arc::new(move |state| {
        Box::pin(Erased {
            stream: Box::pin(stream(state)),
        })
    });
    Producer::new(
        std::any::type_name::<F>(),
        Needs::NOTHING,
        T::PUBLISHES,
        Production::Streamed { open },
    )
}

/// A stream of outcomes; implemented for everything that can be polled like `futures::Stream`.
///
/// The standard library has no stable stream trait yet, so this one asks only for a poll function.
pub trait EventStream: Send {
    /// What its items can publish.
    const PUBLISHES: Publishes;

    /// The next item; none when it has ended.
    fn poll_outcome(
        self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<HandlerResult>>;
}

impl<T: IntoOutcome + Send> EventStream for tokio::sync::mpsc::Receiver<T> {
    const PUBLISHES: Publishes = T::PUBLISHES;

    fn poll_outcome(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<HandlerResult>> {
        self.poll_recv(context)
            .map(|item| item.map(IntoOutcome::into_outcome))
    }
}

struct Erased<T> {
    stream: Pin<Box<T>>,
}

/// A stream whose type is forgotten.
pub trait ErasedStream: Send {
    /// See [`EventStream::poll_outcome`].
    fn poll_outcome(
        self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<HandlerResult>>;
}

impl<T: EventStream> ErasedStream for Erased<T> {
    fn poll_outcome(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<HandlerResult>> {
        self.stream.as_mut().poll_outcome(context)
    }
}

/// A function that is called every so often.
pub type PollJob<S> =
    Arc<dyn Fn(&Arc<HandlerContext>, &S) -> BoxFuture<'static, HandlerResult> + Send + Sync>;
/// Makes a stream.
pub type OpenStream<S> = Arc<dyn Fn(&S) -> Pin<Box<dyn ErasedStream>> + Send + Sync>;

/// Where a producer's events come from.
pub enum Production<S> {
    /// A function that is called every so often.
    Polled {
        /// From one call to the next; a call that takes longer delays the next one.
        interval: Duration,
        /// The function.
        poll: PollJob<S>,
    },
    /// A stream.
    Streamed {
        /// Makes the stream.
        open: OpenStream<S>,
    },
}

impl<S> fmt::Debug for Production<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Polled { interval, .. } => write!(f, "every {interval:?}"),
            Self::Streamed { .. } => f.write_str("stream"),
        }
    }
}

/// A part of an app that only publishes.
#[must_use = "a producer does nothing until it is added to an app"]
#[derive(Debug)]
pub struct Producer<S> {
    /// Its name; by default the function's.
    pub name: String,
    /// The channel that it publishes to.
    pub output: Option<String>,
    /// What its arguments need.
    pub needs: Needs,
    /// What it can publish.
    pub publishes: Publishes,
    /// Where its events come from.
    pub production: Production<S>,
    /// Where in the user's code it was made.
    pub place: &'static Location<'static>,
}

impl<S> Producer<S> {
    #[track_caller]
    fn new(name: &str, needs: Needs, publishes: Publishes, production: Production<S>) -> Self {
        Self {
            name: name.to_owned(),
            output: None,
            needs,
            publishes,
            production,
            place: Location::caller(),
        }
    }

    /// The channel that it publishes to.
    pub fn to(mut self, channel: impl Into<String>) -> Self {
        self.output = Some(channel.into());
        self
    }

    /// Its name, for logs and `describe`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}

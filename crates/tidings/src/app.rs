//! A service as a value: [`App`], a list of parts.

use crate::channel::{Channel, DeclaredChannel};
use crate::configuration::IntoConfig;
use crate::part::{DeclaredProducer, DeclaredSubscription, Part};
use crate::plan::DeclaredOutbox;
use crate::service::Service;
use crate::{Error, Running};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use tidings_core::{BoxFuture, FromRef, Middleware, OutboxStore};

/// A service as a value: handlers with their groups and policies, producers, channels, middleware. `S` is the state
/// that its handlers share.
///
/// Nothing happens until it is given its state and run, so an app can be built in a function, tested with
/// `tidings::test::TestApp` (feature `test`) and put into another app by [`merge`](Self::merge) or [`nest`](Self::nest).
///
/// ```
/// use tidings::prelude::*;
///
/// #[derive(Clone)]
/// struct Shop {
///     currency: &'static str,
/// }
///
/// async fn count(Text(order): Text, State(shop): State<Shop>) {
///     println!("{order} in {}", shop.currency);
/// }
///
/// let app: App<Shop> = App::new("shop").add(on("orders", count).group("counter").concurrency(4));
/// let service = app.with_state(Shop { currency: "EUR" });
/// println!("{}", service.describe(&Config::default())?);
/// # Ok::<(), tidings::Error>(())
/// ```
#[must_use = "an app does nothing until it is given its state and run"]
pub struct App<S = ()> {
    name: String,
    subscriptions: Vec<DeclaredSubscription<S>>,
    producers: Vec<DeclaredProducer<S>>,
    channels: Vec<DeclaredChannel>,
    middleware: Vec<Arc<dyn Middleware>>,
    outboxes: Vec<DeclaredOutbox>,
}

impl<S: Send + Sync + 'static> App<S> {
    /// An app without parts. Its name tells it from others in logs and health.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            subscriptions: Vec::new(),
            producers: Vec::new(),
            channels: Vec::new(),
            middleware: Vec::new(),
            outboxes: Vec::new(),
        }
    }

    /// Adds a part: what [`on`](crate::on), [`dead_letter`](crate::dead_letter), [`every`](crate::every) and
    /// [`from_stream`](crate::from_stream) make.
    #[expect(
        clippy::should_implement_trait,
        reason = "a verb of the builder; nobody adds apps by `+`"
    )]
    pub fn add<P: Part<S>>(mut self, part: P) -> Self {
        let Self {
            subscriptions,
            producers,
            ..
        } = &mut self;
        part.add_to(&mut crate::part::Parts {
            subscriptions,
            producers,
        });
        self
    }

    /// Adds all parts and channels of another app with the same state. Middleware of this app runs around them;
    /// the other app's middleware runs around its own parts only, inside this app's.
    pub fn merge(self, other: App<S>) -> Self {
        self.absorb(other, |subscription| subscription, |producer| producer)
    }

    /// Adds all parts and channels of an app whose state is a part of this app's state. Middleware as in
    /// [`merge`](Self::merge).
    pub fn nest<T>(self, other: App<T>) -> Self
    where
        T: FromRef<S> + Send + Sync + 'static,
    {
        self.absorb(other, DeclaredSubscription::widen, DeclaredProducer::widen)
    }

    fn absorb<T: Send + Sync + 'static>(
        mut self,
        other: App<T>,
        widen_subscription: impl Fn(DeclaredSubscription<T>) -> DeclaredSubscription<S>,
        widen_producer: impl Fn(DeclaredProducer<T>) -> DeclaredProducer<S>,
    ) -> Self {
        let subscriptions = other
            .subscriptions
            .into_iter()
            .map(|subscription| widen_subscription(subscription.behind(&other.middleware)));
        self.subscriptions.extend(subscriptions);
        self.producers
            .extend(other.producers.into_iter().map(widen_producer));
        self.channels.extend(other.channels);
        self.outboxes.extend(other.outboxes);
        self
    }

    /// Runs this around every handler that takes messages one by one, also those added later. Earlier middleware is
    /// further out.
    ///
    /// ```
    /// use tidings::prelude::*;
    /// async fn log(delivery: Delivery, next: Next) -> HandlerResult {
    ///     let position = delivery.position();
    ///     let result = next.run(delivery).await;
    ///     println!("{position}: {}", if result.is_ok() { "handled" } else { "failed" });
    ///     result
    /// }
    /// let app: App = App::new("shop").middleware(log);
    /// ```
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.middleware.push(Arc::new(middleware));
        self
    }

    /// Says how a channel should be: where it leads, how many partitions. Configuration overrides it.
    #[track_caller]
    pub fn channel(mut self, name: impl Into<String>, options: impl FnOnce(Channel) -> Channel) -> Self {
        let channel = options(Channel::default());
        self.channels.push(DeclaredChannel {
            name: name.into(),
            channel,
            place: Location::caller(),
        });
        self
    }

    /// Names a channel that is published to by [`Publisher`](crate::Publisher) or by addressed outputs. Channels
    /// that a subscription reads or writes by `.to(…)` need not be named.
    #[track_caller]
    pub fn publishes(self, channel: impl Into<String>) -> Self {
        self.channel(channel, |options| options)
    }

    /// Sends what the program publishes by the outbox of this store: from the start on, until the drain has sent all of it.
    /// Each channel that is published to there must be one of the app.
    ///
    /// A subscription whose handler publishes under an [`inbox`](crate::Subscription::inbox) brings its store's outbox
    /// by itself. However often a store comes, it is sent from once; of several processes one sends. How, and whether
    /// another process does it, is said where the store is opened.
    #[track_caller]
    pub fn outbox(mut self, store: impl OutboxStore + 'static) -> Self {
        self.outboxes.push(DeclaredOutbox {
            store: Arc::new(store),
            place: Location::caller(),
        });
        self
    }

    /// The service: this app with its state, ready to run.
    pub fn with_state(self, state: S) -> Service {
        let state = Arc::new(state);
        let middleware = self.middleware;
        let subscriptions = self
            .subscriptions
            .into_iter()
            .map(|part| part.bind(&state, &middleware));
        let producers = self.producers.into_iter().map(|part| part.bind(&state));
        Service {
            name: self.name,
            subscriptions: subscriptions.collect(),
            producers: producers.collect(),
            channels: self.channels,
            outboxes: self.outboxes,
        }
    }
}

impl<S: Send + Sync + 'static> App<S> {
    /// Runs an app that has no state: see [`Service::run`]. One with a state becomes a service first, by
    /// [`with_state`](Self::with_state).
    ///
    /// # Errors
    /// See [`Service::run`].
    pub fn run(self, config: impl IntoConfig + 'static) -> BoxFuture<'static, Result<(), Error>>
    where
        (): Stateless<S>,
    {
        // Boxed, because a missing state would be reported again for every use of a future that names it.
        Box::pin(self.with_state(<() as Stateless<S>>::state()).run(config))
    }

    /// Starts an app that has no state: see [`Service::start`]. One with a state becomes a service first, by
    /// [`with_state`](Self::with_state).
    ///
    /// # Errors
    /// See [`Service::start`].
    pub fn start(self, config: impl IntoConfig + 'static) -> BoxFuture<'static, Result<Running, Error>>
    where
        (): Stateless<S>,
    {
        Box::pin(self.with_state(<() as Stateless<S>>::state()).start(config))
    }
}

/// Says that an app with the state `S` has none: it holds for `()`, and for nothing else. Its compile error names the
/// cure. (The other way round, as a trait of `S`, the compiler could not find out that `S` is `()`.)
#[diagnostic::on_unimplemented(
    message = "the app still needs its state of the type `{S}`",
    label = "call `.with_state(…)` before this",
    note = "`.with_state(state)` makes a service of the app, and a service is run: `app.with_state(state).run(config)`"
)]
pub trait Stateless<S> {
    #[doc(hidden)]
    fn state() -> S;
}

impl Stateless<()> for () {
    fn state() {}
}

impl<S> fmt::Debug for App<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("name", &self.name)
            .field("subscriptions", &self.subscriptions)
            .field("producers", &self.producers)
            .field("channels", &self.channels)
            .field("outboxes", &self.outboxes)
            .field("middleware", &self.middleware.len())
            .finish()
    }
}

//! Handler + group + policy on a channel: [`Subscription`], made by [`on`].

use crate::codec::Decode;
use crate::delivery::Delivery;
use crate::event::Event;
use crate::extract::Needs;
use crate::handler::{BatchHandler, ErasedHandler, Filter, Handler, HandlerKind, Many, Single};
use crate::inbox::{Inbox, InboxId, InboxStore, id_of_event};
use crate::middleware::{Bound, Invoke, Middleware, layered};
use crate::names;
use crate::outcome::Publishes;
use crate::policy::{BatchPolicy, DeadLetterHeaders, Ordering, PolicyChanges, Rate, RetryOrder};
use crate::retry::Retry;
use crate::source::Start;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// The names of one or more channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channels(Vec<String>);

impl Channels {
    /// The names.
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

impl From<&str> for Channels {
    fn from(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }
}

impl From<String> for Channels {
    fn from(name: String) -> Self {
        Self(vec![name])
    }
}

impl<const N: usize> From<[&str; N]> for Channels {
    fn from(names: [&str; N]) -> Self {
        Self(names.into_iter().map(str::to_owned).collect())
    }
}

impl From<Vec<String>> for Channels {
    fn from(names: Vec<String>) -> Self {
        Self(names)
    }
}

/// What becomes a handler: functions whose arguments are extractors.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "not a handler",
    note = "a handler is an `async fn` whose arguments are extractors (`Json<T>`, `State<T>`, `Key`, …), whose return value is `()`, an event or a `Result` of those, and whose future is `Send`",
    note = "put `#[tidings::handler]` on it to see which part is wrong"
)]
pub trait IntoSubscription<Marker, S>: Sized {
    /// The handler without its types.
    fn into_erased(self) -> Arc<dyn ErasedHandler<S>>;
}

/// Marks functions that take messages one by one.
#[derive(Debug)]
pub struct One;

/// Marks functions that take several messages at once.
#[derive(Debug)]
pub struct Several;

impl<F, A, S> IntoSubscription<(One, A), S> for F
where
    F: Handler<A, S>,
    A: 'static,
    S: Send + Sync + 'static,
{
    fn into_erased(self) -> Arc<dyn ErasedHandler<S>> {
        Arc::new(Single {
            handler: self,
            args: PhantomData,
        })
    }
}

impl<F, A, S> IntoSubscription<(Several, A), S> for F
where
    F: BatchHandler<A, S>,
    A: 'static,
    S: Send + Sync + 'static,
{
    fn into_erased(self) -> Arc<dyn ErasedHandler<S>> {
        Arc::new(Many {
            handler: self,
            args: PhantomData,
        })
    }
}

/// What of a channel a subscription handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Its messages.
    Messages,
    /// Its dead letters.
    DeadLetters,
}

/// Subscribes a handler to a channel, or to several.
///
/// ```
/// use tidings_core::{on, Raw, Subscription};
/// async fn count(Raw(payload): Raw) {
///     let _ = payload.len();
/// }
/// let subscription: Subscription<()> = on("orders", count).group("counter").concurrency(4);
/// ```
#[track_caller]
pub fn on<M, S>(channels: impl Into<Channels>, handler: impl IntoSubscription<M, S>) -> Subscription<S> {
    Subscription::new(channels.into(), Reads::Messages, handler.into_erased())
}

/// Subscribes a handler to the dead letters of a channel, or of several. [`Diagnosis`](crate::Diagnosis) tells why a
/// message is one.
///
/// Take [`Raw`](crate::Raw), [`Message`](crate::Message) or `Result<Json<T>, Failure>`: letters that could not be decoded
/// are among them, and a handler that takes `Json<T>` fails with each of those again.
#[track_caller]
pub fn dead_letter<M, S>(
    channels: impl Into<Channels>,
    handler: impl IntoSubscription<M, S>,
) -> Subscription<S> {
    Subscription::new(channels.into(), Reads::DeadLetters, handler.into_erased())
}

/// A handler with its group and policy on a channel.
#[must_use = "a subscription does nothing until it is added to an app"]
pub struct Subscription<S> {
    channels: Channels,
    reads: Reads,
    handler: Arc<dyn ErasedHandler<S>>,
    name: Option<String>,
    group: Option<String>,
    output: Option<String>,
    changes: PolicyChanges,
    filter: Option<Filter>,
    middleware: Vec<Arc<dyn Middleware>>,
    inbox: Option<Arc<dyn InboxStore>>,
    inbox_id: Option<InboxId>,
    place: &'static Location<'static>,
}

impl<S> fmt::Debug for Subscription<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("channels", &self.channels.0)
            .field("handler", &self.handler.name())
            .field("group", &self.group)
            .field("output", &self.output)
            .field("place", &format_args!("{}", self.place))
            .finish()
    }
}

impl<S> Subscription<S> {
    #[track_caller]
    fn new(channels: Channels, reads: Reads, handler: Arc<dyn ErasedHandler<S>>) -> Self {
        Self {
            channels,
            reads,
            handler,
            name: None,
            group: None,
            output: None,
            changes: PolicyChanges::default(),
            filter: None,
            middleware: Vec::new(),
            inbox: None,
            inbox_id: None,
            place: Location::caller(),
        }
    }

    /// The unique name by which configuration, metrics and `describe` call it. Otherwise the group's, or the
    /// handler's.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The group: its subscriptions share the work, and its position is stored. Without one the subscription sees
    /// every message from its start on, and stores nothing.
    ///
    /// A subscription without a name of its own is called after its group; a second one of the group needs
    /// [`name`](Self::name).
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// The channel that what the handler returns is published to.
    pub fn to(mut self, channel: impl Into<String>) -> Self {
        self.output = Some(channel.into());
        self
    }

    /// When a failed message is tried again.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.changes.retry = Some(retry);
        self
    }

    /// How many deliveries are handled at once.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.changes.concurrency = Some(concurrency);
        self
    }

    /// What keeps its order.
    pub fn ordering(mut self, ordering: Ordering) -> Self {
        self.changes.ordering = Some(ordering);
        self
    }

    /// How many messages may be received and not finished, per partition.
    pub fn max_in_flight(mut self, max_in_flight: usize) -> Self {
        self.changes.max_in_flight = Some(max_in_flight);
        self
    }

    /// How many bytes of messages may be received and not finished, per partition.
    pub fn max_in_flight_bytes(mut self, bytes: usize) -> Self {
        self.changes.max_in_flight_bytes = Some(bytes);
        self
    }

    /// How batches are formed: at most `size` items, the first of which waits `linger` for others.
    pub fn batch(mut self, size: usize, linger: Duration) -> Self {
        self.changes.batch = Some(BatchPolicy { size, linger });
        self
    }

    /// Which partitions of its destinations it reads: only these, and all of their messages. For a subscription without a
    /// group, which nobody shares partitions with.
    pub fn partitions(mut self, partitions: impl IntoIterator<Item = u32>) -> Self {
        let mut chosen: Vec<u32> = partitions.into_iter().collect();
        chosen.sort_unstable();
        chosen.dedup();
        self.changes.partitions = Some(chosen);
        self
    }

    /// Where to begin without a stored position.
    pub fn start(mut self, start: Start) -> Self {
        self.changes.start = Some(start);
        self
    }

    /// Whether later messages of a key wait for one that waits long.
    pub fn retry_order(mut self, order: RetryOrder) -> Self {
        self.changes.order = Some(order);
        self
    }

    /// How many messages may wait in the retry lane of a partition.
    pub fn max_parked(mut self, max_parked: usize) -> Self {
        self.changes.max_parked = Some(max_parked);
        self
    }

    /// The dead letters' destination; `{destination}` and `{group}` are filled in.
    pub fn dead_letter(mut self, destination: impl Into<String>) -> Self {
        self.changes.dead_letter = Some(destination.into());
        self
    }

    /// Whose words dead letters are described in: ours, or Spring Kafka's beside them.
    pub fn headers(mut self, headers: DeadLetterHeaders) -> Self {
        self.changes.headers = Some(headers);
        self
    }

    /// Drops what cannot be handled instead of keeping it as a dead letter. Messages are lost by this.
    pub fn lose_exhausted_messages(mut self) -> Self {
        self.changes.lose_exhausted_messages = Some(true);
        self
    }

    /// A handling that takes longer is stopped, and fails as a transient failure.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.changes.timeout = Some(timeout);
        self
    }

    /// A message whose handling is not finished after this is named in health, until it is; 5 minutes by default. It is
    /// not stopped: [`timeout`](Self::timeout) does that.
    pub fn stuck_after(mut self, time: Duration) -> Self {
        self.changes.stuck_after = Some(time);
        self
    }

    /// How many deliveries may start per second.
    pub fn rate(mut self, per_second: f64) -> Self {
        self.changes.rate = Some(Rate { per_second });
        self
    }

    /// How often progress is stored: at least every `interval`, and after every `messages`.
    pub fn commit(mut self, interval: Duration, messages: u64) -> Self {
        self.changes.commit_interval = Some(interval);
        self.changes.commit_every = Some(messages);
        self
    }

    /// Starts paused; the running app can resume it.
    pub fn paused(mut self) -> Self {
        self.changes.paused = Some(true);
        self
    }

    /// Runs each handling as a task of its own, so that CPU-heavy work uses every core.
    pub fn spawn(mut self) -> Self {
        self.changes.spawn = Some(true);
        self
    }

    /// What handlings publish and the group's progress become visible together or not at all: for whoever reads only
    /// what is committed, each message has its effects exactly once. Needs a group and a broker with transactions.
    ///
    /// A handling publishes by what it returns or by the [`Publisher`](crate::Publisher) that it takes as an argument,
    /// and only until it ends; both only to channels of the broker that it reads from. What it does elsewhere, in a
    /// database say, is no part of it: that happens again when a transaction is given up.
    ///
    /// Messages are handled in spans. A span is closed after the time and the number of messages of
    /// [`commit`](Self::commit): nothing more starts until what runs has ended, so a slow handler holds up the others.
    /// While commits take long, a span lasts up to ten times as long.
    pub fn exactly_once(mut self) -> Self {
        self.changes.exactly_once = Some(true);
        self
    }

    /// Handles only deliveries that the predicate accepts; the others are finished without a call.
    pub fn filter(mut self, accept: impl Fn(&Delivery) -> bool + Send + Sync + 'static) -> Self {
        self.filter = Some(match self.filter.take() {
            Some(earlier) => Arc::new(move |delivery| earlier(delivery) && accept(delivery)),
            None => Arc::new(accept),
        });
        self
    }

    /// Handles only messages whose `type` header names this event, and those without the header. The rest of the
    /// channel is finished without a call.
    pub fn only<E: Event>(self) -> Self {
        self.filter(|delivery| delivery.header(names::TYPE).is_none_or(E::has_name))
    }

    /// Runs this around the handler, inside what was added before.
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.middleware.push(Arc::new(middleware));
        self
    }

    /// Handles each message in a transaction of that store, and each message once: the handler takes the transaction as an
    /// argument (`Tx` of `tidings-sql`), and what it does there is kept together with the message's id, or not at all. A
    /// message whose id is kept is finished without a call. Needs a group: ids are known within it.
    ///
    /// What the handler returns, and what it sends by a [`Publisher`](crate::Publisher) that it takes as an argument, is
    /// written into the store's outbox in the same transaction, and sent from there. Published by the engine, it would be
    /// lost for ever if the process died between the commit and the publish: the message comes again as a duplicate.
    ///
    /// A batch handler's call is one transaction. If items fail, what the call did is undone, and the others are handled
    /// again in the same transaction: together if the handler named the ones that failed
    /// ([`BatchOutcome`](crate::BatchOutcome)) and that succeeds, otherwise one by one. So a handler need not undo anything,
    /// and what it does outside of the transaction may be done twice.
    ///
    /// The [`timeout`](Self::timeout) is the handler's, not the transaction's. A handler that fails, panics or takes too long
    /// has done nothing. A database that is away costs no attempts: the subscription waits, and health says so.
    pub fn inbox(mut self, store: impl InboxStore + 'static) -> Self {
        self.inbox = Some(Arc::new(store));
        self
    }

    /// What a message is known by in the [`inbox`](Self::inbox), in place of its message id: something that its event says,
    /// say the number of an order that may be placed once. Two messages of the group with the same id are one.
    ///
    /// At most 255 bytes and no zero byte; a message without an event of that type, or with an empty id, is a dead letter.
    /// `.inbox_id(|order: &OrderPlaced| order.number)`.
    pub fn inbox_id<E, T>(mut self, id: impl Fn(&E) -> T + Send + Sync + 'static) -> Self
    where
        E: Event,
        E::Codec: Decode<E>,
        T: ToString,
    {
        self.inbox_id = Some(id_of_event(id));
        self
    }

    /// What the app needs to run it.
    pub fn into_parts(self) -> SubscriptionParts<S> {
        let Self {
            channels,
            reads,
            handler,
            name,
            group,
            output,
            changes,
            filter,
            middleware,
            inbox,
            inbox_id,
            place,
        } = self;
        SubscriptionParts {
            channels,
            reads,
            handler,
            name,
            group,
            output,
            changes,
            filter,
            middleware,
            has_inbox_id: inbox_id.is_some(),
            inbox: inbox.map(|store| match inbox_id {
                Some(id) => Inbox::new(store).known_by(id),
                None => Inbox::new(store),
            }),
            place,
        }
    }
}

/// The parts of a [`Subscription`].
pub struct SubscriptionParts<S> {
    /// The channels that it reads.
    pub channels: Channels,
    /// What of them.
    pub reads: Reads,
    /// The handler.
    pub handler: Arc<dyn ErasedHandler<S>>,
    /// Its name if it was given one.
    pub name: Option<String>,
    /// Its group.
    pub group: Option<String>,
    /// Where what it returns goes.
    pub output: Option<String>,
    /// What code sets of its policy.
    pub changes: PolicyChanges,
    /// Which messages are handled.
    pub filter: Option<Filter>,
    /// What runs around the handler, outermost first.
    pub middleware: Vec<Arc<dyn Middleware>>,
    /// Where it is kept which messages were handled.
    pub inbox: Option<Inbox>,
    /// Whether it was said what messages are known by there, also without one.
    pub has_inbox_id: bool,
    /// Where in the user's code it was made.
    pub place: &'static Location<'static>,
}

impl<S> fmt::Debug for SubscriptionParts<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriptionParts")
            .field("channels", &self.channels.0)
            .field("place", &self.place)
            .finish()
    }
}

impl<S: Send + Sync + 'static> SubscriptionParts<S> {
    /// One by one, or several at once.
    pub fn kind(&self) -> HandlerKind {
        self.handler.kind()
    }

    /// What the handler's arguments need.
    pub fn needs(&self) -> Needs {
        self.handler.needs()
    }

    /// What the handler's result can publish.
    pub fn publishes(&self) -> Publishes {
        self.handler.publishes()
    }

    /// The handler with its state, behind the app's middleware and its own.
    pub fn bind(&self, state: Arc<S>, outer: &[Arc<dyn Middleware>]) -> Arc<dyn Invoke> {
        let layers = outer.iter().chain(&self.middleware).cloned().collect();
        layered(
            layers,
            Arc::new(Bound {
                handler: self.handler.clone(),
                state,
            }),
        )
    }
}

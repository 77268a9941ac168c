//! What an app is made of, before and after it has its state: [`Part`].

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{
    Filter, FromRef, HandlerKind, Inbox, Invoke, Middleware, Needs, PolicyChanges, Producer, Production,
    Publishes, Reads, Subscription, SubscriptionParts,
};
use tidings_runtime::Work;

/// What [`App::add`](crate::App::add) takes: subscriptions and producers.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a part of an app with the state `{S}`",
    label = "not a part of this app",
    note = "parts are made by `on`, `dead_letter`, `every` and `from_stream`, and their handlers' state must be the app's: take `State<T>` with `T: FromRef<{S}>`, or put an app of another state in by `App::nest`"
)]
pub trait Part<S>: sealed::Sealed {
    #[doc(hidden)]
    fn add_to(self, parts: &mut Parts<'_, S>);
}

mod sealed {
    pub trait Sealed {}
    impl<S> Sealed for tidings_core::Subscription<S> {}
    impl<S> Sealed for tidings_core::Producer<S> {}
}

/// Where parts are put.
#[doc(hidden)]
#[derive(Debug)]
pub struct Parts<'a, S> {
    pub(crate) subscriptions: &'a mut Vec<DeclaredSubscription<S>>,
    pub(crate) producers: &'a mut Vec<DeclaredProducer<S>>,
}

impl<S: Send + Sync + 'static> Part<S> for Subscription<S> {
    fn add_to(self, parts: &mut Parts<'_, S>) {
        parts
            .subscriptions
            .push(DeclaredSubscription::new(self.into_parts()));
    }
}

impl<S: Send + Sync + 'static> Part<S> for Producer<S> {
    fn add_to(self, parts: &mut Parts<'_, S>) {
        parts.producers.push(DeclaredProducer::new(self));
    }
}

/// What a subscription says of itself, whatever its state.
#[derive(Clone)]
pub(crate) struct SubscriptionFacts {
    pub(crate) channels: Vec<String>,
    pub(crate) reads: Reads,
    pub(crate) name: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) output: Option<String>,
    pub(crate) changes: PolicyChanges,
    pub(crate) filter: Option<Filter>,
    pub(crate) handler: &'static str,
    pub(crate) kind: HandlerKind,
    pub(crate) needs: Needs,
    pub(crate) publishes: Publishes,
    pub(crate) middleware: usize,
    pub(crate) inbox: Option<Inbox>,
    /// It says what messages are known by in an inbox.
    pub(crate) has_inbox_id: bool,
    pub(crate) place: &'static Location<'static>,
}

impl fmt::Debug for SubscriptionFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("channels", &self.channels)
            .field("handler", &self.handler)
            .field("group", &self.group)
            .field("place", &format_args!("{}", self.place))
            .finish()
    }
}

impl SubscriptionFacts {
    /// The handler's name without its modules and type arguments.
    pub(crate) fn short_handler(&self) -> String {
        short_name(self.handler)
    }

    /// The name by which configuration and metrics call it.
    pub(crate) fn effective_name(&self) -> String {
        let named = self.name.as_ref().or(self.group.as_ref()).cloned();
        named.unwrap_or_else(|| self.short_handler())
    }
}

/// The name of a function without its modules and type arguments; a closure has that of the function around it.
pub(crate) fn short_name(type_name: &str) -> String {
    let path = type_name.split('<').next().unwrap_or(type_name);
    let mut segments = path.rsplit("::");
    let last = segments.next().unwrap_or(path);
    if last == "{{closure}}" {
        let outer = segments
            .find(|segment| *segment != "{{closure}}")
            .unwrap_or("handler");
        return format!("{outer}-closure");
    }
    last.to_owned()
}

/// Gives a handler its state: the last step that knows the state's type.
type Bind<S> = Box<dyn FnOnce(Arc<S>, &[Arc<dyn Middleware>]) -> Arc<dyn Invoke> + Send>;

/// A subscription whose state is still to come.
pub(crate) struct DeclaredSubscription<S> {
    facts: SubscriptionFacts,
    bind: Bind<S>,
}

impl<S> fmt::Debug for DeclaredSubscription<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.facts.fmt(f)
    }
}

impl<S: Send + Sync + 'static> DeclaredSubscription<S> {
    fn new(parts: SubscriptionParts<S>) -> Self {
        let facts = SubscriptionFacts {
            channels: parts.channels.names().to_vec(),
            reads: parts.reads,
            name: parts.name.clone(),
            group: parts.group.clone(),
            output: parts.output.clone(),
            changes: parts.changes.clone(),
            filter: parts.filter.clone(),
            handler: parts.handler.name(),
            kind: parts.kind(),
            needs: parts.needs(),
            publishes: parts.publishes(),
            middleware: parts.middleware.len(),
            inbox: parts.inbox.clone(),
            has_inbox_id: parts.has_inbox_id,
            place: parts.place,
        };
        Self {
            facts,
            bind: Box::new(move |state, outer| parts.bind(state, outer)),
        }
    }

    /// The same subscription, always behind this middleware of the app that it was declared in. Batch handlers stay
    /// as they are: an app's middleware is for handlers that take messages one by one.
    pub(crate) fn behind(self, middleware: &[Arc<dyn Middleware>]) -> Self {
        if middleware.is_empty() || self.facts.kind == HandlerKind::Batch {
            return self;
        }
        let (bind, middleware) = (self.bind, middleware.to_vec());
        let facts = SubscriptionFacts {
            middleware: self.facts.middleware + middleware.len(),
            ..self.facts
        };
        Self {
            facts,
            bind: Box::new(move |state, outer| {
                let all: Vec<_> = outer.iter().chain(&middleware).cloned().collect();
                bind(state, &all)
            }),
        }
    }

    /// The same subscription for a state that its own is a part of.
    pub(crate) fn widen<W>(self) -> DeclaredSubscription<W>
    where
        S: FromRef<W>,
        W: 'static,
    {
        let bind = self.bind;
        DeclaredSubscription {
            facts: self.facts,
            bind: Box::new(move |state: Arc<W>, outer| bind(Arc::new(S::from_ref(&state)), outer)),
        }
    }

    pub(crate) fn bind(self, state: &Arc<S>, app: &[Arc<dyn Middleware>]) -> BoundSubscription {
        let Self { facts, bind } = self.behind(app);
        BoundSubscription {
            facts,
            handler: bind(state.clone(), &[]),
        }
    }
}

/// A subscription with its state.
pub(crate) struct BoundSubscription {
    pub(crate) facts: SubscriptionFacts,
    pub(crate) handler: Arc<dyn Invoke>,
}

impl fmt::Debug for BoundSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.facts.fmt(f)
    }
}

/// What a producer says of itself, whatever its state.
#[derive(Debug, Clone)]
pub(crate) struct ProducerFacts {
    pub(crate) name: String,
    pub(crate) output: Option<String>,
    pub(crate) needs: Needs,
    pub(crate) publishes: Publishes,
    /// From one call to the next; none for a stream.
    pub(crate) interval: Option<Duration>,
    pub(crate) place: &'static Location<'static>,
}

/// A producer whose state is still to come.
pub(crate) struct DeclaredProducer<S> {
    facts: ProducerFacts,
    bind: Box<dyn FnOnce(Arc<S>) -> Work + Send>,
}

impl<S> fmt::Debug for DeclaredProducer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.facts.fmt(f)
    }
}

impl<S: Send + Sync + 'static> DeclaredProducer<S> {
    fn new(producer: Producer<S>) -> Self {
        let interval = match producer.production {
            Production::Polled { interval, .. } => Some(interval),
            Production::Streamed { .. } => None,
        };
        let facts = ProducerFacts {
            name: short_name(&producer.name),
            output: producer.output,
            needs: producer.needs,
            publishes: producer.publishes,
            interval,
            place: producer.place,
        };
        let production = producer.production;
        Self {
            facts,
            bind: Box::new(move |state| with_state(production, state)),
        }
    }

    /// The same producer for a state that its own is a part of.
    pub(crate) fn widen<W>(self) -> DeclaredProducer<W>
    where
        S: FromRef<W>,
        W: 'static,
    {
        let bind = self.bind;
        DeclaredProducer {
            facts: self.facts,
            bind: Box::new(move |state: Arc<W>| bind(Arc::new(S::from_ref(&state)))),
        }
    }

    pub(crate) fn bind(self, state: &Arc<S>) -> BoundProducer {
        BoundProducer {
            facts: self.facts,
            work: (self.bind)(state.clone()),
        }
    }
}

/// A producer with its state.
#[derive(Debug)]
pub(crate) struct BoundProducer {
    pub(crate) facts: ProducerFacts,
    pub(crate) work: Work,
}

fn with_state<S: Send + Sync + 'static>(production: Production<S>, state: Arc<S>) -> Work {
    match production {
        Production::Polled { interval, poll } => Work::Every {
            interval,
            call: Arc::new(move |context| poll(context, &state)),
        },
        Production::Streamed { open } => Work::Stream {
            open: Arc::new(move || open(&state)),
        },
    }
}

//! Sending events: [`Publisher`].

use crate::clock::Clock;
use crate::codec::{Codec, Encode};
use crate::delivery::Delivery;
use crate::event::Event;
use crate::headers::{HeaderWriter, Headers, HeadersError};
use crate::message::{Message, Position, Timestamp};
use crate::names;
use crate::outcome::Output;
use crate::publication::Publication;
use crate::requests::{ReplyRule, RequestError, Requester};
use crate::sink::{Outgoing, PublishError, Receipt, Sink};
use crate::stamped;
use crate::trace::TraceParent;
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Where a channel leads: a destination on a broker.
#[derive(Debug, Clone)]
pub struct Route {
    /// The broker's sending side.
    pub sink: Arc<dyn Sink>,
    /// The destination on it.
    pub destination: Arc<str>,
}

/// The channels of an app and where they lead.
#[derive(Debug, Default)]
pub struct Routes {
    /// An app has a handful of channels with short names: comparing a few of them costs less than one keyed hash.
    by_channel: BTreeMap<String, Result<Route, PublishError>>,
    /// What sends requests to a channel.
    requesters: BTreeMap<String, Arc<dyn Requester>>,
    /// Where replies may go.
    replies: ReplyRule,
}

impl Routes {
    /// Adds a channel.
    pub fn insert(&mut self, channel: impl Into<String>, route: Route) {
        self.by_channel.insert(channel.into(), Ok(route));
    }

    /// Adds a channel that nothing can be published to, and why.
    pub fn refuse(&mut self, channel: impl Into<String>, error: PublishError) {
        self.by_channel.insert(channel.into(), Err(error));
    }

    /// Requests to a channel go by that way.
    pub fn answer(&mut self, channel: impl Into<String>, by: Arc<dyn Requester>) {
        self.requesters.insert(channel.into(), by);
    }

    /// Replies to requests from outside may go where this rule says.
    pub fn allow_replies(&mut self, rule: ReplyRule) {
        self.replies = rule;
    }

    /// Where replies may go.
    pub fn reply_rule(&self) -> &ReplyRule {
        &self.replies
    }

    /// What sends requests to a channel.
    pub(crate) fn requester(&self, channel: &str) -> Result<&Arc<dyn Requester>, RequestError> {
        self.requesters.get(channel).ok_or_else(|| RequestError::NoReplies {
            reason: format!("nothing reads replies for the channel \"{channel}\"; send requests by the publisher of a running app"),
        })
    }

    /// Where a channel leads.
    ///
    /// # Errors
    /// [`PublishError::UnknownChannel`] with the channels that there are; why the channel is refused.
    pub fn get(&self, channel: &str) -> Result<&Route, PublishError> {
        match self.by_channel.get(channel) {
            Some(Ok(route)) => Ok(route),
            Some(Err(error)) => Err(error.clone()),
            None => Err(PublishError::UnknownChannel {
                channel: channel.to_owned(),
                known: self.by_channel.keys().cloned().collect(),
            }),
        }
    }

    /// Every channel, and where it leads or why nothing can be published to it.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &Result<Route, PublishError>)> {
        self.by_channel
            .iter()
            .map(|(channel, route)| (channel.as_str(), route))
    }

    /// The same channels, each a destination of its own name.
    fn to_channels(&self) -> Self {
        let by_channel = self.by_channel.iter().map(|(channel, route)| {
            let route = route.clone().map(|route| Route {
                destination: channel.as_str().into(),
                ..route
            });
            (channel.clone(), route)
        });
        Self {
            by_channel: by_channel.collect(),
            requesters: self.requesters.clone(),
            replies: self.replies.clone(),
        }
    }

    /// Every sink once.
    pub fn sinks(&self) -> Vec<Arc<dyn Sink>> {
        let mut sinks: Vec<Arc<dyn Sink>> = Vec::new();
        for route in self.by_channel.values().flatten() {
            if !sinks.iter().any(|known| Arc::ptr_eq(known, &route.sink)) {
                sinks.push(route.sink.clone());
            }
        }
        sinks
    }
}

/// What a message inherits from the message whose handling publishes it.
#[derive(Debug, Clone, Default)]
struct Cause {
    correlation_id: Option<String>,
    causation_id: Option<String>,
    trace: Option<TraceParent>,
    tracestate: Option<String>,
}

/// The same, where it stands in the headers of that message.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Inherited<'a> {
    correlation_id: Option<&'a str>,
    causation_id: Option<&'a str>,
    trace: Option<TraceParent>,
    tracestate: Option<&'a str>,
}

impl<'a> Inherited<'a> {
    /// Of that message, in one reading of its headers.
    pub(crate) fn from(delivery: &'a Delivery) -> Self {
        let mut inherited = Self::default();
        let mut trace = None;
        for (name, value) in delivery.headers().raw() {
            let place = match name {
                name if name == names::MESSAGE_ID.as_bytes() => &mut inherited.causation_id,
                name if name == names::CORRELATION_ID.as_bytes() => &mut inherited.correlation_id,
                name if name == names::TRACEPARENT.as_bytes() => &mut trace,
                name if name == names::TRACESTATE.as_bytes() => &mut inherited.tracestate,
                _ => continue,
            };
            // Of two the first counts, and what is no text is none.
            if place.is_none() {
                *place = std::str::from_utf8(value).ok();
            }
        }
        inherited.trace = trace.and_then(TraceParent::parse);
        inherited.correlation_id = inherited.correlation_id.or(inherited.causation_id);
        inherited
    }

    fn cause(self) -> Cause {
        Cause {
            correlation_id: self.correlation_id.map(str::to_owned),
            causation_id: self.causation_id.map(str::to_owned),
            trace: self.trace,
            tracestate: self.tracestate.map(str::to_owned),
        }
    }
}

impl Cause {
    fn inherited(&self) -> Inherited<'_> {
        Inherited {
            correlation_id: self.correlation_id.as_deref(),
            causation_id: self.causation_id.as_deref(),
            trace: self.trace,
            tracestate: self.tracestate.as_deref(),
        }
    }
}

/// Sends events to the app's channels. Cloning is cheap. In a handler it is an extractor, and what it sends then
/// carries the correlation id and the trace of the message being handled.
///
/// Publishing starts when the method is called, so messages of one task keep the order of the calls; the returned
/// [`Receipt`] resolves to the [`Position`] once the broker promises to keep the message.
#[derive(Clone)]
pub struct Publisher {
    routes: Arc<Routes>,
    clock: Clock,
    cause: Option<Arc<Cause>>,
    /// Takes everything in place of the routes' sinks.
    through: Option<Arc<dyn Sink>>,
    /// The transaction of a database that what it sends is part of.
    transaction: Option<Arc<dyn Any + Send + Sync>>,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("channels", &self.routes.by_channel.len())
            .finish()
    }
}

impl Publisher {
    /// A publisher to these channels.
    pub fn new(routes: Arc<Routes>, clock: Clock) -> Self {
        Self {
            routes,
            clock,
            cause: None,
            through: None,
            transaction: None,
        }
    }

    /// The same publisher, whose messages all go into that sink, to the destinations that the channels lead to.
    #[must_use]
    pub fn through(&self, sink: Arc<dyn Sink>) -> Self {
        Self {
            through: Some(sink),
            ..self.clone()
        }
    }

    /// The same publisher for a handling in the transaction of an inbox: what it sends goes into that sink, and
    /// [`HandlerContext::transaction`](crate::HandlerContext::transaction) finds the transaction.
    #[must_use]
    pub fn in_transaction(&self, transaction: Arc<dyn Any + Send + Sync>, sink: Arc<dyn Sink>) -> Self {
        Self {
            transaction: Some(transaction),
            ..self.through(sink)
        }
    }

    /// The transaction that what it sends is part of.
    pub(crate) fn transaction_within(&self) -> Option<&Arc<dyn Any + Send + Sync>> {
        self.transaction.as_ref()
    }

    /// The same publisher, whose messages name the channel that they go to in place of its destination: for an outbox,
    /// which finds out where channels lead when it sends.
    #[must_use]
    pub fn to_channels(&self) -> Self {
        self.with_routes(Arc::new(self.routes.to_channels()))
    }

    pub(crate) fn sink_of<'a>(&'a self, route: &'a Route) -> &'a Arc<dyn Sink> {
        self.through.as_ref().unwrap_or(&route.sink)
    }

    /// The sink that everything goes into in place of the routes', see [`through`](Self::through).
    pub fn diverted(&self) -> Option<&Arc<dyn Sink>> {
        self.through.as_ref()
    }

    /// The same publisher, for messages that this delivery causes.
    #[must_use]
    pub fn caused_by(&self, delivery: &Delivery) -> Self {
        let cause = Inherited::from(delivery).cause();
        Self {
            cause: Some(Arc::new(cause)),
            ..self.clone()
        }
    }

    /// Sends an event to a channel.
    pub fn publish<E>(&self, channel: &str, event: &E) -> Receipt
    where
        E: Event,
        E::Codec: Encode<E>,
    {
        self.to(channel).event(event)
    }

    /// Sends a message to a channel. Id, time, correlation and trace are added where they are missing.
    pub fn send(&self, channel: &str, message: Message) -> Receipt {
        // Without the options of a publication, which cost more than the rest.
        let sent = self.routes.get(channel).and_then(|route| {
            let mut message = message;
            self.stamp(&mut message, None, None)?;
            let outgoing = Outgoing::new(route.destination.clone(), message);
            Ok(self.sink_of(route).publish(outgoing))
        });
        sent.unwrap_or_else(Receipt::failed)
    }

    /// Sends to a channel with more options.
    pub fn to<'a>(&'a self, channel: &'a str) -> Publication<'a> {
        Publication::new(self, channel)
    }

    /// Sends events to a channel in one go: cheaper than one by one. They keep their order.
    ///
    /// # Errors
    /// The first error; events before and after it may have been published.
    pub async fn publish_all<'e, E>(
        &self,
        channel: &str,
        events: impl IntoIterator<Item = &'e E>,
    ) -> Result<Vec<Position>, PublishError>
    where
        E: Event,
        E::Codec: Encode<E>,
    {
        let messages = events
            .into_iter()
            .map(|event| encode_event(event, HeaderWriter::default(), None));
        self.send_all(channel, messages.collect::<Result<Vec<_>, _>>()?)
            .await
    }

    /// Sends messages to a channel in one go. They keep their order.
    ///
    /// # Errors
    /// The first error; messages before and after it may have been published.
    pub async fn send_all(
        &self,
        channel: &str,
        messages: Vec<Message>,
    ) -> Result<Vec<Position>, PublishError> {
        let route = self.routes.get(channel)?;
        let stamped = messages.into_iter().map(|mut message| {
            self.stamp(&mut message, None, None)?;
            Ok(Outgoing::new(route.destination.clone(), message))
        });
        let receipts = self
            .sink_of(route)
            .publish_all(stamped.collect::<Result<Vec<_>, PublishError>>()?);
        let mut positions = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            positions.push(receipt.await?);
        }
        Ok(positions)
    }

    /// Makes what a handler returned ready to be sent, also more than once: every sending carries the same message
    /// id. `channel` is where an output without a channel of its own goes, `cause` the message that was handled, `id` the
    /// output's message id if it has none.
    ///
    /// # Errors
    /// [`PublishError::NoChannel`], [`PublishError::UnknownChannel`].
    pub fn prepare_output(
        &self,
        channel: Option<&str>,
        output: Output,
        cause: Option<&Delivery>,
        id: Option<&str>,
    ) -> Result<(Arc<dyn Sink>, Outgoing), PublishError> {
        let channel = channel.filter(|_| !output.is_reply());
        let (own_channel, message, delay) = output.into_parts();
        let channel = own_channel
            .as_deref()
            .or(channel)
            .ok_or(PublishError::NoChannel)?;
        let route = self.routes.get(channel)?;
        let mut message = message;
        self.stamp(&mut message, cause.map(Inherited::from), id)?;
        let due = delay.map(|delay| self.clock.now().plus(delay));
        let destination = route.destination.clone();
        Ok((
            self.sink_of(route).clone(),
            Outgoing {
                destination,
                partition: None,
                message,
                due,
            },
        ))
    }

    /// Waits until everything sent so far is kept by the brokers.
    ///
    /// # Errors
    /// The first broker that cannot promise it.
    pub async fn flush(&self) -> Result<(), PublishError> {
        if let Some(sink) = &self.through {
            return sink.flush().await;
        }
        for sink in self.routes.sinks() {
            sink.flush().await?;
        }
        Ok(())
    }

    /// The same publisher with other channels.
    pub(crate) fn with_routes(&self, routes: Arc<Routes>) -> Self {
        Self {
            routes,
            ..self.clone()
        }
    }

    /// What time it is.
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// The channels and where they lead.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Gives a message what every message carries, and takes from it what only the engine may write. The header block
    /// is read once and written once, at its final size: one allocation. `id` is its id if it has none, and `cause` what it
    /// inherits; without one, what everything inherits that is sent here.
    pub(crate) fn stamp(
        &self,
        message: &mut Message,
        cause: Option<Inherited<'_>>,
        id: Option<&str>,
    ) -> Result<(), PublishError> {
        let now = self.clock.now();
        let cause = cause.or_else(|| self.cause.as_deref().map(Cause::inherited));
        let mut own = Own::of(message.headers());
        if own.has_control {
            message.headers_mut().retain(|name| !names::is_control(name));
            own = Own::of(message.headers());
        }
        let headers = match cause {
            None if id.is_none() && own.lacks_all() => stamped::begin(message.headers(), now)?,
            _ => extend(message.headers(), &own, cause.unwrap_or_default(), id, now)?,
        };
        *message.headers_mut() = headers;
        message.default_timestamp(now);
        Ok(())
    }
}

/// Adds what is missing, whatever is there already.
fn extend(
    headers: &Headers,
    own: &Own<'_>,
    cause: Inherited<'_>,
    given: Option<&str>,
    now: Timestamp,
) -> Result<Headers, HeadersError> {
    let mut random = fastrand::Rng::new();
    let made: [u8; stamped::ID_LENGTH];
    // An id that is no text is kept, but nothing can refer to it.
    let id = match (own.id, given) {
        (Some(id), _) if std::str::from_utf8(id).is_ok() => id,
        (None, Some(given)) => given.as_bytes(),
        _ => {
            made = stamped::new_message_id(now, &mut random);
            &made
        }
    };
    let trace: [u8; TraceParent::LENGTH];
    let mut added = Added::default();
    if own.id.is_none() {
        added.add(names::MESSAGE_ID, id);
    }
    if !own.has_correlation {
        added.add(
            names::CORRELATION_ID,
            cause.correlation_id.map_or(id, str::as_bytes),
        );
    }
    if let Some(causation) = cause.causation_id.filter(|_| !own.has_causation) {
        added.add(names::CAUSATION_ID, causation.as_bytes());
    }
    if !own.has_trace {
        trace = TraceParent::next(cause.trace, &mut random).encode();
        added.add(names::TRACEPARENT, &trace);
        if let Some(state) = cause.tracestate.filter(|_| !own.has_state) {
            added.add(names::TRACESTATE, state.as_bytes());
        }
    }
    headers.extended(added.all())
}

/// What a message carries already, found out in one reading of its headers.
#[derive(Default)]
struct Own<'a> {
    id: Option<&'a [u8]>,
    has_correlation: bool,
    has_causation: bool,
    has_trace: bool,
    has_state: bool,
    has_control: bool,
}

impl<'a> Own<'a> {
    /// Whether it is a message that begins something.
    fn lacks_all(&self) -> bool {
        self.id.is_none() && !self.has_correlation && !self.has_trace
    }

    fn of(headers: &'a Headers) -> Self {
        let mut own = Self::default();
        for (name, value) in headers {
            match name {
                names::MESSAGE_ID => own.id = own.id.or(Some(value)),
                names::CORRELATION_ID => own.has_correlation = true,
                names::CAUSATION_ID => own.has_causation = true,
                names::TRACEPARENT => own.has_trace = true,
                names::TRACESTATE => own.has_state = true,
                other => own.has_control |= names::is_control(other),
            }
        }
        own
    }
}

/// The headers that a message lacks, in the order in which they are written.
#[derive(Default)]
struct Added<'a> {
    all: [(&'static str, &'a [u8]); 5],
    count: usize,
}

impl<'a> Added<'a> {
    fn add(&mut self, name: &'static str, value: &'a [u8]) {
        if let Some(place) = self.all.get_mut(self.count) {
            *place = (name, value);
            self.count += 1;
        }
    }

    fn all(&self) -> &[(&'static str, &'a [u8])] {
        self.all.get(..self.count).unwrap_or_default()
    }
}

/// An event as a message: key, payload, type, version and content type.
pub(crate) fn encode_event<E>(
    event: &E,
    headers: HeaderWriter,
    key: Option<bytes::Bytes>,
) -> Result<Message, PublishError>
where
    E: Event,
    E::Codec: Encode<E>,
{
    let payload = <E::Codec as Encode<E>>::encode(event)?;
    let mut headers = headers
        .or_append(names::TYPE, event.name())
        .or_append(names::CONTENT_TYPE, <E::Codec as Codec>::CONTENT_TYPE);
    if E::VERSION != 1 {
        headers = headers.or_append(names::VERSION, E::VERSION.to_string());
    }
    let headers: Headers = headers.finish()?;
    Ok(Message::new(payload)
        .with_optional_key(key.or_else(|| event.key()))
        .with_headers(headers))
}

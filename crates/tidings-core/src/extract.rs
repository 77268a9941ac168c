//! The arguments of a handler: extractors, synchronous, in any order.
//!
//! A message is already in memory when its handler is called, so an argument never hides I/O.

use crate::ack::Ack;
use crate::claim::{Claim, ClaimError};
use crate::codec::{Codec, CodecError, Decode, JsonCodec, TextCodec};
use crate::delivery::{Delivery, HandlerContext};
use crate::event::Event;
use crate::failure::Failure;
use crate::headers::Headers as HeaderMap;
use crate::inbox::Database;
use crate::message::{Message, Position, Timestamp};
use crate::names;
use crate::publisher::Publisher;
use bytes::Bytes;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// What an argument needs from its subscription beyond the message; known before any message is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// The handler acknowledges by hand.
    pub manual_ack: bool,
    /// The handler works in the transaction of an inbox, which is of that kind of database.
    pub transaction: Option<Database>,
    /// The handler publishes by itself, beside what it returns.
    pub publisher: bool,
}

impl Needs {
    /// Nothing.
    pub const NOTHING: Self = Self {
        manual_ack: false,
        transaction: None,
        publisher: false,
    };

    /// What either needs.
    pub const fn and(self, other: Self) -> Self {
        Self {
            manual_ack: self.manual_ack || other.manual_ack,
            transaction: match self.transaction {
                None => other.transaction,
                first => first,
            },
            publisher: self.publisher || other.publisher,
        }
    }
}

/// An argument of a handler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an extractor",
    label = "a handler can't take this as an argument",
    note = "if it is the payload, take `Json<{Self}>`; if it is shared state, take `State<{Self}>`",
    note = "other extractors are `Text`, `Raw`, `Payload<E>`, `Key`, `Headers`, `Attempt`, `Position`, `Publisher`, `Ack`"
)]
pub trait FromDelivery<S>: Sized {
    /// What it needs from its subscription.
    const NEEDS: Needs = Needs::NOTHING;

    /// Takes it out of a delivery.
    ///
    /// # Errors
    /// Why it can't be had: [`FailureKind::Undecodable`](crate::FailureKind::Undecodable) when the message does not have it and never will.
    fn from_delivery(delivery: &Delivery, state: &S) -> Result<Self, Failure>;
}

/// An argument that needs no delivery: for batch handlers and producers.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an argument of a batch handler or a producer",
    label = "it can't take this",
    note = "they take `State<T>` and `Publisher`; a batch handler's first argument is `Batch<T>`"
)]
pub trait FromContext<S>: Sized {
    /// What it needs from its subscription.
    const NEEDS: Needs = Needs::NOTHING;

    /// Takes it out of what all deliveries share.
    ///
    /// # Errors
    /// Why it can't be had.
    fn from_context(context: &Arc<HandlerContext>, state: &S) -> Result<Self, Failure>;
}

/// A part of a state: `State<Bank>` works when the app's state is `Shop` and `Bank: FromRef<Shop>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a part of the state `{S}`",
    label = "not a part of `{S}`",
    note = "give `{S}` a field of that type and `#[derive(FromRef)]`, or implement `FromRef<{S}>` for `{Self}`"
)]
pub trait FromRef<S> {
    /// The part, cloned or shared.
    fn from_ref(state: &S) -> Self;
}

impl<T: Clone> FromRef<T> for T {
    fn from_ref(state: &T) -> Self {
        state.clone()
    }
}

fn undecodable(error: CodecError) -> Failure {
    error.into_failure()
}

/// The payload, if it is here. One in a claim store is fetched before the handler is called, where the app knows the
/// store; otherwise an empty payload would be taken for what was published.
fn payload_of(delivery: &Delivery) -> Result<&[u8], Failure> {
    let payload = delivery
        .payload()
        .ok_or_else(|| undecodable(CodecError::NoPayload))?;
    if payload.is_empty()
        && let Some(claim) = delivery.header(names::CLAIM)
    {
        let store = Claim::parse(claim).map(|claim| claim.store().to_owned());
        let error = store.map_or(ClaimError::Malformed, |store| ClaimError::UnknownStore {
            store,
            known: Vec::new(),
        });
        return Err(error.into_failure());
    }
    Ok(payload)
}

/// The payload, after checking that the codec reads the message's content type.
fn payload_for<C: Codec>(delivery: &Delivery) -> Result<&[u8], Failure> {
    if let Some(found) = delivery.headers().find_value(names::CONTENT_TYPE) {
        CodecError::unless_read::<C>(found).map_err(undecodable)?;
    }
    payload_of(delivery)
}

/// The payload as JSON.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json<T>(pub T);

impl<S, T> FromDelivery<S> for Json<T>
where
    JsonCodec: Decode<T>,
{
    fn from_delivery(delivery: &Delivery, _state: &S) -> Result<Self, Failure> {
        let payload = payload_for::<JsonCodec>(delivery)?;
        <JsonCodec as Decode<T>>::decode(payload)
            .map(Json)
            .map_err(undecodable)
    }
}

impl<T> Deref for Json<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Json<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// The payload of an event by the event's own codec, whatever that is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Payload<E>(pub E);

impl<S, E> FromDelivery<S> for Payload<E>
where
    E: Event,
    E::Codec: Decode<E>,
{
    fn from_delivery(delivery: &Delivery, _state: &S) -> Result<Self, Failure> {
        decode_event(delivery).map(Payload)
    }
}

fn decode_event<E>(delivery: &Delivery) -> Result<E, Failure>
where
    E: Event,
    E::Codec: Decode<E>,
{
    let payload = payload_for::<E::Codec>(delivery)?;
    <E::Codec as Decode<E>>::decode(payload).map_err(undecodable)
}

/// The payload as UTF-8 text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text(pub String);

impl<S> FromDelivery<S> for Text {
    fn from_delivery(delivery: &Delivery, _state: &S) -> Result<Self, Failure> {
        let payload = payload_for::<TextCodec>(delivery)?;
        <TextCodec as Decode<String>>::decode(payload)
            .map(Text)
            .map_err(undecodable)
    }
}

/// The payload's bytes as they are, sharing the memory of the batch. A tombstone is `Option<Raw>::None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Raw(pub Bytes);

impl<S> FromDelivery<S> for Raw {
    fn from_delivery(delivery: &Delivery, _state: &S) -> Result<Self, Failure> {
        payload_of(delivery)?;
        Ok(Self(delivery.payload_bytes().unwrap_or_default()))
    }
}

/// The key's bytes. `Option<Key>` accepts messages without one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Key(pub Bytes);

impl<S> FromDelivery<S> for Key {
    fn from_delivery(delivery: &Delivery, _state: &S) -> Result<Self, Failure> {
        delivery
            .key_bytes()
            .map(Key)
            .ok_or_else(|| Failure::undecodable("the message has no key; take `Option<Key>` to accept it"))
    }
}

/// A header that the handler cannot do without: a type that names it.
///
/// ```
/// use tidings_core::{HeaderName, Header};
/// struct Tenant;
/// impl HeaderName for Tenant {
///     const NAME: &'static str = "tenant";
/// }
/// async fn handle(tenant: Header<Tenant>) {
///     let _name: &str = &tenant.value;
/// }
/// ```
pub trait HeaderName {
    /// The name of the header, compared exactly.
    const NAME: &'static str;
}

/// One header as text. `Option<Header<N>>` accepts messages without it.
#[derive(Debug, Clone)]
pub struct Header<N> {
    /// The value.
    pub value: String,
    name: std::marker::PhantomData<fn() -> N>,
}

impl<S, N: HeaderName> FromDelivery<S> for Header<N> {
    fn from_delivery(delivery: &Delivery, _state: &S) -> Result<Self, Failure> {
        match delivery.header(N::NAME) {
            Some(value) => Ok(Self {
                value: value.to_owned(),
                name: std::marker::PhantomData,
            }),
            None => Err(Failure::undecodable(format!(
                "the message has no text header \"{}\"",
                N::NAME
            ))),
        }
    }
}

/// All headers.
#[derive(Debug, Clone, Default)]
pub struct Headers(pub HeaderMap);

impl<S> FromDelivery<S> for Headers {
    fn from_delivery(delivery: &Delivery, _state: &S) -> Result<Self, Failure> {
        Ok(Self(delivery.message().headers().clone()))
    }
}

/// Which attempt this is, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt(pub u32);

impl<S> FromDelivery<S> for Attempt {
    fn from_delivery(delivery: &Delivery, _state: &S) -> Result<Self, Failure> {
        Ok(Self(delivery.attempt()))
    }
}

/// The part of the app's state that is a `T`.
#[derive(Debug, Clone, Copy, Default)]
pub struct State<T>(pub T);

impl<S, T: FromRef<S>> FromDelivery<S> for State<T> {
    fn from_delivery(_delivery: &Delivery, state: &S) -> Result<Self, Failure> {
        Ok(Self(T::from_ref(state)))
    }
}

impl<S, T: FromRef<S>> FromContext<S> for State<T> {
    fn from_context(_context: &Arc<HandlerContext>, state: &S) -> Result<Self, Failure> {
        Ok(Self(T::from_ref(state)))
    }
}

impl<T> Deref for State<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<S> FromDelivery<S> for Publisher {
    const NEEDS: Needs = Needs {
        publisher: true,
        ..Needs::NOTHING
    };

    fn from_delivery(delivery: &Delivery, _state: &S) -> Result<Self, Failure> {
        Ok(delivery.context().publisher.caused_by(delivery))
    }
}

impl<S> FromContext<S> for Publisher {
    const NEEDS: Needs = Needs {
        publisher: true,
        ..Needs::NOTHING
    };

    fn from_context(context: &Arc<HandlerContext>, _state: &S) -> Result<Self, Failure> {
        Ok(context.publisher.clone())
    }
}

impl<S> FromDelivery<S> for Position {
    fn from_delivery(delivery: &Delivery, _state: &S) -> Result<Self, Failure> {
        Ok(delivery.position())
    }
}

impl<S> FromDelivery<S> for Timestamp {
    fn from_delivery(delivery: &Delivery, _state: &S) -> Result<Self, Failure> {
        Ok(delivery.timestamp())
    }
}

impl<S> FromDelivery<S> for Message {
    fn from_delivery(delivery: &Delivery, _state: &S) -> Result<Self, Failure> {
        Ok(delivery.message())
    }
}

impl<S> FromDelivery<S> for Delivery {
    // Its context has one.
    const NEEDS: Needs = Needs {
        publisher: true,
        ..Needs::NOTHING
    };

    fn from_delivery(delivery: &Delivery, _state: &S) -> Result<Self, Failure> {
        Ok(delivery.clone())
    }
}

impl<S> FromDelivery<S> for Ack {
    const NEEDS: Needs = Needs {
        manual_ack: true,
        ..Needs::NOTHING
    };

    fn from_delivery(delivery: &Delivery, _state: &S) -> Result<Self, Failure> {
        delivery
            .take_ack()
            .ok_or_else(|| Failure::permanent("a handler can take `Ack` only once"))
    }
}

/// `None` where the message does not have it: no payload, no key, no header. What is there but malformed is an error.
impl<S, T: OptionalFromDelivery<S>> FromDelivery<S> for Option<T> {
    fn from_delivery(delivery: &Delivery, state: &S) -> Result<Self, Failure> {
        if T::is_present(delivery) {
            T::from_delivery(delivery, state).map(Some)
        } else {
            Ok(None)
        }
    }
}

/// An extractor for something that a message may do without.
pub trait OptionalFromDelivery<S>: FromDelivery<S> {
    /// Whether this message has it.
    fn is_present(delivery: &Delivery) -> bool;
}

macro_rules! optional_payload {
    ($($extractor:ty),*) => {$(
        impl<S> OptionalFromDelivery<S> for $extractor {
            fn is_present(delivery: &Delivery) -> bool {
                delivery.payload().is_some()
            }
        }
    )*};
}

optional_payload!(Text, Raw);

impl<S, T> OptionalFromDelivery<S> for Json<T>
where
    JsonCodec: Decode<T>,
{
    fn is_present(delivery: &Delivery) -> bool {
        delivery.payload().is_some()
    }
}

impl<S, E> OptionalFromDelivery<S> for Payload<E>
where
    E: Event,
    E::Codec: Decode<E>,
{
    fn is_present(delivery: &Delivery) -> bool {
        delivery.payload().is_some()
    }
}

impl<S> OptionalFromDelivery<S> for Key {
    fn is_present(delivery: &Delivery) -> bool {
        delivery.key().is_some()
    }
}

impl<S, N: HeaderName> OptionalFromDelivery<S> for Header<N> {
    fn is_present(delivery: &Delivery) -> bool {
        delivery.headers().find_value(N::NAME).is_some()
    }
}

/// The handler decides itself what to do about an argument that can't be had.
impl<S, T: FromDelivery<S>> FromDelivery<S> for Result<T, Failure> {
    const NEEDS: Needs = T::NEEDS;

    fn from_delivery(delivery: &Delivery, state: &S) -> Result<Self, Failure> {
        Ok(T::from_delivery(delivery, state))
    }
}

/// Several messages at once: the first argument of a batch handler.
///
/// A message that cannot be decoded is not among them: it goes to the dead letters by itself.
#[derive(Debug, Clone, Default)]
pub struct Batch<T> {
    items: Vec<T>,
}

impl<T> Batch<T> {
    /// A batch of these items.
    pub fn new(items: Vec<T>) -> Self {
        Self { items }
    }

    /// The items, taken out.
    pub fn into_vec(self) -> Vec<T> {
        self.items
    }
}

impl<T> Deref for Batch<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> IntoIterator for Batch<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;
    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Batch<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

/// What a batch may hold: events, `Message`, `Delivery`, `Raw`, or pairs of such.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the item of a `Batch`",
    label = "a batch can't hold this",
    note = "a batch holds events (`#[derive(Event)]`), `Message`, `Delivery`, `Raw`, `Json<T>`, or pairs of those"
)]
pub trait BatchItem: Sized {
    /// Takes the item out of its delivery.
    ///
    /// # Errors
    /// Why it can't be had.
    fn from_delivery(delivery: &Delivery) -> Result<Self, Failure>;
}

impl<E> BatchItem for E
where
    E: Event,
    E::Codec: Decode<E>,
{
    fn from_delivery(delivery: &Delivery) -> Result<Self, Failure> {
        decode_event(delivery)
    }
}

macro_rules! batch_items {
    ($($extractor:ty),*) => {$(
        impl BatchItem for $extractor {
            fn from_delivery(delivery: &Delivery) -> Result<Self, Failure> {
                <Self as FromDelivery<()>>::from_delivery(delivery, &())
            }
        }
    )*};
}

batch_items!(
    Message,
    Delivery,
    Raw,
    Option<Raw>,
    Text,
    Option<Text>,
    Key,
    Option<Key>,
    Position,
    Timestamp,
    Attempt,
    Headers
);

impl<T> BatchItem for Json<T>
where
    JsonCodec: Decode<T>,
{
    fn from_delivery(delivery: &Delivery) -> Result<Self, Failure> {
        <Self as FromDelivery<()>>::from_delivery(delivery, &())
    }
}

/// `None` is a tombstone.
impl<T> BatchItem for Option<Json<T>>
where
    JsonCodec: Decode<T>,
{
    fn from_delivery(delivery: &Delivery) -> Result<Self, Failure> {
        <Self as FromDelivery<()>>::from_delivery(delivery, &())
    }
}

impl<A: BatchItem, B: BatchItem> BatchItem for (A, B) {
    fn from_delivery(delivery: &Delivery) -> Result<Self, Failure> {
        Ok((A::from_delivery(delivery)?, B::from_delivery(delivery)?))
    }
}

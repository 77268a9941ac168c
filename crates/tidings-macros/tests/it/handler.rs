//! `#[handler]` accepts whatever `on` accepts, and changes nothing.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use tidings::{
    Ack, Attempt, Batch, BatchOutcome, Delivery, Failure, FromDelivery, HandlerKind, Header, HeaderName,
    Headers, IntoOutcome, Json, Key, Message, Needs, Outputs, Payload, Position, Publisher, Publishes, Raw,
    State, SubscriptionParts, Text, Timestamp, To, on,
};
use tidings_macros::{Event, FromRef, handler};

#[derive(Event, Serialize, Deserialize)]
struct Order;

#[derive(Clone)]
struct Bank;

#[derive(Clone, FromRef)]
struct Shop {
    bank: Bank,
    name: Arc<str>,
}

struct TenantName;

impl HeaderName for TenantName {
    const NAME: &'static str = "tenant";
}

struct Tenant;

impl FromDelivery<Shop> for Tenant {
    const NEEDS: Needs = Needs::NOTHING;

    fn from_delivery(_delivery: &Delivery, _state: &Shop) -> Result<Self, Failure> {
        Ok(Tenant)
    }
}

#[handler]
async fn takes_nothing() {}

/// With a comment and with a pattern.
#[handler]
async fn takes_json(Json(_order): Json<Order>) -> Option<Order> {
    None
}

#[handler]
async fn takes_optional(
    _payload: Option<Text>,
    _key: Option<Key>,
    _header: Result<Header<TenantName>, Failure>,
) {
}

#[handler]
#[expect(clippy::too_many_arguments, reason = "as many as there can be")]
async fn takes_eight(
    _payload: Payload<Order>,
    _key: Key,
    _headers: Headers,
    _attempt: Attempt,
    _position: Position,
    _timestamp: Timestamp,
    _message: Message,
    mut _publisher: Publisher,
) -> Result<Vec<Order>, Failure> {
    Ok(Vec::new())
}

#[handler]
async fn takes_a_part_of_an_unknown_state(_order: Raw, _bank: State<Bank>) -> Result<To<Order>, Failure> {
    Err(Failure::permanent("closed"))
}

#[handler(state = Shop)]
async fn takes_parts(
    _bank: State<Bank>,
    _name: State<Arc<str>>,
    _shop: State<Shop>,
    _tenant: Tenant,
) -> Outputs {
    Outputs::none()
}

#[handler]
async fn acknowledges(_order: Raw, ack: Ack) {
    drop(ack);
}

#[handler]
async fn leaves_a_lifetime_open(_order: Json<Cow<'_, str>>) {}

#[handler]
async fn hides_its_result(_order: Raw) -> impl IntoOutcome {
    Some(Order)
}

#[handler]
fn writes_its_future_down(_order: Raw) -> impl Future<Output = ()> + Send + use<> {
    std::future::ready(())
}

#[handler]
fn boxes_its_future(_order: Raw) -> Pin<Box<dyn Future<Output = Order> + Send>> {
    Box::pin(std::future::ready(Order))
}

mod answers {
    use super::{Failure, Order};

    pub(super) type Result<T> = std::result::Result<T, Failure>;
    pub(super) type Orders = Result<Vec<Order>>;
}

#[handler]
async fn returns_aliases(_order: Raw) -> answers::Result<Option<Order>> {
    Ok(None)
}

#[handler]
async fn returns_an_alias_of_all() -> answers::Orders {
    Ok(vec![Order])
}

#[handler]
async fn takes_a_batch(_batch: Batch<Order>) {}

#[handler(state = Shop)]
async fn tells_of_each(
    _batch: Batch<(Order, Key)>,
    _bank: State<Bank>,
    _publisher: Publisher,
) -> Result<BatchOutcome, Failure> {
    Ok(BatchOutcome::all_handled().failed(0, Failure::permanent("first")))
}

#[handler]
async fn returns_for_a_batch(_batch: tidings::Batch<Message>) -> Result<Option<Order>, Failure> {
    Ok(None)
}

#[handler]
#[cfg(any())]
async fn is_not_compiled(_order: NotEvenAType) {}

fn check(parts: &SubscriptionParts<Shop>, kind: HandlerKind, publishes: Publishes) {
    let name = parts.handler.name();
    assert_eq!((parts.kind(), parts.publishes()), (kind, publishes), "{name}");
}

#[test]
fn every_shape_of_a_handler_can_have_the_attribute() {
    let silent = [
        on("orders", takes_nothing).into_parts(),
        on("orders", takes_optional).into_parts(),
        on("orders", acknowledges).into_parts(),
        on("orders", leaves_a_lifetime_open).into_parts(),
        on("orders", writes_its_future_down).into_parts(),
    ];
    for parts in &silent {
        check(parts, HandlerKind::Single, Publishes::Nothing);
    }
    let publishing = [
        on("orders", takes_json).into_parts(),
        on("orders", takes_eight).into_parts(),
        on("orders", hides_its_result).into_parts(),
        on("orders", boxes_its_future).into_parts(),
        on("orders", returns_aliases).into_parts(),
        on("orders", returns_an_alias_of_all).into_parts(),
    ];
    for parts in &publishing {
        check(parts, HandlerKind::Single, Publishes::ToOutputChannel);
    }
    let addressed = [
        on("orders", takes_a_part_of_an_unknown_state).into_parts(),
        on("orders", takes_parts).into_parts(),
    ];
    for parts in &addressed {
        check(parts, HandlerKind::Single, Publishes::Addressed);
    }
}

#[test]
fn every_shape_of_a_batch_handler_can_have_the_attribute() {
    let shapes = [
        (on("orders", takes_a_batch), Publishes::Nothing),
        (on("orders", tells_of_each), Publishes::Addressed),
        (on("orders", returns_for_a_batch), Publishes::ToOutputChannel),
    ];
    for (subscription, publishes) in shapes {
        check(&subscription.into_parts(), HandlerKind::Batch, publishes);
    }
}

#[test]
fn a_function_inside_a_function_can_have_it_too() {
    type Local = Json<Order>;
    #[handler(state = Shop)]
    async fn local(_order: Local) {}
    check(
        &on("orders", local).into_parts(),
        HandlerKind::Single,
        Publishes::Nothing,
    );
}

//! The derives and the attribute of Tidings: [`Event`](macro@Event), [`FromRef`](macro@FromRef),
//! [`handler`](macro@handler).
//!
//! None is needed: each writes what could be written by hand, in fewer words and with better errors. Applications use
//! them through the crate `tidings`, and so does the code that they write: it names `::tidings`. Where that crate has
//! another name, or a driver uses `tidings-core` alone, say so: `#[event(crate = "tidings_core")]`,
//! `#[from_ref(crate = "tidings_core")]`, `#[handler(crate = "tidings_core")]`.
//!
//! ```
//! # extern crate tidings_core as tidings;
//! use serde::{Deserialize, Serialize};
//! use tidings::{Failure, Json, Subscription, on};
//! use tidings_macros::{Event, handler};
//!
//! #[derive(Event, Serialize, Deserialize)]
//! #[event(name = "order.placed", key = "order_id")]
//! struct OrderPlaced {
//!     order_id: String,
//!     total_cents: u64,
//! }
//!
//! #[derive(Event, Serialize, Deserialize)]
//! #[event(key = "order_id")]
//! struct PaymentTaken {
//!     order_id: String,
//! }
//!
//! #[handler]
//! async fn charge(Json(order): Json<OrderPlaced>) -> Result<PaymentTaken, Failure> {
//!     if order.total_cents == 0 {
//!         return Err(Failure::permanent("an order of nothing"));
//!     }
//!     Ok(PaymentTaken { order_id: order.order_id })
//! }
//!
//! let subscription: Subscription<()> = on("orders", charge).group("billing").to("payments");
//! ```

mod attributes;
mod event;
mod from_ref;
mod handler;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements `Event`: gives a type a name, a key, a version and a codec.
///
/// | in `#[event(…)]` | means | without it |
/// |---|---|---|
/// | `name = "order.placed"` | the `type` header | the type's name in dotted lower case: `OrderPlaced` is `order.placed` |
/// | `key = "order_id"` | the field that is the key: a name, an index (`"0"`), or a path (`"customer.id"`) | no key: events are spread over the partitions |
/// | `version = 2` | the version of the shape | 1 |
/// | `codec = "tidings::TextCodec"` | how it becomes a payload | `JsonCodec` |
/// | `crate = "tidings_core"` | where Tidings is found | `::tidings` |
///
/// The field of the key implements `EventKey`: strings, integers, `Uuid` and bytes do. The payload is the codec's
/// affair: for JSON derive serde's `Serialize` and `Deserialize` too.
///
/// ```
/// # extern crate tidings_core as tidings;
/// use serde::{Deserialize, Serialize};
/// use tidings::Event as _;
/// use tidings_macros::Event;
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(key = "order_id", version = 2)]
/// struct OrderPlaced {
///     order_id: String,
/// }
///
/// assert_eq!(OrderPlaced::NAME, "order.placed");
/// assert_eq!(OrderPlaced::VERSION, 2);
/// let event = OrderPlaced { order_id: "A7".to_owned() };
/// assert_eq!(event.key().as_deref(), Some(&b"A7"[..]));
/// ```
///
/// # Enums
///
/// A key on the enum is a field that each variant has. A variant may have a `name` and a `key` of its own, or be
/// `transparent`: it wraps one event and has that one's name and key. `Event::name` is then the variant's name, and
/// `Event::has_name` accepts the variants' names; the enum's own only if a variant is left without one.
///
/// ```
/// # extern crate tidings_core as tidings;
/// use serde::{Deserialize, Serialize};
/// use tidings::Event as _;
/// use tidings_macros::Event;
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(key = "order_id")]
/// enum PaymentEvent {
///     #[event(name = "payment.taken")]
///     Taken { order_id: String, cents: u64 },
///     #[event(name = "payment.declined")]
///     Declined { order_id: String },
/// }
///
/// let event = PaymentEvent::Declined { order_id: "A7".to_owned() };
/// assert_eq!(event.name(), "payment.declined");
/// assert!(PaymentEvent::has_name("payment.taken"));
/// assert!(!PaymentEvent::has_name("payment.event"));
/// ```
#[proc_macro_derive(Event, attributes(event))]
pub fn derive_event(input: TokenStream) -> TokenStream {
    event::expand(&parse_macro_input!(input as DeriveInput)).into()
}

/// Implements `FromRef` for the type of each field, so that a handler can take that part of the state alone.
///
/// A field whose type another field has too, or that is nobody's business, is left out by `#[from_ref(skip)]`. A part
/// is cloned for each message: keep what is costly to clone in an `Arc`.
///
/// ```
/// # extern crate tidings_core as tidings;
/// use std::sync::Arc;
/// use tidings::{Raw, State, Subscription, on};
/// use tidings_macros::FromRef;
///
/// #[derive(Clone)]
/// struct Bank(Arc<str>);
///
/// #[derive(Clone, FromRef)]
/// struct Shop {
///     bank: Bank,
///     #[from_ref(skip)]
///     name: String,
/// }
///
/// async fn charge(Raw(_order): Raw, State(bank): State<Bank>) {
///     let _ = bank.0.len();
/// }
///
/// let subscription: Subscription<Shop> = on("orders", charge);
/// ```
#[proc_macro_derive(FromRef, attributes(from_ref))]
pub fn derive_from_ref(input: TokenStream) -> TokenStream {
    from_ref::expand(&parse_macro_input!(input as DeriveInput)).into()
}

/// Says precisely why a function is not a handler.
///
/// It leaves the function as it is and has no cost at run time. Without it a mistake in the signature is reported
/// where the function is subscribed, as "not a handler"; with it the error points to the argument, the return type, or
/// the value that keeps the future on one thread. Handlers of several messages at once are known by their first
/// argument, `Batch<T>`.
///
/// ```
/// # extern crate tidings_core as tidings;
/// # use tidings::{Batch, Failure, Key, Message, State, Text};
/// # #[derive(Clone)] struct Shop;
/// use tidings_macros::handler;
///
/// #[handler]
/// async fn greet(Text(name): Text, key: Option<Key>) -> Result<(), Failure> {
/// #   let _ = (name, key);
///     Ok(())
/// }
///
/// #[handler(state = Shop)]
/// async fn record(batch: Batch<Message>, State(shop): State<Shop>) {
/// #   let _ = (batch, shop);
/// }
/// ```
///
/// With `state = Shop`, `State<T>` is checked too: `T` is `Shop` or a part of it. Without, that is left to the app,
/// and an extractor of your own must be one for any state, or at least for `()`.
///
/// It belongs on a free function that is not generic, not on one inside an `impl`. A mistake is an error at its place:
///
/// ```compile_fail
/// # extern crate tidings_core as tidings;
/// # struct Order;
/// #[tidings_macros::handler]
/// async fn charge(order: Order) {} // `Order` is not an extractor: take `Json<Order>`
/// ```
#[proc_macro_attribute]
pub fn handler(options: TokenStream, function: TokenStream) -> TokenStream {
    handler::expand(options.into(), function.into()).into()
}

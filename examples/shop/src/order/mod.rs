//! Order: takes orders in, and tells the story of each one from the events of all services.
//!
//! An order is in the database together with its event, `order.placed`, which the outbox sends: whoever is told "accepted" can
//! rely on both.
//!
//! The stories are a projection: an anonymous subscription reads every channel from the beginning whenever the shop
//! starts. Channels are read beside each other, so events of one order may come in any order: a story is the same
//! whatever comes first.
//!
//! A projection keeps no dead letters: what it cannot read stays in the log, and it would put a copy there again at
//! every start. Hence `lose_exhausted_messages`, here and on the other projections.

mod book;
mod request;
mod stories;
mod story;
mod view;

pub use book::{Answer, Book, NamedRequest, REQUESTS_KEPT, Taken};
pub use request::{FieldError, MAX_ITEMS, MAX_QUANTITY, OrderRequest, RequestError, RequestItem};
pub use stories::{Overview, STORIES_KEPT, Stories};
pub use story::{Entry, Letter, Status, Step, Story};
pub use view::StoryView;

use crate::channel;
use crate::database::Database;
use crate::domain::{Order, OrderId};
use crate::event::ShopEvent;
use crate::service::Service;
use serde::{Deserialize, Serialize};
use tidings::prelude::*;
use tidings::{Diagnosis, Ordering, Start, Timestamp, dead_letter};

/// The name of the subscription that tells the stories.
pub const STORIES: &str = "order-stories";

/// A customer placed an order, and it was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
#[event(name = "order.placed", key = "order.id")]
pub struct OrderPlaced {
    /// The order.
    pub order: Order,
}

/// Adds an event to the story of its order.
async fn tell(
    event: Result<ShopEvent, Failure>,
    at: Timestamp,
    State(stories): State<Stories>,
) -> Result<(), Failure> {
    if let Ok(event) = &event {
        stories.apply(event, at);
    }
    event.map(|_| ())
}

/// Adds a dead letter to the story of its order: the key says which one that is.
async fn tell_dead_letter(
    key: Option<Key>,
    diagnosis: Diagnosis,
    delivery: Delivery,
    State(stories): State<Stories>,
) {
    let service = diagnosis.group.as_deref().and_then(Service::named);
    let order = key
        .as_ref()
        .and_then(|Key(key)| std::str::from_utf8(key).ok()?.parse::<OrderId>().ok());
    let at = diagnosis.last_failure.unwrap_or_else(|| delivery.timestamp());
    stories.add_letter(service, order, Letter::new(service, at, &diagnosis));
}

/// Forgets requests that no customer sends again.
async fn forget(State(database): State<Database>) -> Result<(), Failure> {
    Ok(database.forget_requests().await?)
}

/// The order book.
pub fn book() -> App<Database> {
    App::new("order-book").add(every(secs(60), forget).name("order-forget-requests"))
}

/// The stories.
pub fn stories() -> App<Stories> {
    App::new("order")
        .add(
            on(channel::ALL, tell)
                .name(STORIES)
                .start(Start::Earliest)
                .ordering(Ordering::Partition)
                .lose_exhausted_messages(),
        )
        .add(
            dead_letter(channel::ALL, tell_dead_letter)
                .name("order-dead-letters")
                .start(Start::Earliest)
                .ordering(Ordering::Partition)
                .lose_exhausted_messages(),
        )
}

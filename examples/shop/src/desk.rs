//! The desk between the door and the services: takes orders, and sends dead letters back.

use crate::channel::ORDERS;
use crate::domain::{Order, OrderId};
use crate::event::ShopEvent;
use crate::order::{OrderPlaced, Step, Story};
use crate::page::Phase;
use crate::service::Service;
use crate::shop::Shop;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tidings::{Health, PublishError, Running, Selection, Timestamp};

/// The desk. HTTP answers from the first moment on, the engine comes a little later: until then the desk is closed.
#[derive(Debug, Clone)]
pub struct Desk {
    shop: Shop,
    running: Arc<OnceLock<Running>>,
    being_placed: Arc<Mutex<HashSet<OrderId>>>,
}

/// Why the desk cannot do what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeskError {
    /// The log is not open yet.
    #[error("the shop is opening; try again in a moment")]
    Opening,
    /// What was there before is not known yet.
    #[error("the shop is reading its events again; try again in a moment")]
    CatchingUp,
    /// The same request is being handled.
    #[error("a request with this Idempotency-Key is being handled; try again in a moment")]
    InProgress,
    /// The customer used the key for another order.
    #[error("this Idempotency-Key was used for another order, {0}; use a new one")]
    KeyReused(OrderId),
    /// The log does not take the event.
    #[error("the order could not be kept: {0}")]
    NotKept(#[from] PublishError),
    /// Dead letters could not be sent back.
    #[error("the dead letters could not be sent back: {0}")]
    NotSentBack(tidings::Error),
}

/// Whether the customer named the request, so that sending it again does not order again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// By an `Idempotency-Key`.
    Keyed,
    /// No.
    Anonymous,
}

impl Desk {
    /// A closed desk.
    pub fn new(shop: Shop) -> Self {
        Self {
            shop,
            running: Arc::default(),
            being_placed: Arc::default(),
        }
    }

    /// The shop behind it.
    pub fn shop(&self) -> &Shop {
        &self.shop
    }

    /// Opens: the engine runs.
    pub fn open(&self, running: Running) {
        // A desk is opened once; a second engine would be a mistake of `serve`, and the first one stays.
        let _ = self.running.set(running);
    }

    /// How far it is with opening.
    pub fn phase(&self) -> Phase {
        match (self.running.get(), self.shop.stories.caught_up().is_complete()) {
            (None, _) => Phase::Opening,
            (Some(_), false) => Phase::CatchingUp,
            (Some(_), true) => Phase::Open,
        }
    }

    /// Whether the engine works; none while it is starting.
    pub fn health(&self) -> Option<Health> {
        self.running.get().map(Running::health)
    }

    fn running(&self) -> Result<&Running, DeskError> {
        self.running.get().ok_or(DeskError::Opening)
    }

    /// Takes an order: returns when it is kept, and only then.
    ///
    /// # Errors
    /// [`DeskError`]. After [`DeskError::NotKept`] the order may have been kept all the same; a request with an
    /// `Idempotency-Key` may be sent again without ordering twice.
    pub async fn place(&self, order: Order, naming: Naming) -> Result<(), DeskError> {
        let running = self.running()?;
        let _turn = match naming {
            Naming::Keyed => {
                let turn = self.take_turn(order.id)?;
                if self.was_placed(&order)? {
                    return Ok(());
                }
                Some(turn)
            }
            Naming::Anonymous => None,
        };
        let at = Timestamp::now();
        let placed = OrderPlaced { order };
        running.publisher().publish(ORDERS, &placed).await?;
        // The projection will see the event too. Telling it here means that whoever was told "accepted" finds the order.
        self.shop.stories.apply(&ShopEvent::Placed(placed), at);
        Ok(())
    }

    /// Whether this very order was taken before.
    fn was_placed(&self, order: &Order) -> Result<bool, DeskError> {
        if self.phase() != Phase::Open {
            return Err(DeskError::CatchingUp);
        }
        let known = self.shop.stories.get(order.id);
        let known = known.filter(|story| story.has(Step::Placed));
        let same = |story: &Story| *story.items == *order.items && *story.customer == *order.customer;
        match known {
            None => Ok(false),
            Some(story) if same(&story) => Ok(true),
            Some(_) => Err(DeskError::KeyReused(order.id)),
        }
    }

    /// One request at a time for each key, so that two that come together are seen as the same.
    fn take_turn(&self, order: OrderId) -> Result<Turn, DeskError> {
        let mut being_placed = self.being_placed.lock().unwrap_or_else(PoisonError::into_inner);
        if being_placed.insert(order) {
            Ok(Turn {
                order,
                being_placed: self.being_placed.clone(),
            })
        } else {
            Err(DeskError::InProgress)
        }
    }

    /// Sends dead letters of a service back to it: those of one order, or all. Returns how many.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn send_back(&self, service: Service, order: Option<OrderId>) -> Result<usize, DeskError> {
        let running = self.running()?;
        let selection = order.map_or(Selection::All, |order| Selection::key(order.to_string()));
        let report = running
            .redrive(service.name(), selection)
            .await
            .map_err(DeskError::NotSentBack)?;
        match order {
            Some(order) => self.shop.stories.sent_back(service, order),
            None => self.shop.stories.all_sent_back(service),
        }
        Ok(report.redriven)
    }
}

/// Held while an order is being placed.
#[derive(Debug)]
struct Turn {
    order: OrderId,
    being_placed: Arc<Mutex<HashSet<OrderId>>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.being_placed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.order);
    }
}

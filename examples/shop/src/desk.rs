//! The desk between the door and the services: takes orders, and sends dead letters back.

use crate::database::DatabaseError;
use crate::domain::{Order, OrderId};
use crate::event::ShopEvent;
use crate::order::{Answer, Book, NamedRequest, OrderPlaced, Story, Taken};
use crate::page::Phase;
use crate::service::Service;
use crate::shop::Shop;
use std::sync::{Arc, OnceLock};
use tidings::{Health, Running, Selection, Timestamp};

/// The desk. HTTP answers from the first moment on, the engine comes a little later: until then the desk is closed.
#[derive(Debug, Clone)]
pub struct Desk {
    shop: Shop,
    book: Book,
    running: Arc<OnceLock<Running>>,
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
    /// The key was used for another request.
    #[error("this Idempotency-Key was used for another request, about the order {0}; use a new one")]
    KeyReused(String),
    /// The database does not take the order.
    #[error("the order could not be kept: {0}")]
    NotKept(#[from] Arc<DatabaseError>),
    /// The database cannot be asked.
    #[error("the order cannot be looked for: {0}")]
    NotFound(#[source] DatabaseError),
    /// Dead letters could not be sent back.
    #[error("the dead letters could not be sent back: {0}")]
    NotSentBack(tidings::Error),
}

impl Desk {
    /// A closed desk.
    pub fn new(shop: Shop) -> Self {
        Self {
            book: Book::new(shop.database.clone()),
            shop,
            running: Arc::default(),
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
        match (self.running.get(), self.shop.stories.is_complete()) {
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

    /// Takes an order: returns when it is kept, and only then. A request with a name that was sent before gets the answer
    /// that it got then.
    ///
    /// # Errors
    /// [`DeskError`]. After [`DeskError::NotKept`] the order may have been kept all the same; a request with an
    /// `Idempotency-Key` may be sent again without ordering twice.
    pub async fn place(
        &self,
        order: Order,
        request: Option<NamedRequest>,
    ) -> Result<Option<Answer>, DeskError> {
        let publisher = self.running()?.publisher();
        let at = Timestamp::now();
        let placed = OrderPlaced { order };
        match self.book.take(publisher, placed.clone(), request).await? {
            Taken::Now => {}
            Taken::Before(answer) => return Ok(Some(answer)),
            Taken::KeyReused(order) => return Err(DeskError::KeyReused(order)),
        }
        // The projection will see the event too. Telling it here means that whoever was told "accepted" sees the order.
        self.shop.stories.apply(&ShopEvent::Placed(placed), at);
        Ok(None)
    }

    /// The story of an order, if there is one with that number.
    ///
    /// # Errors
    /// [`DeskError::CatchingUp`], [`DeskError::NotFound`].
    pub async fn story(&self, order: OrderId) -> Result<Option<Story>, DeskError> {
        if self.phase() != Phase::Open {
            return Err(DeskError::CatchingUp);
        }
        let told = self.shop.stories.get(order);
        if told.is_some() {
            return Ok(told);
        }
        // It was accepted, and no event of it has come: those of the last process are still to be sent.
        let kept = self
            .shop
            .database
            .order(order)
            .await
            .map_err(DeskError::NotFound)?;
        Ok(kept.map(|(order, at)| Story::placed(order, at)))
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

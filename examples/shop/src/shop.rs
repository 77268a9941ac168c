//! The seven services together, and what they keep.

use crate::analytics::{self, Revenue};
use crate::billing::{self, Tariff};
use crate::channel;
use crate::database::{self, Database, with_store};
use crate::inventory;
use crate::notification::{self, Outbox};
use crate::order::{self, Stories};
use crate::payment::{self, Bank};
use crate::service::Service;
use crate::shipping::{self, LabelPrinter};
use std::collections::BTreeSet;
use tidings::{App, FromRef, Running};

/// The state of all services. Each of them sees only its own part.
#[derive(Debug, Clone, FromRef)]
pub struct Shop {
    /// Of order, inventory and payment.
    pub database: Database,
    /// Of the order service.
    pub stories: Stories,
    /// Of payment.
    pub bank: Bank,
    /// Of shipping.
    pub printer: LabelPrinter,
    /// Of billing.
    pub tariff: Tariff,
    /// Of notification.
    pub outbox: Outbox,
    /// Of analytics.
    pub revenue: Revenue,
}

impl Shop {
    /// A shop on that database. The seed decides the bank's moods.
    pub fn new(database: Database, seed: u64) -> Self {
        Self {
            database,
            stories: Stories::default(),
            bank: Bank::with_seed(seed),
            printer: LabelPrinter,
            tariff: Tariff::default(),
            outbox: Outbox::default(),
            revenue: Revenue::default(),
        }
    }

    /// Waits until the stories, if they are told here, have all the events that are in the log now.
    ///
    /// # Errors
    /// The log cannot be asked.
    pub async fn catch_up(&self, running: &Running) -> Result<(), tidings::Error> {
        if running.subscription(order::STORIES).is_err() {
            return Ok(());
        }
        // A queue gives what comes from now on: there is nothing that could be read again.
        if running.channel(channel::ORDERS)?.0.capabilities().replay {
            running.caught_up(order::STORIES).await?;
        }
        self.stories.complete();
        Ok(())
    }
}

/// The whole shop.
pub fn app(database: &Database) -> App<Shop> {
    app_of(&BTreeSet::from(Service::ALL), database)
}

/// Some of its services, for a process of their own. The order service has the door, and its page shows what the others
/// do: so what they keep in memory is rebuilt there too, from the same events; what they keep in the database is read.
pub fn app_of(services: &BTreeSet<Service>, database: &Database) -> App<Shop> {
    let has = |service| services.contains(&service);
    let shows = |service| has(service) || has(Service::Order);
    let mut app = App::new("shop");
    if [Service::Order, Service::Inventory, Service::Payment]
        .into_iter()
        .any(has)
    {
        app = app.nest(database::outbox(database));
    }
    if has(Service::Order) {
        app = app.nest(order::book()).nest(order::stories());
    }
    if has(Service::Inventory) {
        app = with_store!(database, store => app.nest(inventory::app(store)));
    }
    if has(Service::Payment) {
        app = with_store!(database, store => app.nest(payment::app(store)));
    }
    if has(Service::Shipping) {
        app = app.nest(shipping::app());
    }
    if has(Service::Billing) {
        app = app.nest(billing::app());
    }
    if has(Service::Notification) {
        app = app.nest(notification::app());
    }
    if shows(Service::Notification) {
        app = app.nest(notification::outbox());
    }
    if shows(Service::Analytics) {
        app = app.nest(analytics::app());
    }
    app
}

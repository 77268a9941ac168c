//! A shop to be tested.

use shop::channel::ORDERS;
use shop::database::Database;
use shop::domain::{CardToken, Item, Order, OrderId, Sku};
use shop::order::{Book, OrderPlaced, Status, Story, Taken};
use shop::shop::{Shop, app};
use tidings::Config;
use tidings::sql::{Outbox, SqlOptions};
use tidings::test::TestApp;

pub(crate) const GOOD_CARD: &str = "4242424242424242";
pub(crate) const DECLINED_CARD: &str = "4000000000000002";

/// A shop that runs in a test. Its time is real: a database does not wait for virtual time.
pub(crate) struct TestShop {
    pub(crate) app: TestApp,
    pub(crate) shop: Shop,
}

/// A database of a test, in memory.
pub(crate) async fn database() -> Database {
    Database::open("sqlite::memory:", SqlOptions::default())
        .await
        .unwrap()
}

impl TestShop {
    /// An empty shop of its own.
    pub(crate) async fn open() -> Self {
        Self::open_with(Config::default(), database().await).await
    }

    /// A shop on the broker of this configuration, with that database.
    pub(crate) async fn open_with(config: Config, database: Database) -> Self {
        let shop = Shop::new(database, 1);
        let app = TestApp::start_with(app(&shop.database).with_state(shop.clone()), config)
            .await
            .unwrap();
        shop.catch_up(app.running()).await.unwrap();
        Self { app, shop }
    }

    /// Places an order as the door does.
    pub(crate) async fn place(&self, order: &Order) {
        let placed = OrderPlaced { order: order.clone() };
        let publisher = self.app.running().publisher();
        let taken = Book::new(self.shop.database.clone())
            .take(publisher, placed, None)
            .await;
        assert_eq!(taken.unwrap(), Taken::Now);
    }

    /// Tells the other services of an order, as a relay does that sends for the second time.
    pub(crate) async fn tell(&self, order: &Order) {
        let placed = OrderPlaced { order: order.clone() };
        self.app.publish(ORDERS, &placed).await.unwrap();
    }

    /// Waits until nothing moves and nothing is left to be sent.
    pub(crate) async fn settled(&self) {
        let mut calm = 0;
        while calm < 2 {
            self.app.settled().await.unwrap();
            let waiting = waiting(&self.shop.database).await;
            calm = if waiting == 0 { calm + 1 } else { 0 };
        }
    }

    pub(crate) fn story(&self, order: &Order) -> Story {
        self.shop.stories.get(order.id).expect("the order has a story")
    }

    pub(crate) fn status(&self, order: &Order) -> Status {
        self.story(order).status()
    }

    pub(crate) async fn for_sale(&self, sku: &str) -> i64 {
        let levels = self.shop.database.stock().await.unwrap();
        levels
            .iter()
            .find(|level| level.sku.product().sku == sku)
            .expect("it is in the catalogue")
            .for_sale
    }
}

/// How many events are written and not sent yet.
async fn waiting(database: &Database) -> u64 {
    let backlog = match database {
        Database::Sqlite(store) => Outbox::to_channels(store, []).backlog().await,
        Database::Postgres(store) => Outbox::to_channels(store, []).backlog().await,
    };
    backlog.unwrap().messages
}

/// An order of one product; the number makes it another order and decides the bank's mood.
pub(crate) fn order(number: u32, customer: &str, sku: &str, quantity: u32, card: &str) -> Order {
    let id: OrderId = format!("{number:04}-0000-0000-0000").parse().unwrap();
    let sku = Sku::try_from(sku.to_owned()).unwrap();
    let card = CardToken::for_number(card).unwrap();
    Order::new(id, customer.to_owned(), vec![Item { sku, quantity }], card)
}

//! A shop to be tested.

use shop::channel::ORDERS;
use shop::domain::{CardToken, Item, Order, OrderId, Sku};
use shop::order::{OrderPlaced, Status, Story};
use shop::shop::{Shop, app};
use tidings::Config;
use tidings::test::TestApp;

pub(crate) const GOOD_CARD: &str = "4242424242424242";
pub(crate) const DECLINED_CARD: &str = "4000000000000002";

/// A shop that runs in a test.
pub(crate) struct TestShop {
    pub(crate) app: TestApp,
    pub(crate) shop: Shop,
}

impl TestShop {
    /// An empty shop of its own.
    pub(crate) async fn open() -> Self {
        Self::open_with(Config::default()).await
    }

    /// A shop on the broker of this configuration.
    pub(crate) async fn open_with(config: Config) -> Self {
        let test = Self::start(config).await;
        test.shop.expect_events(test.app.running()).await.unwrap();
        test
    }

    /// A shop whose projections do not know yet how far they have to read.
    pub(crate) async fn start(config: Config) -> Self {
        let shop = Shop::with_seed(1);
        let app = TestApp::start_with(app().with_state(shop.clone()), config)
            .await
            .unwrap();
        Self { app, shop }
    }

    /// Places an order as the door does.
    pub(crate) async fn place(&self, order: &Order) {
        self.app
            .publish(ORDERS, &OrderPlaced { order: order.clone() })
            .await
            .unwrap();
    }

    /// Waits until nothing moves.
    pub(crate) async fn settled(&self) {
        self.app.settled().await.unwrap();
    }

    pub(crate) fn story(&self, order: &Order) -> Story {
        self.shop.stories.get(order.id).expect("the order has a story")
    }

    pub(crate) fn status(&self, order: &Order) -> Status {
        self.story(order).status()
    }

    pub(crate) fn for_sale(&self, sku: &str) -> i64 {
        let levels = self.shop.warehouse.levels();
        levels
            .iter()
            .find(|level| level.sku.product().sku == sku)
            .expect("it is in the catalogue")
            .for_sale
    }
}

/// An order of one product; the number makes it another order and decides the bank's mood.
pub(crate) fn order(number: u32, customer: &str, sku: &str, quantity: u32, card: &str) -> Order {
    let id = OrderId::for_request(customer, &number.to_string());
    let sku = Sku::try_from(sku.to_owned()).unwrap();
    let card = CardToken::for_number(card).unwrap();
    Order::new(id, customer.to_owned(), vec![Item { sku, quantity }], card)
}

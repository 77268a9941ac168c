//! What a shop has come to, by its tables and its log: every order once in each of them.

use shop::channel::{ORDERS, PAYMENTS, STOCK};
use shop::database::{Database, Sql};
use shop::domain::Order;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tidings::sql::{SqlOptions, SqlStore};
use tidings::{App, Config, Message};

/// That all orders which were accepted are in the tables and in the log, and that each of them took stock once.
pub(crate) async fn holds(data: &Path, database: Option<&str>, accepted: u64) {
    let file = format!("sqlite:{}", data.join("shop.db").display());
    let database = Database::open(database.unwrap_or(&file), SqlOptions::default());
    let kept = match database.await.unwrap() {
        Database::Sqlite(store) => Kept::read(&store).await,
        Database::Postgres(store) => Kept::read(&store).await,
    };
    let accepted = usize::try_from(accepted).unwrap();
    assert_eq!((kept.orders.len(), kept.unsent), (accepted, 0));
    kept.stock_was_taken_once();
    let decided: BTreeSet<_> = kept.states("reserved").chain(kept.states("released")).collect();
    let payments: BTreeSet<_> = kept.payments.keys().cloned().collect();
    assert_eq!(payments, decided, "who has got stock is charged, and nobody else");
    for (channel, event, expected) in [
        (ORDERS, "order.placed", kept.orders.keys().cloned().collect()),
        (STOCK, "stock.reserved", decided),
        (STOCK, "stock.released", kept.states("released").collect()),
        (STOCK, "order.rejected", kept.states("rejected").collect()),
        (PAYMENTS, "payment.taken", kept.paid("taken")),
        (PAYMENTS, "payment.declined", kept.paid("declined")),
    ] {
        assert_eq!(told(data, channel, event).await, expected, "{event}");
    }
}

/// What the tables say, by the numbers of orders.
struct Kept {
    orders: BTreeMap<String, Order>,
    states: BTreeMap<String, String>,
    payments: BTreeMap<String, String>,
    /// For sale and set aside, by product.
    stock: BTreeMap<String, (i64, i64)>,
    unsent: i64,
}

impl Kept {
    async fn read<DB: Sql>(store: &SqlStore<DB>) -> Self {
        let mut connection = store.pool().acquire().await.unwrap();
        let mut texts = Vec::new();
        for select in [
            "SELECT id, details FROM shop_orders",
            "SELECT order_id, state FROM shop_reservations",
            "SELECT order_id, state FROM shop_payments",
        ] {
            let rows = DB::rows(&mut connection, select, &[]).await.unwrap();
            let text = |row, column| DB::text_in(row, column).unwrap();
            texts.push(rows.iter().map(|row| (text(row, 0), text(row, 1))).collect());
        }
        let [orders, states, payments]: [BTreeMap<String, String>; 3] = texts.try_into().unwrap();
        let select = "SELECT sku, for_sale, set_aside FROM shop_stock";
        let rows = DB::rows(&mut connection, select, &[]).await.unwrap();
        let number = |row, column| DB::number_in(row, column).unwrap();
        let stock = rows
            .iter()
            .map(|row| (DB::text_in(row, 0).unwrap(), (number(row, 1), number(row, 2))))
            .collect();
        let between = if DB::NAME == "SQLite" { '_' } else { '.' };
        let select = format!("SELECT count(*) FROM tidings{between}outbox");
        let rows = DB::rows(&mut connection, &select, &[]).await.unwrap();
        let unsent = number(&rows[0], 0);
        Self {
            orders: orders
                .into_iter()
                .map(|(id, details)| (id, serde_json::from_str(&details).unwrap()))
                .collect(),
            states,
            payments,
            stock,
            unsent,
        }
    }

    fn states(&self, wanted: &str) -> impl Iterator<Item = String> {
        let wanted = self.states.iter().filter(move |(_, state)| *state == wanted);
        wanted.map(|(order, _)| order.clone())
    }

    fn paid(&self, wanted: &str) -> BTreeSet<String> {
        let wanted = self.payments.iter().filter(|(_, state)| *state == wanted);
        wanted.map(|(order, _)| order.clone()).collect()
    }

    fn stock_was_taken_once(&self) {
        assert!(self.states.keys().eq(self.orders.keys()), "each order is decided");
        let mut taken: BTreeMap<&str, i64> = BTreeMap::new();
        for order in self.states("reserved") {
            for item in &self.orders[&order].items {
                *taken.entry(item.sku.product().sku).or_default() += i64::from(item.quantity);
            }
        }
        for (sku, (for_sale, set_aside)) in &self.stock {
            let taken = taken.get(sku.as_str()).copied().unwrap_or_default();
            assert_eq!(*set_aside, taken, "{sku}");
            let product = shop::domain::CATALOG.iter().find(|product| product.sku == sku);
            assert_eq!(for_sale + set_aside, i64::from(product.unwrap().level), "{sku}");
        }
    }
}

/// The orders that events of that type in the log are about. A message that was sent twice is there twice.
async fn told(data: &Path, channel: &str, event: &str) -> BTreeSet<String> {
    let mut orders = BTreeSet::new();
    for message in messages(data, channel).await {
        if message.headers().get_str("type") == Some(event) {
            let payload = message.payload().unwrap();
            let event: serde_json::Value = serde_json::from_slice(payload).unwrap();
            orders.insert(event["order"]["id"].as_str().unwrap().to_owned());
        }
    }
    orders
}

/// The messages of a channel, by the log itself.
pub(crate) async fn messages(data: &Path, channel: &str) -> Vec<Message> {
    let url = format!("embedded:{}", data.display());
    let config = Config::builder()
        .toml("test", "")
        .argument("test", "binder.main.url", url);
    let running = App::new("probe").publishes(channel).start(config).await.unwrap();
    let (binder, destination) = running.channel(channel).unwrap();
    let mut found = Vec::new();
    for at in binder.positions(destination, None).await.unwrap() {
        let mut next = at.first;
        while next < at.end {
            let batch = binder
                .read(destination, at.partition, next, 1 << 20)
                .await
                .unwrap();
            found.extend(batch.records().iter().map(|record| batch.message(record)));
            next = batch.next();
        }
    }
    running.drain().await;
    found
}

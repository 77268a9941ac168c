//! The stock: how many of each product are for sale, and what was decided about which order.

use super::StockDelivered;
use crate::catch_up::CatchUp;
use crate::domain::{CATALOG, Order, OrderId, Recent, Restocking, Sku};
use crate::event::ShopEvent;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many orders the warehouse remembers its decision about. A message can come a second time only if the process
/// ended between its handling and the next commit, which comes every 100 ms: this is far more than can lie between.
const DECISIONS_KEPT: usize = 200_000;

/// The stock and the decisions. Clones share it.
#[derive(Debug, Clone)]
pub struct Warehouse {
    stock: Arc<Mutex<Stock>>,
    caught_up: CatchUp,
}

#[derive(Debug)]
struct Stock {
    /// By place in the catalogue.
    shelves: Vec<Shelf>,
    decisions: Recent<OrderId, Decision>,
}

/// Signed, because while events are read again a sale may be seen before the delivery that made it possible.
#[derive(Debug, Default)]
struct Shelf {
    for_sale: i64,
    set_aside: i64,
    deliveries: u64,
    ordered: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Decision {
    Reserved,
    Rejected(String),
    Released,
}

/// What the page shows of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StockLevel {
    /// The product.
    pub sku: Sku,
    /// How many are for sale.
    pub for_sale: i64,
    /// How many were set aside for orders since the shop opened for the first time.
    pub set_aside: i64,
}

impl Default for Warehouse {
    fn default() -> Self {
        let full = |product: &crate::domain::Product| Shelf {
            for_sale: i64::from(product.level),
            ..Shelf::default()
        };
        let stock = Stock {
            shelves: CATALOG.iter().map(full).collect(),
            decisions: Recent::with_limit(DECISIONS_KEPT),
        };
        Self {
            stock: Arc::new(Mutex::new(stock)),
            caught_up: CatchUp::default(),
        }
    }
}

impl Warehouse {
    /// Whether the decisions of earlier runs are known.
    pub fn caught_up(&self) -> &CatchUp {
        &self.caught_up
    }

    /// Sets the stock for an order aside; or says what is short. The same order gets the same answer again.
    pub(super) fn reserve(&self, order: &Order) -> Result<(), String> {
        let mut stock = self.lock();
        match stock.decisions.get(&order.id) {
            Some(Decision::Rejected(reason)) => return Err(reason.clone()),
            Some(Decision::Reserved | Decision::Released) => return Ok(()),
            None => {}
        }
        let short = stock.shortages(order);
        if short.is_empty() {
            stock.set_aside(order);
            return Ok(());
        }
        let reason = short.join(", ");
        stock
            .decisions
            .insert(order.id, Decision::Rejected(reason.clone()));
        Err(reason)
    }

    /// Puts back what was set aside for an order, once.
    pub(super) fn release(&self, order: &Order) {
        self.lock().put_back(order);
    }

    /// Learns what was decided, also by an earlier run. What is known already changes nothing.
    pub(super) fn apply(&self, event: &ShopEvent) {
        let mut stock = self.lock();
        match event {
            ShopEvent::Reserved(event) if stock.decisions.get(&event.order.id).is_none() => {
                stock.set_aside(&event.order);
            }
            ShopEvent::Rejected(event) if stock.decisions.get(&event.order.id).is_none() => {
                stock
                    .decisions
                    .insert(event.order.id, Decision::Rejected(event.reason.clone()));
            }
            ShopEvent::Released(event) => stock.put_back(&event.order),
            ShopEvent::Delivered(event) => stock.unload(event),
            _ => {}
        }
    }

    /// What the supplier brings now: what is below half of its level, up to its level. A product is ordered again
    /// only after its last delivery has come back as an event.
    pub(super) fn deliveries_due(&self) -> Vec<StockDelivered> {
        let mut stock = self.lock();
        let due = Sku::all().zip(&mut stock.shelves).filter_map(|(sku, shelf)| {
            let product = sku.product();
            let missing = i64::from(product.level) - shelf.for_sale;
            let low = missing > i64::from(product.level / 2);
            if !low || shelf.ordered || product.restocking == Restocking::Never {
                return None;
            }
            shelf.ordered = true;
            Some(StockDelivered {
                product: product.sku.to_owned(),
                sku,
                number: shelf.deliveries + 1,
                quantity: u32::try_from(missing).unwrap_or(product.level),
            })
        });
        due.collect()
    }

    /// What there is of each product.
    pub fn levels(&self) -> Vec<StockLevel> {
        let stock = self.lock();
        let levels = Sku::all().zip(&stock.shelves);
        levels
            .map(|(sku, shelf)| StockLevel {
                sku,
                for_sale: shelf.for_sale,
                set_aside: shelf.set_aside,
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stock {
    fn shelf(&mut self, sku: Sku) -> &mut Shelf {
        self.shelves
            .get_mut(sku.place())
            .expect("there is a shelf for every product of the catalogue")
    }

    fn shortages(&mut self, order: &Order) -> Vec<String> {
        let mut short = Vec::new();
        for item in &order.items {
            let left = self.shelf(item.sku).for_sale.max(0);
            if left < i64::from(item.quantity) {
                short.push(format!(
                    "{} × {} wanted, {left} left",
                    item.quantity,
                    item.sku.product().sku
                ));
            }
        }
        short
    }

    fn set_aside(&mut self, order: &Order) {
        self.decisions.insert(order.id, Decision::Reserved);
        for item in &order.items {
            let shelf = self.shelf(item.sku);
            shelf.for_sale -= i64::from(item.quantity);
            shelf.set_aside += i64::from(item.quantity);
        }
    }

    /// The order of events about one order is kept, so a release comes after its reservation. If that one was
    /// forgotten since, it had happened all the same.
    fn put_back(&mut self, order: &Order) {
        if self.decisions.insert(order.id, Decision::Released) == Some(Decision::Released) {
            return;
        }
        for item in &order.items {
            let shelf = self.shelf(item.sku);
            shelf.for_sale += i64::from(item.quantity);
            shelf.set_aside -= i64::from(item.quantity);
        }
    }

    fn unload(&mut self, delivery: &StockDelivered) {
        let shelf = self.shelf(delivery.sku);
        if delivery.number > shelf.deliveries {
            shelf.deliveries = delivery.number;
            shelf.for_sale += i64::from(delivery.quantity);
        }
        shelf.ordered = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CardToken, Item};
    use crate::inventory::{OrderRejected, StockReleased, StockReserved};

    fn order(sku: &str, quantity: u32) -> Order {
        let card = CardToken::for_number("4242424242424242").unwrap();
        let sku = Sku::try_from(sku.to_owned()).unwrap();
        Order::new(
            OrderId::random(),
            "ada".to_owned(),
            vec![Item { sku, quantity }],
            card,
        )
    }

    fn for_sale(warehouse: &Warehouse, sku: &str) -> i64 {
        let found = warehouse
            .levels()
            .into_iter()
            .find(|level| level.sku.product().sku == sku);
        found.unwrap().for_sale
    }

    #[test]
    fn what_is_short_is_rejected_and_takes_nothing() {
        let warehouse = Warehouse::default();
        assert_eq!(warehouse.reserve(&order("clock", 10)), Ok(()));
        let short = order("clock", 3);
        for _ in 0..2 {
            assert_eq!(
                warehouse.reserve(&short),
                Err("3 × clock wanted, 2 left".to_owned())
            );
        }
        assert_eq!(for_sale(&warehouse, "clock"), 2);
    }

    #[test]
    fn the_same_order_again_changes_nothing() {
        let warehouse = Warehouse::default();
        let order = order("clock", 5);
        for _ in 0..2 {
            assert_eq!(warehouse.reserve(&order), Ok(()));
            warehouse.apply(&ShopEvent::Reserved(StockReserved { order: order.clone() }));
        }
        assert_eq!(for_sale(&warehouse, "clock"), 7);
        for _ in 0..2 {
            warehouse.release(&order);
            warehouse.apply(&ShopEvent::Released(StockReleased { order: order.clone() }));
        }
        assert_eq!(for_sale(&warehouse, "clock"), 12);
        assert_eq!(
            warehouse.reserve(&order),
            Ok(()),
            "a late copy does not reserve what was released"
        );
        assert_eq!(for_sale(&warehouse, "clock"), 12);
    }

    #[test]
    fn a_warehouse_that_reads_the_events_again_is_the_same() {
        let (first, second) = (Warehouse::default(), Warehouse::default());
        let (kept, returned, refused) = (order("clock", 4), order("clock", 6), order("clock", 9));
        assert!(first.reserve(&kept).is_ok() && first.reserve(&returned).is_ok());
        let reason = first.reserve(&refused).unwrap_err();
        first.release(&returned);
        for event in [
            ShopEvent::Reserved(StockReserved { order: kept }),
            ShopEvent::Reserved(StockReserved {
                order: returned.clone(),
            }),
            ShopEvent::Rejected(OrderRejected {
                order: refused.clone(),
                reason: reason.clone(),
            }),
            ShopEvent::Released(StockReleased { order: returned }),
        ] {
            second.apply(&event);
        }
        assert_eq!(first.levels(), second.levels());
        assert_eq!(
            second.reserve(&refused),
            Err(reason),
            "a decision outlives the process that made it"
        );
    }

    #[test]
    fn low_stock_is_ordered_once_and_a_delivery_counts_once() {
        let warehouse = Warehouse::default();
        assert!(warehouse.deliveries_due().is_empty());
        assert_eq!(warehouse.reserve(&order("teapot", 15_000)), Ok(()));
        let due = warehouse.deliveries_due();
        assert_eq!(
            due.iter()
                .map(|due| (due.number, due.quantity))
                .collect::<Vec<_>>(),
            [(1, 15_000)]
        );
        assert!(warehouse.deliveries_due().is_empty(), "it is on its way");
        for delivery in [&due[0], &due[0]] {
            warehouse.apply(&ShopEvent::Delivered(delivery.clone()));
        }
        assert_eq!(for_sale(&warehouse, "teapot"), 20_000);
    }
}

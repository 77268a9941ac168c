//! What there is of each product, and what that means for an order: decided here, kept by the [warehouse](super::warehouse).

use super::StockDelivered;
use crate::domain::{CATALOG, Order, Restocking, Sku};

/// All products at one moment, by place in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shelves(Vec<Shelf>);

/// One product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Shelf {
    /// How many are for sale.
    pub(super) for_sale: i64,
    /// How many were set aside for orders since the shop opened for the first time.
    pub(super) set_aside: i64,
    /// How often the supplier came.
    pub(super) deliveries: i64,
}

impl Shelves {
    /// As they are when the shop opens for the first time.
    pub(super) fn full() -> Self {
        let full = |product: &crate::domain::Product| Shelf {
            for_sale: i64::from(product.level),
            ..Shelf::default()
        };
        Self(CATALOG.iter().map(full).collect())
    }

    /// One product.
    pub(super) fn of(&mut self, sku: Sku) -> &mut Shelf {
        self.0
            .get_mut(sku.place())
            .expect("there is a shelf for every product of the catalogue")
    }

    /// Every product.
    pub(super) fn each(&self) -> impl Iterator<Item = (Sku, &Shelf)> {
        Sku::all().zip(&self.0)
    }

    /// Those that are not as they were.
    pub(super) fn changed_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = (Sku, &'a Shelf)> {
        let pairs = self.each().zip(&before.0);
        pairs.filter_map(|(now, before)| (now.1 != before).then_some(now))
    }

    /// Sets the stock for an order aside; or says what is short, and takes nothing.
    pub(super) fn reserve(&mut self, order: &Order) -> Result<(), String> {
        let mut short = Vec::new();
        for item in &order.items {
            let left = self.of(item.sku).for_sale;
            if left < i64::from(item.quantity) {
                let sku = item.sku.product().sku;
                short.push(format!("{} × {sku} wanted, {left} left", item.quantity));
            }
        }
        if !short.is_empty() {
            return Err(short.join(", "));
        }
        self.move_items(order, 1);
        Ok(())
    }

    /// Puts back what was set aside for an order.
    pub(super) fn put_back(&mut self, order: &Order) {
        self.move_items(order, -1);
    }

    fn move_items(&mut self, order: &Order, sign: i64) {
        for item in &order.items {
            let shelf = self.of(item.sku);
            shelf.for_sale -= sign * i64::from(item.quantity);
            shelf.set_aside += sign * i64::from(item.quantity);
        }
    }

    /// Takes in what the supplier brings now: what is below half of its level, up to its level.
    pub(super) fn restock(&mut self) -> Vec<StockDelivered> {
        let due = Sku::all().zip(&mut self.0).filter_map(|(sku, shelf)| {
            let product = sku.product();
            let missing = i64::from(product.level) - shelf.for_sale;
            if missing <= i64::from(product.level / 2) || product.restocking == Restocking::Never {
                return None;
            }
            shelf.for_sale += missing;
            shelf.deliveries += 1;
            Some(StockDelivered {
                product: product.sku.to_owned(),
                sku,
                number: shelf.deliveries.unsigned_abs(),
                quantity: u32::try_from(missing).unwrap_or(product.level),
            })
        });
        due.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CardToken, Item, OrderId};

    fn order(items: &[(&str, u32)]) -> Order {
        let card = CardToken::for_number("4242424242424242").unwrap();
        let items = items.iter().map(|(sku, quantity)| Item {
            sku: Sku::try_from((*sku).to_owned()).unwrap(),
            quantity: *quantity,
        });
        Order::new(OrderId::random(), "ada".to_owned(), items.collect(), card)
    }

    fn clocks(shelves: &mut Shelves) -> i64 {
        shelves.of(Sku::try_from("clock".to_owned()).unwrap()).for_sale
    }

    #[test]
    fn what_is_short_is_rejected_and_takes_nothing() {
        let mut shelves = Shelves::full();
        assert_eq!(shelves.reserve(&order(&[("clock", 10)])), Ok(()));
        let before = shelves.clone();
        let short = shelves.reserve(&order(&[("tea", 2), ("clock", 3)]));
        assert_eq!(short, Err("3 × clock wanted, 2 left".to_owned()));
        assert_eq!(shelves.changed_since(&before).count(), 0);
    }

    #[test]
    fn what_is_put_back_is_for_sale_again() {
        let mut shelves = Shelves::full();
        let order = order(&[("clock", 5), ("tea", 1)]);
        assert_eq!(shelves.reserve(&order), Ok(()));
        assert_eq!(
            (
                clocks(&mut shelves),
                shelves.changed_since(&Shelves::full()).count()
            ),
            (7, 2)
        );
        shelves.put_back(&order);
        assert_eq!(shelves, Shelves::full());
    }

    #[test]
    fn what_is_low_is_delivered_and_what_is_gone_for_good_is_not() {
        let mut shelves = Shelves::full();
        for _ in 0..12 {
            assert_eq!(
                shelves.reserve(&order(&[("teapot", 1_000), ("clock", 1)])),
                Ok(())
            );
        }
        let brought = shelves.restock();
        let brought: Vec<_> = brought
            .iter()
            .map(|delivery| (delivery.product.as_str(), delivery.number, delivery.quantity))
            .collect();
        assert_eq!(brought, [("teapot", 1, 12_000)]);
        assert!(shelves.restock().is_empty());
        assert_eq!(clocks(&mut shelves), 0);
    }
}

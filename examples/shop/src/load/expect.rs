//! What is ordered, and how it may end.

use serde::Deserialize;
use serde_json::json;

/// What an order is like, and so how it may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Ends well, if there is stock.
    Plain,
    /// Its card is declined, if there is stock.
    Declined,
    /// Its label cannot be printed, if there is stock.
    Poison,
}

/// The order with that number.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) key: String,
    pub(super) customer: String,
    pub(super) kind: Kind,
    number: u64,
}

impl Planned {
    /// Orders differ by their number only, so a run can be repeated.
    pub(super) fn new(run: &str, number: u64, keys: u64, poison: f64) -> Self {
        let spread = number
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(31)
            .wrapping_mul(0xbf58_476d_1ce4_e5b9);
        // The upper 53 bits as a fraction below 1: all that a double can tell apart.
        #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
        let fraction = (spread >> 11) as f64 / (1_u64 << 53) as f64;
        let kind = match () {
            () if fraction < poison => Kind::Poison,
            () if number % 20 == 7 => Kind::Declined,
            () => Kind::Plain,
        };
        let name = format!("customer {}", number % keys);
        let customer = if kind == Kind::Poison {
            format!("{name} ☠")
        } else {
            name
        };
        Self {
            key: format!("{run}-{number}"),
            customer,
            kind,
            number,
        }
    }

    pub(super) fn body(&self) -> String {
        const PRODUCTS: [&str; 7] = ["tea", "oolong", "matcha", "honey", "cups", "teapot", "kettle"];
        let pick = |number: u64| {
            usize::try_from(number % 7)
                .ok()
                .and_then(|place| PRODUCTS.get(place))
                .unwrap_or(&"tea")
        };
        let mut items = vec![json!({"sku": pick(self.number), "quantity": 1 + self.number % 3})];
        if self.number.is_multiple_of(2) {
            items.push(json!({"sku": pick(self.number / 7 + 3), "quantity": 1}));
        }
        let card = if self.kind == Kind::Declined {
            "4000000000000002"
        } else {
            "4242424242424242"
        };
        json!({"customer": self.customer, "items": items, "card": card}).to_string()
    }
}

/// The story of an order as the shop tells it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Told {
    pub(super) status: String,
    pub(super) customer: String,
    pub(super) ended: bool,
    pub(super) events: Vec<ToldEvent>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct ToldEvent {
    pub(super) at_ms: i64,
    pub(super) event: String,
}

impl Told {
    /// What is wrong with the story; none if the order ended as it should, and its events say the same.
    pub(super) fn mistake(&self, planned: &Planned) -> Option<String> {
        let possible: &[&str] = match planned.kind {
            Kind::Plain => &["completed", "rejected", "dead-lettered"],
            Kind::Declined => &["declined", "rejected", "dead-lettered"],
            Kind::Poison => &["dead-lettered", "rejected"],
        };
        let (needed, forbidden): (&[&str], &[&str]) = match self.status.as_str() {
            "completed" => (
                &[
                    "order.placed",
                    "stock.reserved",
                    "payment.taken",
                    "shipment.created",
                    "invoice.issued",
                ],
                &["order.rejected", "payment.declined", "stock.released"],
            ),
            "rejected" => (
                &["order.placed", "order.rejected"],
                &["stock.reserved", "payment.taken", "shipment.created"],
            ),
            "declined" => (
                &["order.placed", "stock.reserved", "payment.declined"],
                &["payment.taken", "shipment.created", "invoice.issued"],
            ),
            // Two services may have given up on one order.
            _ if !self.events.iter().any(|told| told.event == "dead-lettered") => {
                return Some("no service gave up on it".to_owned());
            }
            _ => (&["order.placed"], &["order.rejected", "payment.declined"]),
        };
        let count = |name: &str| self.events.iter().filter(|told| told.event == name).count();
        if self.customer != planned.customer {
            return Some(format!(
                "it is the order of {:?}, not of {:?}",
                self.customer, planned.customer
            ));
        }
        if !possible.contains(&self.status.as_str()) {
            return Some(format!(
                "it is {}, which a {:?} order cannot be",
                self.status, planned.kind
            ));
        }
        let missing = needed.iter().find(|name| count(name) != 1);
        let surplus = forbidden.iter().find(|name| count(name) != 0);
        missing
            .map(|name| format!("it is {} with {} × {name}", self.status, count(name)))
            .or_else(|| surplus.map(|name| format!("it is {} and has {name}", self.status)))
    }

    /// From the first event to the last one that the end depends on.
    pub(super) fn took_ms(&self) -> u64 {
        let ending = self
            .events
            .iter()
            .filter(|told| !matches!(told.event.as_str(), "mail.sent" | "stock.released"));
        let last = ending.map(|told| told.at_ms).max();
        let first = self.events.iter().map(|told| told.at_ms).min();
        let took = first
            .zip(last)
            .map_or(0, |(first, last)| last.saturating_sub(first));
        u64::try_from(took).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: &str, events: &[&str]) -> Told {
        let events = events.iter().zip(1..).map(|(event, at_ms)| ToldEvent {
            at_ms,
            event: (*event).to_owned(),
        });
        Told {
            status: status.to_owned(),
            customer: "customer 1".to_owned(),
            ended: true,
            events: events.collect(),
        }
    }

    #[test]
    fn a_story_that_contradicts_itself_or_its_order_is_found() {
        let good = [
            "order.placed",
            "stock.reserved",
            "payment.taken",
            "shipment.created",
            "invoice.issued",
        ];
        let plain = Planned::new("run", 1, 10, 0.0);
        assert_eq!(plain.kind, Kind::Plain);
        assert_eq!(told("completed", &good).mistake(&plain), None);
        assert_eq!(told("completed", &good).took_ms(), 4);
        let twice = [&good[..], &["payment.taken"]].concat();
        for (status, events) in [
            (
                "declined",
                &["order.placed", "stock.reserved", "payment.declined"][..],
            ),
            ("completed", &good[..4]),
            ("completed", &twice[..]),
            ("rejected", &good[..]),
            ("dead-lettered", &good[..]),
            ("completed", &["order.placed"]),
        ] {
            assert!(
                told(status, events).mistake(&plain).is_some(),
                "{status} {events:?}"
            );
        }
    }

    #[test]
    fn a_share_of_the_orders_is_poisoned() {
        let poisoned = (0..10_000)
            .filter(|number| Planned::new("run", *number, 10, 0.05).kind == Kind::Poison)
            .count();
        assert!((400..600).contains(&poisoned), "{poisoned}");
    }
}

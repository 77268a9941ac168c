//! Orders that were made before the clock started: only encoding and sending are measured.

use bytes::Bytes;

use crate::order::{self, Order};

const DIFFERENT: u64 = 1_000;

/// An order, its key and what its fields add up to.
pub(crate) struct One {
    pub(crate) key: Bytes,
    pub(crate) order: Order,
    pub(crate) sum: u64,
}

/// A thousand of them, over and over.
pub(crate) struct Made(Vec<One>);

impl Made {
    pub(crate) fn new() -> Self {
        let one = |number| {
            let order = Order::numbered(number);
            One {
                key: order::key(number, 1_000_000),
                sum: order.checksum(),
                order,
            }
        };
        Self((0..DIFFERENT).map(one).collect())
    }

    pub(crate) fn get(&self, number: u64) -> &One {
        let place = usize::try_from(number % DIFFERENT).unwrap_or_default();
        self.0
            .get(place)
            .expect("there are as many as the remainder is of")
    }
}

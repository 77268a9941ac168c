//! Analytics: revenue per minute, counted in batches.
//!
//! What it counts is in memory, so it has no group: a group's stored position would make it skip at the next start
//! what it no longer knows. It reads the payments from the beginning instead, and a thousand at a time is fast.

use crate::channel::PAYMENTS;
use crate::domain::{Cents, OrderId, Recent};
use crate::payment::PaymentTaken;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tidings::prelude::*;
use tidings::{Ordering, Start, Timestamp};

/// A day.
const MINUTES_KEPT: usize = 24 * 60;
/// Payments that were counted; a copy of one of them does not count again.
const PAYMENTS_KEPT: usize = 200_000;
const MINUTE_MS: i64 = 60_000;

/// What was earned in one minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinuteRevenue {
    /// When the minute began.
    pub minute: Timestamp,
    /// How many orders were paid.
    pub orders: u64,
    /// How much that was.
    pub revenue: Cents,
}

/// The revenue of the last day by minute. Clones share it.
#[derive(Debug, Clone)]
pub struct Revenue {
    inner: Arc<Mutex<Counted>>,
}

#[derive(Debug)]
struct Counted {
    minutes: BTreeMap<i64, (u64, Cents)>,
    total: (u64, Cents),
    payments: Recent<OrderId, ()>,
}

impl Default for Revenue {
    fn default() -> Self {
        let counted = Counted {
            minutes: BTreeMap::new(),
            total: (0, Cents(0)),
            payments: Recent::with_limit(PAYMENTS_KEPT),
        };
        Self {
            inner: Arc::new(Mutex::new(counted)),
        }
    }
}

impl Revenue {
    /// The minutes in which something was earned, oldest first.
    pub fn minutes(&self) -> Vec<MinuteRevenue> {
        let counted = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let minutes = counted
            .minutes
            .iter()
            .map(|(minute, (orders, revenue))| MinuteRevenue {
                minute: Timestamp::from_millis(minute.saturating_mul(MINUTE_MS)),
                orders: *orders,
                revenue: *revenue,
            });
        minutes.collect()
    }

    /// How many orders were paid since the first day, and how much that was.
    pub fn total(&self) -> (u64, Cents) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).total
    }
}

impl Counted {
    fn count(&mut self, paid: &PaymentTaken, at: Timestamp) {
        if self.payments.insert(paid.order.id, ()).is_some() {
            return;
        }
        let (orders, revenue) = self
            .minutes
            .entry(at.as_millis().div_euclid(MINUTE_MS))
            .or_default();
        (*orders, *revenue) = (*orders + 1, revenue.plus(paid.amount));
        self.total = (self.total.0 + 1, self.total.1.plus(paid.amount));
        while self.minutes.len() > MINUTES_KEPT {
            self.minutes.pop_first();
        }
    }
}

/// Counts many payments under one lock.
async fn count(payments: Batch<(PaymentTaken, Timestamp)>, State(revenue): State<Revenue>) {
    let mut counted = revenue.inner.lock().unwrap_or_else(PoisonError::into_inner);
    for (paid, at) in &payments {
        counted.count(paid, *at);
    }
}

/// The analytics service.
pub fn app() -> App<Revenue> {
    App::new("analytics").add(
        on(PAYMENTS, count)
            .name("analytics")
            .start(Start::Earliest)
            .ordering(Ordering::Partition)
            .lose_exhausted_messages()
            .only::<PaymentTaken>()
            .batch(1_000, millis(50)),
    )
}

//! What does not work: [`Health`].

use crate::lock::lock;
use std::collections::BTreeMap;
use std::sync::Mutex;
use tidings_core::BinderHealth;

/// The faults that stand, by place (`orders/3`, `state.redb`).
#[derive(Debug, Default)]
pub(crate) struct Health {
    faults: Mutex<BTreeMap<String, String>>,
}

impl Health {
    /// Notes a fault; it stands until it is cleared.
    pub(crate) fn report(&self, place: &str, reason: &str) {
        let before = lock(&self.faults).insert(place.to_owned(), reason.to_owned());
        if before.as_deref() != Some(reason) {
            tracing::error!(place, reason, "the broker cannot go on there");
        }
    }

    /// The fault is over.
    pub(crate) fn clear(&self, place: &str) {
        if lock(&self.faults).remove(place).is_some() {
            tracing::info!(place, "the broker goes on there");
        }
    }

    /// Whether a fault stands there.
    pub(crate) fn is_reported(&self, place: &str) -> bool {
        lock(&self.faults).contains_key(place)
    }

    /// Up without faults, otherwise down with all of them.
    pub(crate) fn state(&self) -> BinderHealth {
        let faults = lock(&self.faults);
        if faults.is_empty() {
            return BinderHealth::Up;
        }
        let reasons: Vec<_> = faults
            .iter()
            .map(|(place, reason)| format!("{place}: {reason}"))
            .collect();
        BinderHealth::Down(reasons.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_down_with_every_reason_until_all_are_cleared() {
        let health = Health::default();
        assert_eq!(health.state(), BinderHealth::Up);
        health.report("orders/1", "no space");
        health.report("state.redb", "broken");
        assert_eq!(
            health.state(),
            BinderHealth::Down("orders/1: no space; state.redb: broken".to_owned())
        );
        health.clear("orders/1");
        health.clear("state.redb");
        assert_eq!(health.state(), BinderHealth::Up);
    }
}

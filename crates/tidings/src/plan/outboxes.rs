//! Outboxes that a service publishes by, each once: [`of`].

use super::{place_of, publishes};
use crate::service::Service;
use std::panic::Location;
use std::sync::Arc;
use tidings_core::OutboxStore;

/// An outbox that the app was given.
#[derive(Debug, Clone)]
pub(crate) struct DeclaredOutbox {
    pub(crate) store: Arc<dyn OutboxStore>,
    pub(crate) place: &'static Location<'static>,
}

/// An outbox, and where in the code it comes from.
#[derive(Debug)]
pub(crate) struct PlannedOutbox {
    pub(crate) store: Arc<dyn OutboxStore>,
    pub(crate) name: String,
    pub(crate) place: String,
}

/// Every store that a service works with, also those that nothing is published by.
#[cfg(feature = "test")]
pub(crate) fn stores(service: &Service) -> impl Iterator<Item = Arc<dyn OutboxStore>> {
    let given = service.outboxes.iter().map(|declared| declared.store.clone());
    let inboxes = service
        .subscriptions
        .iter()
        .filter_map(|one| one.facts.inbox.as_ref());
    given.chain(inboxes.filter_map(|inbox| inbox.store().outbox()))
}

/// Those that the app was given, and those of inboxes under which something is published. Several stores on the same
/// tables are one outbox.
pub(super) fn of(service: &Service) -> Vec<PlannedOutbox> {
    let given = service.outboxes.iter();
    let given = given.map(|declared| (declared.store.clone(), declared.place));
    let publishing = service
        .subscriptions
        .iter()
        .map(|subscription| &subscription.facts);
    let brought = publishing.filter(|facts| publishes(facts)).filter_map(|facts| {
        let inbox = facts.inbox.as_ref()?;
        Some((inbox.store().outbox()?, facts.place))
    });
    let mut ids = Vec::new();
    let mut planned = Vec::new();
    for (store, place) in given.chain(brought) {
        let id = store.id();
        if !ids.contains(&id) {
            ids.push(id);
            planned.push(PlannedOutbox {
                name: store.name(),
                store,
                place: place_of(place),
            });
        }
    }
    planned
}

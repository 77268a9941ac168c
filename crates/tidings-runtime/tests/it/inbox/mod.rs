//! Subscriptions with an inbox, on a store of a few lines.

mod batches;
mod singles;
mod store;

use crate::broker::Broker;
use crate::world::spec;
use std::sync::Arc;
use store::Fake;
use tidings_core::*;
use tidings_runtime::*;

/// Runs a subscription whose attempts are transactions of that store.
fn run(broker: &Broker, store: &Fake, subscription: Subscription<()>) -> SubscriptionHandle {
    let around = Around {
        inbox: Some(Inbox::new(Arc::new(store.clone()))),
        claims: None,
    };
    start_within(spec(broker, subscription.to("outputs"), 1), around)
}

fn text(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).into_owned()
}

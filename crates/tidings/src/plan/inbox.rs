//! What cannot be right about an inbox, and about handlers that need one.

use super::{Mistakes, place_of, publishes};
use crate::part::{ProducerFacts, SubscriptionFacts};
use crate::service::Service;
use tidings_core::{Inbox, Publishes};

pub(super) fn check_handler(facts: &SubscriptionFacts, place: &str, mistakes: &mut Mistakes) {
    match &facts.inbox {
        Some(inbox) => check_within(facts, inbox, place, mistakes),
        None => check_without(facts, place, mistakes),
    }
}

fn check_without(facts: &SubscriptionFacts, place: &str, mistakes: &mut Mistakes) {
    let handler = facts.short_handler();
    if facts.needs.transaction.is_some() {
        mistakes.add(
            place,
            format!("`{handler}` works in the transaction of an inbox, and there is none"),
            "give the subscription an inbox: .inbox(store), or take a database connection from the state",
        );
    }
    if facts.has_inbox_id {
        mistakes.add(
            place,
            format!(
                "the subscription of `{handler}` says what messages are known by in its inbox, and has none"
            ),
            "add .inbox(store), or remove .inbox_id(…)",
        );
    }
}

fn check_within(facts: &SubscriptionFacts, inbox: &Inbox, place: &str, mistakes: &mut Mistakes) {
    let handler = facts.short_handler();
    let store = inbox.store();
    if let Some(wanted) = facts.needs.transaction
        && wanted != store.database()
    {
        let (wanted, given) = (wanted.name(), store.database().name());
        mistakes.add(
            place,
            format!(
                "`{handler}` takes a transaction of {wanted}, and its inbox is {}",
                store.name()
            ),
            format!("take Tx<{given}>, or give the subscription an inbox of {wanted}"),
        );
    }
    if facts.needs.manual_ack {
        mistakes.add(
            place,
            format!("`{handler}` takes `Ack`, and its subscription has an inbox, which commits when the handler returns"),
            "return a Result in place of `Ack`, or remove .inbox(…)",
        );
    }
    if publishes(facts) && !store.has_outbox() {
        mistakes.add(
            place,
            format!(
                "`{handler}` publishes under an inbox in {}, which has no outbox: what is published would be lost if the process died after the commit",
                store.name()
            ),
            "give the inbox a store with an outbox, or let the handler publish nothing",
        );
    }
    if facts.publishes == Publishes::Reply {
        mistakes.add(
            place,
            format!("`{handler}` returns a reply under an inbox, and it would have to wait in the outbox while its requester waits for it"),
            "return an event in place of Reply, or remove .inbox(…)",
        );
    }
}

/// A producer has no message that could be known again.
pub(super) fn check_producer(facts: &ProducerFacts, place: &str, mistakes: &mut Mistakes) {
    if facts.needs.transaction.is_some() {
        mistakes.add(
            place,
            format!(
                "`{}` takes the transaction of an inbox, and a producer has none",
                facts.name
            ),
            "take the store from the state and begin a transaction",
        );
    }
}

/// Without a group every instance handles every message, and an inbox would leave all but one of them out.
pub(super) fn without_group(name: &str, place: &str, mistakes: &mut Mistakes) {
    mistakes.add(
        place,
        format!("subscription \"{name}\" has an inbox and no group, within which ids are known"),
        "give it a group: .group(\"…\"), or remove .inbox(…)",
    );
}

/// Ids of the user's own are known within the group, whatever channel they come from: of two subscriptions of a group
/// that read different channels, one would take the other's messages for duplicates.
pub(super) fn check_shared_ids(service: &Service, groups: &[Option<String>], mistakes: &mut Mistakes) {
    let own = service
        .subscriptions
        .iter()
        .zip(groups)
        .filter_map(|(subscription, group)| {
            let inbox = subscription.facts.inbox.as_ref()?;
            Some((&subscription.facts, inbox, group.as_ref()?))
        });
    let own: Vec<_> = own.filter(|(_, inbox, _)| inbox.has_own_ids()).collect();
    for (index, (facts, inbox, group)) in own.iter().enumerate() {
        let clash = own.iter().take(index).any(|(other, store, of)| {
            of == group && other.channels != facts.channels && store.store().name() == inbox.store().name()
        });
        if clash {
            mistakes.add(
                place_of(facts.place),
                format!(
                    "two subscriptions of the group \"{group}\" read different channels, and both say by inbox_id what their messages are known by"
                ),
                "give one of them another group: an id is known within its group, and the message of one channel would be a duplicate of the other's",
            );
        }
    }
}

//! A [`Description`] as JSON, for programs.

use super::{Description, SubscriptionDescription, Value};
use serde_json::json;

/// Every part with every value and its origin.
pub(crate) fn to_json(description: &Description) -> serde_json::Value {
    let binders = description
        .binders
        .iter()
        .map(|binder| json!({ "name": binder.name, "url": value(&binder.url) }));
    let channels = description
        .channels
        .iter()
        .map(|channel| json!({ "name": channel.name, "values": values(&channel.values) }));
    let producers = description.producers.iter().map(|producer| {
        json!({
            "name": producer.name,
            "when": producer.when,
            "output": producer.output,
            "place": producer.place,
        })
    });
    let outboxes = description
        .outboxes
        .iter()
        .map(|outbox| json!({ "name": outbox.name, "sent": outbox.sent, "place": outbox.place }));
    json!({
        "app": description.app,
        "values": values(&description.values),
        "binders": binders.collect::<Vec<_>>(),
        "channels": channels.collect::<Vec<_>>(),
        "subscriptions": description.subscriptions.iter().map(subscription).collect::<Vec<_>>(),
        "producers": producers.collect::<Vec<_>>(),
        "outboxes": outboxes.collect::<Vec<_>>(),
    })
}

fn subscription(subscription: &SubscriptionDescription) -> serde_json::Value {
    json!({
        "name": subscription.name,
        "channels": subscription.channels,
        "reads_dead_letters": subscription.reads_dead_letters,
        "destinations": subscription.destinations,
        "binder": subscription.binder,
        "group": subscription.group.as_ref().map(value),
        "handler": subscription.handler,
        "place": subscription.place,
        "output": subscription.output,
        "dead_letters": subscription.dead_letters,
        "retry": subscription.retry,
        "policy": values(&subscription.policy),
    })
}

fn values(values: &[Value]) -> serde_json::Value {
    let values = values.iter().map(|one| (one.key.to_owned(), value(one)));
    serde_json::Value::Object(values.collect())
}

fn value(value: &Value) -> serde_json::Value {
    json!({ "value": value.value, "origin": value.origin.to_string() })
}

//! A service as data: [`Description`].

#[cfg(feature = "manage")]
mod json;
mod screen;

#[cfg(feature = "manage")]
pub(crate) use json::to_json;

use crate::plan::{Plan, PlannedChannel, PlannedOutbox, PlannedSubscription, place_of};
use crate::service::Service;
use std::fmt;
use tidings_config::{Origin, Setting};
use tidings_core::{Reads, retry_destination};

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Value {
    /// Its key in the configuration, without the section: `retry.attempts`.
    pub key: &'static str,
    /// The value as text.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

impl Value {
    pub(crate) fn new(key: &'static str, value: String, origin: Origin) -> Self {
        Self { key, value, origin }
    }

    fn of<T: fmt::Display>(key: &'static str, setting: &Setting<T>) -> Self {
        Self::new(key, setting.value.to_string(), setting.origin.clone())
    }
}

/// What a service will do: every part with its policy, and where each value came from. `Display` prints it on one
/// screen: what nobody set is said once, at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Description {
    /// The name of the app.
    pub app: String,
    /// The brokers.
    pub binders: Vec<BinderDescription>,
    /// The channels.
    pub channels: Vec<ChannelDescription>,
    /// The subscriptions.
    pub subscriptions: Vec<SubscriptionDescription>,
    /// The producers.
    pub producers: Vec<ProducerDescription>,
    /// The outboxes.
    pub outboxes: Vec<OutboxDescription>,
    /// Limits of the whole app.
    pub values: Vec<Value>,
}

/// A broker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BinderDescription {
    /// Its name.
    pub name: String,
    /// Its address, without a password.
    pub url: Value,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelDescription {
    /// Its name in the code.
    pub name: String,
    /// Where it lives: binder, destination, partitions and whether it is created.
    pub values: Vec<Value>,
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionDescription {
    /// Its name.
    pub name: String,
    /// The channels that it reads.
    pub channels: Vec<String>,
    /// Whether it reads their messages or their dead letters.
    pub reads_dead_letters: bool,
    /// The destinations of those.
    pub destinations: Vec<String>,
    /// The broker.
    pub binder: String,
    /// The group; none sees every message and stores nothing.
    pub group: Option<Value>,
    /// The handler's name.
    pub handler: String,
    /// Where in the code it was made.
    pub place: String,
    /// The channel that its outputs go to.
    pub output: Option<String>,
    /// Where its dead letters go.
    pub dead_letters: Vec<String>,
    /// Where its messages wait for long; empty for one without a group, whose messages wait in memory.
    pub retry: Vec<String>,
    /// Its policy.
    pub policy: Vec<Value>,
}

/// A producer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerDescription {
    /// Its name.
    pub name: String,
    /// When it publishes: `every 1s`, `stream`.
    pub when: String,
    /// The channel that its outputs go to.
    pub output: Option<String>,
    /// Where in the code it was made.
    pub place: String,
}

/// An outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxDescription {
    /// The database that it is in, without a password.
    pub name: String,
    /// How it is sent: `by polling`, `by another process`.
    pub sent: String,
    /// Where in the code it comes from.
    pub place: String,
}

impl Description {
    pub(crate) fn new(service: &Service, plan: &Plan) -> Self {
        let subscriptions = service.subscriptions.iter().zip(&plan.subscriptions);
        Self {
            app: plan.app.clone(),
            binders: plan
                .binders
                .iter()
                .map(|binder| BinderDescription {
                    name: binder.name.clone(),
                    url: Value::of("url", &binder.url),
                })
                .collect(),
            channels: plan
                .channels
                .values()
                .map(|planned| {
                    let mut described = channel(planned);
                    if planned.pattern.is_some() {
                        let interval = plan.discovery_interval(&planned.binder.value);
                        described.values.retain(|value| value.key != "partitions");
                        described.values.push(duration("discovery_interval", &interval));
                    }
                    described
                })
                .collect(),
            subscriptions: subscriptions
                .map(|(bound, planned)| {
                    let facts = &bound.facts;
                    subscription(
                        planned,
                        &facts.channels,
                        facts.short_handler(),
                        facts.output.clone(),
                    )
                })
                .collect(),
            producers: service
                .producers
                .iter()
                .map(|producer| self::producer(&producer.facts))
                .collect(),
            outboxes: plan.outboxes.iter().map(outbox).collect(),
            values: app_values(plan),
        }
    }

    /// The subscription of that name.
    pub fn subscription(&self, name: &str) -> Option<&SubscriptionDescription> {
        self.subscriptions
            .iter()
            .find(|subscription| subscription.name == name)
    }
}

impl SubscriptionDescription {
    /// A value of its policy by its key, `retry.attempts`.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.policy.iter().find(|value| value.key == key)
    }
}

/// What the configuration says of the whole app, and the times that everybody should know.
fn app_values(plan: &Plan) -> Vec<Value> {
    let requests = &plan.requests;
    let said = [
        Value::of("app.max_open_requests", &requests.max_open),
        Value::of("app.reply_destination", &requests.destination),
        Value::of("app.reply_addresses", &requests.addresses),
    ];
    let times = [
        duration("app.drain_timeout", &plan.drain_timeout),
        duration("app.publish_timeout", &plan.publish_timeout),
    ];
    let said = said.into_iter().filter(|value| value.origin != Origin::Default);
    times.into_iter().chain(said).collect()
}

fn duration(key: &'static str, setting: &Setting<std::time::Duration>) -> Value {
    Value::new(key, format!("{:?}", setting.value), setting.origin.clone())
}

fn channel(channel: &PlannedChannel) -> ChannelDescription {
    let mut values = vec![
        Value::of("destination", &channel.destination),
        Value::of("binder", &channel.binder),
        Value::of("partitions", &channel.partitions),
    ];
    let create = match channel.create.value {
        tidings_core::Create::IfMissing => "if-missing",
        tidings_core::Create::Never => "never",
    };
    values.push(Value::new(
        "create",
        create.to_owned(),
        channel.create.origin.clone(),
    ));
    values.extend(
        channel
            .retention_time
            .as_ref()
            .map(|time| duration("retention_time", time)),
    );
    values.extend(
        channel
            .retention_bytes
            .as_ref()
            .map(|bytes| Value::of("retention_bytes", bytes)),
    );
    values.extend(channel.cleanup.as_ref().map(|cleanup| {
        let text = match cleanup.value {
            tidings_core::Cleanup::Compact { .. } => "compact",
            _ => "delete",
        };
        Value::new("cleanup", text.to_owned(), cleanup.origin.clone())
    }));
    let claims = channel.claims.iter().flat_map(|claims| claims.values());
    values.extend(claims.map(|(key, text, origin)| Value::new(key, text, origin)));
    #[cfg(feature = "rabbitmq")]
    values.extend(on_rabbitmq(channel));
    ChannelDescription {
        name: channel.name.clone(),
        values,
    }
}

/// What a channel is on a RabbitMQ, if somebody said anything of that.
#[cfg(feature = "rabbitmq")]
fn on_rabbitmq(channel: &PlannedChannel) -> Vec<Value> {
    let Some(origin) = &channel.rabbitmq.origin else {
        return Vec::new();
    };
    let (options, destination) = (&channel.rabbitmq.options, &channel.destination.value);
    let mut values = vec![
        ("rabbitmq.exchange", options.exchange_of(destination)),
        ("rabbitmq.queue", options.queue_of(destination, "{group}")),
    ];
    let arguments = options.queue_arguments_in_words();
    values.extend((!arguments.is_empty()).then_some(("rabbitmq.arguments", arguments)));
    let values = values.into_iter();
    values
        .map(|(key, text)| Value::new(key, text, origin.clone()))
        .collect()
}

fn subscription(
    planned: &PlannedSubscription,
    channels: &[String],
    handler: String,
    output: Option<String>,
) -> SubscriptionDescription {
    let destinations: Vec<_> = planned
        .inputs
        .iter()
        .map(|input| input.destination.clone())
        .collect();
    let group = planned.group.as_ref();
    let retry = group.map(|group| {
        destinations
            .iter()
            .map(|name| retry_destination(name, &group.value))
            .collect()
    });
    let mut dead_letters: Vec<_> = planned
        .inputs
        .iter()
        .filter_map(|input| input.dead_letter.clone())
        .collect();
    dead_letters.dedup();
    SubscriptionDescription {
        name: planned.name.clone(),
        channels: channels.to_vec(),
        reads_dead_letters: planned.reads == Reads::DeadLetters,
        destinations,
        binder: planned.binder.clone(),
        group: group.map(|group| Value::of("group", group)),
        handler,
        place: planned.place.clone(),
        output,
        dead_letters,
        retry: retry.unwrap_or_default(),
        policy: planned.values.clone(),
    }
}

fn outbox(planned: &PlannedOutbox) -> OutboxDescription {
    OutboxDescription {
        name: planned.name.clone(),
        sent: planned.store.way().to_owned(),
        place: planned.place.clone(),
    }
}

fn producer(facts: &crate::part::ProducerFacts) -> ProducerDescription {
    ProducerDescription {
        name: facts.name.clone(),
        when: facts
            .interval
            .map_or_else(|| "stream".to_owned(), |interval| format!("every {interval:?}")),
        output: facts.output.clone(),
        place: place_of(facts.place),
    }
}

//! What channels are on a RabbitMQ: exchanges, routing keys, bindings, queues.

use super::{Mistakes, PlannedChannel, place_in};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidings_config::{Origin, RabbitmqChannelConfig, Setting};
use tidings_rabbitmq::DestinationOptions;

/// What a channel is on a RabbitMQ.
#[derive(Debug, Default)]
pub(crate) struct PlannedRabbit {
    pub(crate) options: DestinationOptions,
    /// Where it is said; nothing is if there is none.
    pub(crate) origin: Option<Origin>,
}

/// What configuration says, and what code says where that says nothing.
pub(super) fn plan(
    name: &str,
    code: Option<Setting<DestinationOptions>>,
    config: &RabbitmqChannelConfig,
    mistakes: &mut Mistakes,
) -> PlannedRabbit {
    let configured = match DestinationOptions::from_config(config) {
        Ok(options) => options,
        Err(error) => {
            mistakes.add(
                format!("channel \"{name}\""),
                error.to_string(),
                "put it right, or leave it out",
            );
            DestinationOptions::default()
        }
    };
    let arguments = config
        .exchange_arguments
        .values()
        .chain(config.queue_arguments.values());
    let of_config = config
        .first_origin()
        .or_else(|| arguments.map(|set| &set.origin).next())
        .cloned();
    let (code, of_code) = code.map(|said| (said.value, said.origin)).unzip();
    PlannedRabbit {
        options: code.unwrap_or_default().overlaid_by(configured),
        origin: of_config.or(of_code),
    }
}

/// Two channels may lead to one destination, but it is one thing on the server.
pub(super) fn check(channels: &BTreeMap<String, PlannedChannel>, mistakes: &mut Mistakes) {
    let mut seen: BTreeMap<(&str, &str), &PlannedChannel> = BTreeMap::new();
    for channel in channels.values() {
        let Some(origin) = &channel.rabbitmq.origin else {
            continue;
        };
        let home = (channel.binder.value.as_str(), channel.destination.value.as_str());
        let first = *seen.entry(home).or_insert(channel);
        if first.rabbitmq.options != channel.rabbitmq.options {
            mistakes.add(
                place_in(origin),
                format!(
                    "channels \"{}\" and \"{}\" are both \"{}\", with different exchanges or queues",
                    first.name, channel.name, home.1
                ),
                "say it at one of them, or the same at both",
            );
        }
    }
}

/// What is said of the destinations of a binder.
pub(crate) fn destinations<'a>(
    channels: &'a BTreeMap<String, PlannedChannel>,
    binder: &'a str,
) -> impl Iterator<Item = (Arc<str>, DestinationOptions)> + 'a {
    let here = channels
        .values()
        .filter(move |channel| channel.binder.value == binder && channel.rabbitmq.origin.is_some());
    here.map(|channel| {
        (
            channel.destination.value.as_str().into(),
            channel.rabbitmq.options.clone(),
        )
    })
}

//! Which exchange and which queues a destination has: [`Layout`].

use crate::letters::letters_exchange;
use crate::options::{DestinationOptions, ExchangeType, QueueType, RoutingKey, arguments, headers_of};
use crate::sink::Route;
use crate::topology::{Binding, ExchangeSpec, QueueSpec, Topology, text};
use lapin::types::{AMQPValue, FieldTable};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{Create, DestinationSpec};

/// A destination on the server.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) destination: Arc<str>,
    pub(crate) create: Create,
    options: DestinationOptions,
    /// How long, and how much of it, a stream keeps.
    retention: (Option<Duration>, Option<u64>),
}

impl Layout {
    pub(crate) fn new(spec: &DestinationSpec, options: DestinationOptions) -> Self {
        Self {
            destination: spec.name.clone(),
            create: spec.create,
            options,
            retention: (spec.retention_time, spec.retention_bytes),
        }
    }

    /// One of which nobody has said anything.
    pub(crate) fn plain(destination: &Arc<str>) -> Self {
        Self::new(
            &DestinationSpec::new(destination.clone(), 1),
            DestinationOptions::default(),
        )
    }

    /// The exchange that is published to; none if messages go straight to a queue.
    pub(crate) fn exchange(&self) -> Option<ExchangeSpec> {
        let options = &self.options;
        if options.exchange_type() == ExchangeType::Default {
            return None;
        }
        let mut table = FieldTable::default();
        for (name, value) in arguments(&options.exchange_arguments) {
            table.insert(name.into(), value);
        }
        if let Some(alternate) = &options.alternate_exchange {
            table.insert("alternate-exchange".into(), text(alternate));
        }
        Some(ExchangeSpec {
            name: options.exchange.as_deref().unwrap_or(&self.destination).into(),
            exchange_type: options.exchange_type(),
            arguments: table,
            create: self.create,
        })
    }

    /// How it is published to.
    pub(crate) fn route(&self) -> Route {
        let routing_key = self.options.routing_key.clone();
        match self.exchange() {
            None => Route::Queues {
                routing_key: routing_key.unwrap_or_else(|| RoutingKey::fixed(&*self.destination)),
            },
            Some(exchange) if exchange.name == self.destination => Route::Exchange { routing_key },
            Some(exchange) => Route::NamedExchange {
                exchange: exchange.name.to_string(),
                routing_key,
            },
        }
    }

    /// The queue from which a group reads, or one of nobody in particular.
    pub(crate) fn queue(&self, group: Option<&str>, topology: &Topology) -> QueueSpec {
        match group {
            Some(group) => self.of_group(group, topology),
            None if self.is_stream() => self.stream(topology),
            None => self.anonymous(topology),
        }
    }

    fn of_group(&self, group: &str, topology: &Topology) -> QueueSpec {
        let destination = &self.destination;
        let from = Binding::keyed(&letters_exchange(destination), group);
        let letters = || topology.letters(destination, group, &from.exchange.name, self.create);
        let name = self.options.queue_of(destination, group);
        QueueSpec {
            arguments: self.arguments(&from, topology),
            bound_to: self.bindings(),
            letters: (self.create == Create::IfMissing).then(|| Box::new(letters())),
            prefetch: self.options.prefetch,
            ..topology.lying(name, self.create)
        }
    }

    fn anonymous(&self, topology: &Topology) -> QueueSpec {
        let name = format!("{}.anonymous.{:016x}", self.destination, fastrand::u64(..));
        QueueSpec {
            arguments: FieldTable::default(),
            exclusive: true,
            bound_to: self.bindings(),
            prefetch: self.options.prefetch,
            // It is nobody else's, so there is nothing to find.
            ..topology.lying(name, Create::IfMissing)
        }
    }

    /// Whether what was published is kept in a stream, from which subscriptions without a group read.
    pub(crate) fn is_stream(&self) -> bool {
        self.options.queue_type == Some(QueueType::Stream)
    }

    /// That stream.
    pub(crate) fn stream(&self, topology: &Topology) -> QueueSpec {
        let mut table = FieldTable::default();
        table.insert("x-queue-type".into(), text(QueueType::Stream.as_str()));
        let (time, bytes) = self.retention;
        if let Some(time) = time {
            table.insert("x-max-age".into(), text(&format!("{}s", time.as_secs().max(1))));
        }
        if let Some(bytes) = bytes.and_then(|bytes| i64::try_from(bytes).ok()) {
            table.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(bytes));
        }
        for (name, value) in arguments(&self.options.queue_arguments) {
            table.insert(name.into(), value);
        }
        QueueSpec {
            arguments: table,
            bound_to: self.bindings(),
            prefetch: self.options.prefetch,
            is_stream: true,
            ..topology.lying(format!("{}.stream", self.destination), self.create)
        }
    }

    /// From what the queues get their messages.
    fn bindings(&self) -> Vec<Binding> {
        let Some(exchange) = self.exchange() else {
            return Vec::new();
        };
        let exchange = Arc::new(exchange);
        let one = |pattern: &str, arguments| Binding {
            exchange: exchange.clone(),
            pattern: pattern.into(),
            arguments,
        };
        let plain = |pattern: &str| one(pattern, FieldTable::default());
        match (exchange.exchange_type, &self.options.bindings[..]) {
            (ExchangeType::Fanout, _) => vec![plain("")],
            (_, []) => vec![plain("#")],
            (ExchangeType::Headers, all) => all
                .iter()
                .map(|text| one("", headers_of(text).unwrap_or_default()))
                .collect(),
            (_, all) => all.iter().map(|pattern| plain(pattern)).collect(),
        }
    }

    /// The arguments of a group's queue: what the server gives up by itself goes to the dead letters.
    fn arguments(&self, letters: &Binding, topology: &Topology) -> FieldTable {
        let (options, defaults) = (&self.options, topology.consuming());
        let said = options.queue_type.filter(|kind| *kind != QueueType::Stream);
        let kind = said.unwrap_or(defaults.queue_type);
        let mut table = FieldTable::default();
        let mut put = |name: &str, value| {
            table.insert(name.into(), value);
        };
        let number = |number: u64| AMQPValue::LongLongInt(i64::try_from(number).unwrap_or(i64::MAX));
        let millis = |time: Duration| number(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        put("x-queue-type", text(kind.as_str()));
        if options
            .single_active_consumer
            .unwrap_or(defaults.single_active_consumer)
        {
            put("x-single-active-consumer", AMQPValue::Boolean(true));
        }
        put("x-dead-letter-exchange", text(&letters.exchange.name));
        put("x-dead-letter-routing-key", text(&letters.pattern));
        let limit = options.delivery_limit.or(defaults.delivery_limit);
        if let (QueueType::Quorum, Some(limit)) = (kind, limit) {
            put("x-delivery-limit", number(limit.into()));
        }
        let sizes = [
            ("x-message-ttl", options.message_ttl.map(millis)),
            ("x-expires", options.unused_for.map(millis)),
            ("x-max-length", options.max_length.map(number)),
            ("x-max-length-bytes", options.max_length_bytes.map(number)),
            (
                "x-max-priority",
                options.max_priority.map(|most| number(most.into())),
            ),
            (
                "x-overflow",
                options.overflow.map(|overflow| text(overflow.as_str())),
            ),
        ];
        for (name, value) in sizes {
            if let Some(value) = value {
                put(name, value);
            }
        }
        for (name, value) in arguments(&options.queue_arguments) {
            put(name, value);
        }
        table
    }
}

//! Where a destination is on the server: [`Route`].

use crate::letters::letters_key;
use crate::options::RoutingKey;
use crate::requests::is_given_out;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tidings_core::{Message, PublishError, names};

/// The longest name of an exchange or a queue, and the longest routing key.
const LONGEST: usize = 255;

/// Where messages for a destination are published.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Route {
    /// To the exchange with the destination's name. Without a routing key, that is the type of the event, or the
    /// destination's name where a message has no type.
    Exchange {
        /// What the routing key of a message is made of.
        routing_key: Option<RoutingKey>,
    },
    /// To an exchange with another name.
    NamedExchange {
        /// Its name.
        exchange: String,
        /// What the routing key of a message is made of.
        routing_key: Option<RoutingKey>,
    },
    /// To the queue whose name is the routing key.
    Queues {
        /// What that is made of.
        routing_key: RoutingKey,
    },
    /// To the queue with the destination's name.
    Queue,
    /// Dead letters: to the exchange with the destination's name. The routing key is the group that gave them up, after the
    /// destination that it read where the exchange is not of that destination alone.
    Letters,
}

impl Default for Route {
    fn default() -> Self {
        Self::Exchange { routing_key: None }
    }
}

/// What each destination is; every other one is an exchange.
#[derive(Debug, Default)]
pub(super) struct Routes(Mutex<HashMap<Arc<str>, Route>>);

impl Routes {
    pub(super) fn set(&self, destination: Arc<str>, route: Route) {
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        routes.insert(destination, route);
    }

    pub(super) fn target(&self, destination: &Arc<str>) -> Target {
        let routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Target::new(destination, routes.get(destination).unwrap_or(&Route::default()))
    }
}

/// A destination that is published to.
#[derive(Debug)]
pub(crate) struct Target {
    pub(super) destination: Arc<str>,
    /// Empty for the one that leads to queues by their names.
    pub(crate) exchange: Arc<str>,
    key: Key,
}

/// What a routing key is.
#[derive(Debug, Clone)]
enum Key {
    Of(RoutingKey),
    /// The destination's name.
    Name,
    /// The group that gave a message up.
    Group,
}

impl Target {
    fn new(destination: &Arc<str>, route: &Route) -> Self {
        let of = |key: &Option<RoutingKey>| Key::Of(key.clone().unwrap_or_default());
        let (exchange, key): (Arc<str>, _) = match route {
            Route::Letters => (destination.clone(), Key::Group),
            Route::Exchange { routing_key } => (destination.clone(), of(routing_key)),
            Route::NamedExchange {
                exchange,
                routing_key,
            } => (exchange.as_str().into(), of(routing_key)),
            Route::Queues { routing_key } => ("".into(), Key::Of(routing_key.clone())),
            Route::Queue => ("".into(), Key::Name),
        };
        Self {
            destination: destination.clone(),
            exchange,
            key,
        }
    }

    /// The same by another exchange.
    pub(super) fn through(&self, exchange: Arc<str>) -> Self {
        Self {
            destination: self.destination.clone(),
            exchange,
            key: self.key.clone(),
        }
    }

    /// The queue of that name.
    pub(super) fn queue(name: &Arc<str>) -> Self {
        Self::new(name, &Route::Queue)
    }

    /// Whether it is an address that the server gave out for replies. Everything that is published there mandatorily
    /// comes back, also when it was delivered.
    pub(super) fn is_address(&self) -> bool {
        self.exchange.is_empty() && is_given_out(&self.destination)
    }

    /// The routing key of a message.
    pub(crate) fn routing_key<'a>(&'a self, message: &'a Message) -> Cow<'a, str> {
        match &self.key {
            Key::Of(key) => key.of(message, &self.destination),
            Key::Name => (&*self.destination).into(),
            Key::Group => {
                let header = |name| message.headers().get_str(name);
                match (header(names::ORIGIN_DESTINATION), header(names::GROUP)) {
                    (Some(origin), Some(group)) => letters_key(&self.exchange, origin, group),
                    (_, group) => group.unwrap_or(&self.destination).into(),
                }
            }
        }
    }

    /// Whether the protocol can carry the names.
    pub(super) fn check(&self, message: &Message) -> Result<(), PublishError> {
        if self.exchange.len() > LONGEST {
            return Err(PublishError::UnknownDestination {
                destination: self.destination.clone(),
            });
        }
        if self.routing_key(message).len() > LONGEST {
            return Err(PublishError::Unsupported {
                broker: super::BROKER,
                feature: "a routing key of more than 255 bytes",
                cure: "give the destination a routing key of its own, or the event a shorter type",
            });
        }
        Ok(())
    }
}

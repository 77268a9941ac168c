//! Where a destination is on the server: [`Route`].

use crate::letters::letters_key;
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
        /// The routing key of every message.
        routing_key: Option<String>,
    },
    /// To an exchange with another name.
    NamedExchange {
        /// Its name.
        exchange: String,
        /// The routing key of every message.
        routing_key: Option<String>,
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
pub(super) struct Target {
    pub(super) destination: Arc<str>,
    /// Empty for the one that leads to queues by their names.
    pub(super) exchange: Arc<str>,
    key: Option<String>,
    by_group: bool,
}

impl Target {
    fn new(destination: &Arc<str>, route: &Route) -> Self {
        let by_group = matches!(route, Route::Letters);
        let (exchange, key): (Arc<str>, _) = match route {
            Route::Letters => (destination.clone(), None),
            Route::Exchange { routing_key } => (destination.clone(), routing_key.clone()),
            Route::NamedExchange {
                exchange,
                routing_key,
            } => (exchange.as_str().into(), routing_key.clone()),
            Route::Queue => ("".into(), Some(destination.to_string())),
        };
        Self {
            destination: destination.clone(),
            exchange,
            key,
            by_group,
        }
    }

    pub(super) fn is_queue(&self) -> bool {
        self.exchange.is_empty()
    }

    /// The routing key of a message.
    pub(super) fn routing_key<'a>(&'a self, message: &'a Message) -> Cow<'a, str> {
        let header = |name| message.headers().get_str(name);
        let key = match &self.key {
            Some(key) => Some(key.as_str()),
            None if self.by_group => match (header(names::ORIGIN_DESTINATION), header(names::GROUP)) {
                (Some(origin), Some(group)) => return letters_key(&self.exchange, origin, group),
                (_, group) => group,
            },
            None => header(names::TYPE),
        };
        key.unwrap_or(&self.destination).into()
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

//! A part of a RabbitMQ that one test has for itself: [`VirtualHost`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::api::{RabbitApi, list, segment, text};
use super::message::RabbitMessage;
use super::plan::node_number;
use crate::error::BrokersError;

/// The API knows a connection that was just made only when its statistics come round, every 5 s.
const CLOSE_PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(100);

/// A virtual host of a RabbitMQ; it goes with all that is in it when it is dropped.
#[derive(Debug)]
pub struct VirtualHost {
    api: RabbitApi,
    name: String,
}

/// What a RabbitMQ says of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RabbitQueue {
    /// Its name.
    pub name: String,
    /// `classic`, `quorum` or `stream`.
    pub kind: String,
    /// The node that leads it, or on which a classic queue lies; `None` while there is none, and on servers that were not
    /// started here.
    pub leader: Option<u32>,
    /// The members of a quorum queue that take part, by the number of their node.
    pub online: Vec<u32>,
    /// Messages that wait for a consumer; `None` while the queue does not say. A quorum queue counts every half a second,
    /// on servers that were not started here every 5 s.
    pub ready: Option<u64>,
    /// Messages that a consumer has and did not acknowledge.
    pub unacknowledged: Option<u64>,
    /// The arguments that it was declared with, as JSON: a text stands in quotes.
    pub arguments: BTreeMap<String, String>,
}

/// A connection of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RabbitConnection {
    /// What the API calls it.
    pub name: String,
    /// Who it is.
    pub user: String,
    /// The node that it leads to; `None` on servers that were not started here.
    pub node: Option<u32>,
}

impl VirtualHost {
    pub(crate) fn make(api: RabbitApi, name: String, user: &str) -> Result<Self, BrokersError> {
        let (path, user) = (segment(&name), segment(user));
        api.put(&format!("vhosts/{path}"), &json!({}))?;
        // From here on it is removed whatever goes wrong.
        let virtual_host = Self { api, name };
        let all = json!({ "configure": ".*", "write": ".*", "read": ".*" });
        virtual_host
            .api
            .put(&format!("permissions/{path}/{user}"), &all)?;
        Ok(virtual_host)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address on the first node: `amqp://user:password@host:port/name`.
    #[must_use]
    pub fn url(&self) -> String {
        self.urls().swap_remove(0)
    }

    /// Its addresses on all nodes.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.api.urls_of(&self.name)
    }

    /// What the management API calls something in it: `path("exchanges", "orders")`.
    #[must_use]
    pub fn path(&self, kind: &str, name: &str) -> String {
        format!("{kind}/{}/{}", segment(&self.name), segment(name))
    }

    /// The management API, for what has no method here.
    #[must_use]
    pub fn api(&self) -> &RabbitApi {
        &self.api
    }

    /// Declares a durable queue: `declare("orders", &json!({"x-queue-type": "quorum"}))`.
    ///
    /// # Errors
    /// No node answers, or there is such a queue with other arguments.
    pub fn declare(&self, queue: &str, arguments: &Value) -> Result<(), BrokersError> {
        let body = json!({ "durable": true, "arguments": arguments });
        self.api.put(&self.path("queues", queue), &body)
    }

    /// What there is to know of a queue; `None` when there is no such one.
    ///
    /// # Errors
    /// No node answers.
    pub fn queue(&self, queue: &str) -> Result<Option<RabbitQueue>, BrokersError> {
        Ok(self.queues()?.into_iter().find(|found| found.name == queue))
    }

    /// All queues.
    ///
    /// # Errors
    /// No node answers.
    pub fn queues(&self) -> Result<Vec<RabbitQueue>, BrokersError> {
        let of_host = format!("queues/{}", segment(&self.name));
        // The usual answer is made of statistics, and seconds old. The one with counts leaves out queues that have no
        // leader at the moment.
        let all = self.api.get(&format!("{of_host}?disable_stats=true"))?;
        let counted = format!("{of_host}?disable_stats=true&enable_queue_totals=true");
        let counted: Vec<RabbitQueue> = list(&self.api.get(&counted)?).map(parse_queue).collect();
        let with_counts = |value: &Value| {
            let queue = parse_queue(value);
            let found = counted.iter().find(|counted| counted.name == queue.name);
            found.cloned().unwrap_or(queue)
        };
        Ok(list(&all).map(with_counts).collect())
    }

    /// Publishes a message and waits for the confirmation; false when no queue wanted it.
    ///
    /// # Errors
    /// No node answers, or there is no such exchange.
    pub fn publish(&self, message: &RabbitMessage) -> Result<bool, BrokersError> {
        let exchange = match message.exchange.as_str() {
            "" => "amq.default",
            name => name,
        };
        let answer = self.api.post(
            &format!("{}/publish", self.path("exchanges", exchange)),
            &message.body(),
        )?;
        Ok(answer["routed"] == true)
    }

    /// Takes up to so many messages out of a queue for good. A quorum queue whose nodes have just been started may leave
    /// this without an answer, and the messages are gone all the same: wait until it says how many are
    /// [`ready`](RabbitQueue::ready), or [`peek`](Self::peek).
    ///
    /// # Errors
    /// No node answers.
    pub fn get(&self, queue: &str, at_most: usize) -> Result<Vec<RabbitMessage>, BrokersError> {
        self.hand_out(queue, at_most, "ack_requeue_false")
    }

    /// Looks at up to so many messages of a queue and puts them back.
    ///
    /// # Errors
    /// No node answers.
    pub fn peek(&self, queue: &str, at_most: usize) -> Result<Vec<RabbitMessage>, BrokersError> {
        self.hand_out(queue, at_most, "ack_requeue_true")
    }

    fn hand_out(&self, queue: &str, at_most: usize, then: &str) -> Result<Vec<RabbitMessage>, BrokersError> {
        let body = json!({ "count": at_most, "ackmode": then, "encoding": "auto" });
        let answer = self
            .api
            .post(&format!("{}/get", self.path("queues", queue)), &body)?;
        Ok(list(&answer).filter_map(RabbitMessage::parse).collect())
    }

    /// The connections to it.
    ///
    /// # Errors
    /// No node answers.
    pub fn connections(&self) -> Result<Vec<RabbitConnection>, BrokersError> {
        let answer = self.api.get("connections?disable_stats=true")?;
        let ours = list(&answer).filter(|connection| connection["vhost"] == self.name.as_str());
        let parse = |connection: &Value| RabbitConnection {
            name: text(&connection["name"]),
            user: text(&connection["user"]),
            node: number(&connection["node"]),
        };
        Ok(ours.map(parse).collect())
    }

    /// Closes a connection as an operator does: its client is told `CONNECTION_FORCED`.
    ///
    /// # Errors
    /// No node answers.
    pub fn close_connection(&self, connection: &RabbitConnection) -> Result<(), BrokersError> {
        let deadline = Instant::now() + CLOSE_PATIENCE;
        loop {
            match self
                .api
                .delete(&format!("connections/{}", segment(&connection.name)))
            {
                Err(BrokersError::Api {
                    status: Some(404), ..
                }) if Instant::now() < deadline && self.connections()?.contains(connection) => {
                    std::thread::sleep(LOOK);
                }
                // It went by itself.
                Err(BrokersError::Api {
                    status: Some(404), ..
                }) => return Ok(()),
                result => return result,
            }
        }
    }
}

impl Drop for VirtualHost {
    fn drop(&mut self) {
        // A server that is gone or does not answer takes it along sooner or later.
        let _ = self.api.delete(&format!("vhosts/{}", segment(&self.name)));
    }
}

fn parse_queue(value: &Value) -> RabbitQueue {
    let arguments = value["arguments"].as_object().into_iter().flatten();
    RabbitQueue {
        name: text(&value["name"]),
        kind: text(&value["type"]),
        leader: number(&value["leader"]).or_else(|| number(&value["node"])),
        online: list(&value["online"]).filter_map(number).collect(),
        ready: value["messages_ready"].as_u64(),
        unacknowledged: value["messages_unacknowledged"].as_u64(),
        arguments: arguments
            .map(|(name, value)| (name.clone(), value.to_string()))
            .collect(),
    }
}

fn number(erlang_name: &Value) -> Option<u32> {
    node_number(erlang_name.as_str()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_says_of_a_queue_is_understood_also_where_it_says_little() {
        let quorum = parse_queue(&json!({
            "name": "orders", "type": "quorum", "leader": "node-2@localhost",
            "online": ["node-2@localhost", "node-3@localhost"], "messages_ready": 3, "messages_unacknowledged": 1,
            "arguments": { "x-queue-type": "quorum", "x-delivery-limit": 2 },
        }));
        assert_eq!((quorum.leader, quorum.online), (Some(2), vec![2, 3]));
        assert_eq!((quorum.ready, quorum.unacknowledged), (Some(3), Some(1)));
        assert_eq!(quorum.arguments["x-queue-type"], "\"quorum\"");
        assert_eq!(quorum.arguments["x-delivery-limit"], "2");
        let silent = parse_queue(&json!({ "name": "orders", "type": "classic", "node": "rabbit@elsewhere" }));
        assert_eq!((silent.leader, silent.ready), (None, None));
    }
}

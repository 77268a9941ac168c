//! Requests and replies by RabbitMQ's own way, direct reply-to: [`RabbitReplies`].
//!
//! Who asks consumes `amq.rabbitmq.reply-to` without acknowledgements and publishes on the same channel; the server gives
//! each request an address of that channel (`amq.rabbitmq.reply-to.…`). So nothing is declared for replies, none is
//! stored, and an address dies with its channel. Replies are published to the default exchange with the address as the
//! routing key, also where a request of another kind of client names a queue.

mod desk;
mod replying;
mod requester;

use crate::connection::Link;
use crate::options::ClientOptions;
use crate::sink::RabbitSink;
use replying::ReplySink;
use requester::RabbitRequester;
use std::sync::Arc;
use tidings_core::{OpenRequests, ReplyPath, Requester, Sink};
use tokio::runtime::Handle;

/// What addresses begin with that the server gives out.
const GIVEN_OUT: &str = "amq.rabbitmq.reply-to.";

/// Whether a queue of that name is none, but the address of somebody's channel.
pub(crate) fn is_given_out(name: &str) -> bool {
    name.starts_with(GIVEN_OUT)
}

/// Requests and replies of one RabbitMQ.
#[derive(Debug)]
pub(crate) struct RabbitReplies {
    pub(crate) options: Arc<ClientOptions>,
    /// Where it works.
    pub(crate) runtime: Handle,
    /// For requests alone: a connection that is blocked for publishing, or lost to what is published there, takes no
    /// address with it.
    pub(crate) asking: Arc<Link>,
    /// For questions of who answers.
    pub(crate) answering: Arc<Link>,
    pub(crate) sink: Arc<RabbitSink>,
}

impl ReplyPath for RabbitReplies {
    fn requester(&self, open: Arc<OpenRequests>) -> Arc<dyn Requester> {
        let (options, runtime) = (self.options.clone(), self.runtime.clone());
        let (link, sink) = (self.asking.clone(), self.sink.clone());
        Arc::new(RabbitRequester::new(options, runtime, link, sink, open))
    }

    fn sink(&self) -> Arc<dyn Sink> {
        let (link, sink) = (self.answering.clone(), self.sink.clone());
        Arc::new(ReplySink::new(self.runtime.clone(), link, sink))
    }

    fn is_given_out(&self, address: &str) -> bool {
        // Queues that the server names belong to one connection: Spring AMQP can have its replies there.
        is_given_out(address) || address.starts_with("amq.gen-")
    }
}

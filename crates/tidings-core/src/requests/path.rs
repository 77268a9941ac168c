//! How requests and replies travel on a broker: [`ReplyPath`], [`Requester`].

use super::error::RequestError;
use super::open::{OpenRequests, RequestStatus};
use crate::BoxFuture;
use crate::message::Message;
use crate::sink::{Outgoing, Sink};
use std::fmt;
use std::sync::Arc;

/// Sends requests to one broker, and gets what is replied to them.
pub trait Requester: Send + Sync + fmt::Debug {
    /// Sends a request, which gets an address and an id on its way, and resolves to its reply. A request is sent only
    /// when its reply can be received. To drop the future is to give the request up.
    fn request(&self, request: Outgoing) -> BoxFuture<'static, Result<Message, RequestError>>;

    /// How many there are, and what became of the others.
    fn status(&self) -> RequestStatus;

    /// Gives up all requests, and takes no more.
    fn close(&self);
}

/// A way of the broker's own for requests and replies, in place of a destination that the engine reads.
pub trait ReplyPath: Send + Sync + fmt::Debug {
    /// What sends requests, and notes there who waits.
    fn requester(&self, open: Arc<OpenRequests>) -> Arc<dyn Requester>;

    /// Where replies are published: what they name as their destination is the address of a request. One that is gone
    /// is a permanent error.
    fn sink(&self) -> Arc<dyn Sink>;

    /// Whether the broker alone gives out addresses of that name, so that a reply there reaches nobody but a requester.
    fn is_given_out(&self, address: &str) -> bool;
}

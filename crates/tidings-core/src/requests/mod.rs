//! Requests and replies: a message that says where its answer should go, and the answer.
//!
//! | header | in a request | in its reply |
//! |---|---|---|
//! | [`reply-to`](crate::names::REPLY_TO) | the address that the reply goes to | – |
//! | [`reply-partition`](crate::names::REPLY_PARTITION) | the partition there, if that counts | – |
//! | [`correlation-id`](crate::names::CORRELATION_ID) | an id of this request alone | the same |
//! | [`tidings-reason`](crate::names::REASON), [`tidings-error`](crate::names::ERROR) | – | why there is none |
//!
//! How the two travel is the broker's affair ([`ReplyPath`]), or the engine reads a destination for them. Who waits for
//! what is known in [`OpenRequests`].

mod address;
mod asking;
mod error;
mod open;
mod path;
mod refusal;
mod reply;

pub use address::{REPLY_SUFFIX, ReplyAddress, ReplyRule};
pub use asking::Encodable;
pub use error::RequestError;
pub use open::{OpenRequest, OpenRequests, RequestStatus};
pub use path::{ReplyPath, Requester};
pub use reply::Reply;

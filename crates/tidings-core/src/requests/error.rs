//! Why a request has no reply: [`RequestError`].

use crate::codec::CodecError;
use crate::sink::PublishError;
use std::sync::Arc;
use std::time::Duration;

/// Why a request has no reply.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Nobody answered in time. The request may have been handled all the same, and its reply be on its way.
    #[error(
        "no reply to the request to \"{channel}\" within {after:?}{}",
        obstacle.as_ref().map_or(String::new(), |obstacle| format!(": {obstacle}"))
    )]
    TimedOut {
        /// The channel of the request.
        channel: String,
        /// How long it was waited for.
        after: Duration,
        /// What stood in the way, if something did: the broker is away, replies cannot be read.
        obstacle: Option<String>,
    },
    /// The request was not published.
    #[error("the request was not published: {0}")]
    NotPublished(#[from] PublishError),
    /// The other side gave the request up for good, and says so. It is among its dead letters, or was dropped.
    #[error("the request was given up by \"{subscription}\" ({reason}): {error}")]
    Failed {
        /// The subscription that gave up.
        subscription: String,
        /// In one word: `permanent`, `exhausted`, `undecodable`, `unclaimed`, `rejected`, `killed`.
        reason: String,
        /// Its error, as it stands in the dead letter.
        error: String,
    },
    /// A reply came that is not what was asked for.
    #[error("the reply to the request to \"{channel}\"{} is not read: {error}", named(found.as_deref()))]
    Undecodable {
        /// The channel of the request.
        channel: String,
        /// The name of the event that came, if the reply says it.
        found: Option<String>,
        /// Why it is not read.
        #[source]
        error: CodecError,
    },
    /// As many requests are open as may be.
    #[error(
        "{limit} requests wait for their reply already: send fewer at once, give them shorter timeouts, or raise app.max_open_requests"
    )]
    TooMany {
        /// So many.
        limit: usize,
    },
    /// The reply cannot come any more: the address for it was lost with the connection. The request may have been
    /// handled; another one has another address.
    #[error("the reply to the request cannot come any more: {reason}")]
    Lost {
        /// What happened.
        reason: Arc<str>,
    },
    /// There is no place that replies could come to.
    #[error("no replies can be received: {reason}")]
    NoReplies {
        /// Why, and what to do.
        reason: String,
    },
    /// The service is ending, or its broker is closed.
    #[error("the service is ending: nobody waits for replies any more")]
    Closed,
}

fn named(found: Option<&str>) -> String {
    found.map_or(String::new(), |name| format!(", a \"{name}\","))
}

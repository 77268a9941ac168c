//! The sending side of the seam to a broker: [`Sink`], [`Receipt`], [`PublishError`].

use crate::BoxFuture;
use crate::blocks::Place;
use crate::codec::CodecError;
use crate::headers::HeadersError;
use crate::message::{Message, Position, Timestamp};
use crate::receipts::Member;
use crate::sole::{self, SoleSink};
use crate::transaction::{self, SinkTransaction};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

/// A message on its way to a destination.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The destination.
    pub destination: Arc<str>,
    /// The partition; none lets the key decide, or spreads messages without a key.
    pub partition: Option<u32>,
    /// The message, with everything that it carries.
    pub message: Message,
    /// When it is due; none is now. A broker without delayed delivery refuses one.
    pub due: Option<Timestamp>,
}

impl Outgoing {
    /// A message for a destination, by its key, now.
    pub fn new(destination: impl Into<Arc<str>>, message: Message) -> Self {
        Self {
            destination: destination.into(),
            partition: None,
            message,
            due: None,
        }
    }
}

/// Where a broker takes messages.
pub trait Sink: Send + Sync + fmt::Debug {
    /// Starts to publish. Messages of one partition are kept in the order of the calls. Control headers are written
    /// as they are: the caller is the engine, or has removed them.
    fn publish(&self, outgoing: Outgoing) -> Receipt;

    /// As [`publish`](Self::publish), for a caller that keeps the message in case it has to be published again: a sink
    /// that copies what it takes needs no clone.
    fn publish_kept(&self, outgoing: &Outgoing) -> Receipt {
        self.publish(outgoing.clone())
    }

    /// Starts to publish several messages, in order.
    fn publish_all(&self, outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        outgoing.into_iter().map(|one| self.publish(one)).collect()
    }

    /// Resolves when everything published before is kept by the broker.
    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>>;

    /// Begins a transaction, apart from what is published here.
    ///
    /// # Errors
    /// [`PublishError::Unsupported`] on a broker without transactions, which is the default.
    fn begin(&self) -> BoxFuture<'static, Result<Box<dyn SinkTransaction>, PublishError>> {
        Box::pin(std::future::ready(Err(transaction::unsupported())))
    }

    /// Whether [`sole`](Self::sole) is for more than an error.
    fn can_be_sole(&self) -> bool {
        false
    }

    /// Takes the right to publish under that name from whoever has it, in any process. Who takes it for a lease looks at the
    /// lease afterwards: if that is over, somebody else may take it, and this one must publish nothing.
    ///
    /// # Errors
    /// [`PublishError::Unsupported`] on a broker that cannot tell publishers apart, which is the default; why it could not
    /// be taken.
    fn sole(&self, _name: &str) -> BoxFuture<'static, Result<Box<dyn SoleSink>, PublishError>> {
        Box::pin(std::future::ready(Err(sole::unsupported())))
    }
}

/// Why a message was not published.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The app has no channel of that name.
    #[error(
        "no channel \"{channel}\": this app has {known:?}; name it in the app: `.to(\"{channel}\")` or `App::publishes(\"{channel}\")`"
    )]
    UnknownChannel {
        /// The name that was asked for.
        channel: String,
        /// The channels that there are.
        known: Vec<String>,
    },
    /// The channel stands for all destinations that a pattern matches.
    #[error(
        "channel \"{channel}\" is the pattern {pattern}, which is only read: publish to a channel that leads to one destination"
    )]
    Pattern {
        /// The channel.
        channel: String,
        /// Its pattern.
        pattern: String,
    },
    /// A handler returned an event and neither it nor its subscription names a channel.
    #[error(
        "nowhere to publish to: add `.to(\"channel\")` to the subscription or return `To(\"channel\", event)`"
    )]
    NoChannel,
    /// The broker has no such destination.
    #[error("no destination \"{destination}\" on the broker, and it may not be created")]
    UnknownDestination {
        /// The destination.
        destination: Arc<str>,
    },
    /// The destination has fewer partitions.
    #[error("no partition {partition} in \"{destination}\": it has {partitions}")]
    UnknownPartition {
        /// The destination.
        destination: Arc<str>,
        /// What was asked for.
        partition: u32,
        /// How many it has.
        partitions: u32,
    },
    /// The message is larger than the broker takes.
    #[error(
        "the message for \"{destination}\" has {size} bytes, the limit is {limit}: send a reference instead, or raise the limit"
    )]
    TooLarge {
        /// The destination.
        destination: Arc<str>,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// This user may not publish there.
    #[error("not allowed to publish to \"{destination}\": {reason}")]
    Unauthorized {
        /// The destination.
        destination: Arc<str>,
        /// The broker's words.
        reason: String,
    },
    /// The broker knows the destination, and nobody there takes this message. Whoever is to take it may come.
    #[error("the message for \"{destination}\" reaches nobody: {reason}")]
    Unroutable {
        /// The destination.
        destination: Arc<str>,
        /// Where it was tried, and what to do.
        reason: String,
    },
    /// The broker cannot do what the message asks for.
    #[error("{broker} cannot do {feature}: {cure}")]
    Unsupported {
        /// The broker.
        broker: &'static str,
        /// What it lacks.
        feature: &'static str,
        /// What to do instead.
        cure: &'static str,
    },
    /// The subscription is exactly-once, and this publish cannot be part of its transaction.
    #[error("not published to \"{destination}\", because it cannot be part of the transaction: {reason}")]
    NoTransaction {
        /// The destination, or the channel if it leads to another broker.
        destination: Arc<str>,
        /// Why, and what to do.
        reason: &'static str,
    },
    /// The event could not be encoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The headers could not be written.
    #[error(transparent)]
    Headers(#[from] HeadersError),
    /// The broker cannot take messages now: away, disk full, overloaded.
    #[error("the broker cannot take messages for \"{destination}\" now: {reason}")]
    Unavailable {
        /// The destination.
        destination: Arc<str>,
        /// Why.
        reason: String,
    },
    /// The broker did not answer in time; the message may have been published.
    #[error("no answer for \"{destination}\" within {after:?}; the message may have been published")]
    Timeout {
        /// The destination.
        destination: Arc<str>,
        /// How long it was waited for.
        after: Duration,
    },
    /// The broker was closed.
    #[error("the broker is closed")]
    Closed,
}

impl PublishError {
    /// Whether trying again cannot help, because the message itself is at fault.
    pub fn is_permanent(&self) -> bool {
        !matches!(
            self,
            Self::Unavailable { .. } | Self::Unroutable { .. } | Self::Timeout { .. } | Self::Closed
        )
    }
}

/// A publish under way: a future of the [`Position`]. Dropping it does not take the message back.
#[must_use = "a publish may fail: await the receipt"]
pub struct Receipt {
    state: State,
}

enum State {
    Ready(Option<Result<Position, PublishError>>),
    Waiting(oneshot::Receiver<Result<Position, PublishError>>),
    Member(Member),
    Place(Place),
    Boxed(BoxFuture<'static, Result<Position, PublishError>>),
}

/// The broker's side of a [`Receipt`].
#[derive(Debug)]
pub struct ReceiptSender {
    sender: oneshot::Sender<Result<Position, PublishError>>,
}

impl ReceiptSender {
    /// Resolves the receipt.
    pub fn resolve(self, result: Result<Position, PublishError>) {
        // Nobody may be waiting any more; the message is published all the same.
        let _ = self.sender.send(result);
    }

    /// Ready when nobody waits for it any more.
    pub async fn given_up(&mut self) {
        self.sender.closed().await;
    }

    /// Whether somebody waits for it.
    pub fn is_awaited(&self) -> bool {
        !self.sender.is_closed()
    }
}

impl Receipt {
    /// A publish that is done.
    #[inline]
    pub fn ready(result: Result<Position, PublishError>) -> Self {
        Self {
            state: State::Ready(Some(result)),
        }
    }

    /// A publish that was refused.
    pub fn failed(error: PublishError) -> Self {
        Self::ready(Err(error))
    }

    /// A publish that is resolved later. Dropping the sender resolves it to [`PublishError::Closed`].
    pub fn pair() -> (ReceiptSender, Self) {
        let (sender, receiver) = oneshot::channel();
        (
            ReceiptSender { sender },
            Self {
                state: State::Waiting(receiver),
            },
        )
    }

    /// One of several that are answered together.
    pub(crate) fn member(member: Member) -> Self {
        Self {
            state: State::Member(member),
        }
    }

    /// One of a block, with an answer of its own.
    pub(crate) fn place(place: Place) -> Self {
        Self {
            state: State::Place(place),
        }
    }

    /// A publish that a future completes.
    pub fn boxed(future: impl Future<Output = Result<Position, PublishError>> + Send + 'static) -> Self {
        Self {
            state: State::Boxed(Box::pin(future)),
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Ready(_) => "ready",
            State::Waiting(_) | State::Member(_) | State::Place(_) | State::Boxed(_) => "under way",
        };
        write!(f, "Receipt({state})")
    }
}

impl Future for Receipt {
    type Output = Result<Position, PublishError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            // Polled again after it was done: the answer is gone.
            State::Ready(result) => Poll::Ready(result.take().unwrap_or(Err(PublishError::Closed))),
            State::Waiting(receiver) => Pin::new(receiver)
                .poll(context)
                .map(|sent| sent.unwrap_or(Err(PublishError::Closed))),
            State::Member(member) => member.poll(context),
            State::Place(place) => place.poll(context),
            State::Boxed(future) => future.as_mut().poll(context),
        }
    }
}

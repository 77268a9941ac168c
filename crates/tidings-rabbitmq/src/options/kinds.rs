//! Kinds of exchanges, and of what happens when a queue is full: [`ExchangeType`], [`Overflow`].

/// How an exchange chooses the queues of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ExchangeType {
    /// By patterns of the routing key: `order.*`, `order.#`.
    #[default]
    Topic,
    /// By the routing key itself.
    Direct,
    /// All queues.
    Fanout,
    /// By headers.
    Headers,
    /// None is declared: messages go by the exchange that every server has to the queue whose name is the routing key.
    Default,
}

impl ExchangeType {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Headers => "headers",
            Self::Default => "default",
        }
    }
}

/// What happens to messages for a queue that holds as much as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The oldest become dead letters.
    DropHead,
    /// The publisher is told, and tries again.
    RejectPublish,
}

impl Overflow {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::DropHead => "drop-head",
            Self::RejectPublish => "reject-publish",
        }
    }
}

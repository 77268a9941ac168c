//! Publishing under a name that one publisher has at a time: [`SoleSink`].

use crate::sink::PublishError;
use crate::transaction::SinkTransaction;
use std::fmt;

/// The right to publish under a name, which belongs to who took it last ([`Sink::sole`](crate::Sink::sole)).
///
/// The broker takes nothing more from those who had it before, neither what they send later nor what they had sent and had not
/// arrived; what they had open is given up. So a publisher that stood still, was taken for dead and wakes brings nothing out of
/// turn.
pub trait SoleSink: Send + fmt::Debug {
    /// Begins a transaction; there is one at a time.
    ///
    /// # Errors
    /// [`PublishError::Closed`] after a transaction that was not committed: the name has to be taken again, by who may have it.
    fn begin(&mut self) -> Result<Box<dyn SinkTransaction>, PublishError>;
}

/// The answer of a broker that cannot tell publishers apart.
pub(crate) fn unsupported() -> PublishError {
    PublishError::Unsupported {
        broker: "this broker",
        feature: "a name that one publisher has at a time",
        cure: "let readers know a message again by its id, or use a broker with transactions (Kafka)",
    }
}

//! Publishing in transactions outside of a subscription: [`SinkTransaction`].

use crate::BoxFuture;
use crate::publisher::{Publisher, Routes};
use crate::sink::{PublishError, Sink};
use std::fmt;
use std::sync::Arc;

/// A transaction of a broker that is open. Dropping it gives it up.
pub trait SinkTransaction: Send + fmt::Debug {
    /// What is published there is part of it, and refused when it has ended.
    fn sink(&self) -> Arc<dyn Sink>;

    /// Commits everything published into it, also what nobody has awaited.
    ///
    /// # Errors
    /// Why it was given up: nothing of it is seen then, unless the answer was lost.
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), PublishError>>;
}

/// The answer of a broker without transactions.
pub(crate) fn unsupported() -> PublishError {
    PublishError::Unsupported {
        broker: "this broker",
        feature: "transactions",
        cure: "publish without one and let readers know a message again by its id, or use a broker with transactions (Kafka)",
    }
}

const OTHER_BROKER: &str =
    "its channel leads to another broker; publish to it before or after the transaction";

impl Publisher {
    /// Publishes everything that `work` sends with its publisher, or nothing of it: readers of what is committed see
    /// all of it when `work` returns `Ok`, and nothing when it returns an error, panics, or is dropped.
    ///
    /// The transaction is one of the broker that `channel` leads to. What is sent within need not be awaited; a
    /// message that is refused takes the transaction with it. Nothing else is part of it: a database is best
    /// committed last, see the guarantees.
    ///
    /// ```
    /// # use tidings_core::{Message, PublishError, Publisher};
    /// # async fn book(publisher: Publisher) -> Result<(), PublishError> {
    /// publisher
    ///     .transaction("debits", async |tx| {
    ///         tx.send("debits", Message::new("ada: 7")).await?;
    ///         tx.send("credits", Message::new("bob: 7")).await?;
    ///         Ok(())
    ///     })
    ///     .await
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `work` returns; [`PublishError::Unsupported`] on a broker without transactions;
    /// [`PublishError::NoTransaction`] in a handler of an exactly-once subscription, whose transaction it would leave;
    /// why it could not be begun or committed.
    pub async fn transaction<T, E: From<PublishError>>(
        &self,
        channel: &str,
        work: impl AsyncFnOnce(Publisher) -> Result<T, E>,
    ) -> Result<T, E> {
        let route = self.routes().get(channel)?;
        let transaction = self.sink_of(route).begin().await?;
        let within = self.within(&route.sink).through(transaction.sink());
        // Dropped with an error, a panic, or this future, it is given up.
        let done = work(within).await?;
        transaction.commit().await?;
        Ok(done)
    }

    /// The same publisher without the channels of other brokers.
    fn within(&self, sink: &Arc<dyn Sink>) -> Self {
        let mut routes = Routes::default();
        for (channel, route) in self.routes().all() {
            match route {
                Ok(route) if Arc::ptr_eq(&route.sink, sink) => routes.insert(channel, route.clone()),
                Ok(_) => routes.refuse(
                    channel,
                    PublishError::NoTransaction {
                        destination: channel.into(),
                        reason: OTHER_BROKER,
                    },
                ),
                Err(error) => routes.refuse(channel, error.clone()),
            }
        }
        self.with_routes(Arc::new(routes))
    }
}

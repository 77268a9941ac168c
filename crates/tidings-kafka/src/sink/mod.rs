//! Where Kafka takes messages: [`KafkaSink`].

mod context;
mod gate;
mod native;
mod poller;
mod publishing;
mod refusal;
mod settings;
mod shared;
mod table;
mod transacting;
mod transaction;

use crate::background::Held;
use crate::client::{ClientState, Topics};
use crate::error::KafkaError;
use crate::options::ClientOptions;
use crate::transactions::{Pool, Sole};
pub(crate) use native::Producer;
use shared::Shared;
use std::fmt;
use std::sync::Arc;
use tidings_core::{
    BoxFuture, Outgoing, PublishError, Receipt, ReceiptBlock, Sink, SinkTransaction, SoleSink,
};
pub(crate) use transacting::{Transacting, Use};
pub(crate) use transaction::Failed;

/// Publishes to one Kafka: every replica in sync has a message when its receipt resolves.
///
/// Messages of a partition keep the order of the calls, also where librdkafka tries again. A receipt that fails says
/// whether the message may be there all the same. When the last of it is dropped, what is under way is given up; see
/// its `close`.
pub struct KafkaSink {
    shared: Held<Shared>,
    transactions: Arc<Pool>,
}

impl KafkaSink {
    pub(crate) fn open(
        options: &ClientOptions,
        state: Arc<ClientState>,
        topics: Arc<Topics>,
    ) -> Result<Self, KafkaError> {
        let transactions = Pool::new(options.clone(), state.clone(), topics.clone());
        let shared = Arc::new(Shared::new(options, state, topics)?);
        poller::start(&shared)?;
        Ok(Self {
            shared: Held::new(shared),
            transactions: Arc::new(transactions),
        })
    }

    /// The client that publishes now, for questions to the cluster.
    pub(crate) fn producer(&self) -> Arc<Producer> {
        self.shared.publishing().producer.clone()
    }

    /// Waits until everything that was accepted is kept or refused, and takes nothing more. What is not decided when
    /// the caller stops waiting is given up when the sink is dropped.
    pub(crate) async fn close(&self) -> Result<(), PublishError> {
        self.shared.refuse_more();
        self.transactions.close();
        let flushed = flush(self.shared.clone()).await;
        self.shared.stop();
        flushed
    }
}

impl Sink for KafkaSink {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        self.shared.publish(&outgoing)
    }

    fn publish_kept(&self, outgoing: &Outgoing) -> Receipt {
        self.shared.publish(outgoing)
    }

    fn publish_all(&self, outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        self.shared.publish_all(outgoing)
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        Box::pin(flush(self.shared.clone()))
    }

    fn begin(&self) -> BoxFuture<'static, Result<Box<dyn SinkTransaction>, PublishError>> {
        Box::pin(self.transactions.clone().begin())
    }

    fn can_be_sole(&self) -> bool {
        true
    }

    fn sole(&self, name: &str) -> BoxFuture<'static, Result<Box<dyn SoleSink>, PublishError>> {
        Box::pin(Sole::take(self.transactions.clone(), name.to_owned()))
    }
}

impl Drop for KafkaSink {
    fn drop(&mut self) {
        self.shared.refuse_more();
        self.shared.stop();
    }
}

impl fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSink").finish_non_exhaustive()
    }
}

/// Waits for the answers to everything published before.
async fn flush(shared: Arc<Shared>) -> Result<(), PublishError> {
    let under_way = shared.end_block();
    drop(Held::new(shared));
    // All begin to look for refusals now, also those that are waited for last.
    let under_way: Vec<_> = under_way.iter().map(ReceiptBlock::all_known).collect();
    let mut first = Ok(());
    for block in under_way {
        let known = block.await;
        first = first.and(known);
    }
    first
}

#[cfg(test)]
mod tests;

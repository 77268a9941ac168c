//! Transactions of Kafka: who commits and gives up, and under which id.
//!
//! librdkafka's calls wait for the broker, so each transactional producer has a thread for them: [`Transactor`]. It
//! does one thing at a time, and tells what came of it. It never gives the producer back in doubt: after an error whose
//! outcome is not certain the producer is thrown away, and the next one under the same id lets the broker decide what
//! became of the transaction, and refuse whatever of it is still on its way.

mod id;
mod pool;
mod sole;
mod transactor;
mod worker;

pub(crate) use id::transactional_id;
pub(crate) use pool::Pool;
pub(crate) use sole::Sole;
pub(crate) use transactor::Transactor;
pub(crate) use worker::{Offset, Offsets, Outcome};

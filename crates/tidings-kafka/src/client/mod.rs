//! What every client of one Kafka shares: whether it works, what is known of its topics, and the librdkafka context.

mod context;
mod facts;
mod state;
mod words;

pub(crate) use context::{Context, is_known};
pub(crate) use facts::{TopicFacts, Topics};
pub(crate) use state::ClientState;
pub(crate) use words::{Kind, cause, cure, kind};

//! What the sink's producer calls back.

use super::refusal;
use super::table::{Answers, Table};
use crate::client::Context;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::ProducerContext;
use std::sync::Arc;

/// Log lines and errors go where those of all clients go.
#[derive(Debug)]
pub(super) struct SinkContext {
    pub(super) common: Context,
    pub(super) table: Arc<Table>,
}

impl ClientContext for SinkContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.common.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.common.error(error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.common.stats_raw(statistics);
    }

    fn generate_oauth_token(
        &self,
        config: Option<&str>,
    ) -> Result<rdkafka::client::OAuthToken, Box<dyn std::error::Error>> {
        self.common.generate_oauth_token(config)
    }
}

impl ProducerContext for SinkContext {
    type DeliveryOpaque = usize;

    /// Reports that are left when the producer is dropped. All others are taken from its queue by the batch.
    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let mut answers = Answers::new(&self.table);
        match result {
            Ok(message) => answers.kept(number, message.partition() as u32, message.offset() as u64),
            Err((_, message)) => answers.refused(number, refusal::given_up(message.topic())),
        }
    }
}

//! What the sink's producer calls back.

use super::native::Delivery;
use super::refusal;
use super::table::{Answers, Table};
use crate::client::Context;
use crate::security::{Certificate, Verifies};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
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
}

impl Verifies for SinkContext {
    fn certificate(&self) -> &Certificate {
        self.common.certificate()
    }
}

impl SinkContext {
    /// A report that is left when the producer is dropped. All others are taken by the thread of reports.
    pub(super) fn last(&self, delivery: &Delivery<'_>) {
        let mut answers = Answers::new(&self.table);
        match delivery.result {
            Ok(offset) => answers.kept(delivery.number, delivery.partition as u32, offset as u64),
            Err(_) => answers.refused(delivery.number, refusal::given_up(delivery.topic)),
        }
    }
}

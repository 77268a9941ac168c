//! What librdkafka calls back: [`Context`].

use super::state::ClientState;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use std::fmt;
use std::sync::Arc;

/// The context of clients that need no more than log lines and errors: of the admin, and of readers without a group.
#[derive(Clone)]
pub(crate) struct Context {
    state: Arc<ClientState>,
}

impl Context {
    pub(crate) fn new(state: Arc<ClientState>) -> Self {
        Self { state }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        use RDKafkaLogLevel as Level;
        match level {
            Level::Emerg | Level::Alert | Level::Critical => {
                tracing::error!(target: "librdkafka", facility, "{message}");
            }
            // A broker that is away logs the same every second; the state tells it once.
            Level::Error | Level::Warning if matches!(facility, "FAIL" | "ERROR") => {
                tracing::debug!(target: "librdkafka", facility, "{message}");
            }
            Level::Error | Level::Warning => {
                tracing::warn!(target: "librdkafka", facility, "{message}");
            }
            Level::Notice | Level::Info | Level::Debug => {
                tracing::debug!(target: "librdkafka", facility, "{message}");
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code() {
            self.state.failed(code, reason);
        }
    }

    fn stats_raw(&self, _statistics: &[u8]) {
        // Whoever asks for statistics by the property sees them in librdkafka's own log.
    }
}

impl ConsumerContext for Context {}

//! What librdkafka calls back: [`Context`].

use super::state::ClientState;
use super::words::cause;
use crate::security::{Certificate, Verifies};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use std::fmt;
use std::sync::Arc;

/// The context of clients that need no more than log lines and errors: of the admin, and of readers without a group.
pub(crate) struct Context {
    state: Arc<ClientState>,
    certificate: Certificate,
}

impl Context {
    pub(crate) fn new(state: Arc<ClientState>) -> Self {
        Self {
            state,
            certificate: Certificate::default(),
        }
    }

    pub(crate) fn state(&self) -> &ClientState {
        &self.state
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

impl Verifies for Context {
    fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        use RDKafkaLogLevel as Level;
        match level {
            // Whoever owns the client is told by its calls, and says what it does about it.
            Level::Alert if matches!(facility, "TXNERR" | "FATAL") => {
                tracing::debug!(target: "librdkafka", facility, "{message}");
            }
            Level::Emerg | Level::Alert | Level::Critical => {
                tracing::error!(target: "librdkafka", facility, "{message}");
            }
            Level::Error | Level::Warning if is_known(facility) => {
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
            self.state.failed(code, &cause(reason, &self.certificate));
        }
    }

    fn stats_raw(&self, _statistics: &[u8]) {
        // Whoever asks for statistics by the property sees them in librdkafka's own log.
    }
}

/// Whether log lines of a facility are about a broker that cannot be reached or does not let us in. They come again and
/// again in the library's own words; the state tells it once, with the cure. The same goes for a transaction that failed,
/// which is told by its member.
pub(crate) fn is_known(facility: &str) -> bool {
    matches!(
        facility,
        "FAIL" | "ERROR" | "SSLCERTVRFY" | "TXNERR" | "ADDOFFSETS" | "GETPID"
    )
}

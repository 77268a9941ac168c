//! Whether the broker can be reached: [`ClientState`].

use super::words::cure;
use rdkafka::error::RDKafkaErrorCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tidings_core::BinderHealth;

/// What the clients of one Kafka know of it. librdkafka tries for ever and tells the cause to its error callback only,
/// up to twenty times a second; so errors are a state here, which the next success ends, and not messages.
#[derive(Debug)]
pub(crate) struct ClientState {
    servers: String,
    /// Whether there is anything to clear, so that a success costs one load.
    troubled: AtomicBool,
    trouble: Mutex<Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    /// No broker answers, or none lets this user in.
    down: bool,
    /// The last words about it, with the cure.
    cause: Option<String>,
}

impl ClientState {
    pub(crate) fn new(servers: impl Into<String>) -> Self {
        Self {
            servers: servers.into(),
            troubled: AtomicBool::new(false),
            trouble: Mutex::default(),
        }
    }

    /// The brokers that were named.
    pub(crate) fn servers(&self) -> &str {
        &self.servers
    }

    /// What librdkafka reports. One broker of several that is away is a cause, but no trouble yet.
    pub(crate) fn failed(&self, code: RDKafkaErrorCode, reason: &str) {
        use RDKafkaErrorCode as Code;
        let ends_all = matches!(
            code,
            Code::AllBrokersDown | Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL
        );
        if !ends_all && !matches!(code, Code::BrokerTransportFailure | Code::Resolve) {
            return;
        }
        let mut trouble = self.trouble();
        trouble.down |= ends_all;
        // "1/1 brokers are down" comes after the reason why and says less.
        if code != Code::AllBrokersDown || trouble.cause.is_none() {
            trouble.cause = Some(with_cure(code, reason));
        }
        self.troubled.store(true, Ordering::Release);
    }

    /// A broker answered.
    pub(crate) fn works(&self) {
        if self.troubled.load(Ordering::Acquire) {
            *self.trouble() = Trouble::default();
            self.troubled.store(false, Ordering::Release);
        }
    }

    /// Why the broker cannot be reached, as far as it is known.
    pub(crate) fn cause(&self) -> Option<String> {
        self.trouble().cause.clone()
    }

    /// Whether the broker can be reached.
    pub(crate) fn health(&self) -> BinderHealth {
        let trouble = self.trouble();
        if !trouble.down {
            return BinderHealth::Up;
        }
        let cause = trouble.cause.as_deref().unwrap_or("no broker answers");
        BinderHealth::Down(format!("kafka at {}: {cause}", self.servers))
    }

    /// Whether a probe should find out if the trouble is over: a client that has nothing to do is told of errors only.
    pub(crate) fn is_down(&self) -> bool {
        self.troubled.load(Ordering::Acquire) && self.trouble().down
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        // Nothing can panic while it is held.
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn with_cure(code: RDKafkaErrorCode, reason: &str) -> String {
    // librdkafka names the broker's thread first, and adds how long it took.
    let reason = reason.split(" (after ").next().unwrap_or(reason);
    match cure(code, reason) {
        Some(cure) => format!("{reason}: {cure}"),
        None => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RDKafkaErrorCode as Code;

    fn down(state: &ClientState) -> String {
        match state.health() {
            BinderHealth::Down(reason) => reason,
            BinderHealth::Up => panic!("it is up"),
        }
    }

    #[test]
    fn all_brokers_away_is_down_with_the_cause_that_came_before_and_a_success_ends_it() {
        let state = ClientState::new("h1:9092");
        state.failed(
            Code::BrokerTransportFailure,
            "h1:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: Connection refused (after 0ms in state CONNECT)",
        );
        assert_eq!(state.health(), BinderHealth::Up, "others may be there");
        state.failed(Code::AllBrokersDown, "1/1 brokers are down");
        let reason = down(&state);
        assert!(
            reason.contains("h1:9092") && reason.contains("Connection refused: start the broker"),
            "{reason}"
        );
        assert!(!reason.contains("after 0ms"), "{reason}");
        state.works();
        assert_eq!((state.health(), state.cause()), (BinderHealth::Up, None));
    }

    #[test]
    fn a_refused_user_is_down_and_a_topic_that_is_denied_is_not() {
        let state = ClientState::new("h1:9092");
        state.failed(Code::TopicAuthorizationFailed, "no right to it");
        assert_eq!(state.health(), BinderHealth::Up);
        state.failed(Code::Authentication, "Invalid username or password");
        assert!(down(&state).contains("sasl.password"));
    }
}

//! Whether the broker can be reached, and lets us in: [`ClientState`].

use super::words::{Kind, cure, kind};
use crate::error::KafkaError;
use crate::options::ClientOptions;
use crate::security::{Attached, Settings, Tokens};
use rdkafka::bindings::rd_kafka_t;
use rdkafka::error::RDKafkaErrorCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tidings_core::BinderHealth;
use tokio::sync::Notify;

/// What the clients of one Kafka know of it. librdkafka tries for ever and tells the cause to its error callback only,
/// up to twenty times a second; so errors are a state here, which the next success ends, and not messages.
#[derive(Debug)]
pub(crate) struct ClientState {
    servers: String,
    /// Whether there is anything to clear, so that a success costs one load.
    troubled: AtomicBool,
    trouble: Mutex<Trouble>,
    /// Whether a broker has answered ever.
    worked: AtomicBool,
    /// What to do where brokers close every connection without a word, as they do with who speaks another protocol.
    if_closed: Option<&'static str>,
    /// Rings when a broker does not let us in.
    refused: Notify,
    /// Where OAUTHBEARER is spoken.
    tokens: Option<Tokens>,
}

#[derive(Debug, Default)]
struct Trouble {
    standing: Standing,
    /// The last words about it, with the cure.
    cause: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// As far as it is known. One broker of several may be away.
    #[default]
    Well,
    /// No broker answers.
    Away,
    /// A broker answers and does not let us in.
    Refused,
}

impl ClientState {
    /// For a Kafka with such options; asks for the first token where tokens are needed.
    pub(crate) fn open(options: &ClientOptions) -> Result<Self, KafkaError> {
        let settings = Settings::of(options);
        let source = settings.token_source()?;
        Ok(Self {
            if_closed: settings.if_closed(),
            tokens: source.map(Tokens::start).transpose()?,
            ..Self::new(options.servers())
        })
    }

    fn new(servers: impl Into<String>) -> Self {
        Self {
            servers: servers.into(),
            troubled: AtomicBool::new(false),
            trouble: Mutex::default(),
            worked: AtomicBool::new(false),
            if_closed: None,
            refused: Notify::new(),
            tokens: None,
        }
    }

    /// The brokers that were named.
    pub(crate) fn servers(&self) -> &str {
        &self.servers
    }

    /// Gives tokens to a client, where they are needed.
    ///
    /// # Safety
    /// The client lives until what is returned is dropped.
    #[allow(unsafe_code, reason = "the promise is handed on")]
    pub(crate) unsafe fn attach(&self, client: *mut rd_kafka_t) -> Option<Attached> {
        // SAFETY: as the caller promises.
        self.tokens
            .as_ref()
            .map(|tokens| unsafe { tokens.attach(client) })
    }

    /// What librdkafka reports. One broker of several that is away is a cause, but no trouble yet.
    pub(crate) fn failed(&self, code: RDKafkaErrorCode, reason: &str) {
        let mut kind = kind(code, reason);
        let mut trouble = self.trouble();
        if kind == Kind::AllAway && trouble.cause.is_none() && !self.worked.load(Ordering::Relaxed) {
            // A host that is not there was told of before, and one that closes connections is not.
            if let Some(cure) = self.if_closed {
                kind = Kind::Refused;
                trouble.cause = Some(format!("every connection is closed at once: {cure}"));
            }
        }
        match kind {
            Kind::Refused => trouble.standing = Standing::Refused,
            // Who was refused is not connected either, and says so.
            Kind::AllAway | Kind::Connection
                if trouble.standing == Standing::Refused && !is_absence(reason) =>
            {
                return;
            }
            Kind::AllAway => trouble.standing = Standing::Away,
            Kind::Connection if trouble.standing == Standing::Refused => trouble.standing = Standing::Away,
            Kind::Connection if code != RDKafkaErrorCode::OperationTimedOut => {}
            _ => return,
        }
        // "1/1 brokers are down" comes after the reason why and says less.
        if code != RDKafkaErrorCode::AllBrokersDown || trouble.cause.is_none() {
            trouble.cause = Some(with_cure(code, reason));
        }
        self.troubled.store(true, Ordering::Release);
        drop(trouble);
        if kind == Kind::Refused {
            self.refused.notify_waiters();
        }
    }

    /// A broker answered.
    pub(crate) fn works(&self) {
        if !self.worked.load(Ordering::Relaxed) {
            self.worked.store(true, Ordering::Relaxed);
        }
        if self.troubled.load(Ordering::Acquire) {
            *self.trouble() = Trouble::default();
            self.troubled.store(false, Ordering::Release);
        }
    }

    /// Why the broker cannot be reached, as far as it is known.
    pub(crate) fn cause(&self) -> Option<String> {
        let of_tokens = self.tokens.as_ref().and_then(Tokens::trouble);
        of_tokens.or_else(|| self.trouble().cause.clone())
    }

    /// Why no broker lets us in, if that is so.
    pub(crate) fn refusal(&self) -> Option<String> {
        let of_tokens = self.tokens.as_ref().and_then(Tokens::trouble);
        of_tokens.or_else(|| {
            let trouble = self.trouble();
            let cause = trouble.cause.clone();
            cause.filter(|_| trouble.standing == Standing::Refused)
        })
    }

    /// Waits until a broker does not let us in, from now on.
    pub(crate) async fn refused(&self) {
        self.refused.notified().await;
    }

    /// Whether the broker can be reached.
    pub(crate) fn health(&self) -> BinderHealth {
        if let Some(trouble) = self.tokens.as_ref().and_then(Tokens::trouble) {
            return BinderHealth::Down(format!("kafka at {}: {trouble}", self.servers));
        }
        let trouble = self.trouble();
        let cause = trouble.cause.as_deref();
        match trouble.standing {
            Standing::Well => BinderHealth::Up,
            Standing::Away => {
                let cause = cause.unwrap_or("no broker answers");
                BinderHealth::Down(format!("kafka at {}: {cause}", self.servers))
            }
            Standing::Refused => {
                let cause = cause.unwrap_or_default();
                BinderHealth::Down(format!(
                    "kafka at {} does not let this client in: {cause}",
                    self.servers
                ))
            }
        }
    }

    /// Whether a probe should find out if the trouble is over: a client that has nothing to do is told of errors only.
    pub(crate) fn is_down(&self) -> bool {
        self.troubled.load(Ordering::Acquire) && self.trouble().standing != Standing::Well
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        // Nothing can panic while it is held.
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Words of a host where nobody listens any more.
fn is_absence(reason: &str) -> bool {
    reason.contains("Connection refused") || reason.contains("Failed to resolve")
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
        assert_eq!(state.refusal(), None, "nobody has refused");
        state.works();
        assert_eq!((state.health(), state.cause()), (BinderHealth::Up, None));
    }

    #[test]
    fn connections_that_are_closed_without_a_word_are_of_a_wrong_protocol_as_long_as_none_has_worked() {
        let open = |properties: &[(&str, &str)]| {
            let options = ClientOptions::from_url("kafka://h1").unwrap();
            ClientState::open(&options.with_properties(properties.iter().copied()).unwrap()).unwrap()
        };
        let plain = open(&[]);
        plain.failed(Code::AllBrokersDown, "1/1 brokers are down");
        let refusal = plain.refusal().unwrap();
        assert!(
            refusal.contains("one of TLS") && refusal.contains("security.protocol"),
            "{refusal}"
        );
        assert!(
            open(&[("security.protocol", "SSL")])
                .if_closed
                .is_some_and(|cure| cure.contains("wants a user"))
        );
        plain.works();
        plain.failed(Code::AllBrokersDown, "1/1 brokers are down");
        assert_eq!(plain.refusal(), None, "it has worked before");
        let absent = open(&[]);
        absent.failed(
            Code::BrokerTransportFailure,
            "h1:9092/1: Connect failed: Connection refused",
        );
        absent.failed(Code::AllBrokersDown, "1/1 brokers are down");
        assert_eq!(absent.refusal(), None, "nobody is there");
        assert!(down(&absent).contains("start the broker"));
    }

    #[test]
    fn a_refused_user_is_down_and_a_topic_that_is_denied_is_not() {
        let state = ClientState::new("h1:9092");
        state.failed(Code::TopicAuthorizationFailed, "no right to it");
        assert_eq!(state.health(), BinderHealth::Up);
        state.failed(Code::Authentication, "Invalid username or password");
        assert!(
            down(&state).contains("does not let this client in") && down(&state).contains("sasl.password")
        );
        state.failed(Code::BrokerTransportFailure, "h1:9092/1: Disconnected");
        state.failed(Code::AllBrokersDown, "1/1 brokers are down");
        assert!(
            state
                .refusal()
                .is_some_and(|refusal| refusal.contains("sasl.password")),
            "it is still so"
        );
        state.failed(
            Code::BrokerTransportFailure,
            "h1:9092/1: Connect failed: Connection refused",
        );
        assert_eq!(state.refusal(), None, "now it is away");
        assert!(down(&state).contains("start the broker"));
        state.works();
        assert_eq!(state.health(), BinderHealth::Up);
    }
}

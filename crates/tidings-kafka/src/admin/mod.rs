//! What is asked of the cluster: topics, offsets, groups, and messages without a group. See [`KafkaAdmin`].

mod consumer;
mod fetching;
mod native;
mod positions;
mod reading;
mod topics;

use crate::background::asked;
use crate::client::{ClientState, Topics};
use crate::error::KafkaError;
use crate::options::ClientOptions;
use crate::sink::KafkaSink;
use crate::trouble::Fault;
use consumer::OwnConsumer;
pub(crate) use native::Outcome;
use native::{Asking, OfGroups};
pub(crate) use positions::{Trimmed, ends_of};
use rdkafka::error::RDKafkaErrorCode as Code;
use reading::Reader;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidings_core::{BinderError, BinderHealth};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::RecvError;

/// How long a question waits for its answer where it is known that no broker lets us in.
const REFUSAL_PATIENCE: Duration = Duration::from_millis(1_500);
/// How long it waits after it became known.
const AFTER_REFUSAL: Duration = Duration::from_millis(500);

/// Asks the cluster. Each question has a deadline, and goes through the client of the
/// sink: one set of connections, and one thread that serves errors and tokens. Questions about groups go through a consumer
/// that is made for the first of them. Dropping a future that asks ends the wait,
/// and the question ends by its own deadline, on a thread that no runtime waits for.
///
/// It publishes too, so a tool needs nothing else; an app has a `KafkaBinder`.
#[derive(Clone)]
pub struct KafkaAdmin {
    options: ClientOptions,
    sink: Arc<KafkaSink>,
    state: Arc<ClientState>,
    topics: Arc<Topics>,
    reader: Arc<Reader>,
    groups: Arc<OwnConsumer>,
    closed: Arc<AtomicBool>,
}

/// What came of a question.
type Asked<T> = Result<T, Trouble>;

/// Why there is no answer.
#[derive(Debug)]
enum Trouble {
    UnknownTopic(Arc<str>),
    Fault(Fault),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl KafkaAdmin {
    /// Sets up the clients. They connect by themselves: a Kafka that is away is no error here.
    ///
    /// # Errors
    /// [`KafkaError::Client`] if librdkafka refuses the properties, [`KafkaError::Security`] if they do not go together.
    pub fn open(options: ClientOptions) -> Result<Self, KafkaError> {
        let state = Arc::new(ClientState::open(&options)?);
        Self::with(options, state, Arc::default())
    }

    /// With what is shared with other clients of the same Kafka.
    pub(crate) fn with(
        options: ClientOptions,
        state: Arc<ClientState>,
        topics: Arc<Topics>,
    ) -> Result<Self, KafkaError> {
        let sink = KafkaSink::open(&options, state.clone(), topics.clone())?;
        Ok(Self {
            reader: Arc::new(Reader::new(&options, state.clone())),
            groups: Arc::new(OwnConsumer::new(&options, state.clone())),
            sink: Arc::new(sink),
            options,
            state,
            topics,
            closed: Arc::default(),
        })
    }

    /// Where it takes messages.
    pub fn sink(&self) -> Arc<KafkaSink> {
        self.sink.clone()
    }

    /// Whether the brokers can be reached.
    pub fn health(&self) -> BinderHealth {
        match self.closed.load(Ordering::Acquire) {
            true => BinderHealth::Down("it is closed".to_owned()),
            false => self.state.health(),
        }
    }

    /// Waits until everything that was accepted is kept or refused, and lets go of the clients.
    ///
    /// # Cancel safety
    /// Nothing more is taken from the first moment on; what is not decided when the future is dropped is given up when
    /// the last clone is.
    ///
    /// # Errors
    /// The first message that was not kept.
    pub async fn close(&self) -> Result<(), BinderError> {
        self.closed.store(true, Ordering::Release);
        let flushed = self.sink.close().await;
        self.reader.close();
        self.groups.forget();
        flushed.map_err(|error| BinderError::Failed {
            doing: "closing the sink of Kafka".to_owned(),
            reason: error.to_string(),
        })
    }

    async fn ask<T, F>(&self, doing: String, question: F) -> Result<T, BinderError>
    where
        T: Send + 'static,
        F: FnOnce(Asking<'_>) -> Asked<T> + Send + 'static,
    {
        if self.closed.load(Ordering::Acquire) {
            return Err(BinderError::Closed);
        }
        let (producer, timeout) = (self.sink.producer(), self.options.request_timeout());
        let asked = asked("tidings-kafka-admin", move || {
            question(Asking {
                producer: &producer,
                timeout,
            })
        });
        let asked = match self.answer_or_refusal(asked).await {
            Ok(asked) => asked,
            Err(refusal) => {
                return Err(BinderError::Failed {
                    doing,
                    reason: refusal,
                });
            }
        };
        match asked {
            Ok(Ok(answer)) => {
                self.state.works();
                Ok(answer)
            }
            Ok(Err(Trouble::UnknownTopic(destination))) => {
                Err(BinderError::UnknownDestination { destination })
            }
            Ok(Err(Trouble::Fault(fault))) => Err(self.failed(doing, &fault)),
            Err(_) => Err(BinderError::Failed {
                doing,
                reason: "no thread could ask, or it panicked".to_owned(),
            }),
        }
    }

    /// The same with what asks the coordinators of groups.
    async fn ask_of_groups<T, F>(&self, doing: String, question: F) -> Result<T, BinderError>
    where
        T: Send + 'static,
        F: FnOnce(Asking<'_>, OfGroups<'_>) -> Asked<T> + Send + 'static,
    {
        let consumer = self.groups.clone();
        self.ask(doing, move |asking| {
            let groups = OfGroups {
                consumer: &consumer,
                timeout: asking.timeout,
            };
            question(asking, groups)
        })
        .await
    }

    /// What came of a question, or why no broker lets us in: librdkafka goes on trying until the question's time is over,
    /// while nothing changes. Whoever asks is told at once; the thread that waits ends by itself.
    async fn answer_or_refusal<T>(
        &self,
        asked: oneshot::Receiver<T>,
    ) -> Result<Result<T, RecvError>, String> {
        let mut asked = asked;
        // librdkafka keeps what it said less than half a minute ago to itself, so nobody waits for news of what is known.
        let mut patience = REFUSAL_PATIENCE;
        loop {
            tokio::select! {
                answer = &mut asked => return Ok(answer),
                () = self.state.refused() => {}
                () = tokio::time::sleep(patience) => {
                    if let Some(refusal) = self.state.refusal() {
                        return Err(self.denied(&refusal));
                    }
                }
            }
            // Another broker may let us in.
            patience = AFTER_REFUSAL;
        }
    }

    fn denied(&self, refusal: &str) -> String {
        format!(
            "kafka at {} does not let this client in: {refusal}",
            self.state.servers()
        )
    }

    /// An error in words. Where the broker did not answer, why is known to the client's callbacks only.
    fn failed(&self, doing: String, fault: &Fault) -> BinderError {
        let silent = fault.is_away() || fault.is_connection() || fault.code == Code::RequestTimedOut;
        if let Some(refusal) = self.state.refusal().filter(|_| silent) {
            let reason = self.denied(&refusal);
            return BinderError::Failed { doing, reason };
        }
        if silent {
            // A host that swallows what is sent to it causes no other word of the library.
            self.state.failed(Code::AllBrokersDown, &fault.to_string());
        }
        let reason = match self.state.cause().filter(|_| silent) {
            Some(cause) => format!("kafka at {} does not answer: {cause}", self.state.servers()),
            None if silent => format!("kafka at {} does not answer: {fault}", self.state.servers()),
            None => fault.to_string(),
        };
        BinderError::Failed { doing, reason }
    }
}

impl fmt::Debug for KafkaAdmin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaAdmin")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

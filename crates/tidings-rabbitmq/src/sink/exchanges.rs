//! Which exchanges are there: [`Exchanges`].
//!
//! A publish to an exchange that is missing closes the channel, and all that was in flight on it must be published again.
//! So an exchange is asked for, on a channel of its own, before the first message goes there.

use crate::connection::Live;
use crate::trouble::Trouble;
use lapin::options::ExchangeDeclareOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{Error, ErrorKind, ExchangeKind};
use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tidings_core::PublishError;

const NOT_FOUND: u16 = 404;
/// For so long after a refusal, messages are refused without another channel being lost to it.
const REFUSED: Duration = Duration::from_secs(1);

/// What is known of exchanges.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    there: HashSet<Arc<str>, foldhash::fast::RandomState>,
    /// That of the message before: the next is mostly for the same.
    last: Option<Arc<str>>,
    refused: HashMap<Arc<str>, Refused, foldhash::fast::RandomState>,
}

#[derive(Debug)]
struct Refused {
    /// Messages up to this number waited for the answer.
    below: u64,
    until: Instant,
    refusal: Refusal,
}

/// Why an exchange takes no message.
#[derive(Debug, Clone)]
pub(super) enum Refusal {
    Missing,
    Unauthorized(Arc<str>),
}

impl Refusal {
    pub(super) fn of(&self, destination: &Arc<str>) -> PublishError {
        match self {
            Self::Missing => PublishError::UnknownDestination {
                destination: destination.clone(),
            },
            Self::Unauthorized(reason) => PublishError::Unauthorized {
                destination: destination.clone(),
                reason: reason.to_string(),
            },
        }
    }
}

/// What to do with a message for an exchange.
#[derive(Debug)]
pub(super) enum Verdict {
    There,
    /// To be asked for.
    Unknown,
    Refused(Refusal),
}

/// A question for an exchange, under way.
pub(super) struct Probe<'a>(Pin<Box<dyn Future<Output = Found> + Send + 'a>>);

/// Its answer.
pub(super) struct Found {
    exchange: Arc<str>,
    below: u64,
    answer: Result<(), Error>,
}

impl Probe<'_> {
    /// None is under way.
    pub(super) fn never() -> Self {
        Self(Box::pin(std::future::pending()))
    }
}

impl Future for Probe<'_> {
    type Output = Found;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Found> {
        self.0.as_mut().poll(context)
    }
}

impl Exchanges {
    pub(super) fn verdict(&mut self, exchange: &Arc<str>, number: u64, now: Instant) -> Verdict {
        if exchange.is_empty() || self.last.as_ref().is_some_and(|last| Arc::ptr_eq(last, exchange)) {
            return Verdict::There;
        }
        if let Some(refused) = self.refused.get(exchange) {
            if number < refused.below || now < refused.until {
                return Verdict::Refused(refused.refusal.clone());
            }
            self.refused.remove(exchange);
        }
        if self.there.contains(exchange) {
            self.last = Some(exchange.clone());
            return Verdict::There;
        }
        Verdict::Unknown
    }

    /// Asks for an exchange. The answer counts for all messages below that number.
    pub(super) fn probe<'a>(&self, live: &'a Live, exchange: Arc<str>, below: u64) -> Probe<'a> {
        Probe(Box::pin(async move {
            let answer = ask(live, &exchange).await;
            Found {
                exchange,
                below,
                answer,
            }
        }))
    }

    /// Takes the answer of a question.
    ///
    /// # Errors
    /// There was none.
    pub(super) fn found(&mut self, found: Found) -> Result<(), Error> {
        match found.answer {
            Ok(()) => {
                self.there.insert(found.exchange);
            }
            Err(error) if code(&error) == Some(NOT_FOUND) => {
                let refused = Refused {
                    below: found.below,
                    until: Instant::now(),
                    refusal: Refusal::Missing,
                };
                self.refused.insert(found.exchange, refused);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// An exchange has closed the channel.
    pub(super) fn refuse(&mut self, exchange: Arc<str>, trouble: &Trouble, below: u64) {
        self.there.remove(&exchange);
        self.last = None;
        let now = Instant::now();
        let (until, refusal) = match trouble.code {
            Some(NOT_FOUND) => (now, Refusal::Missing),
            _ => (now + REFUSED, Refusal::Unauthorized(trouble.to_string().into())),
        };
        self.refused.insert(
            exchange,
            Refused {
                below,
                until,
                refusal,
            },
        );
    }

    /// Another connection may lead to another server.
    pub(super) fn forget(&mut self) {
        self.there.clear();
        self.last = None;
    }
}

/// Whether there is an exchange of that name.
pub(crate) async fn exchange_is_there(live: &Live, exchange: &str) -> Result<bool, Error> {
    match ask(live, exchange).await {
        Ok(()) => Ok(true),
        Err(error) if code(&error) == Some(NOT_FOUND) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn ask(live: &Live, exchange: &str) -> Result<(), Error> {
    let channel = live.connection.create_channel().await?;
    let passive = ExchangeDeclareOptions {
        passive: true,
        ..ExchangeDeclareOptions::default()
    };
    let name = ShortString::try_new(exchange).unwrap_or_default();
    // Without making it, the kind does not count.
    channel
        .exchange_declare(name, ExchangeKind::Direct, passive, FieldTable::default())
        .await
}

fn code(error: &Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

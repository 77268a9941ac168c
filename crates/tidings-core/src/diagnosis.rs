//! Why a dead letter is one: [`Diagnosis`].

use crate::delivery::Delivery;
use crate::extract::{BatchItem, FromDelivery};
use crate::failure::Failure;
use crate::message::{Position, Timestamp};
use crate::names;

/// Why a dead letter is one: for handlers of dead letters. Read from the headers that the engine wrote; every part is
/// bounded, and a message that somebody else put there has none of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnosis {
    /// Where the message was first published.
    pub position: Option<Position>,
    /// When it was first published.
    pub timestamp: Option<Timestamp>,
    /// The group whose handler gave up.
    pub group: Option<String>,
    /// The subscription whose handler gave up.
    pub subscription: Option<String>,
    /// The handler that gave up.
    pub handler: Option<String>,
    /// Why: `permanent`, `exhausted`, `undecodable`, `rejected`, or `killed`: the process died while it handled the
    /// message and nothing else.
    pub reason: Option<String>,
    /// The chain of errors, outermost first.
    pub error: Option<String>,
    /// How often the message was delivered.
    pub attempts: Option<u32>,
    /// When handling failed for the first time.
    pub first_failure: Option<Timestamp>,
    /// When handling failed for the last time.
    pub last_failure: Option<Timestamp>,
    /// How often it was sent back from the dead letters before.
    pub redrives: u32,
}

impl Diagnosis {
    /// Reads the diagnosis from headers. Total: what is missing or malformed is absent.
    pub fn from_headers(headers: crate::headers::HeaderView<'_>) -> Self {
        let text = |name| headers.find_str(name).map(str::to_owned);
        let millis = |name| headers.find_str(name)?.parse().ok().map(Timestamp::from_millis);
        let position = (|| {
            let destination = headers.find_str(names::ORIGIN_DESTINATION)?;
            let partition = headers.find_str(names::ORIGIN_PARTITION)?.parse().ok()?;
            Some(Position::new(
                destination,
                partition,
                headers.find_str(names::ORIGIN_OFFSET)?.parse().ok()?,
            ))
        })();
        Self {
            position,
            timestamp: millis(names::ORIGIN_TIMESTAMP),
            group: text(names::GROUP),
            subscription: text(names::SUBSCRIPTION),
            handler: text(names::HANDLER),
            reason: text(names::REASON),
            error: text(names::ERROR),
            attempts: headers
                .find_str(names::ATTEMPTS)
                .and_then(|text| text.parse().ok()),
            first_failure: millis(names::FIRST_FAILURE),
            last_failure: millis(names::LAST_FAILURE),
            redrives: headers
                .find_str(names::REDRIVES)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
        }
    }
}

impl<S> FromDelivery<S> for Diagnosis {
    fn from_delivery(delivery: &Delivery, _state: &S) -> Result<Self, Failure> {
        Ok(Self::from_headers(delivery.headers()))
    }
}

impl BatchItem for Diagnosis {
    fn from_delivery(delivery: &Delivery) -> Result<Self, Failure> {
        Ok(Self::from_headers(delivery.headers()))
    }
}

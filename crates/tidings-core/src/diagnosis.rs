//! Why a dead letter is one: [`Diagnosis`].

use crate::delivery::Delivery;
use crate::extract::{BatchItem, FromDelivery};
use crate::failure::Failure;
use crate::message::{Position, Timestamp};
use crate::{amqp, names, spring};

/// Why a dead letter is one: for handlers of dead letters. Read from the headers that the engine wrote, from those of a
/// service that uses Spring Kafka, or from those of RabbitMQ, which gives messages up by itself; every part is bounded,
/// and a message that somebody else put there has none of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnosis {
    /// Where the message was first published. The offset is 0 where RabbitMQ gave it up, whose queues have none.
    pub position: Option<Position>,
    /// When it was first published.
    pub timestamp: Option<Timestamp>,
    /// The group whose handler gave up.
    pub group: Option<String>,
    /// The subscription whose handler gave up.
    pub subscription: Option<String>,
    /// The handler that gave up.
    pub handler: Option<String>,
    /// Why: `permanent`, `exhausted`, `undecodable`, `unclaimed`, `rejected`, or `killed`: the process died while it handled the
    /// message and nothing else. RabbitMQ gives messages up that are `expired`, `rejected` by a client of another kind, that
    /// came back more often than the `delivery-limit` of their queue, or were too many (`max-length`).
    pub reason: Option<String>,
    /// The chain of errors, outermost first.
    pub error: Option<String>,
    /// How often the message was delivered.
    pub attempts: Option<u32>,
    /// How often handling failed by the broker's own count, where it keeps one (RabbitMQ). It may differ from what the
    /// engine counted, see [`tries`](Self::tries).
    pub broker_attempts: Option<u32>,
    /// When handling failed for the first time.
    pub first_failure: Option<Timestamp>,
    /// When handling failed for the last time.
    pub last_failure: Option<Timestamp>,
    /// How often it was sent back from the dead letters before.
    pub redrives: u32,
}

impl Diagnosis {
    /// How often handling was tried at the least: the larger of both counts. A header may have got lost on the way.
    pub fn tries(&self) -> Option<u32> {
        self.attempts.max(self.broker_attempts)
    }

    /// Reads the diagnosis from headers. Total: what is missing or malformed is absent.
    ///
    /// What RabbitMQ says of a letter counts where the engine has written no reason: then the message has died in a queue
    /// and not with its handler, and what the engine knew of it before is still true.
    ///
    /// A letter may have both kinds of headers, because a service writes both, or because a message died twice, in
    /// services of both kinds. Whoever wrote last counts: the engine takes Spring's headers away when it writes its own,
    /// Spring leaves ours where they are. So ours count unless Spring's tell of another place.
    pub fn from_headers(headers: crate::headers::HeaderView<'_>) -> Self {
        let own = Self::own(headers);
        match spring::read(headers) {
            Some(said)
                if own.group.is_none() || (said.position.is_some() && said.position != own.position) =>
            {
                Self {
                    position: said.position,
                    timestamp: said.timestamp,
                    group: said.group,
                    error: said.error,
                    attempts: said.attempts,
                    redrives: own.redrives,
                    ..Self::default()
                }
            }
            _ => own.completed_by(amqp::read(headers)),
        }
    }

    /// With what the broker says of a message that it gave up itself.
    fn completed_by(self, said: Option<amqp::Said>) -> Self {
        let Some(said) = said.filter(|_| self.reason.is_none()) else {
            return self;
        };
        Self {
            position: self.position.or(said.position),
            group: said.group.or(self.group),
            reason: Some(said.reason),
            error: Some(said.error),
            broker_attempts: said.failures,
            last_failure: said.at,
            ..self
        }
    }

    /// What the engine wrote.
    fn own(headers: crate::headers::HeaderView<'_>) -> Self {
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
            broker_attempts: None,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::HeaderWriter;

    fn own() -> HeaderWriter {
        HeaderWriter::default()
            .append(names::ORIGIN_DESTINATION, "orders")
            .append(names::ORIGIN_PARTITION, "3")
            .append(names::ORIGIN_OFFSET, "7")
            .append(names::GROUP, "billing")
            .append(names::REASON, "exhausted")
            .append(names::REDRIVES, "2")
    }

    fn with_spring(writer: HeaderWriter, offset: i64) -> HeaderWriter {
        writer
            .append(spring::ORIGINAL_TOPIC, "orders")
            .append(spring::ORIGINAL_PARTITION, 3_i32.to_be_bytes())
            .append(spring::ORIGINAL_OFFSET, offset.to_be_bytes())
            .append(spring::ORIGINAL_CONSUMER_GROUP, "shipping")
    }

    fn diagnosis(writer: HeaderWriter) -> Diagnosis {
        Diagnosis::from_headers(writer.finish().unwrap().view())
    }

    #[test]
    fn what_a_broker_gave_up_keeps_what_the_engine_knew_and_a_later_word_of_the_engine_counts() {
        let death =
            r#"[{"queue":"orders.billing.retry","exchange":"","reason":"rejected","count":5,"time":7}]"#;
        let parked = HeaderWriter::default()
            .append(names::ORIGIN_DESTINATION, "orders")
            .append(names::ORIGIN_PARTITION, "0")
            .append(names::ORIGIN_OFFSET, "7")
            .append(names::ATTEMPTS, "2")
            .append(amqp::DEATH, death);
        let given_up = diagnosis(parked);
        assert_eq!(
            (given_up.group.as_deref(), given_up.reason.as_deref()),
            (Some("billing"), Some("rejected"))
        );
        assert_eq!(given_up.position, Some(Position::new("orders", 0, 7)));
        assert_eq!(
            (given_up.attempts, given_up.broker_attempts, given_up.tries()),
            (Some(2), Some(5), Some(5))
        );
        assert_eq!(given_up.last_failure, Some(Timestamp::from_millis(7_000)));
        let ours = diagnosis(own().append(amqp::DEATH, death));
        assert_eq!(
            (ours.reason.as_deref(), ours.broker_attempts),
            (Some("exhausted"), None)
        );
    }

    #[test]
    fn of_two_diagnoses_of_one_failure_ours_counts_and_of_two_failures_that_of_the_last() {
        let both = diagnosis(with_spring(own(), 7));
        assert_eq!(
            (both.group.as_deref(), both.reason.as_deref()),
            (Some("billing"), Some("exhausted"))
        );
        let later = diagnosis(with_spring(own(), 900));
        assert_eq!((later.group.as_deref(), later.reason), (Some("shipping"), None));
        assert_eq!(later.position, Some(Position::new("orders", 3, 900)));
        assert_eq!(
            later.redrives, 2,
            "how often it was sent back does not start again"
        );
        let alone = diagnosis(with_spring(HeaderWriter::default(), 7));
        assert_eq!(alone.group.as_deref(), Some("shipping"));
    }
}

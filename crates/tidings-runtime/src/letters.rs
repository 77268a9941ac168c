//! The headers of messages that leave their place: [`parked`] for the retry lane, [`dead`] for the dead letters, and
//! [`Parked`], what is read back. Nothing read is believed beyond its range.

use crate::spec::DeadLetterTarget;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::headers::HeaderWriter;
use tidings_core::{
    DeadLetterHeaders, Delivery, LaneRole, MAX_BACKOFF, Message, Origin, Outgoing, Position, Timestamp,
    names, spring,
};

/// The most bytes of a diagnosis's error chain.
pub(crate) const MAX_ERROR_BYTES: usize = 1_024;
/// The most bytes of each name in a diagnosis.
const MAX_NAME_BYTES: usize = 256;
/// The most bytes of the handler's name, which is the name of a type and for people only.
const MAX_HANDLER_BYTES: usize = 128;
/// The most bytes of the error in Spring's words, and of what stands for its stack trace: with ours beside them all of
/// it stays within the reserve of a broker's limits.
const MAX_SPRING_MESSAGE_BYTES: usize = 128;
const MAX_SPRING_TRACE_BYTES: usize = 256;
/// No message is believed to have been delivered more often.
const MAX_ATTEMPTS: u32 = 1_000_000;

/// What is known of a delivery that leaves its place.
pub(crate) struct Leaving<'a> {
    pub(crate) delivery: &'a Delivery,
    /// Attempts that failed.
    pub(crate) used: u32,
    pub(crate) first_failure: Option<Timestamp>,
}

impl Leaving<'_> {
    /// The message's own headers as far as they are kept, and where it was first published.
    fn headers(&self, keep: impl Fn(&str) -> bool) -> HeaderWriter {
        let delivery = self.delivery;
        let position = delivery.position();
        let own = delivery.headers().filter(|(name, _)| keep(name));
        let writer = own.fold(HeaderWriter::with_capacity(512), |writer, (name, value)| {
            writer.append(name, value)
        });
        let writer = writer
            .append(names::ATTEMPTS, self.used.to_string())
            .append(
                names::ORIGIN_DESTINATION,
                bounded(position.destination(), MAX_NAME_BYTES),
            )
            .append(names::ORIGIN_PARTITION, position.partition().to_string())
            .append(names::ORIGIN_OFFSET, position.offset().to_string())
            .append(
                names::ORIGIN_TIMESTAMP,
                delivery.timestamp().as_millis().to_string(),
            );
        let writer = match self.first_failure {
            Some(at) => writer.append(names::FIRST_FAILURE, at.as_millis().to_string()),
            None => writer,
        };
        match delivery.origin().map_or(0, |origin| origin.redrives) {
            0 => writer,
            redrives => writer.append(names::REDRIVES, redrives.to_string()),
        }
    }

    /// The message as it was, with these headers. Its timestamp is that of its writing, because brokers delete by it: an
    /// old message would be gone before anybody has looked at it. When it was first published is in its headers.
    fn message(&self, headers: HeaderWriter) -> Message {
        let message = self.delivery.message().with_headers(headers.finish_received());
        message.without_timestamp()
    }
}

/// The message for partition `partition` of the retry destination.
pub(crate) fn parked(
    leaving: &Leaving<'_>,
    destination: Arc<str>,
    partition: u32,
    due: Timestamp,
) -> Outgoing {
    let headers = leaving
        .headers(|name| !names::is_control(name) || name == names::CLAIM)
        .append(names::DUE, due.as_millis().to_string());
    let message = leaving.message(headers);
    Outgoing {
        destination,
        partition: Some(partition),
        message,
        due: None,
    }
}

/// Who gave up, and why.
pub(crate) struct GivenUp<'a> {
    pub(crate) handler: &'a str,
    pub(crate) reason: &'static str,
    pub(crate) error: &'a str,
    pub(crate) at: Timestamp,
    /// Whose words the letter is described in.
    pub(crate) headers: DeadLetterHeaders,
}

/// The message for the dead letters: in the partition of the same number if there is one. What was said of an earlier
/// death, in our words or in Spring's, is replaced.
pub(crate) fn dead(leaving: &Leaving<'_>, target: &DeadLetterTarget, given_up: &GivenUp<'_>) -> Outgoing {
    let context = leaving.delivery.context();
    let group = context.group.as_deref().unwrap_or_default();
    // In the retry lane nobody but a redrive has written that, and an outsider's word stays behind in the main lane.
    let from_retry = leaving.delivery.lane().role == LaneRole::Retry;
    let stays = |name: &str| name == names::CLAIM || (from_retry && name == names::EDITED);
    let headers = leaving
        .headers(|name| !names::is_added(name) || stays(name))
        .append(names::GROUP, bounded(group, MAX_NAME_BYTES))
        .append(
            names::SUBSCRIPTION,
            bounded(&context.subscription, MAX_NAME_BYTES),
        )
        .append(names::HANDLER, bounded(given_up.handler, MAX_HANDLER_BYTES))
        .append(names::REASON, given_up.reason)
        .append(names::LAST_FAILURE, given_up.at.as_millis().to_string())
        .append(names::ERROR, bounded(given_up.error, MAX_ERROR_BYTES));
    let headers = match given_up.headers {
        DeadLetterHeaders::Tidings => headers,
        DeadLetterHeaders::Spring => in_springs_words(headers, leaving, group, given_up),
    };
    let partition = leaving.delivery.position().partition();
    Outgoing {
        destination: target.destination.clone(),
        partition: (partition < target.partitions).then_some(partition),
        message: leaving.message(headers),
        due: None,
    }
}

/// Says the same as Spring Kafka would. An error here has no class: the reason stands for it.
fn in_springs_words(
    headers: HeaderWriter,
    leaving: &Leaving<'_>,
    group: &str,
    given_up: &GivenUp<'_>,
) -> HeaderWriter {
    let position = leaving.delivery.position();
    let timestamp = leaving.delivery.timestamp().as_millis();
    let partition = i32::try_from(position.partition()).unwrap_or(i32::MAX);
    let offset = i64::try_from(position.offset()).unwrap_or(i64::MAX);
    let attempts = i32::try_from(leaving.used).unwrap_or(i32::MAX);
    let class = format!("tidings.Failure.{}", given_up.reason);
    let trace = format!("{class}: {}", given_up.error);
    let topic = bounded(position.destination(), MAX_NAME_BYTES);
    headers
        .append(spring::ORIGINAL_TOPIC, topic)
        .append(spring::ORIGINAL_PARTITION, partition.to_be_bytes())
        .append(spring::ORIGINAL_OFFSET, offset.to_be_bytes())
        .append(spring::ORIGINAL_TIMESTAMP, timestamp.to_be_bytes())
        .append(spring::ORIGINAL_TIMESTAMP_TYPE, "CreateTime")
        .append(spring::ORIGINAL_CONSUMER_GROUP, bounded(group, MAX_NAME_BYTES))
        .append(spring::EXCEPTION_FQCN, class.as_str())
        .append(
            spring::EXCEPTION_MESSAGE,
            bounded(given_up.error, MAX_SPRING_MESSAGE_BYTES),
        )
        .append(
            spring::EXCEPTION_STACKTRACE,
            bounded(&trace, MAX_SPRING_TRACE_BYTES),
        )
        .append(spring::DELIVERY_ATTEMPT, attempts.to_be_bytes())
}

/// As much of a text as fits into that many bytes.
pub(crate) fn bounded(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What the headers of a message in the retry lane say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parked {
    pub(crate) used: u32,
    pub(crate) due: Timestamp,
    pub(crate) origin: Option<Origin>,
}

impl Parked {
    /// Reads the headers. What is missing or out of range is none: no attempts, due now. No wait is longer than the
    /// longest back-off, and nothing waits in the retry lane that has used all of its `attempts`.
    pub(crate) fn read(delivery: &Delivery, now: Timestamp, attempts: u32) -> Self {
        let headers = delivery.headers();
        let number = |name| headers.find_str(name)?.parse::<i64>().ok();
        let count = |name| {
            number(name)
                .and_then(|value| u32::try_from(value).ok())
                .unwrap_or(0)
                .min(MAX_ATTEMPTS)
        };
        let millis = |name| number(name).map(Timestamp::from_millis);
        let origin = || {
            let destination = headers.find_str(names::ORIGIN_DESTINATION)?;
            let partition = u32::try_from(number(names::ORIGIN_PARTITION)?).ok()?;
            let offset = u64::try_from(number(names::ORIGIN_OFFSET)?).ok()?;
            Some(Origin {
                position: Position::new(destination, partition, offset),
                timestamp: millis(names::ORIGIN_TIMESTAMP)?,
                redrives: count(names::REDRIVES),
                first_failure: millis(names::FIRST_FAILURE),
            })
        };
        let latest = now.plus(MAX_BACKOFF);
        Self {
            used: Some(count(names::ATTEMPTS))
                .filter(|used| *used < attempts)
                .unwrap_or(0),
            due: millis(names::DUE).unwrap_or(now).min(latest),
            origin: origin(),
        }
    }

    /// How long it has to wait yet.
    pub(crate) fn wait(&self, now: Timestamp) -> Duration {
        self.due.since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::headers::CONTROL_HEADER_RESERVE;
    use tidings_core::{
        Claim, Clock, Epoch, HandlerContext, LaneId, LaneInfo, LaneRole, Publisher, RecordBatch, Routes,
    };

    fn delivery(role: LaneRole, name: &str, headers: HeaderWriter) -> Delivery {
        let message = Message::new("tea").with_headers(headers.finish_received());
        let batch = RecordBatch::from_messages(LaneId(0), Epoch(1), u64::MAX >> 2, &[message]);
        let lane = LaneInfo {
            destination: name.into(),
            partition: u32::MAX,
            role,
        };
        let context = HandlerContext {
            app: "shop".into(),
            subscription: name.into(),
            group: Some(name.into()),
            publisher: Publisher::new(Arc::new(Routes::default()), Clock::System),
            clock: Clock::System,
        };
        Delivery::new(Arc::new(batch), 0, Arc::new(lane), Arc::new(context))
    }

    fn dead_letter(delivery: &Delivery, name: &str, headers: DeadLetterHeaders) -> Message {
        let leaving = Leaving {
            delivery,
            used: u32::MAX,
            first_failure: Some(Timestamp::from_millis(i64::MAX)),
        };
        let target = DeadLetterTarget {
            destination: name.into(),
            partitions: 1,
        };
        let given_up = GivenUp {
            handler: name,
            reason: "undecodable",
            error: name,
            at: Timestamp::from_millis(i64::MAX),
            headers,
        };
        dead(&leaving, &target, &given_up).message
    }

    #[test]
    fn whatever_is_long_stays_within_the_reserve() {
        let name = "n".repeat(10_000);
        let claim = Claim::new("s".repeat(249), u64::MAX, [255; 32]);
        let headers = HeaderWriter::default()
            .append(names::CLAIM, claim.to_string())
            .append(names::EDITED, i64::MAX.to_string());
        let origin = Origin {
            position: Position::new(name.as_str(), u32::MAX, u64::MAX),
            timestamp: Timestamp::from_millis(i64::MAX),
            redrives: u32::MAX,
            first_failure: None,
        };
        let delivery = delivery(LaneRole::Retry, &name, headers).with_origin(Arc::new(origin));
        for words in [DeadLetterHeaders::Tidings, DeadLetterHeaders::Spring] {
            let added = dead_letter(&delivery, &name, words).added_size();
            assert!(
                added <= CONTROL_HEADER_RESERVE,
                "{added} bytes in the words of {words:?}"
            );
        }
    }

    #[test]
    fn that_a_person_changed_a_letter_is_known_when_it_dies_again_and_believed_of_no_outsider() {
        let headers = || {
            HeaderWriter::default()
                .append(names::EDITED, "5")
                .append("tenant", "eu")
        };
        for (role, expected) in [(LaneRole::Retry, Some("5")), (LaneRole::Main, None)] {
            let letter = dead_letter(
                &delivery(role, "orders", headers()),
                "x",
                DeadLetterHeaders::Tidings,
            );
            assert_eq!(letter.headers().get_str(names::EDITED), expected, "{role:?}");
            assert_eq!(letter.headers().get_str("tenant"), Some("eu"));
        }
    }
}

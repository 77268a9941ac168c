//! Why a message was not kept, in the words of a [`PublishError`].

use super::native::Delivery;
use crate::client::{TopicFacts, cure};
use crate::trouble::Fault;
use rdkafka::error::RDKafkaErrorCode as Code;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::PublishError;

const BROKER: &str = "kafka";

/// What a refusal may have to name.
#[derive(Debug)]
pub(super) struct Circumstances<'a> {
    pub(super) topic: &'a str,
    pub(super) facts: &'a TopicFacts,
    pub(super) partition: i32,
    /// Bytes of the message.
    pub(super) size: usize,
    /// The limit of this client in bytes.
    pub(super) limit: usize,
    /// How long a message may take.
    pub(super) timeout: Duration,
    /// Why the broker cannot be reached, if that is known.
    pub(super) cause: Option<String>,
    /// Why its producer cannot go on, if it cannot.
    pub(super) fatal: Option<Fault>,
    /// Whether the message cannot be in the topic.
    pub(super) surely_not_kept: bool,
}

impl<'a> Circumstances<'a> {
    /// Those of a message that was sent.
    pub(super) fn of(delivery: &Delivery<'a>, facts: &'a TopicFacts) -> Self {
        Self {
            topic: delivery.topic,
            facts,
            partition: delivery.partition,
            size: delivery.size,
            limit: 0,
            timeout: Duration::ZERO,
            cause: None,
            fatal: None,
            surely_not_kept: delivery.surely_not_kept,
        }
    }

    fn size_limit(&self) -> usize {
        let of_topic = self.facts.max_message_bytes();
        of_topic.map_or(self.limit, |bytes| (bytes as usize).min(self.limit))
    }

    /// Whether the message by itself is within the limits, also with what a batch adds to it.
    fn fits(&self) -> bool {
        const BATCH_OVERHEAD: usize = 100;
        self.size + BATCH_OVERHEAD <= self.size_limit()
    }
}

/// The refusal of a message for which the client or the broker gave that code.
pub(super) fn refusal(code: Code, of: &Circumstances<'_>) -> PublishError {
    let destination: Arc<str> = of.topic.into();
    match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::InvalidTopic => {
            PublishError::UnknownDestination { destination }
        }
        Code::UnknownPartition => PublishError::UnknownPartition {
            destination,
            partition: u32::try_from(of.partition).unwrap_or(0),
            partitions: of.facts.partitions().unwrap_or(0),
        },
        Code::MessageSizeTooLarge | Code::InvalidMessageSize if of.fits() => PublishError::Unavailable {
            destination,
            reason:
                "the broker takes the message, but not the batch that it was in: set \"producer.batch.size\" \
                         below the topic's max.message.bytes"
                    .to_owned(),
        },
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => PublishError::TooLarge {
            destination,
            size: of.size,
            limit: of.size_limit(),
        },
        Code::PurgeQueue | Code::PurgeInflight => match &of.fatal {
            Some(fatal) => PublishError::Unavailable {
                destination,
                reason: format!("{fatal}; the message may have been published"),
            },
            None => given_up(of.topic),
        },
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed | Code::PolicyViolation => {
            PublishError::Unauthorized {
                destination,
                reason: with_cure(code),
            }
        }
        Code::InvalidTimestamp => PublishError::Unsupported {
            broker: BROKER,
            feature: "a timestamp so far from the broker's clock",
            cure: "leave the timestamp out, or raise the topic's message.timestamp.before.max.ms and after.max.ms",
        },
        Code::InvalidRecord => PublishError::Unsupported {
            broker: BROKER,
            feature: "such a record in this topic",
            cure: "a compacted topic wants a key in every message",
        },
        Code::UnsupportedCompressionType | Code::UnsupportedForMessageFormat => PublishError::Unsupported {
            broker: BROKER,
            feature: "this form of messages",
            cure: "set \"compression.type\" to one that the broker knows",
        },
        Code::OutOfOrderSequenceNumber => PublishError::Unavailable {
            destination,
            reason: "the broker has confirmed what was published after this message, and not the message; it may be missing"
                .to_owned(),
        },
        _ if of.surely_not_kept => PublishError::Unavailable {
            destination,
            reason: reason(code, of),
        },
        Code::MessageTimedOut | Code::RequestTimedOut | Code::OperationTimedOut => PublishError::Timeout {
            destination,
            after: of.timeout,
        },
        _ => PublishError::Unavailable {
            destination,
            reason: format!("{}; the message may have been published", reason(code, of)),
        },
    }
}

/// The refusal of what was under way when its producer was given up.
pub(super) fn given_up(topic: &str) -> PublishError {
    PublishError::Unavailable {
        destination: topic.into(),
        reason: "the client was closed before the broker answered; the message may have been published"
            .to_owned(),
    }
}

/// The refusal of a message for which there is no room.
pub(super) fn no_room(destination: Arc<str>) -> PublishError {
    PublishError::Unavailable {
        destination,
        reason: "the buffer is full: await receipts before publishing more, or raise \
                 \"queue.buffering.max.kbytes\" and \"queue.buffering.max.messages\""
            .to_owned(),
    }
}

fn reason(code: Code, of: &Circumstances<'_>) -> String {
    match &of.cause {
        Some(cause) => cause.clone(),
        None if code == Code::MessageTimedOut => {
            format!("the broker did not take it within {:?}", of.timeout)
        }
        None => with_cure(code),
    }
}

fn with_cure(code: Code) -> String {
    match cure(code, "") {
        Some(cure) => format!("{code}: {cure}"),
        None => code.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(facts: &TopicFacts, surely_not_kept: bool) -> Circumstances<'_> {
        Circumstances {
            topic: "orders",
            facts,
            partition: 9,
            size: 2_000,
            limit: 1_500,
            timeout: Duration::from_secs(3),
            cause: None,
            fatal: None,
            surely_not_kept,
        }
    }

    #[test]
    fn what_the_message_is_at_fault_for_is_permanent_and_names_both_sides() {
        let facts = TopicFacts::default();
        facts.has_partitions(6);
        facts.takes_messages_of(1_000);
        for (code, words) in [
            (Code::UnknownTopic, "no destination \"orders\""),
            (Code::UnknownPartition, "no partition 9 in \"orders\": it has 6"),
            (Code::MessageSizeTooLarge, "has 2000 bytes, the limit is 1000"),
            (
                Code::TopicAuthorizationFailed,
                "not allowed to publish to \"orders\"",
            ),
            (Code::InvalidRecord, "wants a key"),
            (Code::InvalidTimestamp, "leave the timestamp out"),
        ] {
            let error = refusal(code, &of(&facts, true));
            assert!(error.is_permanent(), "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn a_message_whose_batch_was_too_large_may_be_tried_again() {
        let facts = TopicFacts::default();
        facts.takes_messages_of(5_000);
        let mut small = of(&facts, true);
        (small.size, small.limit) = (1_000, 1_000_000);
        let error = refusal(Code::MessageSizeTooLarge, &small);
        assert!(
            !error.is_permanent() && error.to_string().contains("batch.size"),
            "{error}"
        );
    }

    #[test]
    fn a_message_that_may_be_there_is_told_apart_from_one_that_is_not() {
        let facts = TopicFacts::default();
        let unsure = refusal(Code::MessageTimedOut, &of(&facts, false));
        assert!(
            matches!(unsure, PublishError::Timeout { after, .. } if after.as_secs() == 3),
            "{unsure}"
        );
        let mut away = of(&facts, true);
        away.cause = Some("Connection refused: start the broker".to_owned());
        let sure = refusal(Code::MessageTimedOut, &away);
        assert!(!sure.is_permanent());
        assert!(sure.to_string().contains("start the broker"), "{sure}");
        let other = refusal(Code::NotEnoughReplicasAfterAppend, &of(&facts, false));
        assert!(other.to_string().contains("may have been published"), "{other}");
        let passed_over = refusal(Code::OutOfOrderSequenceNumber, &of(&facts, false));
        assert!(
            passed_over.to_string().contains("may be missing"),
            "{passed_over}"
        );
        assert!(!passed_over.is_permanent());
        assert!(!other.is_permanent());
    }
}

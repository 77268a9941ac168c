//! The headers by which Spring Kafka says why a record is a dead letter, and where the reply to a request goes: their
//! names and encodings, so that services of both kinds can share dead letters and answer each other. Texts are UTF-8, numbers are big-endian, 4 or 8 bytes.
//!
//! `__TypeId__` is not among them. It says which Java class a payload is, belongs to the message, and stays on a dead
//! letter like every other header of the message; nothing here writes or needs it.

use crate::headers::HeaderView;
use crate::message::{Position, Timestamp};

/// Where the record was first published: the topic.
pub const ORIGINAL_TOPIC: &str = "kafka_dlt-original-topic";
/// The partition there, 4 bytes.
pub const ORIGINAL_PARTITION: &str = "kafka_dlt-original-partition";
/// The offset there, 8 bytes.
pub const ORIGINAL_OFFSET: &str = "kafka_dlt-original-offset";
/// The timestamp there, milliseconds since 1970, 8 bytes.
pub const ORIGINAL_TIMESTAMP: &str = "kafka_dlt-original-timestamp";
/// What that timestamp is: `CreateTime` or `LogAppendTime`.
pub const ORIGINAL_TIMESTAMP_TYPE: &str = "kafka_dlt-original-timestamp-type";
/// The consumer group that gave up.
pub const ORIGINAL_CONSUMER_GROUP: &str = "kafka_dlt-original-consumer-group";
/// The class of the error.
pub const EXCEPTION_FQCN: &str = "kafka_dlt-exception-fqcn";
/// The class of what caused the error.
pub const EXCEPTION_CAUSE_FQCN: &str = "kafka_dlt-exception-cause-fqcn";
/// The error's message.
pub const EXCEPTION_MESSAGE: &str = "kafka_dlt-exception-message";
/// The error's stack trace.
pub const EXCEPTION_STACKTRACE: &str = "kafka_dlt-exception-stacktrace";
/// Which delivery this was, from 1, 4 bytes.
pub const DELIVERY_ATTEMPT: &str = "kafka_deliveryAttempt";

/// Requests: the topic that the reply goes to.
pub const REPLY_TOPIC: &str = "kafka_replyTopic";
/// Requests: the partition there, 4 bytes.
pub const REPLY_PARTITION: &str = "kafka_replyPartition";
/// Requests and their replies: what they are known by, bytes of the requester's choice.
pub const CORRELATION: &str = "kafka_correlationId";

/// What the headers of a dead letter start with.
const PREFIX: &str = "kafka_dlt-";
/// The most bytes that are believed of a name, and of an error.
const MAX_NAME_BYTES: usize = 256;
const MAX_ERROR_BYTES: usize = 1_024;

/// Whether a header of that name is a part of Spring's diagnosis of a dead letter.
pub fn is_diagnosis(name: &str) -> bool {
    name.starts_with(PREFIX) || name == DELIVERY_ATTEMPT
}

/// What Spring says of a dead letter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) position: Option<Position>,
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) group: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) attempts: Option<u32>,
}

/// Reads it; none where no header names the topic, which every such letter has. Total: what is missing, malformed or
/// too long is absent.
///
/// A record that was a dead letter before may have a header several times, and the last one is of the last failure.
pub(crate) fn read(headers: HeaderView<'_>) -> Option<Said> {
    let topic = text(headers, ORIGINAL_TOPIC, MAX_NAME_BYTES)?;
    let position = (|| {
        let partition = u32::try_from(i32::from_be_bytes(bytes(headers, ORIGINAL_PARTITION)?)).ok()?;
        let offset = u64::try_from(i64::from_be_bytes(bytes(headers, ORIGINAL_OFFSET)?)).ok()?;
        Some(Position::new(topic, partition, offset))
    })();
    let millis = bytes(headers, ORIGINAL_TIMESTAMP).map(i64::from_be_bytes);
    let attempts = bytes(headers, DELIVERY_ATTEMPT).map(i32::from_be_bytes);
    Some(Said {
        position,
        // A record without a time has -1.
        timestamp: millis.filter(|millis| *millis >= 0).map(Timestamp::from_millis),
        group: text(headers, ORIGINAL_CONSUMER_GROUP, MAX_NAME_BYTES).map(str::to_owned),
        error: error(headers),
        attempts: attempts.and_then(|attempts| u32::try_from(attempts).ok()),
    })
}

/// Class and message of the error; then the innermost cause, which the stack trace alone names: the outermost error is
/// nearly always the listener's.
fn error(headers: HeaderView<'_>) -> Option<String> {
    let line = |name| text(headers, name, usize::MAX);
    let parts = [line(EXCEPTION_FQCN), line(EXCEPTION_MESSAGE)];
    let outer: Vec<_> = parts.into_iter().flatten().collect();
    let trace = line(EXCEPTION_STACKTRACE).unwrap_or_default();
    let innermost = trace
        .lines()
        .rev()
        .find_map(|line| line.trim_start().strip_prefix("Caused by: "))
        .or_else(|| line(EXCEPTION_CAUSE_FQCN));
    let all: Vec<_> = [outer.join(": ")]
        .into_iter()
        .chain(innermost.map(|cause| format!("caused by {cause}")))
        .filter(|part| !part.is_empty())
        .collect();
    let all = all.join("; ");
    let end = (0..=MAX_ERROR_BYTES.min(all.len()))
        .rev()
        .find(|end| all.is_char_boundary(*end));
    all.get(..end?).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn last<'a>(headers: HeaderView<'a>, name: &str) -> Option<&'a [u8]> {
    headers
        .filter(|(found, _)| *found == name)
        .last()
        .map(|(_, value)| value)
}

fn text<'a>(headers: HeaderView<'a>, name: &str, max_bytes: usize) -> Option<&'a str> {
    let value = last(headers, name).filter(|value| !value.is_empty() && value.len() <= max_bytes)?;
    std::str::from_utf8(value).ok()
}

fn bytes<const N: usize>(headers: HeaderView<'_>, name: &str) -> Option<[u8; N]> {
    last(headers, name)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::{HeaderWriter, Headers};
    use proptest::prelude::*;

    fn spring() -> HeaderWriter {
        HeaderWriter::default()
            .append(ORIGINAL_TOPIC, "orders")
            .append(ORIGINAL_PARTITION, [0, 0, 0, 3])
            .append(ORIGINAL_OFFSET, [0, 0, 0, 0, 0, 0, 1, 0])
            .append(ORIGINAL_TIMESTAMP, 1_700_000_000_000_i64.to_be_bytes())
            .append(ORIGINAL_TIMESTAMP_TYPE, "CreateTime")
            .append(ORIGINAL_CONSUMER_GROUP, "billing")
            .append(
                EXCEPTION_FQCN,
                "org.springframework.kafka.listener.ListenerExecutionFailedException",
            )
            .append(EXCEPTION_CAUSE_FQCN, "java.lang.IllegalStateException")
            .append(EXCEPTION_MESSAGE, "Listener failed")
            .append(
                EXCEPTION_STACKTRACE,
                "org.x.A: Listener failed\n\tat org.x.A.b(A.java:1)\nCaused by: java.lang.IllegalStateException: no route\n\t... 3 more\n",
            )
            .append(DELIVERY_ATTEMPT, [0, 0, 0, 3])
    }

    fn said(writer: HeaderWriter) -> Option<Said> {
        read(writer.finish().unwrap().view())
    }

    #[test]
    fn everything_that_spring_says_is_understood() {
        let said = said(spring()).unwrap();
        assert_eq!(said.position, Some(Position::new("orders", 3, 256)));
        assert_eq!(said.timestamp, Some(Timestamp::from_millis(1_700_000_000_000)));
        assert_eq!(said.group.as_deref(), Some("billing"));
        assert_eq!(said.attempts, Some(3));
        let error = said.error.unwrap();
        assert_eq!(
            error,
            "org.springframework.kafka.listener.ListenerExecutionFailedException: Listener failed; \
             caused by java.lang.IllegalStateException: no route"
        );
    }

    #[test]
    fn of_a_header_that_is_there_twice_the_last_one_counts() {
        let twice = spring()
            .append(ORIGINAL_CONSUMER_GROUP, "shipping")
            .append(ORIGINAL_PARTITION, [0, 0, 0, 9]);
        let said = said(twice).unwrap();
        assert_eq!(said.group.as_deref(), Some("shipping"));
        assert_eq!(said.position.unwrap().partition(), 9);
    }

    #[test]
    fn numbers_of_another_size_or_sign_and_long_names_are_absent() {
        for (name, value) in [
            (ORIGINAL_PARTITION, b"3".to_vec()),
            (ORIGINAL_PARTITION, (-1_i32).to_be_bytes().to_vec()),
            (ORIGINAL_OFFSET, 7_i32.to_be_bytes().to_vec()),
            (ORIGINAL_OFFSET, (-1_i64).to_be_bytes().to_vec()),
        ] {
            assert_eq!(said(spring().set(name, value)).unwrap().position, None, "{name}");
        }
        assert_eq!(said(spring().set(ORIGINAL_TOPIC, "x".repeat(257))), None);
        let long = said(spring().set(EXCEPTION_MESSAGE, "é".repeat(4_000))).unwrap();
        assert!(long.error.unwrap().len() <= MAX_ERROR_BYTES);
        assert_eq!(said(HeaderWriter::default().append("b3", "1")), None);
    }

    proptest! {
        #[test]
        fn any_values_are_read_without_a_panic(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 11)) {
            let names = [
                ORIGINAL_TOPIC, ORIGINAL_PARTITION, ORIGINAL_OFFSET, ORIGINAL_TIMESTAMP, ORIGINAL_TIMESTAMP_TYPE,
                ORIGINAL_CONSUMER_GROUP, EXCEPTION_FQCN, EXCEPTION_CAUSE_FQCN, EXCEPTION_MESSAGE, EXCEPTION_STACKTRACE,
                DELIVERY_ATTEMPT,
            ];
            let writer = names.iter().zip(&values).fold(HeaderWriter::default(), |w, (name, value)| w.append(name, value));
            let headers: Headers = writer.finish().unwrap();
            let _ = read(headers.view());
        }
    }
}

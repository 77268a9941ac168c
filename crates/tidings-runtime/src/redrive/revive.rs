//! What a dead letter becomes when it goes back: [`revived`].

use super::letters::DeadLetter;
use bytes::Bytes;
use tidings_core::headers::{HeaderWriter, Headers, HeadersError};
use tidings_core::{Clock, Message, amqp, names, spring};

/// The message as it goes back: without the diagnosis of its last failure, in whatever words, due now, with no attempt
/// made. Where it was first published is said in our words, also of a letter that somebody else wrote.
pub(super) fn revived(letter: &DeadLetter, clock: Clock) -> Result<Message, HeadersError> {
    let old = letter.message.headers();
    let last_failure = [
        names::GROUP,
        names::SUBSCRIPTION,
        names::HANDLER,
        names::REASON,
        names::ERROR,
        names::LAST_FAILURE,
    ];
    let steering = [names::ATTEMPTS, names::DUE, names::REDRIVES];
    let origin = origin(letter);
    let replaced = |name: &str| {
        last_failure.contains(&name)
            || steering.contains(&name)
            || spring::is_diagnosis(name)
            || amqp::is_history(name)
            || origin.iter().any(|(known, _)| *known == name)
    };
    let mut writer = HeaderWriter::with_capacity(old.size() + 64);
    for (name, value) in old {
        if !replaced(name) {
            writer = writer.append(name, value);
        }
    }
    for (name, value) in &origin {
        writer = writer.append(name, value);
    }
    let now = clock.now();
    let headers: Headers = writer
        .append(names::ATTEMPTS, "0")
        .append(names::DUE, now.as_millis().to_string())
        .append(
            names::REDRIVES,
            letter.diagnosis.redrives.saturating_add(1).to_string(),
        )
        .finish_received();
    Ok(letter.message.clone().with_headers(headers).with_timestamp(now))
}

/// Where the message was first published, as headers.
fn origin(letter: &DeadLetter) -> Vec<(&'static str, String)> {
    let Some(position) = &letter.diagnosis.position else {
        return Vec::new();
    };
    let timestamp = letter.diagnosis.timestamp.or_else(|| letter.message.timestamp());
    vec![
        (names::ORIGIN_DESTINATION, position.destination().to_owned()),
        (names::ORIGIN_PARTITION, position.partition().to_string()),
        (names::ORIGIN_OFFSET, position.offset().to_string()),
        (
            names::ORIGIN_TIMESTAMP,
            timestamp.unwrap_or_default().as_millis().to_string(),
        ),
    ]
}

/// The message with the payload that a person gave it, and with a header that says so: whoever handles it, or finds it
/// among the dead letters again, can tell that nobody has published it like that.
pub(super) fn edited(message: Message, payload: Bytes, clock: Clock) -> Message {
    let headers = HeaderWriter::from_headers(message.headers())
        // The payload of before lies in a claim store; this one travels with the message.
        .remove(names::CLAIM)
        .set(names::EDITED, clock.now().as_millis().to_string())
        .finish_received();
    message.with_payload(Some(payload)).with_headers(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::{Diagnosis, Position, Timestamp};

    #[test]
    fn a_letter_goes_back_without_its_last_failure_and_with_everything_else() {
        let mut message = Message::new("payload").with_key("ada");
        for (name, value) in [
            ("tenant", "eu"),
            (names::MESSAGE_ID, "m-1"),
            (names::ORIGIN_DESTINATION, "orders"),
            (names::ORIGIN_PARTITION, "3"),
            (names::ORIGIN_OFFSET, "7"),
            (names::ATTEMPTS, "3"),
            (names::REDRIVES, "1"),
            (names::FIRST_FAILURE, "5"),
            (names::GROUP, "billing"),
            (names::ERROR, "the bank is closed"),
            (amqp::DEATH, "[]"),
        ] {
            message = message.with_header(name, value).unwrap();
        }
        let diagnosis = Diagnosis::from_headers(message.headers().view());
        let letter = DeadLetter {
            position: Position::new("orders.DLT", 3, 0),
            message,
            diagnosis,
        };
        let origin = tokio::time::Instant::now();
        let clock = Clock::Virtual {
            start: Timestamp::from_millis(1_000_000),
            origin,
        };
        let back = revived(&letter, clock).unwrap();
        assert_eq!(back.payload(), letter.message.payload());
        assert_eq!(back.key(), letter.message.key());
        let header = |name| back.headers().get_str(name);
        assert_eq!(header("tenant"), Some("eu"));
        assert_eq!(header(names::MESSAGE_ID), Some("m-1"));
        assert_eq!(header(names::ORIGIN_OFFSET), Some("7"));
        assert_eq!(header(names::FIRST_FAILURE), Some("5"));
        assert_eq!(header(names::ATTEMPTS), Some("0"));
        assert_eq!(header(names::REDRIVES), Some("2"));
        assert!(header(names::DUE).is_some_and(|due| due.starts_with("100")));
        assert_eq!(header(names::ERROR), None);
        assert_eq!(header(names::GROUP), None);
        assert_eq!(header(amqp::DEATH), None);
    }
}

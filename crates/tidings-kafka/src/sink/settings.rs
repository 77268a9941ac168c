//! What publishing goes by: limits and times.

use crate::options::{ClientOptions, WhenFull};
use rdkafka::ClientConfig;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::headers::CONTROL_HEADER_RESERVE;
use tidings_core::{Message, PublishError};

/// librdkafka counts what a record takes on the wire; this is more than that for a record with our headers.
const WIRE_OVERHEAD: u64 = 2 * CONTROL_HEADER_RESERVE as u64;
/// The most that librdkafka lets a message have.
const MAX_BYTES: u64 = 1_000_000_000;

/// How long a transaction may be open, in milliseconds, unless `transaction.timeout.ms` says otherwise. A handler may
/// take half of it; and for so long a process that dies holds up who reads what is committed.
const TRANSACTION_TIMEOUT: u64 = 60_000;

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) config: ClientConfig,
    /// The most bytes that key, payload and a user's headers may have.
    pub(super) limit: usize,
    /// Whether batches are compressed: then a topic's limit says nothing about a message before it is sent.
    pub(super) compressed: bool,
    pub(super) when_full: WhenFull,
    /// How long a message may take until it is given up.
    pub(super) timeout: Duration,
    /// After how long the broker gives a transaction up.
    pub(super) transaction_timeout: Duration,
}

impl Settings {
    pub(super) fn new(options: &ClientOptions) -> Self {
        let mut config = options.producer();
        let buffer = options
            .producer_number(&["queue.buffering.max.kbytes"], 32_768)
            .max(1)
            * 1024;
        // A message that never fits into the buffer would wait for ever.
        let limit = options
            .producer_number(&["message.max.bytes"], 1_000_000)
            .min(buffer);
        config.set(
            "message.max.bytes",
            (limit + WIRE_OVERHEAD).min(MAX_BYTES).to_string(),
        );
        let timeout = options.producer_number(&["delivery.timeout.ms", "message.timeout.ms"], 120_000);
        let compression = ["compression.type", "compression.codec"];
        let compressed = |name: &str| config.get(name).is_some_and(|codec| codec != "none");
        Self {
            limit: limit as usize,
            compressed: compression.into_iter().any(compressed),
            when_full: options.when_full(),
            timeout: Duration::from_millis(timeout),
            transaction_timeout: Duration::from_millis(
                options.producer_number(&["transaction.timeout.ms"], TRANSACTION_TIMEOUT),
            ),
            config,
        }
    }

    /// The same for a producer with transactions under that id.
    pub(super) fn transactional(options: &ClientOptions, id: &str) -> Self {
        let mut settings = Self::new(options);
        let longest = settings.transaction_timeout.as_millis();
        settings.timeout = settings.timeout.min(settings.transaction_timeout);
        let config = &mut settings.config;
        config.set("transactional.id", id);
        config.set("transaction.timeout.ms", longest.to_string());
        // librdkafka refuses times that are longer than the transaction's: what takes longer is given up with it.
        config.remove("delivery.timeout.ms");
        config.set("message.timeout.ms", settings.timeout.as_millis().to_string());
        let socket = config
            .get("socket.timeout.ms")
            .and_then(|value| value.parse().ok());
        if socket.is_some_and(|socket: u128| socket > longest) {
            config.remove("socket.timeout.ms");
        }
        settings
    }

    /// Whether a message may be sent. The engine's own headers have a reserve of their own, so that a message that was
    /// accepted once also fits where it is parked or put to the dead letters.
    ///
    /// How much of it are headers is not looked at: who builds headers is held to a limit there, and what another system
    /// has published with more of them must find its way to the dead letters too.
    pub(super) fn check_size(
        &self,
        message: &Message,
        destination: &Arc<str>,
        topic_limit: Option<u64>,
    ) -> Result<(), PublishError> {
        let limit = match topic_limit {
            Some(bytes) if !self.compressed => self.limit.min(bytes as usize),
            _ => self.limit,
        };
        let size = message.size();
        if size <= limit {
            return Ok(());
        }
        let added = message.added_size();
        let counted = match added > CONTROL_HEADER_RESERVE {
            true => size,
            false => size - added,
        };
        match counted > limit {
            true => Err(PublishError::TooLarge {
                destination: destination.clone(),
                size: counted,
                limit,
            }),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::headers::{HeaderWriter, MAX_HEADER_BYTES};

    fn settings(properties: &[(&str, &str)]) -> Settings {
        let options = ClientOptions::from_url("kafka://h").unwrap();
        Settings::new(&options.with_properties(properties.iter().copied()).unwrap())
    }

    fn refused(settings: &Settings, message: &Message, topic: Option<u64>) -> Option<(usize, usize)> {
        match settings.check_size(message, &"orders".into(), topic) {
            Ok(()) => None,
            Err(PublishError::TooLarge { size, limit, .. }) => Some((size, limit)),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn no_time_of_a_transactional_producer_is_longer_than_its_transaction_and_its_id_is_no_other_clients() {
        let given = [
            ("transaction.timeout.ms", "5000"),
            ("delivery.timeout.ms", "90000"),
            ("socket.timeout.ms", "60000"),
            ("transactional.id", "till-1"),
        ];
        let options = ClientOptions::from_url("kafka://h").unwrap();
        let options = options.with_properties(given).unwrap();
        assert_eq!(options.instance(), Some("till-1"));
        assert_eq!(options.producer().get("transactional.id"), None);
        assert_eq!(options.consumer().get("transactional.id"), None);
        let settings = Settings::transactional(&options, "billing-charge-till-1");
        let config = &settings.config;
        assert_eq!(config.get("transactional.id"), Some("billing-charge-till-1"));
        assert_eq!(config.get("message.timeout.ms"), Some("5000"));
        assert_eq!(settings.transaction_timeout, Duration::from_secs(5));
        // librdkafka refuses times that don't go together.
        let client: Result<rdkafka::producer::BaseProducer, _> = config.create();
        assert!(client.is_ok(), "{:?}", client.err());
    }

    #[test]
    fn a_message_is_held_against_the_smallest_limit() {
        let small = settings(&[("message.max.bytes", "5000")]);
        let message = Message::new(vec![0; 4_000]).with_key("k");
        assert_eq!(refused(&small, &message, None), None);
        assert_eq!(refused(&small, &message, Some(3_000)), Some((4_001, 3_000)));
        let large = Message::new(vec![0; 6_000]);
        assert_eq!(refused(&small, &large, Some(100_000)), Some((6_000, 5_000)));
        let packed = settings(&[("compression.type", "lz4")]);
        assert_eq!(refused(&packed, &message, Some(3_000)), None, "it may shrink");
        let tiny = settings(&[("queue.buffering.max.kbytes", "2")]);
        assert_eq!(refused(&tiny, &message, None), Some((4_001, 2_048)));
    }

    #[test]
    fn a_message_of_another_system_with_very_large_headers_can_become_a_dead_letter() {
        let usual = settings(&[]);
        let headers = HeaderWriter::default().append("trace", vec![0; 200_000]);
        let received = Message::new("tea").with_headers(headers.finish_received());
        assert!(received.headers().size() > MAX_HEADER_BYTES);
        assert_eq!(refused(&usual, &received, None), None);
        let small = settings(&[("message.max.bytes", "150000")]);
        assert!(
            refused(&small, &received, None).is_some(),
            "the broker's limit counts"
        );
    }

    #[test]
    fn what_the_engine_adds_does_not_count_within_its_reserve() {
        let small = settings(&[("message.max.bytes", "5000")]);
        let mut parked = Message::new(vec![0; 5_000]);
        parked.headers_mut().set("tidings-attempt", [0; 1_000]).unwrap();
        assert_eq!(refused(&small, &parked, None), None);
        parked.headers_mut().set("tidings-attempt", [0; 5_000]).unwrap();
        assert!(refused(&small, &parked, None).is_some());
    }
}

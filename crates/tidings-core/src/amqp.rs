//! What RabbitMQ says of a message that it gave up by itself: one that was too old, that a client rejected, that came back
//! too often, or that was too many. It writes the header `x-death`, a list with the last death first. Here it is JSON, which
//! is how the driver shows headers that are no text.

use crate::headers::HeaderView;
use crate::message::{Position, Timestamp};
use crate::names;
use serde::Deserialize;

/// The history of a message: an array of tables, which name queue, reason, count, exchange, routing keys and time.
pub const DEATH: &str = "x-death";
/// How often a quorum queue has taken the message back. It counts what was handed over, not what was handled.
pub const DELIVERY_COUNT: &str = "x-delivery-count";
/// The first part of the other headers that the server adds to it.
const OTHERS: [&str; 3] = ["x-first-death-", "x-last-death-", "x-stream-offset"];

/// No longer history is looked at.
const MAX_BYTES: usize = 64 << 10;
/// The most bytes that are believed of a name.
const MAX_NAME_BYTES: usize = 255;
/// What a group's queue of messages that wait ends with.
const RETRY: &str = ".retry";

/// Whether the server wrote that header about the way of a message.
pub fn is_history(name: &str) -> bool {
    name == DEATH || name == DELIVERY_COUNT || OTHERS.iter().any(|other| name.starts_with(other))
}

/// One death.
#[derive(Debug, Deserialize)]
struct Death {
    queue: String,
    reason: String,
    #[serde(default)]
    count: u64,
    #[serde(default)]
    exchange: String,
    time: Option<i64>,
    #[serde(rename = "original-expiration")]
    expiration: Option<String>,
}

/// What the server says of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) position: Option<Position>,
    pub(crate) group: Option<String>,
    pub(crate) reason: String,
    pub(crate) error: String,
    /// How often handling failed in that queue.
    pub(crate) failures: Option<u32>,
    pub(crate) at: Option<Timestamp>,
}

/// Reads it; none where there is no such history. Total: what is missing or malformed is absent.
pub(crate) fn read(headers: HeaderView<'_>) -> Option<Said> {
    let text = headers.find_str(DEATH).filter(|text| text.len() <= MAX_BYTES)?;
    let deaths: Vec<Death> = serde_json::from_str(text).ok()?;
    let last = deaths.first()?;
    if [&last.queue, &last.reason, &last.exchange]
        .iter()
        .any(|name| name.len() > MAX_NAME_BYTES)
    {
        return None;
    }
    let place = place(last, headers.find_str(names::ORIGIN_DESTINATION));
    let failures = deaths
        .iter()
        .filter(|death| death.is_failure() && death.queue == last.queue);
    let failures: u64 = failures.map(|death| death.count).fold(0, u64::saturating_add);
    let seconds = last.time.and_then(|seconds| seconds.checked_mul(1_000));
    Some(Said {
        position: place.map(|(destination, _)| Position::new(destination, 0, 0)),
        group: place.map(|(_, group)| group.to_owned()),
        reason: last.reason(),
        error: last.words(),
        failures: u32::try_from(failures).ok().filter(|count| *count > 0),
        at: seconds.map(Timestamp::from_millis),
    })
}

impl Death {
    /// Whether somebody had the message and did not finish it.
    fn is_failure(&self) -> bool {
        matches!(self.reason.as_str(), "rejected" | "delivery_limit")
    }

    fn reason(&self) -> String {
        match self.reason.as_str() {
            "delivery_limit" => "delivery-limit".to_owned(),
            "maxlen" => "max-length".to_owned(),
            other => other.to_owned(),
        }
    }

    fn words(&self) -> String {
        let queue = &self.queue;
        let times = match self.count {
            0 | 1 => String::new(),
            count => format!(", {count} times by now"),
        };
        match self.reason.as_str() {
            "expired" => match self
                .expiration
                .as_deref()
                .and_then(|text| text.parse::<u64>().ok())
            {
                Some(millis) => format!("expired after {millis} ms in the queue \"{queue}\"{times}"),
                None => format!("expired in the queue \"{queue}\", whose messages may not get older{times}"),
            },
            "rejected" => format!("rejected by a client that read the queue \"{queue}\"{times}"),
            "delivery_limit" => format!(
                "delivered more often than the queue \"{queue}\" allows (x-delivery-limit) without being finished{times}"
            ),
            "maxlen" => format!("pushed out of the queue \"{queue}\", which was full{times}"),
            other => format!("given up by the queue \"{queue}\": {other}{times}"),
        }
    }
}

/// Which destination and group a queue is for: `{destination}.{group}`, or `{destination}.{group}.retry`, to which no
/// exchange leads. The destination is the exchange that the message came by, or what the engine wrote when it parked it. Who
/// knows neither takes what follows the last dot for the group.
fn place<'a>(death: &'a Death, origin: Option<&'a str>) -> Option<(&'a str, &'a str)> {
    let (queue, exchange) = (death.queue.as_str(), death.exchange.as_str());
    let queue = match exchange {
        "" => queue.strip_suffix(RETRY).unwrap_or(queue),
        _ => queue,
    };
    let group_of = |destination: &str| queue.strip_prefix(destination)?.strip_prefix('.');
    let known = [Some(exchange).filter(|exchange| !exchange.is_empty()), origin];
    let known = known
        .into_iter()
        .flatten()
        .find_map(|destination| Some((destination, group_of(destination)?)));
    let parts = known.or_else(|| queue.rsplit_once('.'));
    parts.filter(|(destination, group)| !destination.is_empty() && !group.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::HeaderWriter;
    use proptest::prelude::*;
    use serde_json::json;

    fn death(queue: &str, exchange: &str, reason: &str, count: u64) -> serde_json::Value {
        json!({
            "queue": queue, "exchange": exchange, "reason": reason, "count": count,
            "routing-keys": ["order.placed"], "time": 1_700_000_000,
        })
    }

    fn said(deaths: &[serde_json::Value], origin: Option<&str>) -> Option<Said> {
        let text = serde_json::Value::from(deaths.to_vec()).to_string();
        let mut writer = HeaderWriter::default().append(DEATH, text);
        if let Some(origin) = origin {
            writer = writer.append(names::ORIGIN_DESTINATION, origin);
        }
        read(writer.finish_received().view())
    }

    #[test]
    fn destination_and_group_are_told_from_the_queue() {
        for (queue, exchange, origin, expected) in [
            ("orders.billing", "orders", None, Some(("orders", "billing"))),
            (
                "orders.eu.billing.b2b",
                "orders.eu",
                None,
                Some(("orders.eu", "billing.b2b")),
            ),
            (
                "orders.eu.billing.retry",
                "",
                Some("orders.eu"),
                Some(("orders.eu", "billing")),
            ),
            (
                "orders.eu.billing.retry",
                "",
                None,
                Some(("orders.eu", "billing")),
            ),
            ("orders.billing", "elsewhere", None, Some(("orders", "billing"))),
            ("billing", "orders", None, None),
            ("orders.", "orders", None, None),
        ] {
            let said = said(&[death(queue, exchange, "rejected", 1)], origin).unwrap();
            let found = said.position.as_ref().map(|position| position.destination());
            assert_eq!(found.zip(said.group.as_deref()), expected, "{queue} {exchange}");
        }
    }

    #[test]
    fn a_reason_is_told_in_words_and_only_what_somebody_had_is_a_failure() {
        let mut old = death("orders.billing", "orders", "expired", 1);
        old["original-expiration"] = "1500".into();
        for (death, reason, words, failures) in [
            (old, "expired", "expired after 1500 ms", None),
            (
                death("orders.billing", "orders", "expired", 1),
                "expired",
                "may not get older",
                None,
            ),
            (
                death("orders.billing", "orders", "rejected", 3),
                "rejected",
                "3 times by now",
                Some(3),
            ),
            (
                death("orders.billing", "orders", "delivery_limit", 1),
                "delivery-limit",
                "x-delivery-limit",
                Some(1),
            ),
            (
                death("orders.billing", "orders", "maxlen", 1),
                "max-length",
                "which was full",
                None,
            ),
            (
                death("orders.billing", "orders", "new", 1),
                "new",
                "given up by the queue \"orders.billing\": new",
                None,
            ),
        ] {
            let said = said(&[death], None).unwrap();
            assert_eq!((said.reason.as_str(), said.failures), (reason, failures));
            assert!(said.error.contains(words), "{}", said.error);
            assert_eq!(said.at, Some(Timestamp::from_millis(1_700_000_000_000)));
        }
    }

    #[test]
    fn the_last_death_counts_and_failures_elsewhere_do_not() {
        let deaths = [
            death("orders.billing", "orders", "expired", 2),
            death("orders.billing", "orders", "rejected", 4),
            death("import.copy", "import", "rejected", 9),
        ];
        let said = said(&deaths, None).unwrap();
        assert_eq!((said.reason.as_str(), said.failures), ("expired", Some(4)));
    }

    #[test]
    fn what_is_no_history_is_none() {
        for text in [
            "",
            "once",
            "{}",
            "[]",
            "[1]",
            "[{\"queue\":\"a\"}]",
            "[{\"queue\":1,\"reason\":\"x\"}]",
        ] {
            let writer = HeaderWriter::default().append(DEATH, text);
            assert_eq!(read(writer.finish_received().view()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_names_and_numbers_are_read_without_a_panic(
            queue in ".{0,40}", exchange in ".{0,40}", reason in ".{0,10}", count: u64, time: i64, origin in ".{0,40}",
        ) {
            let mut one = death(&queue, &exchange, &reason, count);
            one["time"] = time.into();
            let _ = said(&[one.clone(), one], Some(&origin));
        }
    }
}

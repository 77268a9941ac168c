//! Attempts, told to the server as well: [`note`], [`recounted`].
//!
//! A message that leaves its queue to wait says in a header how many attempts it has behind it, and something on its way may
//! take that header away. So it begins its wait with a second routing key, `tidings-attempts=2` (AMQP's header `CC`), to which
//! no queue listens. When the wait is over the server itself writes into `x-death` which queue the message comes from, why, and
//! by which routing keys it had come there. What is higher counts, the header or that.
//!
//! The number of deaths alone says less: a wait of seven seconds is spent in two queues, a wait that a handler asks for is no
//! attempt, and since RabbitMQ 4 each publish begins a count of its own.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use tidings_core::{amqp, names};

/// The header of ours in which a message that begins to wait has its attempts for the server.
pub(crate) const NOTE: &str = "tidings-note";
/// More routing keys of a message.
pub(super) const ROUTING_KEYS: &str = "CC";
/// What the one with the attempts begins with.
const PREFIX: &str = "tidings-attempts=";
/// Why a message leaves a queue in which it has waited.
const EXPIRED: &[u8] = b"expired";

/// The routing keys that tell of so many attempts; none if that is no number.
pub(super) fn note(attempts: &[u8]) -> Option<AMQPValue> {
    let attempts: u32 = number(attempts)?;
    let key = AMQPValue::LongString(format!("{PREFIX}{attempts}").into());
    Some(AMQPValue::FieldArray(FieldArray::from(vec![key])))
}

/// What came from a retry queue, with at least as many attempts as the server was told of.
pub(crate) fn recounted(properties: BasicProperties, retry: &str) -> BasicProperties {
    let Some(table) = properties.headers() else {
        return properties;
    };
    let said = match table.inner().get(names::ATTEMPTS) {
        Some(AMQPValue::LongString(text)) => number(text.as_bytes()),
        _ => None,
    };
    let Some(noted) = noted(table, retry).filter(|noted| Some(*noted) > said) else {
        return properties;
    };
    let mut table = table.clone();
    table.insert(
        names::ATTEMPTS.into(),
        AMQPValue::LongString(noted.to_string().into()),
    );
    properties.with_headers(table)
}

/// What the server was told before the last wait. A message that left the retry queue itself since then was a dead letter
/// and begins anew.
fn noted(table: &FieldTable, retry: &str) -> Option<u32> {
    let AMQPValue::FieldArray(deaths) = table.inner().get(amqp::DEATH)? else {
        return None;
    };
    for death in deaths.as_slice() {
        let AMQPValue::FieldTable(death) = death else {
            continue;
        };
        let queue = text(death, "queue").and_then(|queue| queue.strip_prefix(retry.as_bytes()));
        match queue {
            Some(b"") => return None,
            Some([b'.', ..]) if text(death, "reason") == Some(EXPIRED) => return of_keys(death),
            _ => {}
        }
    }
    None
}

fn of_keys(death: &FieldTable) -> Option<u32> {
    let AMQPValue::FieldArray(keys) = death.inner().get("routing-keys")? else {
        return None;
    };
    keys.as_slice().iter().find_map(|key| match key {
        AMQPValue::LongString(key) => number(key.as_bytes().strip_prefix(PREFIX.as_bytes())?),
        _ => None,
    })
}

fn text<'a>(table: &'a FieldTable, name: &str) -> Option<&'a [u8]> {
    match table.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: &str = "orders.billing.retry";

    fn long(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    fn death(queue: &str, reason: &str, attempts: &str) -> AMQPValue {
        let mut death = FieldTable::default();
        death.insert("queue".into(), long(queue));
        death.insert("reason".into(), long(reason));
        let keys = vec![long(queue), long(&format!("{PREFIX}{attempts}"))];
        death.insert("routing-keys".into(), FieldArray::from(keys).into());
        death.into()
    }

    fn attempts(header: Option<&str>, deaths: Vec<AMQPValue>) -> Option<String> {
        let mut table = FieldTable::default();
        if let Some(header) = header {
            table.insert(names::ATTEMPTS.into(), long(header));
        }
        table.insert(amqp::DEATH.into(), FieldArray::from(deaths).into());
        let properties = recounted(BasicProperties::default().with_headers(table), RETRY);
        let table = properties.headers().as_ref().unwrap();
        let said = text(table, names::ATTEMPTS)?;
        Some(String::from_utf8(said.to_vec()).unwrap())
    }

    #[test]
    fn the_higher_of_header_and_history_counts_and_only_the_last_wait_is_history() {
        let wait = |attempts| death("orders.billing.retry.5s", "expired", attempts);
        let other = || death("elsewhere", "expired", "9");
        let letter = || death(RETRY, "delivery_limit", "9");
        for (header, deaths, expected) in [
            (None, vec![wait("2")], Some("2")),
            (Some("0"), vec![wait("2")], Some("2")),
            (Some("3"), vec![wait("2")], Some("3")),
            (Some("many"), vec![other(), wait("2"), wait("7")], Some("2")),
            (None, vec![letter(), wait("2")], None),
            (None, vec![other()], None),
            (None, vec![wait("-1")], None),
            (
                None,
                vec![death("orders.billing.retry.5s", "rejected", "2")],
                None,
            ),
            (None, vec![death("orders.billing.retrying", "expired", "2")], None),
            (None, vec![long("x")], None),
        ] {
            let shown = format!("{header:?} {deaths:?}");
            assert_eq!(attempts(header, deaths).as_deref(), expected, "{shown}");
        }
    }
}

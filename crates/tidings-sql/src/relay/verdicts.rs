//! What becomes of rows after the broker has answered: [`judge`].

use crate::outbox::rows::Row;
use bytes::Bytes;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tidings_core::PublishError;

/// What becomes of the later messages of a key when one of it is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ParkedKeys {
    /// They go on, as after a dead letter: one bad message does not stop its key. The default.
    #[default]
    GoOn,
    /// They wait until a person has decided: by [`Outbox::retry_parked`](crate::Outbox::retry_parked) or
    /// [`Outbox::discard_parked`](crate::Outbox::discard_parked).
    Wait,
}

/// What becomes of rows that were published, or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdicts {
    /// Sent: they can go.
    pub(crate) done: Vec<i64>,
    /// The broker refuses them for good, and why.
    pub(crate) refused: Vec<(i64, String)>,
    /// Channels that cannot be published to now, and why.
    pub(crate) stuck: BTreeMap<Arc<str>, String>,
}

/// A row that was not taken keeps back all later ones of its key, also those that were: they are published again behind it,
/// since a gap that is filled later would be an order that never was.
pub(crate) fn judge(rows: &[Row], answers: &[Answer], parked_keys: ParkedKeys) -> Verdicts {
    let mut verdicts = Verdicts::default();
    let mut kept_back: HashSet<(&Arc<str>, &Bytes)> = HashSet::new();
    for (row, answer) in rows.iter().zip(answers) {
        let key = row.key.as_ref().map(|key| (&row.channel, key));
        if key.is_some_and(|key| kept_back.contains(&key)) {
            continue;
        }
        match answer {
            Answer::Taken => verdicts.done.push(row.id),
            Answer::Refused(reason) => {
                verdicts.refused.push((row.id, reason.clone()));
                kept_back.extend(key.filter(|_| parked_keys == ParkedKeys::Wait));
            }
            Answer::NotNow(reason) => {
                verdicts
                    .stuck
                    .entry(row.channel.clone())
                    .or_insert_with(|| reason.clone());
                kept_back.extend(key);
            }
        }
    }
    verdicts
}

/// What the broker said to one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Taken,
    Refused(String),
    NotNow(String),
}

impl Answer {
    /// Only what is the message's own fault is refused for good. A destination that is not there or may not be written to,
    /// and a channel that nobody knows, are faults of the surroundings: they are put right some day, and parking would
    /// empty the whole outbox until then.
    pub(crate) fn of<T>(result: Result<T, PublishError>) -> Self {
        match result {
            Ok(_) => Self::Taken,
            Err(error) if is_own_fault(&error) => Self::Refused(error.to_string()),
            Err(error) => Self::NotNow(error.to_string()),
        }
    }
}

/// Whether the message itself is at fault.
pub(crate) fn is_own_fault(error: &PublishError) -> bool {
    matches!(
        error,
        PublishError::TooLarge { .. }
            | PublishError::Codec(_)
            | PublishError::Headers(_)
            | PublishError::Unsupported { .. }
            | PublishError::UnknownPartition { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, channel: &str, key: &str) -> Row {
        Row {
            id,
            channel: channel.into(),
            key: (!key.is_empty()).then(|| Bytes::copy_from_slice(key.as_bytes())),
            outgoing: Err(String::new()),
        }
    }

    #[test]
    fn what_stands_behind_a_message_of_its_key_that_was_not_taken_is_sent_again() {
        let rows = [
            row(1, "orders", "ada"),
            row(2, "orders", "ada"),
            row(3, "orders", "bob"),
            row(4, "orders", ""),
            row(5, "orders", ""),
            row(6, "letters", "ada"),
            row(7, "orders", "ada"),
        ];
        let (taken, no, not_now) = (
            Answer::Taken,
            Answer::Refused("too large".into()),
            Answer::NotNow("away".into()),
        );
        let check = |answers: [&Answer; 7], keys, done: &[i64], refused: &[i64], stuck: &[&str]| {
            let answers: Vec<Answer> = answers.into_iter().cloned().collect();
            let verdicts = judge(&rows, &answers, keys);
            assert_eq!(verdicts.done, done);
            assert_eq!(
                verdicts.refused.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
                refused
            );
            assert_eq!(
                verdicts.stuck.keys().map(AsRef::as_ref).collect::<Vec<&str>>(),
                stuck
            );
        };
        let (t, n, w) = (&taken, &no, &not_now);
        let go_on = ParkedKeys::GoOn;
        check([t; 7], go_on, &[1, 2, 3, 4, 5, 6, 7], &[], &[]);
        check([t, w, t, t, t, t, t], go_on, &[1, 3, 4, 5, 6], &[], &["orders"]);
        check(
            [t, t, t, w, t, t, t],
            go_on,
            &[1, 2, 3, 5, 6, 7],
            &[],
            &["orders"],
        );
        check([t, n, t, t, t, t, t], go_on, &[1, 3, 4, 5, 6, 7], &[2], &[]);
        check(
            [t, n, t, t, t, t, t],
            ParkedKeys::Wait,
            &[1, 3, 4, 5, 6],
            &[2],
            &[],
        );
        check(
            [w, n, t, t, t, w, t],
            go_on,
            &[3, 4, 5],
            &[],
            &["letters", "orders"],
        );
        check(
            [t, t, t, t, n, t, w],
            ParkedKeys::Wait,
            &[1, 2, 3, 4, 6],
            &[5],
            &["orders"],
        );
    }

    #[test]
    fn only_a_message_at_fault_is_refused_for_good() {
        let destination: Arc<str> = "orders".into();
        let too_large = PublishError::TooLarge {
            destination: destination.clone(),
            size: 2,
            limit: 1,
        };
        assert!(matches!(Answer::of::<()>(Err(too_large)), Answer::Refused(_)));
        for surroundings in [
            PublishError::Closed,
            PublishError::UnknownDestination {
                destination: destination.clone(),
            },
            PublishError::Unauthorized {
                destination,
                reason: "no".into(),
            },
        ] {
            assert!(matches!(Answer::of::<()>(Err(surroundings)), Answer::NotNow(_)));
        }
    }
}

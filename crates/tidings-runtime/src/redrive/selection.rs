//! Which dead letters are meant: [`Selection`].

use super::letters::DeadLetter;
use bytes::Bytes;
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use tidings_core::{Position, Timestamp};

/// Which dead letters of a group are meant.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Selection {
    /// All of them.
    #[default]
    All,
    /// Those with this key.
    Key(Bytes),
    /// Those with one of these message ids.
    MessageIds(HashSet<String>),
    /// Those that lie at one of these positions of the dead letters.
    Positions(HashSet<Position>),
    /// Those that failed for the last time within this time; the end does not belong to it.
    FailedWithin(Range<Timestamp>),
    /// Those whose chain of errors contains this text.
    ErrorContains(String),
    /// Those that the predicate accepts.
    Matching(Arc<dyn Fn(&DeadLetter) -> bool + Send + Sync>),
}

impl Selection {
    /// Those with this key.
    pub fn key(key: impl Into<Bytes>) -> Self {
        Self::Key(key.into())
    }

    /// Those with one of these message ids.
    pub fn message_ids<I: Into<String>>(ids: impl IntoIterator<Item = I>) -> Self {
        Self::MessageIds(ids.into_iter().map(Into::into).collect())
    }

    /// Those that lie at one of these positions of the dead letters.
    pub fn positions(positions: impl IntoIterator<Item = Position>) -> Self {
        Self::Positions(positions.into_iter().collect())
    }

    /// Those that the predicate accepts.
    pub fn matching(predicate: impl Fn(&DeadLetter) -> bool + Send + Sync + 'static) -> Self {
        Self::Matching(Arc::new(predicate))
    }

    /// Whether this letter is meant.
    pub fn accepts(&self, letter: &DeadLetter) -> bool {
        match self {
            Self::All => true,
            Self::Key(key) => letter.message.key() == Some(key),
            Self::MessageIds(ids) => letter.message_id().is_some_and(|id| ids.contains(id)),
            Self::Positions(positions) => positions.contains(&letter.position),
            Self::FailedWithin(time) => {
                let failed = letter
                    .diagnosis
                    .last_failure
                    .or_else(|| letter.message.timestamp());
                failed.is_some_and(|failed| time.contains(&failed))
            }
            Self::ErrorContains(text) => letter
                .diagnosis
                .error
                .as_ref()
                .is_some_and(|error| error.contains(text.as_str())),
            Self::Matching(predicate) => predicate(letter),
        }
    }
}

impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Key(key) => write!(f, "a key of {} bytes", key.len()),
            Self::MessageIds(ids) => write!(f, "{} message ids", ids.len()),
            Self::Positions(positions) => write!(f, "{} positions", positions.len()),
            Self::FailedWithin(time) => {
                write!(
                    f,
                    "failed within {}..{}",
                    time.start.as_millis(),
                    time.end.as_millis()
                )
            }
            Self::ErrorContains(text) => write!(f, "error contains {text:?}"),
            Self::Matching(_) => f.write_str("a predicate"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::{Diagnosis, Message, names};

    #[test]
    fn each_selection_accepts_what_it_names_and_nothing_else() {
        let message = Message::new("x")
            .with_key("ada")
            .with_header(names::MESSAGE_ID, "m-1")
            .unwrap();
        let message = message.with_header(names::ERROR, "no route: bank").unwrap();
        let message = message.with_header(names::LAST_FAILURE, "50").unwrap();
        let diagnosis = Diagnosis::from_headers(message.headers().view());
        let letter = DeadLetter {
            position: Position::new("orders.DLT", 1, 2),
            message,
            diagnosis,
        };
        let at = Timestamp::from_millis;
        for (selection, accepted) in [
            (Selection::All, true),
            (Selection::key("ada"), true),
            (Selection::key("bob"), false),
            (Selection::message_ids(["m-1", "m-2"]), true),
            (Selection::message_ids(["m-2"]), false),
            (Selection::positions([Position::new("orders.DLT", 1, 2)]), true),
            (Selection::positions([Position::new("orders.DLT", 0, 2)]), false),
            (Selection::FailedWithin(at(50)..at(51)), true),
            (Selection::FailedWithin(at(0)..at(50)), false),
            (Selection::ErrorContains("bank".to_owned()), true),
            (Selection::ErrorContains("card".to_owned()), false),
            (
                Selection::matching(|letter| letter.position.partition() == 1),
                true,
            ),
            (Selection::matching(|letter| letter.diagnosis.redrives > 0), false),
        ] {
            assert_eq!(selection.accepts(&letter), accepted, "{selection:?}");
        }
    }
}

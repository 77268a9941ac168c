//! Errors over the wire: they arrive as what they were.

use crate::error::ManageError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tidings_core::{BinderError, PublishError, SourceError};

/// How many different words of a broker are kept for the life of the process.
const MAX_WORDS: usize = 256;

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "error", rename_all = "kebab-case")]
pub(crate) enum WireError {
    /// The request is refused before it is looked at: token, host, size, time.
    Refused {
        reason: String,
    },
    Unknown {
        kind: String,
        name: String,
        known: Vec<String>,
    },
    Failed {
        reason: String,
    },
    Open {
        url: String,
        reason: String,
    },
    UnknownDestination {
        destination: String,
    },
    InvalidName {
        name: String,
        reason: String,
    },
    Unsupported {
        broker: String,
        feature: String,
        cure: String,
    },
    CouldNot {
        doing: String,
        reason: String,
    },
    Unavailable {
        reason: String,
    },
    Corrupt {
        destination: String,
        partition: u32,
        offset: u64,
        reason: String,
    },
    SourceRefused {
        reason: String,
    },
    SourceClosed,
    Closed,
}

/// Why a message was not published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "error", rename_all = "kebab-case")]
pub(crate) enum WirePublishError {
    UnknownDestination {
        destination: String,
    },
    UnknownPartition {
        destination: String,
        partition: u32,
        partitions: u32,
    },
    TooLarge {
        destination: String,
        size: usize,
        limit: usize,
    },
    Unauthorized {
        destination: String,
        reason: String,
    },
    Unsupported {
        broker: String,
        feature: String,
        cure: String,
    },
    Unavailable {
        destination: String,
        reason: String,
    },
    Timeout {
        destination: String,
        after_ms: u64,
    },
    Closed,
}

impl From<ManageError> for WireError {
    fn from(error: ManageError) -> Self {
        match error {
            ManageError::Broker(error) => error.into(),
            ManageError::Unknown { kind, name, known } => Self::Unknown { kind, name, known },
            ManageError::Failed { reason } => Self::Failed { reason },
            other => Self::Failed {
                reason: other.to_string(),
            },
        }
    }
}

impl From<BinderError> for WireError {
    fn from(error: BinderError) -> Self {
        match error {
            BinderError::Open { url, reason } => Self::Open { url, reason },
            BinderError::UnknownDestination { destination } => Self::UnknownDestination {
                destination: destination.to_string(),
            },
            BinderError::InvalidName { name, reason } => Self::InvalidName { name, reason },
            BinderError::Unsupported {
                broker,
                feature,
                cure,
            } => Self::Unsupported {
                broker: broker.to_owned(),
                feature: feature.to_owned(),
                cure: cure.to_owned(),
            },
            BinderError::Failed { doing, reason } => Self::CouldNot { doing, reason },
            BinderError::Source(SourceError::Unavailable { reason }) => Self::Unavailable { reason },
            BinderError::Source(SourceError::Corrupt {
                destination,
                partition,
                offset,
                reason,
            }) => Self::Corrupt {
                destination: destination.to_string(),
                partition,
                offset,
                reason,
            },
            BinderError::Source(SourceError::Refused { reason }) => Self::SourceRefused { reason },
            BinderError::Source(SourceError::Closed) => Self::SourceClosed,
            BinderError::Closed => Self::Closed,
            other => Self::Failed {
                reason: other.to_string(),
            },
        }
    }
}

impl WireError {
    /// The error as it was in the service at that address.
    pub(crate) fn into_error(self, address: &str) -> ManageError {
        let error = match self {
            Self::Refused { reason } => {
                return ManageError::Refused {
                    address: address.to_owned(),
                    reason,
                };
            }
            Self::Unknown { kind, name, known } => return ManageError::Unknown { kind, name, known },
            Self::Failed { reason } => return ManageError::Failed { reason },
            Self::Open { url, reason } => BinderError::Open { url, reason },
            Self::UnknownDestination { destination } => BinderError::UnknownDestination {
                destination: destination.into(),
            },
            Self::InvalidName { name, reason } => BinderError::InvalidName { name, reason },
            Self::Unsupported {
                broker,
                feature,
                cure,
            } => BinderError::Unsupported {
                broker: word(broker),
                feature: word(feature),
                cure: word(cure),
            },
            Self::CouldNot { doing, reason } => BinderError::Failed { doing, reason },
            Self::Unavailable { reason } => SourceError::Unavailable { reason }.into(),
            Self::Corrupt {
                destination,
                partition,
                offset,
                reason,
            } => SourceError::Corrupt {
                destination: destination.into(),
                partition,
                offset,
                reason,
            }
            .into(),
            Self::SourceRefused { reason } => SourceError::Refused { reason }.into(),
            Self::SourceClosed => SourceError::Closed.into(),
            Self::Closed => BinderError::Closed,
        };
        ManageError::Broker(error)
    }
}

impl From<PublishError> for WirePublishError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::UnknownDestination { destination } => Self::UnknownDestination {
                destination: destination.to_string(),
            },
            PublishError::UnknownPartition {
                destination,
                partition,
                partitions,
            } => Self::UnknownPartition {
                destination: destination.to_string(),
                partition,
                partitions,
            },
            PublishError::TooLarge {
                destination,
                size,
                limit,
            } => Self::TooLarge {
                destination: destination.to_string(),
                size,
                limit,
            },
            PublishError::Unauthorized { destination, reason } => Self::Unauthorized {
                destination: destination.to_string(),
                reason,
            },
            PublishError::Unsupported {
                broker,
                feature,
                cure,
            } => Self::Unsupported {
                broker: broker.to_owned(),
                feature: feature.to_owned(),
                cure: cure.to_owned(),
            },
            PublishError::Unavailable { destination, reason } => Self::Unavailable {
                destination: destination.to_string(),
                reason,
            },
            PublishError::Timeout { destination, after } => Self::Timeout {
                destination: destination.to_string(),
                after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
            },
            PublishError::Closed => Self::Closed,
            // What is about channels and codecs cannot come from a broker; if it does, trying again does not help.
            other => Self::Unauthorized {
                destination: String::new(),
                reason: other.to_string(),
            },
        }
    }
}

impl From<WirePublishError> for PublishError {
    fn from(error: WirePublishError) -> Self {
        use WirePublishError as Wire;
        match error {
            Wire::UnknownDestination { destination } => Self::UnknownDestination {
                destination: destination.into(),
            },
            Wire::UnknownPartition {
                destination,
                partition,
                partitions,
            } => Self::UnknownPartition {
                destination: destination.into(),
                partition,
                partitions,
            },
            Wire::TooLarge {
                destination,
                size,
                limit,
            } => Self::TooLarge {
                destination: destination.into(),
                size,
                limit,
            },
            Wire::Unauthorized { destination, reason } => Self::Unauthorized {
                destination: destination.into(),
                reason,
            },
            Wire::Unsupported {
                broker,
                feature,
                cure,
            } => Self::Unsupported {
                broker: word(broker),
                feature: word(feature),
                cure: word(cure),
            },
            Wire::Unavailable { destination, reason } => Self::Unavailable {
                destination: destination.into(),
                reason,
            },
            Wire::Timeout {
                destination,
                after_ms,
            } => Self::Timeout {
                destination: destination.into(),
                after: Duration::from_millis(after_ms),
            },
            Wire::Closed => Self::Closed,
        }
    }
}

/// A word of a broker for the life of the process, as those that are compiled in. Brokers have few of them; a service
/// that sends ever more is not heard any more.
pub(crate) fn word(text: String) -> &'static str {
    static WORDS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = words.get(&*text) {
        return known;
    }
    if words.len() >= MAX_WORDS || text.len() > 1024 {
        return "(what the service says is too much to keep)";
    }
    let kept: &'static str = Box::leak(text.into_boxed_str());
    words.insert(kept);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(error: BinderError) -> BinderError {
        let json = serde_json::to_string(&WireError::from(error)).unwrap();
        let wire: WireError = serde_json::from_str(&json).unwrap();
        match wire.into_error("127.0.0.1:1") {
            ManageError::Broker(error) => error,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn errors_of_brokers_arrive_as_what_they_were() {
        let reason = || "disk full: make room".to_owned();
        for error in [
            BinderError::Open {
                url: "embedded:x".to_owned(),
                reason: reason(),
            },
            BinderError::UnknownDestination {
                destination: "orders".into(),
            },
            BinderError::InvalidName {
                name: "..".to_owned(),
                reason: reason(),
            },
            BinderError::Unsupported {
                broker: "embedded",
                feature: "magic",
                cure: "do without",
            },
            BinderError::Failed {
                doing: "read".to_owned(),
                reason: reason(),
            },
            SourceError::Unavailable { reason: reason() }.into(),
            SourceError::Corrupt {
                destination: "orders".into(),
                partition: 1,
                offset: u64::MAX,
                reason: reason(),
            }
            .into(),
            SourceError::Refused { reason: reason() }.into(),
            SourceError::Closed.into(),
            BinderError::Closed,
        ] {
            let arrived = there_and_back(error.clone());
            assert_eq!(format!("{arrived:?}"), format!("{error:?}"));
        }
    }

    #[test]
    fn errors_of_publishing_arrive_as_what_they_were() {
        let destination = || "orders".into();
        for error in [
            PublishError::UnknownDestination {
                destination: destination(),
            },
            PublishError::UnknownPartition {
                destination: destination(),
                partition: 7,
                partitions: 2,
            },
            PublishError::TooLarge {
                destination: destination(),
                size: 2,
                limit: 1,
            },
            PublishError::Unauthorized {
                destination: destination(),
                reason: "no".to_owned(),
            },
            PublishError::Unsupported {
                broker: "embedded",
                feature: "magic",
                cure: "do without",
            },
            PublishError::Unavailable {
                destination: destination(),
                reason: "away".to_owned(),
            },
            PublishError::Timeout {
                destination: destination(),
                after: Duration::from_millis(7),
            },
            PublishError::Closed,
        ] {
            let json = serde_json::to_string(&WirePublishError::from(error.clone())).unwrap();
            let arrived: PublishError = serde_json::from_str::<WirePublishError>(&json).unwrap().into();
            assert_eq!(format!("{arrived:?}"), format!("{error:?}"));
        }
    }

    #[test]
    fn words_are_kept_once_and_not_without_end() {
        assert!(std::ptr::eq(word("one".to_owned()), word("one".to_owned())));
        for number in 0..2 * MAX_WORDS {
            word(format!("word {number}"));
        }
        assert!(word("one more".to_owned()).contains("too much"));
    }
}

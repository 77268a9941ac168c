//! Values that are one of a few words: [`Ordering`], [`Order`], [`Fsync`], [`Create`], [`WhenFull`], [`Existing`].

use crate::value::{FromValue, Value};
use std::fmt;

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// The word that configuration uses.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromValue for $name {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    $(Value::Choice($word) => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

choice! {
    /// What keeps its order.
    Ordering {
        /// Messages of one key.
        Key = "key",
        /// Messages of one partition.
        Partition = "partition",
        /// Nothing.
        None = "none",
    }
}

choice! {
    /// What later messages of a key do while one of them waits for long.
    Order {
        /// They wait behind it.
        Kept = "kept",
        /// They overtake it.
        Relaxed = "relaxed",
    }
}

choice! {
    /// Whose words dead letters are described in.
    DeadLetterHeaders {
        /// Ours.
        Tidings = "tidings",
        /// Ours, and Spring Kafka's beside them.
        Spring = "spring",
    }
}

choice! {
    /// When the embedded log syncs its files.
    Fsync {
        /// Before a publish is acknowledged.
        Always = "always",
        /// At an interval.
        Interval = "interval",
        /// When the operating system does.
        Os = "os",
    }
}

choice! {
    /// What goes from a destination as time passes.
    Cleanup {
        /// What is too old or too much.
        Delete = "delete",
        /// What a later message with the same key supersedes.
        Compact = "compact",
    }
}

choice! {
    /// What happens at start when a destination is missing.
    Create {
        /// It is created.
        IfMissing = "if-missing",
        /// The start fails.
        Never = "never",
    }
}

choice! {
    /// What a publish does while the buffer for the broker is full.
    WhenFull {
        /// It waits for room.
        Wait = "wait",
        /// It fails at once.
        Refuse = "refuse",
    }
}

choice! {
    /// What is checked of a destination that is there already.
    Existing {
        /// Only what somebody set.
        Take = "take",
        /// Everything.
        Validate = "validate",
    }
}

choice! {
    /// How a RabbitMQ learns who comes.
    RabbitmqAuth {
        /// By user and password.
        Plain = "plain",
        /// By the client's certificate.
        External = "external",
    }
}

choice! {
    /// What kind of queues is declared on a RabbitMQ.
    RabbitmqQueueType {
        /// Kept by several nodes.
        Quorum = "quorum",
        /// On one node.
        Classic = "classic",
        /// A log, for a channel.
        Stream = "stream",
    }
}

choice! {
    /// How an exchange of a RabbitMQ chooses the queues of a message.
    RabbitmqExchangeType {
        /// By patterns of the routing key.
        Topic = "topic",
        /// By the routing key itself.
        Direct = "direct",
        /// It takes all.
        Fanout = "fanout",
        /// By headers.
        Headers = "headers",
        /// There is none.
        Default = "default",
    }
}

choice! {
    /// What happens to messages for a queue of a RabbitMQ that holds as much as it may.
    RabbitmqOverflow {
        /// The oldest become dead letters.
        DropHead = "drop-head",
        /// Publishers try again.
        RejectPublish = "reject-publish",
    }
}

choice! {
    /// Who sends what is in an outbox.
    SqlRelayMode {
        /// The app, by looking for it.
        Polling = "polling",
        /// The app, as it is committed.
        Replication = "replication",
        /// Another process.
        Off = "off",
    }
}

choice! {
    /// What later messages of a key do when one of it is parked.
    SqlParkedKeys {
        /// They are sent.
        GoOn = "go-on",
        /// They wait for a person.
        Wait = "wait",
    }
}

choice! {
    /// What is done when a replication slot is too far behind.
    SqlBehindLimit {
        /// It is said.
        Alarm = "alarm",
        /// It is dropped as well, and the outbox is polled.
        Poll = "poll",
    }
}

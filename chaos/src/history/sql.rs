//! What campaigns on databases write down: [`SqlEvent`].

use serde::{Deserialize, Serialize};

/// Where effects, claims and events are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Store {
    /// A server, which is attacked too.
    Postgres,
    /// A file that two processes share.
    Sqlite,
}

impl Store {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }

    /// The store of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Postgres, Self::Sqlite]
            .into_iter()
            .find(|store| store.name() == name)
    }
}

/// What happened around a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SqlEvent {
    /// A campaign began.
    Began {
        /// Its seed.
        seed: u64,
        /// What it attacks.
        store: Store,
    },
    /// A message is about to be handed to the broker of a service, perhaps once more.
    Sent {
        /// The message.
        id: String,
    },
    /// The broker of a service promised to keep it.
    Accepted {
        /// The message.
        id: String,
    },
    /// The database said that a transaction is committed.
    Committed {
        /// What names the effects in it.
        nonces: Vec<String>,
    },
    /// A process met something that it must live with: a duplicate, a deadlock.
    Met {
        /// What.
        what: String,
        /// How often.
        times: u64,
    },
    /// Something was done to a process, to the database or to a connection.
    Fault {
        /// What.
        kind: String,
    },
    /// A row of the business table when everything was quiet.
    Effect(Effect),
    /// A claim of the inbox when everything was quiet.
    Claim {
        /// The message.
        id: String,
    },
    /// A message that lay at the broker when everything was quiet, in the order of its partition.
    Arrived(Arrival),
    /// Rows that were left in the outbox, parked ones among them.
    Left {
        /// How many.
        rows: u64,
    },
}

/// An effect: the row that a transaction wrote, beside the event that it published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// The message that was handled, or the request that was served.
    pub id: String,
    /// The key that it changed.
    pub key: String,
    /// Which change of that key it is, from 1: transactions that change one key wait for each other.
    pub number: u64,
    /// Names this attempt and no other.
    pub nonce: String,
}

/// An event as it arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// Its message id.
    pub message_id: String,
    /// The key.
    pub key: String,
    /// As the effect's.
    pub number: u64,
    /// As the effect's.
    pub nonce: String,
}

//! How the services of a campaign send what is in the outbox: [`Relays`].

use crate::history::Store;
use serde::{Deserialize, Serialize};

/// How the services of a campaign send what is in the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relays {
    /// Each looks for it.
    Polling,
    /// Each reads it as it is committed.
    Replication,
    /// One of each kind, so that they hand over to each other.
    Both,
}

/// How one process does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relaying {
    /// It looks for it.
    Polling,
    /// It reads it as it is committed.
    Replication,
}

impl Relays {
    const ALL: [Self; 3] = [Self::Both, Self::Replication, Self::Polling];

    /// What a seed chooses. Only PostgreSQL can be replicated.
    pub fn of_seed(seed: u64, store: Store) -> Self {
        match (store, seed % 3) {
            (Store::Sqlite, _) | (_, 2) => Self::Polling,
            (_, 1) => Self::Replication,
            _ => Self::Both,
        }
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::Replication => "replication",
            Self::Both => "both",
        }
    }

    /// The choice of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|relays| relays.name() == name)
    }

    /// Whether there is a slot.
    pub(super) fn have_slot(self) -> bool {
        self != Self::Polling
    }

    /// What that service does; which of two it is that replicates, the seed says.
    pub(super) fn of(self, service: usize, seed: u64) -> Relaying {
        let first = seed.is_multiple_of(2) == service.is_multiple_of(2);
        match self {
            Self::Polling => Relaying::Polling,
            Self::Both if !first => Relaying::Polling,
            Self::Replication | Self::Both => Relaying::Replication,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_choose_each_and_of_both_kinds_each_service_has_each() {
        for relays in Relays::ALL {
            assert!((0..3).any(|seed| Relays::of_seed(seed, Store::Postgres) == relays));
            assert_eq!(Relays::named(relays.name()), Some(relays));
        }
        for seed in [3, 6] {
            let kinds = [0, 1].map(|service| Relays::of_seed(seed, Store::Postgres).of(service, seed));
            assert_ne!(kinds[0], kinds[1]);
            assert_eq!(kinds[0] == Relaying::Replication, seed == 6);
        }
        assert_eq!(Relays::of_seed(1, Store::Sqlite), Relays::Polling);
    }
}

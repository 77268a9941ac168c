//! What happens next, to a process and to what is around it: [`SqlPlan`].

use super::child::Act;
use super::hub::Loss;
use super::place::Place;
use super::relays::{Relaying, Relays};
use crate::history::Store;
use brokers::CommitFault;
use std::time::Duration;

/// How often a trouble comes that hits nothing, until something is wrong with it.
const ROUNDS: u32 = 60;

/// The life of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// Something happens to it when it passes a place for the n-th time.
    At { place: Place, nth: u64, act: Act },
    /// It is killed, wherever it is.
    Killed { after: Duration },
    /// It drains.
    Stop { after: Duration },
}

/// What happens around the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The server is killed, and is away for a moment.
    KillServer,
    /// The server is stopped in an orderly way and started again.
    RestartServer,
    /// Some of the next COMMITs lose their connection.
    Commits(CommitFault),
    /// All connections to the server are cut.
    Connections,
    /// A relay loses its connection to the broker.
    Broker(Loss),
    /// The process whose relay has the lease stands still for longer than that.
    FreezeLeader,
    /// Any process does.
    FreezeAny,
    /// Something is done to the slot by which relays replicate.
    Slot(SlotLoss),
}

/// How relays lose their slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotLoss {
    /// Whoever reads it is cut off by the server.
    Reader,
    /// Somebody drops it.
    Dropped,
    /// The server throws away what it was to send.
    Invalidated,
}

/// Chooses from a seed.
#[derive(Debug)]
pub(super) struct SqlPlan {
    pub(super) dice: fastrand::Rng,
    store: Store,
    relays: Relays,
    /// What still comes before all comes again.
    places: Vec<(Place, Act)>,
    troubles: Vec<Trouble>,
    /// What has not hit anything yet.
    missing: Vec<Trouble>,
    /// How often all came that were to come.
    rounds: u32,
}

impl SqlPlan {
    pub(super) fn new(seed: u64, store: Store, relays: Relays) -> Self {
        Self {
            dice: fastrand::Rng::with_seed(seed),
            store,
            relays,
            places: Vec::new(),
            troubles: Vec::new(),
            missing: troubles_of(store, relays),
            rounds: 0,
        }
    }

    /// The next life of a process that relays in that way: most end at a place, some at any time, a few in peace.
    pub(super) fn life(&mut self, relaying: Relaying) -> Life {
        match self.dice.u8(..20) {
            0..12 => self.at(relaying),
            12..18 => Life::Killed {
                // Also while it is still starting.
                after: Duration::from_millis(self.dice.u64(5..1_500)),
            },
            _ => Life::Stop {
                after: Duration::from_millis(self.dice.u64(200..1_200)),
            },
        }
    }

    fn at(&mut self, relaying: Relaying) -> Life {
        let comes_there =
            |(place, _): &(Place, Act)| relaying == Relaying::Replication || !place.is_of_slot();
        if !self.places.iter().any(comes_there) {
            // What is left is for the other service, which gets it next.
            let left = std::mem::take(&mut self.places);
            let places = || {
                Place::ALL
                    .iter()
                    .filter(|place| self.relays.have_slot() || !place.is_of_slot())
            };
            let dying = places().map(|place| (*place, Act::Die));
            let frozen = places().filter(|place| place.is_of_relay());
            let all = dying.chain(frozen.map(|place| (*place, Act::Freeze)));
            let mut all: Vec<_> = all.filter(|one| !left.contains(one)).collect();
            self.dice.shuffle(&mut all);
            self.places = all.into_iter().chain(left).collect();
        }
        let next = self
            .places
            .iter()
            .rposition(comes_there)
            .expect("it was just filled");
        let (place, act) = self.places.remove(next);
        let nth = self.dice.u64(1..=place.often());
        Life::At { place, nth, act }
    }

    /// What happens next around the processes.
    pub(super) fn trouble(&mut self) -> Trouble {
        if self.troubles.is_empty() {
            // What has hit nothing yet is waited for; the others need not come so often for that.
            self.troubles = match self.missing.is_empty() {
                true => troubles_of(self.store, self.relays),
                false => self.missing.clone(),
            };
            self.dice.shuffle(&mut self.troubles);
            self.rounds += 1;
        }
        self.troubles.pop().expect("it was just filled")
    }

    /// That trouble has hit something: it need not come again for its own sake.
    pub(super) fn came(&mut self, trouble: Trouble) {
        self.missing.retain(|missing| *missing != trouble);
    }

    /// Whether every trouble has hit something at least once.
    pub(super) fn has_all_troubles(&self) -> bool {
        self.missing.is_empty()
    }

    /// What has come in every round and never hit anything.
    pub(super) fn in_vain(&self) -> Option<&Trouble> {
        self.missing.first().filter(|_| self.rounds > ROUNDS)
    }

    /// How long it is until something happens again.
    pub(super) fn pause(&mut self) -> Duration {
        Duration::from_millis(self.dice.u64(250..900))
    }
}

/// What can happen around processes with that store.
fn troubles_of(store: Store, relays: Relays) -> Vec<Trouble> {
    let mut troubles = vec![
        Trouble::FreezeLeader,
        Trouble::FreezeAny,
        Trouble::Broker(Loss::Message),
        Trouble::Broker(Loss::Answer),
    ];
    if store == Store::Postgres {
        troubles.extend([
            Trouble::KillServer,
            Trouble::RestartServer,
            Trouble::Commits(CommitFault::Answer),
            Trouble::Commits(CommitFault::Request),
            Trouble::Connections,
        ]);
    }
    if relays.have_slot() {
        troubles.extend([SlotLoss::Reader, SlotLoss::Dropped, SlotLoss::Invalidated].map(Trouble::Slot));
    }
    troubles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_chooses_the_same_and_every_trouble_comes() {
        let chosen = |seed, store| {
            let relays = match store {
                Store::Postgres => Relays::Both,
                Store::Sqlite => Relays::Polling,
            };
            let mut plan = SqlPlan::new(seed, store, relays);
            let kinds = [Relaying::Polling, Relaying::Replication];
            let lives: Vec<_> = (0..120).map(|number| plan.life(kinds[number % 2])).collect();
            let troubles: Vec<_> = (0..12).map(|_| plan.trouble()).collect();
            (lives, troubles)
        };
        assert_eq!(chosen(1, Store::Postgres), chosen(1, Store::Postgres));
        assert_ne!(chosen(1, Store::Postgres), chosen(2, Store::Postgres));
        let (lives, troubles) = chosen(3, Store::Postgres);
        for place in Place::ALL {
            let is_there = |life: &Life| matches!(life, Life::At { place: found, .. } if found == place);
            assert!(lives.iter().any(is_there), "{place:?}");
        }
        assert!(
            lives
                .iter()
                .step_by(2)
                .all(|life| !matches!(life, Life::At { place, .. } if place.is_of_slot()))
        );
        assert!(troubles.contains(&Trouble::KillServer) && troubles.contains(&Trouble::FreezeLeader));
        assert!(troubles.contains(&Trouble::Slot(SlotLoss::Dropped)));
        let (lives, troubles) = chosen(3, Store::Sqlite);
        assert!(
            lives
                .iter()
                .all(|life| !matches!(life, Life::At { place, .. } if place.is_of_slot()))
        );
        assert!(!troubles.contains(&Trouble::KillServer));
    }

    #[test]
    fn a_trouble_that_hit_nothing_is_still_to_come() {
        let mut plan = SqlPlan::new(4, Store::Sqlite, Relays::Polling);
        let first = plan.trouble();
        let all = troubles_of(Store::Sqlite, Relays::Polling).len();
        for _ in 1..all {
            let trouble = plan.trouble();
            plan.came(trouble);
        }
        assert!(!plan.has_all_troubles());
        let again = (0..all).any(|_| plan.trouble() == first);
        assert!(again);
        plan.came(first);
        assert!(plan.has_all_troubles());
    }
}

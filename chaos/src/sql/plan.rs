//! What happens next, to a process and to what is around it: [`SqlPlan`].

use super::child::Act;
use super::hub::Loss;
use super::place::Place;
use crate::history::Store;
use brokers::CommitFault;
use std::time::Duration;

/// How often a trouble comes that hits nothing, until something is wrong with it.
const ROUNDS: u32 = 20;

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
}

/// Chooses from a seed.
#[derive(Debug)]
pub(super) struct SqlPlan {
    pub(super) dice: fastrand::Rng,
    store: Store,
    /// What still comes before all comes again.
    places: Vec<(Place, Act)>,
    troubles: Vec<Trouble>,
    /// What has not hit anything yet.
    missing: Vec<Trouble>,
    /// How often all came again.
    rounds: u32,
}

impl SqlPlan {
    pub(super) fn new(seed: u64, store: Store) -> Self {
        Self {
            dice: fastrand::Rng::with_seed(seed),
            store,
            places: Vec::new(),
            troubles: Vec::new(),
            missing: troubles_of(store),
            rounds: 0,
        }
    }

    /// The next life: most end at a place, some at any time, a few in peace.
    pub(super) fn life(&mut self) -> Life {
        match self.dice.u8(..20) {
            0..12 => self.at(),
            12..18 => Life::Killed {
                // Also while it is still starting.
                after: Duration::from_millis(self.dice.u64(5..1_500)),
            },
            _ => Life::Stop {
                after: Duration::from_millis(self.dice.u64(200..1_200)),
            },
        }
    }

    fn at(&mut self) -> Life {
        if self.places.is_empty() {
            let dying = Place::ALL.iter().map(|place| (*place, Act::Die));
            let frozen = Place::ALL.iter().filter(|place| place.is_of_relay());
            self.places = dying.chain(frozen.map(|place| (*place, Act::Freeze))).collect();
            self.dice.shuffle(&mut self.places);
        }
        let (place, act) = self.places.pop().expect("it was just filled");
        let nth = self.dice.u64(1..=place.often());
        Life::At { place, nth, act }
    }

    /// What happens next around the processes.
    pub(super) fn trouble(&mut self) -> Trouble {
        if self.troubles.is_empty() {
            self.troubles = troubles_of(self.store);
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

    /// What has come often and never hit anything.
    pub(super) fn in_vain(&self) -> Option<&Trouble> {
        self.missing.first().filter(|_| self.rounds > ROUNDS)
    }

    /// How long it is until something happens again.
    pub(super) fn pause(&mut self) -> Duration {
        Duration::from_millis(self.dice.u64(250..900))
    }
}

/// What can happen around processes with that store.
fn troubles_of(store: Store) -> Vec<Trouble> {
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
    troubles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_chooses_the_same_and_every_trouble_comes() {
        let chosen = |seed, store| {
            let mut plan = SqlPlan::new(seed, store);
            let lives: Vec<_> = (0..60).map(|_| plan.life()).collect();
            let troubles: Vec<_> = (0..9).map(|_| plan.trouble()).collect();
            (lives, troubles)
        };
        assert_eq!(chosen(1, Store::Postgres), chosen(1, Store::Postgres));
        assert_ne!(chosen(1, Store::Postgres), chosen(2, Store::Postgres));
        let (lives, troubles) = chosen(3, Store::Postgres);
        for place in Place::ALL {
            let is_there = |life: &Life| matches!(life, Life::At { place: found, .. } if found == place);
            assert!(lives.iter().any(is_there), "{place:?}");
        }
        assert!(troubles.contains(&Trouble::KillServer) && troubles.contains(&Trouble::FreezeLeader));
        assert!(!chosen(3, Store::Sqlite).1.contains(&Trouble::KillServer));
    }
    #[test]
    fn a_trouble_that_hit_nothing_is_still_to_come() {
        let mut plan = SqlPlan::new(4, Store::Sqlite);
        let first = plan.trouble();
        for _ in 1..troubles_of(Store::Sqlite).len() {
            let trouble = plan.trouble();
            plan.came(trouble);
        }
        assert!(!plan.has_all_troubles());
        let again = (0..troubles_of(Store::Sqlite).len()).any(|_| plan.trouble() == first);
        assert!(again);
        plan.came(first);
        assert!(plan.has_all_troubles());
    }
}

//! Which faults are to come: [`Plan`].

use super::{EventFault, ProgressWatch, PublishFault};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

#[derive(Default)]
pub(super) struct Plan {
    publishes: Vec<(String, PublishFault, usize)>,
    pub(super) storm: Option<(fastrand::Rng, f64)>,
    pub(super) events: Option<EventFault>,
    pub(super) forgets_progress: bool,
    /// Nobody answers a commit or a close.
    pub(super) hangs: bool,
    pub(super) away: usize,
    /// How often memberships ended until now; each source compares it with what it has seen.
    pub(super) expiries: u64,
    pub(super) watch: Option<ProgressWatch>,
    pub(super) tries: BTreeMap<String, usize>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("publishes", &self.publishes)
            .field("events", &self.events)
            .field("forgets_progress", &self.forgets_progress)
            .finish_non_exhaustive()
    }
}

impl Plan {
    pub(super) fn add(&mut self, destination: &str, fault: PublishFault, times: usize) {
        self.publishes.push((destination.to_owned(), fault, times));
    }

    pub(super) fn heal(&mut self) {
        self.publishes.clear();
        self.storm = None;
        self.events = None;
        self.forgets_progress = false;
        self.hangs = false;
        self.away = 0;
    }

    /// What happens to the next publish to that destination.
    pub(super) fn next_publish(&mut self, destination: &str) -> Option<PublishFault> {
        *self.tries.entry(destination.to_owned()).or_default() += 1;
        let planned = self
            .publishes
            .iter_mut()
            .find(|(of, _, left)| of == destination && *left > 0);
        if let Some((_, fault, left)) = planned {
            *left -= 1;
            return Some(*fault);
        }
        let (random, share) = self.storm.as_mut()?;
        if random.f64() >= *share {
            return None;
        }
        Some(match random.u8(0..5) {
            0 | 1 => PublishFault::Refused,
            2 => PublishFault::Doubted,
            3 => PublishFault::Lost,
            _ => PublishFault::Late(Duration::from_millis(random.u64(1..2_000))),
        })
    }

    pub(super) fn takes_away(&mut self) -> bool {
        let away = self.away > 0;
        self.away = self.away.saturating_sub(1);
        away
    }
}

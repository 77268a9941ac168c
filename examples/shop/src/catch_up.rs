//! State that is rebuilt from events is complete only once the events of earlier runs were read again: [`CatchUp`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tidings::{Failure, Position, millis};
use tokio::sync::watch;

/// A partition of a destination.
type Place = (String, u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Reading,
    Complete,
    Leaving,
}

/// Tells when a projection has seen everything that was there when the shop opened.
///
/// A service that decides by such state waits for it: the inventory must not sell what an earlier run has sold.
#[derive(Debug, Clone)]
pub struct CatchUp {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    phase: watch::Sender<Phase>,
    reading: Mutex<Reading>,
}

/// Offsets by partition: the next one to be seen, and where the partition ended at the start. Dropped when done.
#[derive(Debug, Default)]
struct Reading {
    seen: HashMap<Place, u64>,
    ends: Option<HashMap<Place, u64>>,
}

impl Default for CatchUp {
    fn default() -> Self {
        let phase = watch::Sender::new(Phase::Reading);
        Self {
            inner: Arc::new(Inner {
                phase,
                reading: Mutex::default(),
            }),
        }
    }
}

impl CatchUp {
    /// Says where the partitions end that must be read: for each its destination, its number, the first offset that
    /// it has and the one after the last.
    pub fn expect(&self, partitions: impl IntoIterator<Item = (String, u32, u64, u64)>) {
        let unread = partitions.into_iter().filter(|(_, _, first, end)| first < end);
        let ends = unread.map(|(destination, partition, _, end)| ((destination, partition), end));
        self.update(|reading| reading.ends = Some(ends.collect()));
    }

    /// Says that everything up to this position was seen. Partitions are read in order.
    pub fn saw(&self, position: &Position) {
        if *self.inner.phase.borrow() != Phase::Reading {
            return;
        }
        let place = (position.destination().to_owned(), position.partition());
        let next = position.offset().saturating_add(1);
        self.update(|reading| {
            let seen = reading.seen.entry(place).or_default();
            *seen = next.max(*seen);
        });
    }

    fn update(&self, change: impl FnOnce(&mut Reading)) {
        let mut reading = self.inner.reading.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut reading);
        let Reading { seen, ends } = &mut *reading;
        let Some(ends) = ends else { return };
        if ends
            .iter()
            .all(|(place, end)| seen.get(place).is_some_and(|next| next >= end))
        {
            *reading = Reading::default();
            self.advance(Phase::Complete);
        }
    }

    fn advance(&self, to: Phase) {
        self.inner.phase.send_if_modified(|phase| {
            let moves = *phase == Phase::Reading;
            if moves {
                *phase = to;
            }
            moves
        });
    }

    /// Whether everything was seen.
    pub fn is_complete(&self) -> bool {
        *self.inner.phase.borrow() == Phase::Complete
    }

    /// Waits until everything was seen.
    ///
    /// # Errors
    /// The message is to be delivered later when the shop closes before that: a closing shop waits for its handlers.
    pub async fn completed(&self) -> Result<(), Failure> {
        let mut phase = self.inner.phase.subscribe();
        let phase = phase.wait_for(|phase| *phase != Phase::Reading).await;
        match phase.as_deref() {
            Ok(Phase::Complete) => Ok(()),
            _ => Err(Failure::later(millis(100))),
        }
    }

    /// Lets go of everyone who waits, because the shop closes.
    pub fn leave(&self) {
        self.advance(Phase::Leaving);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(partition: u32, offset: u64) -> Position {
        Position::new("stock", partition, offset)
    }

    fn ends(end: u64) -> [(String, u32, u64, u64); 3] {
        [
            ("stock".to_owned(), 0, 0, end),
            ("stock".to_owned(), 1, 3, 5),
            ("stock".to_owned(), 2, 7, 7),
        ]
    }

    #[test]
    fn it_is_complete_when_every_partition_was_read_to_its_end() {
        let catch_up = CatchUp::default();
        catch_up.saw(&at(0, 0));
        catch_up.expect(ends(2));
        catch_up.saw(&at(1, 4));
        assert!(!catch_up.is_complete());
        catch_up.saw(&at(0, 1));
        assert!(catch_up.is_complete());
    }

    #[test]
    fn an_empty_log_is_complete_at_once() {
        let catch_up = CatchUp::default();
        catch_up.expect([]);
        assert!(catch_up.is_complete());
    }

    #[tokio::test]
    async fn those_who_wait_are_sent_away_when_the_shop_closes() {
        let catch_up = CatchUp::default();
        catch_up.leave();
        assert!(catch_up.completed().await.is_err());
        assert!(!catch_up.is_complete());
    }
}

//! State that is rebuilt from events is complete only once the events of earlier runs were read again: [`CatchUp`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tidings::Position;

/// A partition of a destination.
type Place = (String, u32);

/// Tells when a projection has seen everything that was there when the shop opened. Nobody decides by such state; but
/// nobody is told either that an order is unknown before everything was seen.
#[derive(Debug, Clone, Default)]
pub struct CatchUp {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    complete: AtomicBool,
    reading: Mutex<Reading>,
}

/// Offsets by partition: the next one to be seen, and where the partition ended at the start. Dropped when done.
#[derive(Debug, Default)]
struct Reading {
    seen: HashMap<Place, u64>,
    ends: Option<HashMap<Place, u64>>,
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
        if self.is_complete() {
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
            self.inner.complete.store(true, Ordering::Release);
        }
    }

    /// Whether everything was seen.
    pub fn is_complete(&self) -> bool {
        self.inner.complete.load(Ordering::Acquire)
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
}

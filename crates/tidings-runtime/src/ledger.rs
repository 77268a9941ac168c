//! Which positions of a lane are finished: [`Ledger`]. Its watermark is all that is ever committed.

use std::collections::VecDeque;
use std::ops::Range;

/// The top bit of an entry says that it is finished; offsets stay below it.
const FINISHED: u64 = 1 << 63;

/// A position that was opened: its number in the order of opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

impl Ticket {
    /// The ticket of the position that was opened `count` later.
    pub(crate) fn plus(self, count: usize) -> Self {
        Self(self.0 + count as u64)
    }
}

/// The open positions of one lane, in order.
///
/// One word per open position, whatever gaps there are between their offsets; closing one is a store, and the
/// watermark moves when the first is closed.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: VecDeque<u64>,
    first: u64,
    next_offset: u64,
    finished_above: usize,
}

impl Ledger {
    /// A lane of which everything below `next_offset` is finished.
    pub(crate) fn starting_at(next_offset: u64) -> Self {
        Self {
            next_offset,
            ..Self::default()
        }
    }

    /// Opens a position. Offsets ascend; those in between hold nothing and count as finished.
    pub(crate) fn open(&mut self, offset: u64) -> Ticket {
        debug_assert!(offset >= self.next_offset && offset < FINISHED);
        let ticket = Ticket(self.first + self.entries.len() as u64);
        self.entries.push_back(offset);
        self.next_offset = offset + 1;
        ticket
    }

    /// Opens positions as [`open`](Self::open) does, all at once. The ticket is that of the first.
    pub(crate) fn open_all(&mut self, offsets: impl ExactSizeIterator<Item = u64>) -> Ticket {
        let place = self.entries.len();
        self.entries.extend(offsets);
        debug_assert!(
            self.entries.range(place..).is_sorted()
                && self
                    .entries
                    .get(place)
                    .is_none_or(|first| *first >= self.next_offset)
        );
        if self.entries.len() > place
            && let Some(last) = self.entries.back()
        {
            self.next_offset = last + 1;
        }
        Ticket(self.first + place as u64)
    }

    /// Says that there is nothing to open below this offset any more.
    pub(crate) fn pass(&mut self, next_offset: u64) {
        self.next_offset = self.next_offset.max(next_offset);
    }

    /// Closes a position. Closing it again changes nothing.
    pub(crate) fn finish(&mut self, ticket: Ticket) {
        let Some(place) = ticket.0.checked_sub(self.first) else {
            return;
        };
        let Some(entry) = usize::try_from(place)
            .ok()
            .and_then(|place| self.entries.get_mut(place))
        else {
            return;
        };
        if *entry & FINISHED == 0 {
            *entry |= FINISHED;
            self.finished_above += 1;
        }
        if place == 0 {
            self.advance();
        }
    }

    /// Closes so many positions from one on. What is handled in turn is closed in one step.
    pub(crate) fn finish_range(&mut self, first: Ticket, count: usize) {
        if first.0 == self.first && self.finished_above == 0 && count <= self.entries.len() {
            self.entries.drain(..count);
            self.first += count as u64;
            return;
        }
        (0..count).for_each(|step| self.finish(first.plus(step)));
    }

    fn advance(&mut self) {
        while self.entries.front().is_some_and(|entry| entry & FINISHED != 0) {
            self.entries.pop_front();
            self.first += 1;
            self.finished_above -= 1;
        }
    }

    /// Whether a position lies below the watermark.
    pub(crate) fn is_below_watermark(&self, ticket: Ticket) -> bool {
        ticket.0 < self.first
    }

    /// Whether a position is finished.
    pub(crate) fn is_finished(&self, ticket: Ticket) -> bool {
        match ticket
            .0
            .checked_sub(self.first)
            .and_then(|place| usize::try_from(place).ok())
        {
            Some(place) => self.entries.get(place).is_some_and(|entry| entry & FINISHED != 0),
            None => true,
        }
    }

    /// Every offset below this is finished.
    pub(crate) fn watermark(&self) -> u64 {
        self.entries
            .front()
            .map_or(self.next_offset, |entry| entry & !FINISHED)
    }

    /// The next offset to be received.
    pub(crate) fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// How many positions are open.
    pub(crate) fn open_count(&self) -> usize {
        self.entries.len() - self.finished_above
    }

    /// How many positions there are from the watermark on, finished or not: what is kept in memory for them.
    pub(crate) fn span(&self) -> usize {
        self.entries.len()
    }

    /// Ranges of finished offsets above the watermark, at most `limit`, lowest first.
    pub(crate) fn finished_ranges(&self, limit: usize) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        if self.finished_above == 0 {
            return ranges;
        }
        let mut start = None;
        for entry in &self.entries {
            let offset = entry & !FINISHED;
            match (entry & FINISHED != 0, start) {
                (true, None) if ranges.len() == limit => return ranges,
                (true, None) => start = Some(offset),
                (false, Some(first)) => {
                    ranges.push(first..offset);
                    start = None;
                }
                _ => {}
            }
        }
        ranges.extend(start.map(|first| first..self.next_offset));
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_watermark_stands_below_the_lowest_open_position() {
        let mut ledger = Ledger::starting_at(10);
        let tickets: Vec<_> = [10, 11, 15].map(|offset| ledger.open(offset)).into();
        ledger.finish(tickets[1]);
        assert_eq!(ledger.watermark(), 10);
        assert_eq!(
            ledger.finished_ranges(9),
            vec![Range { start: 11, end: 15 }],
            "what is missing between two positions holds nothing"
        );
        ledger.finish(tickets[0]);
        assert_eq!(ledger.watermark(), 15);
        ledger.finish(tickets[2]);
        assert_eq!((ledger.watermark(), ledger.open_count()), (16, 0));
        ledger.pass(20);
        assert_eq!(ledger.watermark(), 20);
    }

    proptest! {
        /// The model: the set of open offsets.
        #[test]
        fn it_agrees_with_a_set_of_open_offsets(start in 0u64..100, steps in prop::collection::vec((0u8..6, any::<u16>()), 1..300)) {
            let mut ledger = Ledger::starting_at(start);
            let (mut open, mut tickets, mut next) = (BTreeSet::new(), Vec::new(), start);
            for (step, number) in steps {
                match step {
                    3 => {
                        let count = u64::from(number % 5);
                        let first = ledger.open_all((next..next + count).collect::<Vec<_>>().into_iter());
                        for (step, offset) in (next..next + count).enumerate() {
                            tickets.push((first.plus(step), offset));
                            open.insert(offset);
                        }
                        next += count;
                    }
                    4 if !tickets.is_empty() => {
                        let place = usize::from(number) % tickets.len();
                        let run: Vec<_> = tickets[place..].iter().take(4).copied().collect();
                        ledger.finish_range(run[0].0, run.len());
                        for (ticket, offset) in run {
                            open.remove(&offset);
                            prop_assert!(ledger.is_finished(ticket));
                        }
                    }
                    0 => {
                        let offset = next + u64::from(number % 3);
                        tickets.push((ledger.open(offset), offset));
                        open.insert(offset);
                        next = offset + 1;
                    }
                    1 if !tickets.is_empty() => {
                        let (ticket, offset) = tickets[usize::from(number) % tickets.len()];
                        ledger.finish(ticket);
                        open.remove(&offset);
                        prop_assert!(ledger.is_finished(ticket));
                    }
                    _ => {
                        next += u64::from(number % 2);
                        ledger.pass(next);
                    }
                }
                prop_assert_eq!(ledger.watermark(), open.first().copied().unwrap_or(next));
                prop_assert_eq!(ledger.open_count(), open.len());
                let ranges = ledger.finished_ranges(usize::MAX);
                for offset in ledger.watermark()..next {
                    let finished = ranges.iter().any(|range| range.contains(&offset));
                    if tickets.iter().any(|(_, opened)| *opened == offset) {
                        prop_assert_eq!(finished, !open.contains(&offset), "offset {}", offset);
                    } else {
                        prop_assert!(!open.contains(&offset));
                    }
                }
            }
        }
    }
}

//! What of a channel is to be acknowledged: [`Acks`].

use std::ops::Range;

/// One acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ack {
    /// Everything up to that tag.
    UpTo(u64),
    /// That tag alone.
    One(u64),
}

/// What is finished, and what of it the server knows. Tags begin at 1.
#[derive(Debug, Default)]
pub(super) struct Acks {
    /// So many tags are finished without a gap.
    finished: u64,
    told: u64,
    /// Above those, in order, as tags less one.
    above: Vec<Range<u64>>,
    /// Tags above `told` that the server knows of, in order.
    singly: Vec<u64>,
    /// What was finished above a gap when this was last looked at ends below this place.
    looked: u64,
}

/// Whether what is finished above a gap may wait once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Above {
    /// The gap may close, and one acknowledgement then says it all.
    MayWait,
    /// Nothing more will be told.
    Now,
}

impl Acks {
    /// Takes what is finished: so many without a gap, and ranges above.
    pub(super) fn report(&mut self, finished: u64, above: impl Iterator<Item = Range<u64>>) {
        self.finished = self.finished.max(finished);
        self.above = above.collect();
    }

    /// How many are finished without a gap that the server does not know of.
    pub(super) fn untold(&self) -> u64 {
        self.finished - self.told
    }

    /// What to tell the server. What is finished above a gap is told singly when the gap is still there at the second look: it
    /// takes the place of messages that could come, and would come again when this reader goes.
    pub(super) fn take(&mut self, above: Above) -> Vec<Ack> {
        let mut acks = Vec::new();
        if self.finished > self.told {
            acks.extend(self.last_unknown().map(Ack::UpTo));
            self.told = self.finished;
            self.singly.retain(|tag| *tag > self.told);
        }
        let until = match above {
            Above::MayWait => self.looked,
            Above::Now => u64::MAX,
        };
        for place in self
            .above
            .iter()
            .cloned()
            .flatten()
            .take_while(|place| *place < until)
        {
            let tag = place + 1;
            if tag > self.told
                && let Err(at) = self.singly.binary_search(&tag)
            {
                self.singly.insert(at, tag);
                acks.push(Ack::One(tag));
            }
        }
        self.looked = self.above.last().map_or(0, |range| range.end);
        acks
    }

    /// Whether something is finished above a gap that the server does not know of.
    pub(super) fn is_waiting(&self) -> bool {
        let above: u64 = self.above.iter().map(|range| range.end - range.start).sum();
        above > self.singly.len() as u64
    }

    /// The last finished tag that the server does not know of: it takes no tag twice. None if it knows of all.
    fn last_unknown(&self) -> Option<u64> {
        let mut tags = (self.told + 1..=self.finished).rev();
        tags.find(|tag| self.singly.binary_search(tag).is_err())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(start: u64, end: u64) -> Vec<Range<u64>> {
        std::iter::once(start..end).collect()
    }

    fn report(acks: &mut Acks, finished: u64, above: &[Range<u64>]) {
        acks.report(finished, above.iter().cloned());
    }

    #[test]
    fn everything_is_acknowledged_once() {
        let mut acks = Acks::default();
        assert_eq!(acks.take(Above::MayWait), []);
        report(&mut acks, 3, &[]);
        assert_eq!(acks.untold(), 3);
        assert_eq!(acks.take(Above::Now), [Ack::UpTo(3)]);
        assert_eq!(acks.take(Above::Now), []);
        // Tag 4 is not finished, 5 and 6 are.
        report(&mut acks, 3, &gap(4, 6));
        assert_eq!(acks.take(Above::MayWait), [], "the gap may close");
        assert!(acks.is_waiting());
        report(&mut acks, 3, &gap(4, 7));
        assert_eq!(acks.take(Above::MayWait), [Ack::One(5), Ack::One(6)], "7 is new");
        assert_eq!(acks.take(Above::Now), [Ack::One(7)]);
        assert!(!acks.is_waiting());
        assert_eq!(acks.take(Above::Now), []);
        report(&mut acks, 8, &[]);
        assert_eq!(acks.take(Above::Now), [Ack::UpTo(8)]);
    }

    #[test]
    fn no_tag_is_told_again_that_was_told_singly() {
        let mut acks = Acks::default();
        report(&mut acks, 0, &gap(1, 3));
        assert_eq!(acks.take(Above::Now), [Ack::One(2), Ack::One(3)]);
        report(&mut acks, 3, &[]);
        assert_eq!(acks.take(Above::Now), [Ack::UpTo(1)], "2 and 3 are known");
        report(&mut acks, 3, &gap(4, 5));
        assert_eq!(acks.take(Above::Now), [Ack::One(5)]);
        report(&mut acks, 5, &[]);
        assert_eq!(acks.take(Above::Now), [Ack::UpTo(4)]);
    }
}

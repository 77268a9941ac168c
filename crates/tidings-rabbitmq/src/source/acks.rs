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

    /// What to tell the server. What is finished above a gap is told singly: it takes the place of messages that could
    /// come, and would come again when this reader goes.
    pub(super) fn take(&mut self) -> Vec<Ack> {
        let mut acks = Vec::new();
        if self.finished > self.told {
            acks.extend(self.last_unknown().map(Ack::UpTo));
            self.told = self.finished;
            self.singly.retain(|tag| *tag > self.told);
        }
        for place in self.above.iter().cloned().flatten() {
            let tag = place + 1;
            if tag > self.told
                && let Err(at) = self.singly.binary_search(&tag)
            {
                self.singly.insert(at, tag);
                acks.push(Ack::One(tag));
            }
        }
        acks
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
        assert_eq!(acks.take(), []);
        report(&mut acks, 3, &[]);
        assert_eq!(acks.untold(), 3);
        assert_eq!(acks.take(), [Ack::UpTo(3)]);
        assert_eq!(acks.take(), []);
        // Tag 4 is not finished, 5 and 6 are.
        report(&mut acks, 3, &gap(4, 6));
        assert_eq!(acks.take(), [Ack::One(5), Ack::One(6)]);
        assert_eq!(acks.take(), []);
        report(&mut acks, 7, &[]);
        assert_eq!(acks.take(), [Ack::UpTo(7)]);
    }

    #[test]
    fn no_tag_is_told_again_that_was_told_singly() {
        let mut acks = Acks::default();
        report(&mut acks, 0, &gap(1, 3));
        assert_eq!(acks.take(), [Ack::One(2), Ack::One(3)]);
        report(&mut acks, 3, &[]);
        assert_eq!(acks.take(), [Ack::UpTo(1)], "2 and 3 are known");
        report(&mut acks, 3, &gap(4, 5));
        assert_eq!(acks.take(), [Ack::One(5)]);
        report(&mut acks, 5, &[]);
        assert_eq!(acks.take(), [Ack::UpTo(4)]);
    }
}

//! Which retry topics groups read, and which groups have finished something of theirs: [`RetryTopics`].

use crate::lock::lock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// So many rounds follow the last report of a group: what it reports is stored a while later.
const ROUNDS: u32 = 2;

/// The retry topics of each group that a binder reads.
#[derive(Debug, Default)]
pub(crate) struct RetryTopics(Mutex<BTreeMap<Arc<str>, OfGroup>>);

#[derive(Debug, Default)]
struct OfGroup {
    topics: BTreeSet<Arc<str>>,
    /// Nobody asks for the positions of a group whose messages do not wait.
    rounds: u32,
}

impl RetryTopics {
    /// A group reads these too from now on.
    pub(crate) fn are_read<'a>(&self, group: &Arc<str>, topics: impl IntoIterator<Item = &'a Arc<str>>) {
        let mut groups = lock(&self.0);
        for topic in topics {
            let of = groups.entry(group.clone()).or_default();
            of.topics.insert(topic.clone());
        }
    }

    /// A group has finished something of them.
    pub(crate) fn have_moved(&self, group: &str) {
        if let Some(of) = lock(&self.0).get_mut(group) {
            of.rounds = ROUNDS;
        }
    }

    /// Those to be looked at in this round.
    pub(crate) fn round(&self) -> Vec<(Arc<str>, BTreeSet<Arc<str>>)> {
        let mut groups = lock(&self.0);
        let moved = groups.iter_mut().filter(|(_, of)| of.rounds > 0);
        let moved = moved.map(|(group, of)| {
            of.rounds -= 1;
            (group.clone(), of.topics.clone())
        });
        moved.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_looked_at_for_two_rounds_after_it_moved() {
        let retries = RetryTopics::default();
        let (group, topic): (Arc<str>, Arc<str>) = ("billing".into(), "orders.billing.retry".into());
        retries.are_read(&group, [&topic]);
        retries.have_moved("audit");
        assert_eq!(retries.round(), []);
        retries.have_moved(&group);
        let expected = vec![(group, BTreeSet::from([topic]))];
        for _ in 0..2 {
            assert_eq!(retries.round(), expected);
        }
        assert_eq!(retries.round(), []);
    }
}

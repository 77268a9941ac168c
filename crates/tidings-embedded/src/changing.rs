//! What a source reads changes while it reads: patterns of destinations.

use crate::group::{Command, Member};
use crate::shared::Shared;
use crate::source::{EmbeddedSource, Input};
use crate::subscribing::{Topics, begin, grants, input};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tidings_core::{BinderError, SourceError, SourceEvent, SourceInput, Start, is_chosen};

/// The first wait before an input is opened again that could not be, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

impl EmbeddedSource {
    /// Reads these and nothing else from now on.
    pub(crate) fn read_these(&mut self, inputs: &[SourceInput]) -> Result<(), SourceError> {
        let shared = self.shared().clone();
        let mut added = Vec::new();
        for wanted in inputs {
            let is_same = |input: &Input| input.is_read && input.topic.name == wanted.destination;
            if !self.inputs.iter().any(is_same) {
                let found = input(&shared, wanted, self.group.as_ref()).map_err(unavailable)?;
                added.push(found);
            }
        }
        for place in 0..self.inputs.len() {
            let is_wanted = |input: &Input| inputs.iter().any(|one| one.destination == input.topic.name);
            if self
                .inputs
                .get(place)
                .is_some_and(|input| input.is_read && !is_wanted(input))
            {
                self.stop_reading(place);
            }
        }
        added.into_iter().for_each(|input| self.add(input));
        self.idle_told = false;
        self.member.signal.raise();
        Ok(())
    }

    /// Lets go of an input at once: what was reported of it is stored by and by.
    fn stop_reading(&mut self, place: usize) {
        let units = self.units_of(place);
        let (shared, member) = (self.shared().clone(), self.member.clone());
        let Some(input) = self.inputs.get_mut(place) else {
            return;
        };
        input.is_read = false;
        if let Some(share) = &input.share {
            shared.groups.leave(&shared, share, &member);
        }
        member.tell(Command::Lost(units));
    }

    /// Opens an input elsewhere, because that may block and its first position is made durable; the member is told.
    fn add(&mut self, input: Input) {
        let (place, topics) = (self.inputs.len(), input.topics());
        self.inputs.push(input);
        self.opening += 1;
        let shared = Arc::downgrade(self.shared());
        let opening = open(
            shared,
            Arc::downgrade(&self.member),
            self.group.clone(),
            topics,
            place,
        );
        self.shared().spawn(opening);
    }

    /// An input can be read: now its partitions are asked for.
    pub(crate) fn on_ready(&mut self, place: usize, starts: &[u64]) -> Option<SourceEvent> {
        self.opening = self.opening.saturating_sub(1);
        let shared = self.shared().clone();
        let input = self.inputs.get(place).filter(|input| input.is_read)?;
        let Some(share) = &input.share else {
            let mut all = grants(&shared, place, starts);
            all.retain(|grant| is_chosen(self.chosen.as_deref(), grant.unit.partition));
            return self.assign_all(all);
        };
        let retry = input.retry.as_ref().map(|topic| topic.name.clone());
        let partitions = input.topic.count();
        shared
            .groups
            .join(&shared, share, partitions, &self.member, place, retry);
        None
    }
}

/// Tries until it succeeds, or nobody waits for it any more.
async fn open(
    shared: Weak<Shared>,
    member: Weak<Member>,
    group: Option<Arc<str>>,
    topics: Topics,
    input: usize,
) {
    let mut wait = FIRST_WAIT;
    loop {
        let Some(shared) = shared.upgrade().filter(|shared| !shared.is_closed()) else {
            return;
        };
        let begun = begin(&shared, Start::Earliest, group.clone(), vec![topics.clone()]).await;
        drop(shared);
        let Some(member) = member.upgrade() else { return };
        match begun {
            Ok(starts) => {
                let starts = starts.into_iter().next().unwrap_or_default();
                return member.tell(Command::Ready { input, starts });
            }
            Err(reason) => {
                tracing::warn!(destination = %topics.0.name, %reason, "what was added cannot be read yet; it is tried again");
            }
        }
        drop(member);
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

fn unavailable(error: BinderError) -> SourceError {
    SourceError::Unavailable {
        reason: error.to_string(),
    }
}

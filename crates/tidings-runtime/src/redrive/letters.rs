//! Dead letters as they lie: [`DeadLetter`], and which of them groups have sent back already.

use super::marks::Marks;
use super::recorder;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use tidings_core::{
    BinderError, Diagnosis, DynBinder, HeldLetter, Message, PartitionPosition, Position, names,
};

/// How much is read at once.
const READ_BYTES: usize = 1 << 20;

/// A message that a group gave up on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Where it lies in the dead letters.
    pub position: Position,
    /// The message: key and payload as they were published, headers with the diagnosis.
    pub message: Message,
    /// Why it is one.
    pub diagnosis: Diagnosis,
}

impl DeadLetter {
    /// The message's id; other systems may not have given one.
    pub fn message_id(&self) -> Option<&str> {
        self.message.headers().get_str(names::MESSAGE_ID)
    }
}

/// A letter that is held. Whose it is, the place knows better than the letter.
pub(super) fn held(letter: HeldLetter, group: Option<&str>) -> DeadLetter {
    let mut diagnosis = Diagnosis::from_headers(letter.message.headers().view());
    if let Some(group) = group {
        diagnosis.group = Some(group.to_owned());
    }
    DeadLetter {
        position: letter.position,
        message: letter.message,
        diagnosis,
    }
}

/// Reads one partition of dead letters up to where it ended when the reading began.
pub(super) struct Scan<'a> {
    binder: &'a dyn DynBinder,
    destination: Arc<str>,
    partition: u32,
    next: u64,
    end: u64,
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        binder: &'a dyn DynBinder,
        destination: Arc<str>,
        partition: u32,
        next: u64,
        end: u64,
    ) -> Self {
        Self {
            binder,
            destination,
            partition,
            next,
            end,
        }
    }

    /// The next few letters; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<DeadLetter>>, BinderError> {
        if self.next >= self.end {
            return Ok(None);
        }
        let batch = self
            .binder
            .read(&self.destination, self.partition, self.next, READ_BYTES)
            .await?;
        if batch.next() <= self.next {
            return Ok(None);
        }
        let from = self.next;
        self.next = batch.next();
        let wanted = batch
            .records()
            .iter()
            .filter(|record| record.offset >= from && record.offset < self.end);
        let letters = wanted.map(|record| DeadLetter {
            position: Position::new(self.destination.clone(), self.partition, record.offset),
            message: batch.message(record),
            diagnosis: Diagnosis::from_headers(batch.headers(record)),
        });
        Ok(Some(letters.collect()))
    }
}

/// What each group has sent back already, asked for when a letter of the group is first met.
pub(super) struct Groups<'a> {
    binder: &'a dyn DynBinder,
    destination: Arc<str>,
    progress: HashMap<String, Vec<PartitionPosition>>,
}

impl<'a> Groups<'a> {
    pub(super) fn new(binder: &'a dyn DynBinder, destination: Arc<str>) -> Self {
        Self {
            binder,
            destination,
            progress: HashMap::new(),
        }
    }

    pub(super) async fn sent_back(&mut self, letter: &DeadLetter) -> Result<bool, BinderError> {
        let Some(group) = &letter.diagnosis.group else {
            return Ok(false);
        };
        let progress = match self.progress.entry(group.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let found = self
                    .binder
                    .positions(&self.destination, Some(&recorder(group)))
                    .await;
                let positions = match found {
                    Ok(positions) => positions,
                    // Anybody may have written that header: a group that cannot be has sent nothing back.
                    Err(BinderError::InvalidName { .. }) => Vec::new(),
                    Err(error) => return Err(error),
                };
                new.insert(positions)
            }
        };
        let partition = progress
            .iter()
            .find(|at| at.partition == letter.position.partition());
        Ok(partition.is_some_and(|at| {
            at.progress.is_some()
                && Marks::new(at.first, at.progress.as_ref()).contains(letter.position.offset())
        }))
    }
}

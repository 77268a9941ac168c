//! A message that was accepted: [`Entry`], and its answer.

use super::intake::Open;
use super::route::Target;
use std::sync::Arc;
use std::time::Instant;
use tidings_core::{Message, PublishError, ReceiptBlock};

/// A message that was accepted and has no answer yet. One that is dropped is answered as
/// [`PublishError::Closed`]: nobody waits for ever.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its place in the order of the calls, and its offset once it is kept.
    pub(super) number: u64,
    pub(super) target: Arc<Target>,
    pub(super) message: Message,
    pub(super) accepted: Instant,
    /// How often it was written.
    pub(super) sends: u32,
    receipt: Option<(Arc<ReceiptBlock>, usize)>,
    open: Arc<Open>,
}

impl Entry {
    pub(super) fn new(
        number: u64,
        target: Arc<Target>,
        message: Message,
        accepted: Instant,
        receipt: (Arc<ReceiptBlock>, usize),
        open: Arc<Open>,
    ) -> Self {
        let entry = Self {
            number,
            target,
            message,
            accepted,
            sends: 0,
            receipt: Some(receipt),
            open,
        };
        entry.open.add(entry.bytes());
        entry
    }

    /// What it costs to keep it.
    pub(super) fn bytes(&self) -> usize {
        Self::bytes_of(&self.message)
    }

    pub(super) fn bytes_of(message: &Message) -> usize {
        message.size() + size_of::<Self>()
    }

    /// Answers it. Who waits learns of it when the answers are told.
    pub(super) fn answer(mut self, result: Result<(), PublishError>, answers: &mut Answers) {
        let Some((block, place)) = self.receipt.take() else {
            return;
        };
        match result {
            Ok(()) => block.kept(place, 0, self.number),
            Err(error) => block.refused(place, error),
        }
        self.open.remove(self.bytes());
        answers.add(block);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some((block, place)) = self.receipt.take() {
            self.open.remove(self.bytes());
            block.refused(place, PublishError::Closed);
            block.wake();
        }
    }
}

/// Answers that nobody was told of yet. They are told together.
#[derive(Debug, Default)]
pub(super) struct Answers(Vec<Arc<ReceiptBlock>>);

impl Answers {
    fn add(&mut self, block: Arc<ReceiptBlock>) {
        let known = self.0.last().is_some_and(|last| Arc::ptr_eq(last, &block));
        if !known {
            self.0.push(block);
        }
    }

    pub(super) fn tell(&mut self) {
        self.0.drain(..).for_each(|block| block.wake());
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.tell();
    }
}

//! Channels whose broker takes its time: [`Slow`].

use super::batch::Batch;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Instant;

/// What was sent and is not answered yet, of channels that are not read until it is, so that the others go on. A batch is of
/// one channel.
#[derive(Debug, Default)]
pub(crate) struct Slow {
    batches: Vec<Batch>,
}

impl Slow {
    pub(crate) fn add(&mut self, batches: Vec<Batch>) {
        self.batches.extend(batches);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(crate) fn channels(&self) -> impl Iterator<Item = &Arc<str>> {
        self.batches.iter().filter_map(Batch::channel)
    }

    /// Since when the answer is missing that is missing for the longest.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.batches.iter().map(Batch::sent_at).min()
    }

    /// Until when the next answer is waited for.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.batches.iter().map(Batch::deadline).min()
    }

    /// Ready when one of them is answered.
    pub(crate) fn poll_answers(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut is_some_ready = false;
        for batch in &mut self.batches {
            is_some_ready |= batch.poll_answers(context).is_ready();
        }
        match is_some_ready {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Takes out those that are answered, or are waited for no longer.
    pub(crate) fn take(&mut self, now: Instant, context: &mut Context<'_>) -> Vec<Batch> {
        let take = |batch: &mut Batch| {
            let is_answered = batch.poll_answers(context).is_ready();
            if !is_answered && batch.deadline() <= now {
                batch.give_up();
                return true;
            }
            is_answered
        };
        self.batches.extract_if(.., take).collect()
    }
}

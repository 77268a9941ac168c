//! What a handler publishes by itself, until the outbox has it: [`Collected`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidings_core::{BoxFuture, Outgoing, Position, PublishError, Receipt, Sink};

/// Messages of a handling, in the order in which they were sent.
///
/// A receipt resolves at once: the message is kept with the handling's work, or not at all. It has no offset yet, so its
/// position says the last one that there could be.
#[derive(Debug)]
pub(super) struct Collected {
    most_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    messages: Vec<Outgoing>,
    bytes: usize,
    refused: Option<PublishError>,
}

impl Collected {
    pub(super) fn new(most_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            most_bytes,
            state: Mutex::default(),
        })
    }

    /// All of them.
    ///
    /// # Errors
    /// One was refused, whether or not the handler asked: what it wanted to be published is not whole.
    pub(super) fn take(&self) -> Result<Vec<Outgoing>, PublishError> {
        let state = std::mem::take(&mut *self.state());
        state.refused.map_or(Ok(state.messages), Err)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Collected {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        let mut state = self.state();
        let size = outgoing.message.size();
        if state.bytes.saturating_add(size) > self.most_bytes {
            let error = PublishError::TooLarge {
                destination: outgoing.destination,
                size: state.bytes.saturating_add(size),
                limit: self.most_bytes,
            };
            state.refused = Some(error.clone());
            return Receipt::failed(error);
        }
        state.bytes += size;
        let position = Position::new(
            outgoing.destination.clone(),
            outgoing.partition.unwrap_or(0),
            u64::MAX,
        );
        state.messages.push(outgoing);
        Receipt::ready(Ok(position))
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

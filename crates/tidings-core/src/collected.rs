//! What is published into a transaction of a database, until the outbox has it: [`Collected`].

use crate::BoxFuture;
use crate::message::Position;
use crate::sink::{Outgoing, PublishError, Receipt, Sink};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A sink that keeps messages, in the order in which they were sent, for an outbox.
///
/// A receipt resolves at once: the message is kept with the work of its transaction, or not at all. It has no offset yet, so its
/// position says the last one that there could be.
#[derive(Debug)]
pub struct Collected {
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
    /// Room for messages of so many bytes together; more are refused.
    pub fn new(most_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            most_bytes,
            state: Mutex::default(),
        })
    }

    /// All of them.
    ///
    /// # Errors
    /// One was refused, whether or not anybody asked: what was to be published is not whole.
    pub fn take(&self) -> Result<Vec<Outgoing>, PublishError> {
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

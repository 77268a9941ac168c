//! What records of a stretch return is published at once, and the stretch goes on: [`StretchOutlet`].

use crate::effects::{OutputId, prepare};
use crate::pipeline::Sent;
use crate::replies::Answers;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidings_core::{Delivery, HandlerContext, Outlet, Outputs, PublishError, Publisher};

/// A stretch ends after so many records that returned something, and after so many bytes: what is on its way counts
/// where it is bounded only from then on.
const MOST: (usize, usize) = (64, 64 * 1024);

/// Publishes for the stretch that is being polled. Only one is, so a dispatcher has one of these.
pub(super) struct StretchOutlet {
    channel: Option<Arc<str>>,
    context: Arc<HandlerContext>,
    answers: Answers,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Where to; none before the first stretch.
    publisher: Option<Publisher>,
    /// Nothing is published while an earlier output of the lane is tried again.
    held: bool,
    taken: Vec<Taken>,
    bytes: usize,
}

/// What the record at that index returned.
pub(super) struct Taken {
    pub(super) index: usize,
    pub(super) sent: Result<Sent, PublishError>,
}

impl StretchOutlet {
    pub(super) fn new(channel: Option<&str>, context: Arc<HandlerContext>, answers: Answers) -> Self {
        Self {
            channel: channel.map(Arc::from),
            context,
            answers,
            state: Mutex::default(),
        }
    }

    /// A stretch is about to be polled.
    pub(super) fn open(&self, publisher: Publisher, held: bool) {
        let mut state = self.state();
        state.publisher = Some(publisher);
        state.held = held;
    }

    /// What the stretch that was polled has returned, in order; its place is taken by the list, which is empty.
    pub(super) fn close(&self, list: &mut Vec<Taken>) {
        let mut state = self.state();
        if !state.taken.is_empty() {
            std::mem::swap(&mut state.taken, list);
            state.bytes = 0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What it holds is whole whenever something can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outlet for StretchOutlet {
    fn take(&self, delivery: &Delivery, outputs: Outputs) -> bool {
        let mut state = self.state();
        let publisher = state.publisher.as_ref().unwrap_or(&self.context.publisher);
        let ids = OutputId::new(delivery, &self.context);
        let channel = self.channel.as_deref();
        let prepared = prepare(publisher, channel, outputs, Some(delivery), &ids, &self.answers);
        let sent = prepared.map(|prepared| Sent::new(prepared, state.held));
        state.bytes += sent.as_ref().map_or(0, Sent::bytes);
        state.taken.push(Taken {
            index: delivery.index(),
            sent,
        });
        state.taken.len() >= MOST.0 || state.bytes >= MOST.1
    }
}

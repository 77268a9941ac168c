//! What each destination is that was prepared: [`Destinations`].

use crate::layout::Layout;
use crate::waits::Waits;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidings_core::Outgoing;

/// What is to be known of a destination to publish there.
#[derive(Debug, Clone)]
pub(crate) enum Destination {
    /// One that people name.
    Named(Arc<Layout>),
    /// The retry queue of a group: what goes there may have to wait on the way.
    Retry(Waits),
    /// The retry queue of a group that is not there, and may not be made.
    Lacking,
    /// Dead letters: the queue of the group that they come from must be there.
    Letters(Arc<Layout>),
}

/// All that were prepared. One that was not is what it would be by itself.
#[derive(Debug, Default)]
pub(crate) struct Destinations(Mutex<HashMap<Arc<str>, Destination, foldhash::fast::RandomState>>);

impl Destinations {
    fn all(&self) -> MutexGuard<'_, HashMap<Arc<str>, Destination, foldhash::fast::RandomState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn remember(&self, name: &Arc<str>, destination: Destination) {
        self.all().insert(name.clone(), destination);
    }

    pub(crate) fn of(&self, name: &Arc<str>) -> Destination {
        let known = self.all().get(name).cloned();
        known.unwrap_or_else(|| Destination::Named(Arc::new(Layout::plain(name))))
    }

    /// The exchange and the queues of one.
    pub(crate) fn layout(&self, name: &Arc<str>) -> Arc<Layout> {
        match self.of(name) {
            Destination::Named(layout) | Destination::Letters(layout) => layout,
            Destination::Retry(_) | Destination::Lacking => Arc::new(Layout::plain(name)),
        }
    }

    /// Whether nothing but publishing is to do for any of the messages.
    pub(crate) fn are_plain<'a>(&self, messages: impl IntoIterator<Item = &'a Outgoing>) -> bool {
        let all = self.all();
        let mut last: Option<&Arc<str>> = None;
        messages.into_iter().all(|outgoing| {
            let name = &outgoing.destination;
            // The next is mostly for the same.
            let is_named = last.is_some_and(|last| Arc::ptr_eq(last, name))
                || matches!(
                    all.get(name),
                    None | Some(Destination::Named(_) | Destination::Lacking)
                );
            last = Some(name);
            is_named && outgoing.due.is_none()
        })
    }
}

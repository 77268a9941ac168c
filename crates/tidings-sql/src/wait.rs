//! A wait that grows: [`Wait`].

use std::time::Duration;

/// A wait that doubles each time.
#[derive(Debug)]
pub(crate) struct Wait {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Wait {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        let first = first.min(longest);
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// How long to wait this time.
    pub(crate) fn take(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.longest);
        now
    }

    /// From the beginning again.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

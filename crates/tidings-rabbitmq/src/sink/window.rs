//! What was accepted and has no answer yet, in the order of the calls: [`Window`].

use super::entry::Entry;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What was accepted, in order. A part of it from its front on is in flight.
#[derive(Debug)]
pub(super) struct Window {
    places: VecDeque<Place>,
    /// The number of the front.
    base: u64,
    /// How many places from the front on are in flight or answered.
    sent: usize,
    in_flight: usize,
    bytes_in_flight: usize,
    max_messages: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct Place {
    /// None once it has its answer.
    entry: Option<Entry>,
    /// When it was written to the channel that there is.
    sent: Option<Instant>,
    /// What it counts while it is in flight.
    bytes: usize,
}

impl Extend<Entry> for Window {
    fn extend<T: IntoIterator<Item = Entry>>(&mut self, entries: T) {
        let places = entries.into_iter().map(|entry| Place {
            bytes: entry.bytes(),
            entry: Some(entry),
            sent: None,
        });
        self.places.extend(places);
    }
}

impl Window {
    pub(super) fn new(max_messages: usize, max_bytes: usize) -> Self {
        Self {
            places: VecDeque::new(),
            base: 0,
            sent: 0,
            in_flight: 0,
            bytes_in_flight: 0,
            max_messages,
            max_bytes,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether the server has something to say yet.
    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight > 0
    }

    /// The number that the next accepted message will have.
    pub(super) fn end(&self) -> u64 {
        self.base + self.places.len() as u64
    }

    /// The next message to write, if there is room for it in flight.
    pub(super) fn next(&mut self) -> Option<&mut Entry> {
        // What was answered before it was written, because its time was over, is passed by.
        while self.places.get(self.sent)?.entry.is_none() {
            self.sent += 1;
        }
        let place = self.places.get_mut(self.sent)?;
        let fits = self.sent < self.max_messages
            && (self.bytes_in_flight == 0 || self.bytes_in_flight + place.bytes <= self.max_bytes);
        place.entry.as_mut().filter(|_| fits)
    }

    /// The next message is on its way.
    pub(super) fn sent(&mut self, now: Instant) {
        if let Some(place) = self.places.get_mut(self.sent) {
            place.sent = Some(now);
            self.in_flight += 1;
            self.bytes_in_flight += place.bytes;
            self.sent += 1;
        }
    }

    /// Takes a message out, for its answer. What the server may still confirm keeps its place.
    pub(super) fn take(&mut self, number: u64) -> Option<Entry> {
        let index = usize::try_from(number.checked_sub(self.base)?).ok()?;
        self.places.get_mut(index)?.entry.take()
    }

    /// The server will say nothing more of it.
    pub(super) fn landed(&mut self, number: u64) {
        let index = number
            .checked_sub(self.base)
            .and_then(|index| usize::try_from(index).ok());
        if let Some(place) = index.and_then(|index| self.places.get_mut(index))
            && place.sent.take().is_some()
        {
            self.in_flight -= 1;
            self.bytes_in_flight -= place.bytes;
        }
        self.forget();
    }

    /// Lets go of what has its answer at the front.
    pub(super) fn forget(&mut self) {
        let over = |place: &Place| place.entry.is_none() && place.sent.is_none();
        while self.places.front().is_some_and(over) {
            self.places.pop_front();
            self.base += 1;
            self.sent = self.sent.saturating_sub(1);
        }
    }

    /// Nothing is in flight any more: all that has no answer is written again, in order.
    pub(super) fn restart(&mut self) {
        self.places.iter_mut().for_each(|place| place.sent = None);
        self.sent = 0;
        self.in_flight = 0;
        self.bytes_in_flight = 0;
        self.forget();
    }

    /// The numbers of all messages without an answer for which that holds, and whether each is in flight.
    pub(super) fn find(&self, wanted: impl Fn(&Entry, bool) -> bool) -> Vec<u64> {
        let entries = self.places.iter().filter_map(|place| {
            let entry = place.entry.as_ref()?;
            wanted(entry, place.sent.is_some()).then_some(entry.number)
        });
        entries.collect()
    }

    /// The number of the oldest message without an answer if its time is over.
    pub(super) fn expired(&self, patience: Duration, now: Instant) -> Option<u64> {
        let oldest = self.places.iter().find_map(|place| place.entry.as_ref())?;
        (now.duration_since(oldest.accepted) >= patience).then_some(oldest.number)
    }

    /// When the time of the oldest message without an answer is over.
    pub(super) fn expires(&self, patience: Duration) -> Option<Instant> {
        let oldest = self.places.iter().find_map(|place| place.entry.as_ref())?;
        oldest.accepted.checked_add(patience)
    }

    /// Since when the oldest one in flight is.
    pub(super) fn oldest_in_flight(&self) -> Option<Instant> {
        self.places.front().and_then(|place| place.sent)
    }
}

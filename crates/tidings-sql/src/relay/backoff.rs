//! [`Channels`] that cannot be published to now.

use crate::wait::Wait;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The first wait after a failure.
pub(crate) const FIRST: Duration = Duration::from_millis(50);

/// Channels that cannot be published to now; one that works again is forgotten.
#[derive(Debug)]
pub(crate) struct Channels {
    longest: Duration,
    waiting: BTreeMap<Arc<str>, (Wait, Instant)>,
}

impl Channels {
    pub(crate) fn new(longest: Duration) -> Self {
        Self {
            longest,
            waiting: BTreeMap::new(),
        }
    }

    /// This one cannot be published to.
    pub(crate) fn hold(&mut self, channel: &Arc<str>, now: Instant) {
        let longest = self.longest;
        let entry = self.waiting.entry(channel.clone());
        let (wait, until) = entry.or_insert_with(|| (Wait::new(FIRST, longest), now));
        // Up to a quarter shorter, so that channels of one broker do not come back together.
        *until = now + wait.take().mul_f64(1.0 - fastrand::f64() / 4.0);
    }

    /// This one took something.
    pub(crate) fn works(&mut self, channel: &Arc<str>) {
        self.waiting.remove(channel);
    }

    /// Nothing was found for others than those, but for the ones that were held at that moment.
    pub(crate) fn found(&mut self, at: Instant, is_found: impl Fn(&Arc<str>) -> bool) {
        self.waiting
            .retain(|channel, (_, until)| *until > at || is_found(channel));
    }

    /// Whether there are none.
    pub(crate) fn are_well(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Those that are not to be read now.
    pub(crate) fn held(&self, now: Instant) -> Vec<Arc<str>> {
        let held = self.waiting.iter().filter(|(_, (_, until))| *until > now);
        held.map(|(channel, _)| channel.clone()).collect()
    }

    /// When the next one is to be tried again.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        let times = self.waiting.values().map(|(_, until)| *until);
        times.filter(|until| *until > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_channel_that_fails_again_waits_for_longer_and_one_that_works_is_forgotten() {
        let mut channels = Channels::new(Duration::from_millis(150));
        let orders: Arc<str> = "orders".into();
        let start = Instant::now();
        let mut last = Duration::ZERO;
        for longest in [50, 100, 150, 150] {
            channels.hold(&orders, start);
            let wait = channels.next(start).unwrap() - start;
            assert!(wait <= Duration::from_millis(longest) && wait >= Duration::from_millis(longest * 3 / 4));
            assert!(longest == 150 || wait > last);
            last = wait;
        }
        assert_eq!(channels.held(start), std::slice::from_ref(&orders));
        assert!(channels.held(start + Duration::from_millis(150)).is_empty());
        channels.works(&orders);
        assert_eq!(channels.next(start), None);
        channels.hold(&orders, start);
        channels.found(start, |_| false);
        assert!(!channels.are_well(), "it was not read");
        let later = start + Duration::from_millis(150);
        channels.found(later, |channel| *channel == orders);
        assert!(!channels.are_well(), "it was not tried");
        channels.found(later, |_| false);
        assert!(channels.are_well(), "somebody else has taken what was there");
    }
}

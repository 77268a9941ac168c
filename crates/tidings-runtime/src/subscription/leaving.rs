//! Lanes that are handed over, and the end of a drain.

use super::runner::Runner;
use super::{DrainReport, UNCOMMITTED};
use crate::status::Phase;
use std::future::poll_fn;
use std::time::Duration;
use tidings_core::SourceError;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Of the time for a drain at most so much is kept for storing progress and leaving the group.
const TAIL: Duration = Duration::from_secs(2);
/// How long storing progress may take when lanes are handed over.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);
/// Storing progress at a hand-over and asking the source take turns of this length.
const SLICE: Duration = Duration::from_millis(20);

/// A drain that was asked for.
pub(super) struct Drain {
    /// When what runs is stopped: a part of the time is kept for storing progress and leaving the group.
    pub(super) stop: Instant,
    /// When it is over, whatever the broker does.
    pub(super) deadline: Instant,
    pub(super) reply: oneshot::Sender<DrainReport>,
}

impl Drain {
    pub(super) fn until(deadline: Instant, reply: oneshot::Sender<DrainReport>) -> Self {
        let time = deadline.saturating_duration_since(Instant::now());
        let stop = deadline - (time / 5).min(TAIL);
        Self {
            stop,
            deadline,
            reply,
        }
    }
}

impl Runner {
    /// Hands over the lanes that are asked for and have come to rest, once their progress is stored. While the broker
    /// takes its time for that, the source is asked in between: the other lanes go on.
    pub(super) async fn hand_over(&mut self) {
        let lanes = self.dispatcher.finished_lanes();
        if lanes.is_empty() {
            self.hand_over_by = None;
            return;
        }
        let now = Instant::now();
        let deadline = *self.hand_over_by.get_or_insert(now + COMMIT_TIMEOUT);
        self.report_all();
        match self.store(deadline.min(now + SLICE)).await {
            None if Instant::now() < deadline => {
                self.look_again = Some(Instant::now() + SLICE);
                return;
            }
            stored => self.note_stored(stored),
        };
        self.hand_over_by = None;
        // Not stored is no loss: the next owner handles again what it does not know to be finished.
        self.source.release(&lanes);
        self.dispatcher.forget(&lanes);
        self.dispatcher.write_status();
    }

    /// Reports everything of lanes that are left: what is told now is not handled again.
    pub(super) fn report_all(&mut self) {
        self.report();
        for (lane, epoch, progress) in self.dispatcher.take_all_progress() {
            self.source.progress(lane, epoch, progress);
        }
    }

    /// Waits until progress is stored, or until that time (none). Handlers go on meanwhile, and timers fire.
    pub(super) async fn store(&mut self, until: Instant) -> Option<Result<(), SourceError>> {
        let (dispatcher, source) = (&mut self.dispatcher, &mut self.source);
        let mut storing = source.commit();
        loop {
            let timer = dispatcher.next_timer().unwrap_or(until).min(until);
            // Borrowed mutably although it only looks: see `wait`.
            let looking = &mut *dispatcher;
            let woken = poll_fn(move |context| looking.poll_woken(context));
            tokio::select! {
                biased;
                result = &mut storing => return Some(result),
                () = woken => {}
                () = sleep_until(timer) => {}
            }
            if Instant::now() >= until {
                return None;
            }
            if dispatcher.work() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Says whether progress was stored.
    pub(super) fn note_stored(&self, stored: Option<Result<(), SourceError>>) -> bool {
        let error = match stored {
            Some(Ok(())) => {
                self.board.set_obstacle(UNCOMMITTED, None);
                return true;
            }
            Some(Err(error)) => error.to_string(),
            None => "the broker does not answer in time".to_owned(),
        };
        tracing::warn!(subscription = %self.subscription, %error, "progress could not be stored; it will be handled again");
        let said = format!("progress could not be stored: {error}");
        self.board.set_obstacle(UNCOMMITTED, Some(said));
        false
    }

    pub(super) fn say_stopped(&self) {
        self.board.edit(|status| {
            status.phase = Phase::Stopped;
            status.lanes.clear();
        });
    }

    /// The end of a drain: by its deadline, whatever the broker does.
    pub(super) async fn finish(mut self, drain: Drain) {
        let abandoned = self.dispatcher.cut_all();
        self.report_all();
        let half = drain.deadline.saturating_duration_since(Instant::now()) / 2;
        let stored = self.store(Instant::now() + half).await;
        let stored = self.note_stored(stored);
        let closed = matches!(timeout_at(drain.deadline, self.source.close()).await, Ok(Ok(())));
        self.say_stopped();
        let report = DrainReport {
            finished_in_time: abandoned == 0 && stored && closed,
            abandoned,
        };
        // Whoever asked may have stopped waiting.
        let _ = drain.reply.send(report);
    }
}

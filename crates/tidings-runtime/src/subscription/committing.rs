//! The transactions of an exactly-once subscription: committed, given up, begun again.

use super::leaving::Drain;
use super::runner::Runner;
use super::{ABORTED, AWAY, DrainReport, FIRST_WAIT, LONGEST_WAIT, UNCOMMITTED};
use crate::span::{Cause, Step};
use std::time::Duration;
use tidings_core::{Assignment, LaneId, SourceError};
use tokio::time::{Instant, timeout_at};

/// A commit and asking the source take turns: the source is asked at least this often.
const SLICE: Duration = Duration::from_millis(50);

/// A commit under way.
#[derive(Debug, Default)]
pub(super) struct Commit {
    /// Progress was reported for it.
    reported: bool,
    /// It is not asked for again before this time.
    again: Option<Instant>,
    wait: Duration,
}

impl Runner {
    /// Does about the transaction what is due. True if there may be work again, at once.
    pub(super) async fn step_span(&mut self) -> bool {
        if !self.dispatcher.is_transactional() {
            return false;
        }
        match self.dispatcher.step_span(Instant::now()) {
            Step::GoOn => false,
            Step::Work => true,
            Step::Commit => self.commit_span().await,
            Step::Release(lanes) => self.release_now(&lanes),
            Step::Abort(cause) => {
                let leaving = self.give_up(&cause);
                self.source.abort();
                self.release_now(&leaving)
            }
        }
    }

    fn release_now(&mut self, lanes: &[LaneId]) -> bool {
        if !lanes.is_empty() {
            self.source.release(lanes);
        }
        self.dispatcher.write_status();
        true
    }

    /// Reports what is finished, once, and waits a while for the commit. Nothing runs meanwhile.
    async fn commit_span(&mut self) -> bool {
        let now = Instant::now();
        let commit = self.commit.get_or_insert_default();
        if let Some(again) = commit.again.filter(|again| *again > now) {
            self.look_again = Some(again);
            return false;
        }
        if !std::mem::replace(&mut commit.reported, true) {
            for (lane, epoch, progress) in self.dispatcher.take_progress() {
                self.source.progress(lane, epoch, progress);
            }
        }
        match self.store(now + SLICE).await {
            // The source gets its turn.
            None => {
                self.look_again = Some(Instant::now());
                false
            }
            Some(Ok(())) => self.on_committed(),
            Some(Err(error)) if error.is_transient() => {
                self.commit_again(&error);
                false
            }
            Some(Err(error)) => {
                let leaving = self.give_up(&Cause::Trouble(error.to_string()));
                self.release_now(&leaving)
            }
        }
    }

    fn on_committed(&mut self) -> bool {
        self.commit = None;
        self.board.set_obstacle(UNCOMMITTED, None);
        self.board.set_obstacle(ABORTED, None);
        match self.dispatcher.committed() {
            Step::Release(lanes) => self.release_now(&lanes),
            _ => self.release_now(&[]),
        }
    }

    /// What became of the commit is not known yet.
    fn commit_again(&mut self, error: &SourceError) {
        tracing::warn!(subscription = %self.subscription, %error, "the transaction is not committed yet");
        let said = format!("the transaction is not committed yet: {error}");
        self.board.set_obstacle(UNCOMMITTED, Some(said));
        let commit = self.commit.get_or_insert_default();
        commit.wait = (commit.wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
        let again = Instant::now() + commit.wait;
        commit.again = Some(again);
        self.look_again = Some(again);
    }

    /// The transaction is given up: nothing of it runs any more. The lanes that were to be handed over after it.
    fn give_up(&mut self, cause: &Cause) -> Vec<LaneId> {
        self.commit = None;
        self.board.set_obstacle(UNCOMMITTED, None);
        if let Cause::Trouble(said) = cause {
            tracing::warn!(subscription = %self.subscription, reason = %said, "a transaction was given up; its messages will be handled again");
            let said = format!("a transaction was given up, its messages are handled again: {said}");
            self.board.set_obstacle(ABORTED, Some(said));
        }
        self.dispatcher.aborted(cause, Instant::now())
    }

    /// Lanes belong to somebody else, and with them the open transaction is over.
    pub(super) fn on_lost_in_span(&mut self, lanes: &[LaneId]) {
        if !self.dispatcher.lose_in_span(lanes) {
            return;
        }
        let others = self.dispatcher.has_others(lanes);
        let said = "the broker took partitions away, or gave it up by itself".to_owned();
        let leaving = self.give_up(&Cause::Trouble(said));
        if others {
            self.source.abort();
        }
        self.release_now(&leaving);
    }

    /// The source gave the transaction up, and says so instead of naming the lanes.
    pub(super) fn on_aborted(&mut self, error: &SourceError) {
        let leaving = self.give_up(&Cause::Trouble(error.to_string()));
        self.release_now(&leaving);
    }

    /// Lanes belong to this subscription. False if there is no transaction for them.
    pub(super) fn on_assigned_in_span(&mut self, lanes: &[Assignment]) -> bool {
        let lost: Vec<_> = lanes.iter().map(|one| one.lane).collect();
        if self.dispatcher.has_lanes(&lost) {
            self.on_lost_in_span(&lost);
        }
        match self.source.transaction() {
            Some(transaction) => {
                self.dispatcher.enter(transaction);
                true
            }
            None => {
                let said = "the broker gives no transaction for exactly_once";
                self.board.set_obstacle(AWAY, Some(said.to_owned()));
                false
            }
        }
    }

    /// The end of a drain: everything was committed in time, or what is open is given up.
    pub(super) async fn finish_span(mut self, drain: Drain, committed: Option<bool>) {
        self.dispatcher.drain();
        let abandoned = self.dispatcher.cut_all();
        if committed.is_none() {
            self.source.abort();
        }
        let closed = matches!(timeout_at(drain.deadline, self.source.close()).await, Ok(Ok(())));
        self.say_stopped();
        let report = DrainReport {
            finished_in_time: abandoned == 0 && committed == Some(true) && closed,
            abandoned,
        };
        // Whoever asked may have stopped waiting.
        let _ = drain.reply.send(report);
    }
}

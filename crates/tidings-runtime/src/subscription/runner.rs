//! The loop of a subscription: what can be done, then what there is to hear.

use super::committing::Commit;
use super::discovering::{News, next_found};
use super::leaving::Drain;
use super::{AWAY, Control, DAMAGED, FIRST_WAIT, LONGEST_WAIT};
use crate::discovery::Discovering;
use crate::dispatcher::{Dispatcher, SourceCommand};
use crate::spec::Input;
use crate::status::{Phase, StatusBoard};
use std::future::{poll_fn, ready};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{DynSource, Position, SourceError, SourceEvent};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// While there is always more to do, progress is reported and the source is asked this often.
const REPORT_INTERVAL: Duration = Duration::from_millis(5);
/// After so many rounds other tasks of the runtime get their turn, and the source is asked.
const ROUNDS: u32 = 32;

pub(super) struct Runner {
    pub(super) subscription: Arc<str>,
    pub(super) dispatcher: Dispatcher,
    pub(super) source: Box<dyn DynSource>,
    /// What the source was told to read.
    pub(super) reads: Vec<Input>,
    /// Looks for more; none without patterns.
    pub(super) discovering: Option<Discovering>,
    pub(super) board: Arc<StatusBoard>,
    pub(super) commands: mpsc::UnboundedReceiver<Control>,
    pub(super) drain: Option<Drain>,
    pub(super) reported: Instant,
    /// The source is not asked before this time.
    pub(super) ask_again: Option<Instant>,
    pub(super) wait: Duration,
    pub(super) commands_closed: bool,
    /// When lanes are handed over although their progress could not be stored.
    pub(super) hand_over_by: Option<Instant>,
    /// When to look again whether it is stored.
    pub(super) look_again: Option<Instant>,
    /// The commit of a transaction.
    pub(super) commit: Option<Commit>,
    pub(super) revoke_timeout: Duration,
    /// Who waits until lanes go on elsewhere, and which those are.
    pub(super) seeking: Vec<(Vec<Position>, oneshot::Sender<Vec<Position>>)>,
}

/// What ended the waiting.
enum Woken {
    Command(Option<Control>),
    Source(Result<SourceEvent, SourceError>),
    Found(News),
    Work,
}

impl Runner {
    pub(super) async fn run(mut self) {
        self.write_phase();
        if self.serve().await
            && let Some(drain) = self.drain.take()
        {
            if self.dispatcher.is_transactional() {
                let committed = self.dispatcher.span_ended();
                return self.finish_span(drain, committed).await;
            }
            self.finish(drain).await;
        }
    }

    /// Works until it is told to stop (true), or the source has ended (false).
    async fn serve(&mut self) -> bool {
        let mut rounds = 0;
        loop {
            let mut more = self.dispatcher.work();
            self.go_on_elsewhere();
            self.tell_source();
            more |= self.step_span().await;
            if self.dispatcher.is_leaving() && !self.dispatcher.is_draining() {
                self.hand_over().await;
            }
            if let Some(drain) = &self.drain
                && (self.is_done() || Instant::now() >= drain.stop)
            {
                return true;
            }
            rounds += 1;
            let pause = rounds % ROUNDS == 0;
            let ask = !more || pause || self.reported.elapsed() >= REPORT_INTERVAL;
            if ask {
                self.report();
            }
            if more || pause {
                tokio::task::yield_now().await;
            }
            match self.wait(more, ask).await {
                Woken::Work => {}
                Woken::Command(command) => self.obey(command),
                Woken::Found(news) => self.on_found(news),
                Woken::Source(event) => {
                    if !self.take(event) {
                        return false;
                    }
                }
            }
        }
    }

    /// Waits until there is something to do.
    ///
    /// The source is asked in any case: membership in the group lives by it. While there is more to do than one round
    /// does it is asked now and then only: a batch that is taken before its turn has gone from the processor's caches
    /// when it comes, and lanes that are full make the source throw away what it has read ahead.
    async fn wait(&mut self, more: bool, ask: bool) -> Woken {
        let timer = [
            self.dispatcher.next_timer(),
            self.ask_again,
            self.look_again.take(),
            self.drain.as_ref().map(|drain| drain.stop),
        ];
        let timer = timer.into_iter().flatten().min();
        let ask = ask && self.ask_again.is_none_or(|at| at <= Instant::now());
        if ask {
            self.ask_again = None;
        }
        // Borrowed mutably although it only looks: futures in there may move to another thread, not be shared.
        let (dispatcher, source) = (&mut self.dispatcher, &mut self.source);
        let discovers = self.discovering.is_some();
        tokio::select! {
            biased;
            command = self.commands.recv(), if !self.commands_closed => Woken::Command(command),
            found = next_found(&mut self.discovering), if discovers => Woken::Found(found),
            event = source.next(), if ask => Woken::Source(event),
            () = ready(()), if more => Woken::Work,
            () = poll_fn(move |context| dispatcher.poll_woken(context)) => Woken::Work,
            () = sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => Woken::Work,
        }
    }

    fn obey(&mut self, command: Option<Control>) {
        match command {
            Some(Control::Pause(paused)) => self.dispatcher.set_paused(paused),
            Some(Control::Seek { to, reply }) => {
                let deadline = Instant::now() + self.revoke_timeout;
                let mut taken = to;
                taken.retain(|to| self.dispatcher.seek(to, deadline));
                self.seeking.push((taken, reply));
            }
            Some(Control::Discover(reply)) => self.discover(reply),
            Some(Control::Drain { deadline, reply }) => {
                if self.dispatcher.is_transactional() {
                    self.dispatcher.end_span();
                } else {
                    self.dispatcher.drain();
                }
                self.drain = Some(Drain::until(deadline, reply));
            }
            // Every handle is gone: it runs as long as its runtime.
            None => self.commands_closed = true,
        }
        self.write_phase();
    }

    fn write_phase(&self) {
        let phase = match (self.drain.is_some(), self.dispatcher.is_paused()) {
            (true, _) => Phase::Draining,
            (false, true) => Phase::Paused,
            (false, false) => Phase::Running,
        };
        self.board.edit(|status| status.phase = phase);
    }

    /// Takes what the source reports. False if it will never report again.
    fn take(&mut self, event: Result<SourceEvent, SourceError>) -> bool {
        match event {
            Ok(event) => {
                if self.wait > FIRST_WAIT {
                    self.wait = FIRST_WAIT;
                    self.board.set_obstacle(AWAY, None);
                }
                self.on_event(event)
            }
            Err(error) => self.on_error(&error),
        }
    }

    /// False if it cannot go on.
    fn on_event(&mut self, event: SourceEvent) -> bool {
        if self.dispatcher.is_transactional() {
            return self.on_event_in_span(event);
        }
        match event {
            SourceEvent::Assigned(lanes) if !self.dispatcher.is_draining() => {
                // What is still damaged is reported again.
                self.board.set_obstacle(DAMAGED, None);
                self.dispatcher.assign(lanes);
            }
            SourceEvent::Revoking { lanes, deadline } => self.dispatcher.revoke(&lanes, deadline),
            SourceEvent::Lost(lanes) => self.dispatcher.lose(&lanes),
            SourceEvent::Batch(batch) => self.dispatcher.receive(batch),
            SourceEvent::Idle => self.dispatcher.set_source_idle(),
            _ => {}
        }
        true
    }

    /// The same while effects and progress are one transaction: lanes come and go only between two of them.
    fn on_event_in_span(&mut self, event: SourceEvent) -> bool {
        match event {
            SourceEvent::Assigned(lanes) => {
                self.board.set_obstacle(DAMAGED, None);
                if !self.on_assigned_in_span(&lanes) {
                    return false;
                }
                self.dispatcher.assign(lanes);
            }
            SourceEvent::Revoking { lanes, deadline } => self.dispatcher.leave_span(lanes, deadline),
            SourceEvent::Lost(lanes) => self.on_lost_in_span(&lanes),
            SourceEvent::Batch(batch) => self.dispatcher.receive(batch),
            SourceEvent::Idle => self.dispatcher.set_source_idle(),
            _ => {}
        }
        true
    }

    /// Whether a drain has nothing to wait for any more.
    fn is_done(&self) -> bool {
        if self.dispatcher.is_transactional() {
            self.dispatcher.span_ended().is_some()
        } else {
            self.dispatcher.is_quiet()
        }
    }

    fn on_error(&mut self, error: &SourceError) -> bool {
        tracing::warn!(subscription = %self.subscription, %error, "reading failed");
        let number = if matches!(error, SourceError::Corrupt { .. }) {
            DAMAGED
        } else {
            AWAY
        };
        self.board.set_obstacle(number, Some(error.to_string()));
        match error {
            // The other lanes go on.
            SourceError::Corrupt { .. } => {
                self.ask_again = Some(Instant::now() + FIRST_WAIT);
                true
            }
            SourceError::Unavailable { .. } | SourceError::Unauthorized { .. } => {
                self.ask_again = Some(Instant::now() + self.wait);
                self.wait = (self.wait * 2).min(LONGEST_WAIT);
                true
            }
            SourceError::Aborted { .. } if self.dispatcher.is_transactional() => {
                self.board.set_obstacle(number, None);
                self.on_aborted(error);
                true
            }
            SourceError::Closed => {
                self.board.edit(|status| status.phase = Phase::Stopped);
                false
            }
            _ => false,
        }
    }

    /// Moves lanes that are asked for and have come to rest.
    fn go_on_elsewhere(&mut self) {
        if self.seeking.is_empty() {
            return;
        }
        if !self.dispatcher.is_draining() {
            self.dispatcher.go_on_elsewhere();
        }
        self.tell_source();
        if !self.dispatcher.is_seeking() {
            let moved_of = self.dispatcher.take_moved();
            for (asked, reply) in self.seeking.drain(..) {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(moved_of(&asked));
            }
        }
    }

    fn tell_source(&mut self) {
        if self.dispatcher.has_commands() {
            // Before it goes on it knows why it may.
            self.report();
        }
        while let Some(command) = self.dispatcher.next_command() {
            match command {
                SourceCommand::Pause(lane) => self.source.pause(&[lane]),
                SourceCommand::Resume(lane) => self.source.resume(&[lane]),
                SourceCommand::Seek(lane, offset) => self.source.seek(lane, offset),
            }
        }
    }

    pub(super) fn report(&mut self) {
        // In a transaction it is reported when that is committed.
        if !self.dispatcher.is_transactional() {
            for (lane, epoch, progress) in self.dispatcher.take_progress() {
                self.source.progress(lane, epoch, progress);
            }
        }
        self.dispatcher.write_status();
        self.reported = Instant::now();
    }
}

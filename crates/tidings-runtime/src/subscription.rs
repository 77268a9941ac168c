//! A running subscription: [`start`] puts it on a task of its own, [`SubscriptionHandle`] steers it.

use crate::dispatcher::{Dispatcher, SourceCommand};
use crate::spec::SubscriptionSpec;
use crate::status::{Phase, StatusBoard, SubscriptionStatus};
use std::future::{poll_fn, ready};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{BinderError, DynSource, SourceError, SourceEvent, SourceInput, SourceSpec};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

/// A batch has at most so many bytes, unless one message is larger.
const MAX_BATCH_BYTES: usize = 512 * 1024;
/// While there is always more to do, progress is reported this often.
const REPORT_INTERVAL: Duration = Duration::from_millis(5);
/// After so many rounds other tasks of the runtime get their turn.
const ROUNDS: u32 = 32;
/// Of the time for a drain at most so much is kept for storing progress and leaving the group.
const TAIL: Duration = Duration::from_secs(2);
/// How long storing progress may take when lanes are handed over.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);
/// Storing progress at a hand-over and asking the source take turns of this length.
const SLICE: Duration = Duration::from_millis(20);
/// The first wait before a broker that is away is asked again, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Numbers of obstacles on the status board.
const AWAY: u64 = 0;
const DAMAGED: u64 = 1;
const UNCOMMITTED: u64 = 2;

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainReport {
    /// Everything that ran was finished, and progress stored, before the deadline.
    pub finished_in_time: bool,
    /// Handlers and writes that were stopped at the deadline. Their messages will be delivered again.
    pub abandoned: usize,
}

enum Control {
    Pause(bool),
    Drain {
        deadline: Instant,
        reply: oneshot::Sender<DrainReport>,
    },
}

/// Steers a running subscription. Cloning is cheap; dropping it changes nothing.
#[derive(Debug, Clone)]
pub struct SubscriptionHandle {
    control: mpsc::UnboundedSender<Control>,
    board: Arc<StatusBoard>,
    ended: watch::Receiver<bool>,
    abort: tokio::task::AbortHandle,
}

impl SubscriptionHandle {
    /// Starts no more deliveries, at once. What runs goes on; membership in the group is kept.
    pub fn pause(&self) {
        // A subscription that ended has nothing to pause.
        let _ = self.control.send(Control::Pause(true));
    }

    /// Starts deliveries again.
    pub fn resume(&self) {
        let _ = self.control.send(Control::Pause(false));
    }

    /// What it has done and is doing.
    pub fn status(&self) -> SubscriptionStatus {
        self.board.read()
    }

    /// Starts nothing more, lets what runs finish until the deadline, stores progress and leaves the group.
    pub async fn drain(&self, deadline: Instant) -> DrainReport {
        let (reply, report) = oneshot::channel();
        if self.control.send(Control::Drain { deadline, reply }).is_err() {
            return self.ended_before();
        }
        let report = report.await;
        self.stopped().await;
        report.unwrap_or_else(|_| self.ended_before())
    }

    /// It had ended by itself: well, or because it failed.
    fn ended_before(&self) -> DrainReport {
        let finished_in_time = self.board.read().phase == Phase::Stopped;
        DrainReport {
            finished_in_time,
            abandoned: 0,
        }
    }

    /// Stops at once, as a crash would: what runs is dropped and nothing more is stored.
    pub fn abort(&self) {
        self.abort.abort();
    }

    /// Resolves when it has ended, for whatever reason.
    pub async fn stopped(&self) {
        // An error means that the task is gone.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }
}

/// Runs a subscription on a task of its own.
///
/// It connects by itself and tries again while the broker is away; [`SubscriptionHandle::status`] says so.
///
/// # Panics
/// Outside a tokio runtime.
pub fn start(spec: SubscriptionSpec) -> SubscriptionHandle {
    let board = Arc::new(StatusBoard::default());
    let (control, commands) = mpsc::unbounded_channel();
    let (end, ended) = watch::channel(false);
    let runner_board = board.clone();
    let task = tokio::spawn(async move {
        let _end = End {
            board: runner_board.clone(),
            end,
        };
        run(spec, runner_board, commands).await;
    });
    SubscriptionHandle {
        control,
        board,
        ended,
        abort: task.abort_handle(),
    }
}

/// Says that the subscription has ended, also if its task panicked or was aborted.
struct End {
    board: Arc<StatusBoard>,
    end: watch::Sender<bool>,
}

impl Drop for End {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let what = "the engine itself panicked; the log says where: please report it".to_owned();
            self.board.set_obstacle(AWAY, Some(what));
        }
        self.board.edit(|status| {
            if status.phase != Phase::Stopped {
                status.phase = Phase::Failed;
            }
        });
        self.end.send_replace(true);
    }
}

async fn run(
    spec: SubscriptionSpec,
    board: Arc<StatusBoard>,
    mut commands: mpsc::UnboundedReceiver<Control>,
) {
    let mut dispatcher = Dispatcher::new(spec.clone(), board.clone());
    let Some(source) = connect(&spec, &board, &mut commands, &mut dispatcher).await else {
        return;
    };
    let runner = Runner {
        subscription: spec.context.subscription.clone(),
        dispatcher,
        source,
        board,
        commands,
        drain: None,
        reported: Instant::now(),
        ask_again: None,
        wait: FIRST_WAIT,
        commands_closed: false,
        hand_over_by: None,
        look_again: None,
    };
    runner.run().await;
}

/// Joins the group, as often as it takes. None if it was told to end, or is refused for good.
async fn connect(
    spec: &SubscriptionSpec,
    board: &StatusBoard,
    commands: &mut mpsc::UnboundedReceiver<Control>,
    dispatcher: &mut Dispatcher,
) -> Option<Box<dyn DynSource>> {
    let mut wait = FIRST_WAIT;
    loop {
        let subscribed = obeying(commands, dispatcher, spec.binder.subscribe(source_spec(spec))).await;
        let error = match subscribed {
            Heard::Done(Ok(source)) => {
                board.set_obstacle(AWAY, None);
                return Some(source);
            }
            Heard::Done(Err(error)) => error,
            Heard::Drain(reply) => return stopped_before_it_began(board, reply),
        };
        board.set_obstacle(AWAY, Some(error.to_string()));
        if is_final(&error) {
            tracing::error!(subscription = %spec.context.subscription, %error, "the subscription cannot run");
            return None;
        }
        tracing::warn!(subscription = %spec.context.subscription, %error, "not connected");
        if let Heard::Drain(reply) = obeying(commands, dispatcher, tokio::time::sleep(wait)).await {
            return stopped_before_it_began(board, reply);
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// What came first.
enum Heard<T> {
    Done(T),
    Drain(oneshot::Sender<DrainReport>),
}

/// Waits for something, and does meanwhile what the handle says.
async fn obeying<T>(
    commands: &mut mpsc::UnboundedReceiver<Control>,
    dispatcher: &mut Dispatcher,
    waiting: impl Future<Output = T>,
) -> Heard<T> {
    tokio::pin!(waiting);
    let mut closed = false;
    loop {
        tokio::select! {
            done = &mut waiting => return Heard::Done(done),
            command = commands.recv(), if !closed => match command {
                Some(Control::Pause(paused)) => dispatcher.set_paused(paused),
                Some(Control::Drain { reply, .. }) => return Heard::Drain(reply),
                None => closed = true,
            },
        }
    }
}

fn stopped_before_it_began(
    board: &StatusBoard,
    reply: oneshot::Sender<DrainReport>,
) -> Option<Box<dyn DynSource>> {
    board.edit(|status| status.phase = Phase::Stopped);
    // Whoever asked may have stopped waiting.
    let _ = reply.send(DrainReport {
        finished_in_time: true,
        abandoned: 0,
    });
    None
}

/// Whether trying again cannot help.
fn is_final(error: &BinderError) -> bool {
    matches!(
        error,
        BinderError::Unsupported { .. }
            | BinderError::InvalidName { .. }
            | BinderError::Closed
            | BinderError::Source(SourceError::Refused { .. } | SourceError::Closed)
    )
}

fn source_spec(spec: &SubscriptionSpec) -> SourceSpec {
    let inputs = spec.inputs.iter();
    SourceSpec {
        subscription: spec.context.subscription.clone(),
        group: spec.context.group.clone(),
        inputs: inputs
            .map(|input| SourceInput {
                destination: input.destination.clone(),
                retry: input.retry.clone(),
            })
            .collect(),
        start: spec.policy.start,
        max_batch_bytes: MAX_BATCH_BYTES,
        commit_interval: spec.policy.commit_interval,
        commit_every: spec.policy.commit_every,
        revoke_timeout: spec.revoke_timeout,
    }
}

/// A drain that was asked for.
struct Drain {
    /// When what runs is stopped: a part of the time is kept for storing progress and leaving the group.
    stop: Instant,
    /// When it is over, whatever the broker does.
    deadline: Instant,
    reply: oneshot::Sender<DrainReport>,
}

impl Drain {
    fn until(deadline: Instant, reply: oneshot::Sender<DrainReport>) -> Self {
        let time = deadline.saturating_duration_since(Instant::now());
        let stop = deadline - (time / 5).min(TAIL);
        Self {
            stop,
            deadline,
            reply,
        }
    }
}

struct Runner {
    subscription: Arc<str>,
    dispatcher: Dispatcher,
    source: Box<dyn DynSource>,
    board: Arc<StatusBoard>,
    commands: mpsc::UnboundedReceiver<Control>,
    drain: Option<Drain>,
    reported: Instant,
    /// The source is not asked before this time.
    ask_again: Option<Instant>,
    wait: Duration,
    commands_closed: bool,
    /// When lanes are handed over although their progress could not be stored.
    hand_over_by: Option<Instant>,
    /// When to look again whether it is stored.
    look_again: Option<Instant>,
}

/// What ended the waiting.
enum Woken {
    Command(Option<Control>),
    Source(Result<SourceEvent, SourceError>),
    Work,
}

impl Runner {
    async fn run(mut self) {
        self.write_phase();
        if self.serve().await
            && let Some(drain) = self.drain.take()
        {
            self.finish(drain).await;
        }
    }

    /// Works until it is told to stop (true), or the source has ended (false).
    async fn serve(&mut self) -> bool {
        let mut rounds = 0;
        loop {
            let more = self.dispatcher.work();
            self.tell_source();
            if self.dispatcher.is_leaving() && !self.dispatcher.is_draining() {
                self.hand_over().await;
            }
            if let Some(drain) = &self.drain
                && (self.dispatcher.is_quiet() || Instant::now() >= drain.stop)
            {
                return true;
            }
            if !more || self.reported.elapsed() >= REPORT_INTERVAL {
                self.report();
            }
            rounds += 1;
            if more || rounds % ROUNDS == 0 {
                tokio::task::yield_now().await;
            }
            match self.wait(more).await {
                Woken::Work => {}
                Woken::Command(command) => self.obey(command),
                Woken::Source(event) => {
                    if !self.take(event) {
                        return false;
                    }
                }
            }
        }
    }

    /// Waits until there is something to do. The source is always asked: membership in the group lives by it.
    async fn wait(&mut self, more: bool) -> Woken {
        let timer = [
            self.dispatcher.next_timer(),
            self.ask_again,
            self.look_again.take(),
            self.drain.as_ref().map(|drain| drain.stop),
        ];
        let timer = timer.into_iter().flatten().min();
        let ask = self.ask_again.is_none_or(|at| at <= Instant::now());
        if ask {
            self.ask_again = None;
        }
        // Borrowed mutably although it only looks: futures in there may move to another thread, not be shared.
        let (dispatcher, source) = (&mut self.dispatcher, &mut self.source);
        tokio::select! {
            biased;
            command = self.commands.recv(), if !self.commands_closed => Woken::Command(command),
            event = source.next(), if ask => Woken::Source(event),
            () = ready(()), if more => Woken::Work,
            () = poll_fn(move |context| dispatcher.poll_woken(context)) => Woken::Work,
            () = sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => Woken::Work,
        }
    }

    fn obey(&mut self, command: Option<Control>) {
        match command {
            Some(Control::Pause(paused)) => self.dispatcher.set_paused(paused),
            Some(Control::Drain { deadline, reply }) => {
                self.dispatcher.drain();
                self.drain = Some(Drain::until(deadline, reply));
            }
            // Every handle is gone: it runs as long as its runtime.
            None => self.commands_closed = true,
        }
        self.write_phase();
    }

    fn write_phase(&self) {
        let phase = match (self.dispatcher.is_draining(), self.dispatcher.is_paused()) {
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
                self.on_event(event);
                true
            }
            Err(error) => self.on_error(&error),
        }
    }

    fn on_event(&mut self, event: SourceEvent) {
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
            SourceError::Unavailable { .. } => {
                self.ask_again = Some(Instant::now() + self.wait);
                self.wait = (self.wait * 2).min(LONGEST_WAIT);
                true
            }
            SourceError::Closed => {
                self.board.edit(|status| status.phase = Phase::Stopped);
                false
            }
            _ => false,
        }
    }

    fn tell_source(&mut self) {
        let commands = self.dispatcher.take_commands();
        if !commands.is_empty() {
            // Before it goes on it knows why it may.
            self.report();
        }
        for command in commands {
            match command {
                SourceCommand::Pause(lane) => self.source.pause(&[lane]),
                SourceCommand::Resume(lane) => self.source.resume(&[lane]),
            }
        }
    }

    fn report(&mut self) {
        for (lane, epoch, progress) in self.dispatcher.take_progress() {
            self.source.progress(lane, epoch, progress);
        }
        self.dispatcher.write_status();
        self.reported = Instant::now();
    }

    /// Hands over the lanes that are asked for and have come to rest, once their progress is stored. While the broker
    /// takes its time for that, the source is asked in between: the other lanes go on.
    async fn hand_over(&mut self) {
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
    fn report_all(&mut self) {
        self.report();
        for (lane, epoch, progress) in self.dispatcher.take_all_progress() {
            self.source.progress(lane, epoch, progress);
        }
    }

    /// Waits until progress is stored, or until that time (none). Handlers go on meanwhile, and timers fire.
    async fn store(&mut self, until: Instant) -> Option<Result<(), SourceError>> {
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
    fn note_stored(&self, stored: Option<Result<(), SourceError>>) -> bool {
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

    /// The end of a drain: by its deadline, whatever the broker does.
    async fn finish(mut self, drain: Drain) {
        let abandoned = self.dispatcher.cut_all();
        self.report_all();
        let half = drain.deadline.saturating_duration_since(Instant::now()) / 2;
        let stored = self.store(Instant::now() + half).await;
        let stored = self.note_stored(stored);
        let closed = matches!(timeout_at(drain.deadline, self.source.close()).await, Ok(Ok(())));
        self.board.edit(|status| {
            status.phase = Phase::Stopped;
            status.lanes.clear();
        });
        let report = DrainReport {
            finished_in_time: abandoned == 0 && stored && closed,
            abandoned,
        };
        // Whoever asked may have stopped waiting.
        let _ = drain.reply.send(report);
    }
}

//! A running subscription: [`start`] puts it on a task of its own, [`SubscriptionHandle`] steers it.

mod committing;
mod connect;
mod discovering;
mod leaving;
mod runner;

use crate::claims::{Claims, claiming};
use crate::discovery::{Discovering, Looker};
use crate::dispatcher::Dispatcher;
use crate::inbox::{self, Hold};
use crate::spec::{Input, SubscriptionSpec};
use crate::status::{Phase, StatusBoard, SubscriptionStatus};
use connect::connect;
use runner::Runner;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{Inbox, Position};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// The first wait before a broker that is away is asked again, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Numbers of obstacles on the status board.
const AWAY: u64 = 0;
const DAMAGED: u64 = 1;
const UNCOMMITTED: u64 = 2;
const ABORTED: u64 = 3;
const UNDISCOVERED: u64 = 4;

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
    Seek {
        to: Vec<Position>,
        reply: oneshot::Sender<Vec<Position>>,
    },
    Discover(oneshot::Sender<()>),
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

    /// Goes on at these positions of what it reads. What runs of their partitions is finished first, for as long as a
    /// partition that is handed over may take, and is stopped then; what has not started is given up. Progress is set
    /// to the new positions, so a restart goes on from there.
    ///
    /// Returns those of partitions that are this member's: others are moved by their own members. Resolves when reading
    /// goes on.
    pub async fn seek(&self, to: Vec<Position>) -> Vec<Position> {
        let (reply, moved) = oneshot::channel();
        if self.control.send(Control::Seek { to, reply }).is_err() {
            return Vec::new();
        }
        // An error means that it is ending, or has never begun.
        moved.await.unwrap_or_default()
    }

    /// Looks now for destinations that match its patterns, in place of at its next turn. Resolves when what was found
    /// is being read; at once without patterns, or if it does not run.
    pub async fn discover(&self) {
        let (reply, found) = oneshot::channel();
        if self.control.send(Control::Discover(reply)).is_ok() {
            // An error means that it is ending, or has not begun.
            let _ = found.await;
        }
    }

    /// What it reads now: what it names, and what matches its patterns as far as that is known.
    pub fn inputs(&self) -> Vec<Input> {
        self.board.inputs()
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
    start_within(spec, Around::default())
}

/// What the engine does around each attempt, from the outside in.
#[derive(Debug, Clone, Default)]
pub struct Around {
    /// Payloads that are elsewhere are fetched.
    pub claims: Option<Claims>,
    /// The attempt is a transaction of the inbox's store, and what is returned goes to its outbox.
    pub inbox: Option<Inbox>,
}

impl Around {
    /// The subscription with all that, and what holds it back.
    fn put(
        self,
        mut spec: SubscriptionSpec,
        board: &Arc<StatusBoard>,
    ) -> (SubscriptionSpec, Option<Arc<Hold>>) {
        let mut hold = None;
        if let Some(inbox) = self.inbox {
            let (within, held_by) = inbox::within(spec, inbox, board);
            (spec, hold) = (within, Some(held_by));
        }
        if let Some(claims) = self.claims {
            spec.handler = claiming(spec.handler, claims);
        }
        (spec, hold)
    }
}

/// The same for a subscription whose attempts are more than calls of its handler.
///
/// # Panics
/// Outside a tokio runtime.
pub fn start_within(spec: SubscriptionSpec, around: Around) -> SubscriptionHandle {
    let spec = spec.within_clocks();
    let board = Arc::new(StatusBoard::default());
    board.set_inputs(spec.inputs.clone());
    let (control, commands) = mpsc::unbounded_channel();
    let (end, ended) = watch::channel(false);
    let runner_board = board.clone();
    let task = tokio::spawn(async move {
        let _end = End {
            board: runner_board.clone(),
            end,
        };
        run(spec, around, runner_board, commands).await;
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
    around: Around,
    board: Arc<StatusBoard>,
    mut commands: mpsc::UnboundedReceiver<Control>,
) {
    let (spec, hold) = around.put(spec, &board);
    let mut dispatcher = Dispatcher::new(spec.clone(), board.clone());
    if let Some(hold) = hold {
        dispatcher.hold_back_by(hold);
    }
    let mut looker = Looker::of(&spec);
    let joined = connect(&spec, &board, &mut commands, &mut dispatcher, looker.as_mut()).await;
    let Some(joined) = joined else { return };
    if joined.all.is_some() {
        dispatcher.set_inputs(&joined.reads);
        board.set_inputs(joined.reads.clone());
    }
    let mut runner = Runner {
        subscription: spec.context.subscription.clone(),
        dispatcher,
        source: joined.source,
        reads: joined.reads,
        discovering: looker.map(Discovering::start),
        board,
        commands,
        drain: None,
        reported: Instant::now(),
        ask_again: None,
        wait: FIRST_WAIT,
        commands_closed: false,
        hand_over_by: None,
        look_again: None,
        commit: None,
        revoke_timeout: spec.revoke_timeout,
        seeking: Vec::new(),
    };
    if let Some(all) = joined.all {
        runner.read_all(all, joined.trouble);
    }
    runner.run().await;
}

//! Sends dead letters back to the group that gave up on them: [`redrive`].

mod letters;
mod look;
mod marks;
mod revive;
mod run;
mod selection;
mod turns;

pub use letters::DeadLetter;
pub use look::{EachLetter, LetterList, look_through, pending_dead_letters};
pub use selection::Selection;

use bytes::Bytes;
use run::Run;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{BinderError, Clock, DynBinder, LettersOf, Position, PublishError, Rate};

/// What a redrive is asked to do.
#[derive(Clone)]
pub struct RedriveSpec {
    /// The group that gave up on the messages, and the only one that gets them again.
    pub group: Arc<str>,
    /// What the group reads.
    pub inputs: Vec<RedriveInput>,
    /// Which of its dead letters.
    pub selection: Selection,
    /// How many at the most.
    pub limit: usize,
    /// Whether messages are sent, or only counted.
    pub mode: RedriveMode,
    /// What time it is.
    pub clock: Clock,
    /// How long one publish may take.
    pub publish_timeout: Duration,
    /// How many are sent in a second at the most; none is as fast as it goes.
    pub rate: Option<Rate>,
    /// Payloads that replace those of the letters at these positions.
    pub payloads: HashMap<Position, Bytes>,
    /// Is told from time to time what was done, and says whether to go on.
    pub watch: Option<RedriveWatch>,
}

impl RedriveSpec {
    /// Sends all letters of a group back, as fast as it goes, on the system's clock.
    pub fn new(group: impl Into<Arc<str>>, inputs: Vec<RedriveInput>) -> Self {
        Self {
            group: group.into(),
            inputs,
            selection: Selection::All,
            limit: usize::MAX,
            mode: RedriveMode::Send,
            clock: Clock::System,
            publish_timeout: Duration::from_secs(30),
            rate: None,
            payloads: HashMap::new(),
            watch: None,
        }
    }
}

/// Is told what a redrive has done so far, and says whether it goes on. What was done is recorded in any case.
#[derive(Clone)]
pub struct RedriveWatch(Arc<Watching>);

type Watching = dyn Fn(&RedriveReport) -> ControlFlow<()> + Send + Sync;

impl RedriveWatch {
    /// Calls this after every few letters, and every second while a rate makes the next one wait.
    pub fn new(watch: impl Fn(&RedriveReport) -> ControlFlow<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(watch))
    }

    /// What was done so far; whether it goes on.
    pub fn tell(&self, report: &RedriveReport) -> ControlFlow<()> {
        (self.0)(report)
    }
}

impl fmt::Debug for RedriveWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedriveWatch")
    }
}

impl fmt::Debug for RedriveSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedriveSpec")
            .field("group", &self.group)
            .field("inputs", &self.inputs)
            .field("selection", &self.selection)
            .field("limit", &self.limit)
            .field("mode", &self.mode)
            .field("rate", &self.rate)
            .field("payloads", &self.payloads.len())
            .finish_non_exhaustive()
    }
}

/// Whether a redrive sends messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RedriveMode {
    /// It sends them.
    #[default]
    Send,
    /// It only counts what it would send.
    DryRun,
    /// It takes them off the list and sends nothing: they count as sent back, and lie where they are until retention
    /// takes them. A broker that hands its letters over has them no more.
    Discard,
}

/// A destination that a group reads, with the two that belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedriveInput {
    /// What the group reads.
    pub destination: Arc<str>,
    /// Where its dead letters are.
    pub dead_letter: Arc<str>,
    /// Where the group's messages wait.
    pub retry: Arc<str>,
}

/// What a redrive did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RedriveReport {
    /// Dead letters of the group that were not sent back before. Where they are handed over by the broker, those that
    /// somebody else holds are not seen.
    pub pending: usize,
    /// Those of them that were selected. The limit is about letters that can go back: refused ones come on top.
    pub selected: usize,
    /// Those that were sent back; none in a dry run.
    pub redriven: usize,
    /// Those that were discarded.
    pub discarded: usize,
    /// Those that can never go back as they are: too large, or not allowed there. They stay among the dead letters,
    /// the others went on without them; the log says why, one line each.
    pub refused: usize,
}

/// Why a redrive stopped. What was sent back before is recorded as such; it may be started again.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RedriveError {
    /// The broker cannot be read, or cannot store what was done.
    #[error("cannot redrive: {0}")]
    Binder(#[from] BinderError),
    /// A message cannot be sent back now.
    #[error("cannot send {letter} back to \"{retry}\": {error}")]
    Publish {
        /// The dead letter's position.
        letter: String,
        /// Where it was to go.
        retry: Arc<str>,
        /// Why not.
        error: PublishError,
    },
}

/// Sends selected dead letters of a group to the group's own retry destination, never to the original one, so that no
/// other group sees them again. They keep their key, payload, headers, message id and partition, and are handled as
/// attempt 1. A letter that names a partition which is not there goes back to the number of the partition that it lies
/// in: anybody may have written those headers.
///
/// What was sent back is recorded as the progress of a group called `{group}.redrive` in the dead-letter destination,
/// after the broker has kept it; where the broker [hands letters over](tidings_core::HeldLetters), they are acknowledged
/// then. A crash between the two sends a message back twice, with the same message id: at least once, as everywhere.
///
/// # Errors
/// [`RedriveError`]: the broker is away. A letter that is refused for good is no error; it is counted in
/// [`RedriveReport::refused`].
pub async fn redrive(binder: &dyn DynBinder, spec: RedriveSpec) -> Result<RedriveReport, RedriveError> {
    let mut run = Run::new(binder, &spec).await?;
    let (mut lying, mut gone_through) = (BTreeSet::new(), BTreeSet::new());
    for input in &spec.inputs {
        let of = LettersOf::group(input.destination.clone(), spec.group.clone());
        let Some(letters) = binder.hold_letters(&of) else {
            lying.insert(&input.dead_letter);
            continue;
        };
        if gone_through.insert(of) && run.held(input, letters).await?.is_break() {
            return Ok(run.report());
        }
    }
    for destination in lying {
        for partition in binder
            .positions(destination, Some(&recorder(&spec.group)))
            .await?
        {
            if run.partition(destination, partition).await?.is_break() {
                return Ok(run.report());
            }
        }
    }
    Ok(run.report())
}

/// The group under whose name it is stored what was sent back.
fn recorder(group: &str) -> String {
    format!("{group}.redrive")
}

//! Sends dead letters back to the group that gave up on them: [`redrive`].

mod letters;
mod marks;
mod revive;
mod run;
mod selection;

pub use letters::{DeadLetter, pending_dead_letters};
pub use selection::Selection;

use run::Run;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{BinderError, Clock, DynBinder, PublishError};

/// What a redrive is asked to do.
#[derive(Debug, Clone)]
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
}

/// Whether a redrive sends messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RedriveMode {
    /// It sends them.
    #[default]
    Send,
    /// It only counts what it would send.
    DryRun,
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
    /// Dead letters of the group that were not sent back before.
    pub pending: usize,
    /// Those of them that were selected. The limit is about letters that can go back: refused ones come on top.
    pub selected: usize,
    /// Those that were sent back; none in a dry run.
    pub redriven: usize,
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
/// after the broker has kept it. A crash between the two sends a message back twice, with the same message id: at
/// least once, as everywhere.
///
/// # Errors
/// [`RedriveError`]: the broker is away. A letter that is refused for good is no error; it is counted in
/// [`RedriveReport::refused`].
pub async fn redrive(binder: &dyn DynBinder, spec: RedriveSpec) -> Result<RedriveReport, RedriveError> {
    let mut dead_letters: Vec<_> = spec
        .inputs
        .iter()
        .map(|input| input.dead_letter.clone())
        .collect();
    dead_letters.sort();
    dead_letters.dedup();
    let mut run = Run::new(binder, &spec).await?;
    for destination in dead_letters {
        for partition in binder
            .positions(&destination, Some(&recorder(&spec.group)))
            .await?
        {
            run.partition(&destination, partition).await?;
        }
    }
    Ok(run.report())
}

/// The group under whose name it is stored what was sent back.
fn recorder(group: &str) -> String {
    format!("{group}.redrive")
}

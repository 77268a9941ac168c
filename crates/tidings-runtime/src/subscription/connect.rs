//! Joins the group, as often as it takes, and listens meanwhile.

use super::{AWAY, Control, DrainReport, FIRST_WAIT, LONGEST_WAIT};
use crate::discovery::Looker;
use crate::dispatcher::Dispatcher;
use crate::spec::{Input, SubscriptionSpec};
use crate::status::{Phase, StatusBoard};
use tidings_core::{BinderError, DynSource, Guarantee, SourceError, SourceInput, SourceSpec};
use tokio::sync::{mpsc, oneshot};

/// A batch has at most so many bytes, unless one message is larger.
const MAX_BATCH_BYTES: usize = 512 * 1024;

/// A subscription that has joined its group.
pub(super) struct Joined {
    pub(super) source: Box<dyn DynSource>,
    /// What the source was given.
    pub(super) reads: Vec<Input>,
    /// What it is to read, where that may be more.
    pub(super) all: Option<Vec<Input>>,
    pub(super) trouble: Option<String>,
}

/// Joins the group, as often as it takes. None if it was told to end, or is refused for good.
pub(super) async fn connect(
    spec: &SubscriptionSpec,
    board: &StatusBoard,
    commands: &mut mpsc::UnboundedReceiver<Control>,
    dispatcher: &mut Dispatcher,
    mut looker: Option<&mut Looker>,
) -> Option<Joined> {
    let mut wait = FIRST_WAIT;
    loop {
        let subscribed = obeying(commands, dispatcher, join(spec, looker.as_deref_mut())).await;
        let error = match subscribed {
            Heard::Done(Ok(joined)) => {
                board.set_obstacle(AWAY, None);
                return Some(joined);
            }
            Heard::Done(Err(error)) => error,
            Heard::Drain(reply) => {
                stopped_before_it_began(board, reply);
                return None;
            }
        };
        board.set_obstacle(AWAY, Some(error.to_string()));
        if is_final(&error) {
            tracing::error!(subscription = %spec.context.subscription, %error, "the subscription cannot run");
            return None;
        }
        tracing::warn!(subscription = %spec.context.subscription, %error, "not connected");
        if let Heard::Drain(reply) = obeying(commands, dispatcher, tokio::time::sleep(wait)).await {
            stopped_before_it_began(board, reply);
            return None;
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Joins with what is there.
async fn join(spec: &SubscriptionSpec, looker: Option<&mut Looker>) -> Result<Joined, BinderError> {
    let (reads, all, trouble) = match looker {
        None => (spec.inputs.clone(), None, None),
        Some(looker) => {
            let begun = looker.begin().await?;
            (begun.first, Some(begun.all), begun.trouble)
        }
    };
    let source = spec.binder.subscribe(source_spec(spec, &reads)).await?;
    Ok(Joined {
        source,
        reads,
        all,
        trouble,
    })
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
                // Nothing is read yet: there is nothing to go on with elsewhere.
                Some(Control::Seek { .. } | Control::Discover(_)) => {}
                Some(Control::Drain { reply, .. }) => return Heard::Drain(reply),
                None => closed = true,
            },
        }
    }
}

fn stopped_before_it_began(board: &StatusBoard, reply: oneshot::Sender<DrainReport>) {
    board.edit(|status| status.phase = Phase::Stopped);
    // Whoever asked may have stopped waiting.
    let _ = reply.send(DrainReport {
        finished_in_time: true,
        abandoned: 0,
    });
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

pub(super) fn source_inputs(inputs: &[Input]) -> Vec<SourceInput> {
    let input = |input: &Input| SourceInput {
        destination: input.destination.clone(),
        retry: input.retry.clone(),
    };
    inputs.iter().map(input).collect()
}

fn source_spec(spec: &SubscriptionSpec, reads: &[Input]) -> SourceSpec {
    SourceSpec {
        subscription: spec.context.subscription.clone(),
        group: spec.context.group.clone(),
        inputs: source_inputs(reads),
        partitions: spec.policy.partitions.as_deref().map(Into::into),
        start: spec.policy.start,
        max_batch_bytes: MAX_BATCH_BYTES,
        commit_interval: spec.policy.commit_interval,
        commit_every: spec.policy.commit_every,
        revoke_timeout: spec.revoke_timeout,
        guarantee: if spec.policy.exactly_once {
            Guarantee::ExactlyOnce
        } else {
            Guarantee::AtLeastOnce
        },
    }
}

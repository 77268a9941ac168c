//! Sends dead letters back to the group that gave up on them: [`redrive`].

mod letters;
mod marks;
mod selection;

pub use letters::{DeadLetter, pending_dead_letters};
pub use selection::Selection;

use letters::Scan;
use marks::Marks;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::headers::{HeaderWriter, Headers, HeadersError};
use tidings_core::{
    BinderError, Clock, DynBinder, Message, Outgoing, PartitionPosition, PublishError, Receipt, names,
};

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
    /// Those of them that were selected, up to the limit.
    pub selected: usize,
    /// Those that were sent back; none in a dry run.
    pub redriven: usize,
}

/// Why a redrive stopped. What was sent back before is recorded as such; it may be started again.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RedriveError {
    /// The broker cannot be read, or cannot store what was done.
    #[error("cannot redrive: {0}")]
    Binder(#[from] BinderError),
    /// A message cannot be sent back.
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
/// attempt 1.
///
/// What was sent back is recorded as the progress of a group called `{group}.redrive` in the dead-letter destination,
/// after the broker has kept it. A crash between the two sends a message back twice, with the same message id: at
/// least once, as everywhere.
///
/// # Errors
/// [`RedriveError`]: the broker is away or refuses.
pub async fn redrive(binder: &dyn DynBinder, spec: RedriveSpec) -> Result<RedriveReport, RedriveError> {
    let mut dead_letters: Vec<_> = spec
        .inputs
        .iter()
        .map(|input| input.dead_letter.clone())
        .collect();
    dead_letters.sort();
    dead_letters.dedup();
    let mut run = Run {
        binder,
        recorder: recorder(&spec.group),
        spec: &spec,
        report: RedriveReport::default(),
    };
    for destination in dead_letters {
        for partition in binder.positions(&destination, Some(&run.recorder)).await? {
            run.partition(&destination, partition).await?;
        }
    }
    Ok(run.report)
}

/// The group under whose name it is stored what was sent back.
fn recorder(group: &str) -> String {
    format!("{group}.redrive")
}

struct Run<'a> {
    binder: &'a dyn DynBinder,
    spec: &'a RedriveSpec,
    recorder: String,
    report: RedriveReport,
}

/// A message on its way back.
struct Sent {
    letter: DeadLetter,
    retry: Arc<str>,
    receipt: Receipt,
}

impl Run<'_> {
    async fn partition(&mut self, destination: &Arc<str>, at: PartitionPosition) -> Result<(), RedriveError> {
        let mut marks = Marks::new(at.first, at.progress.as_ref());
        let mut scan = Scan::new(
            self.binder,
            destination.clone(),
            at.partition,
            marks.watermark(),
            at.end,
        );
        while let Some(letters) = scan.next().await? {
            let mut sending = Vec::new();
            for letter in letters {
                let offset = letter.position.offset();
                if marks.contains(offset) {
                    continue;
                }
                if letter.diagnosis.group.as_deref() != Some(&*self.spec.group) {
                    // Another group's letter never becomes this group's: nothing to come back for.
                    marks.finish(offset);
                    continue;
                }
                self.report.pending += 1;
                if self.report.selected < self.spec.limit && self.spec.selection.accepts(&letter) {
                    self.report.selected += 1;
                    if self.spec.mode == RedriveMode::Send {
                        sending.push(self.send(letter)?);
                    }
                }
            }
            let sent = self.confirm(sending, &mut marks).await;
            if marks.take_changed() {
                let store =
                    self.binder
                        .store_progress(destination, at.partition, &self.recorder, marks.progress());
                store.await?;
            }
            sent?;
        }
        Ok(())
    }

    fn send(&self, letter: DeadLetter) -> Result<Sent, RedriveError> {
        let origin = letter.diagnosis.position.as_ref();
        let same_letters = |input: &&RedriveInput| *input.dead_letter == *letter.position.destination();
        let inputs = || self.spec.inputs.iter().filter(same_letters);
        let exact =
            inputs().find(|input| origin.is_some_and(|origin| origin.destination() == &*input.destination));
        let input = exact
            .or_else(|| inputs().next())
            .expect("only the dead letters of these inputs are read");
        let retry = input.retry.clone();
        let message = revived(&letter, self.spec.clock).map_err(|error| RedriveError::Publish {
            letter: letter.position.to_string(),
            retry: retry.clone(),
            error: error.into(),
        })?;
        let partition = origin.map_or(letter.position.partition(), |origin| origin.partition());
        let outgoing = Outgoing {
            partition: Some(partition),
            ..Outgoing::new(retry.clone(), message)
        };
        let receipt = self.binder.sink().publish(outgoing);
        Ok(Sent {
            letter,
            retry,
            receipt,
        })
    }

    /// Waits until every message is kept; marks those that are, also when one is not.
    async fn confirm(&mut self, sending: Vec<Sent>, marks: &mut Marks) -> Result<(), RedriveError> {
        let mut first_error = Ok(());
        for Sent {
            letter,
            retry,
            receipt,
        } in sending
        {
            let kept = match tokio::time::timeout(self.spec.publish_timeout, receipt).await {
                Ok(kept) => kept,
                Err(_) => Err(PublishError::Timeout {
                    destination: retry.clone(),
                    after: self.spec.publish_timeout,
                }),
            };
            match kept {
                Ok(_position) => {
                    marks.finish(letter.position.offset());
                    self.report.redriven += 1;
                }
                Err(error) if first_error.is_ok() => {
                    let letter = letter.position.to_string();
                    first_error = Err(RedriveError::Publish { letter, retry, error });
                }
                Err(_) => {}
            }
        }
        first_error
    }
}

/// The message as it goes back: without the diagnosis of its last failure, due now, with no attempt made.
fn revived(letter: &DeadLetter, clock: Clock) -> Result<Message, HeadersError> {
    let old = letter.message.headers();
    let last_failure = [
        names::GROUP,
        names::SUBSCRIPTION,
        names::HANDLER,
        names::REASON,
        names::ERROR,
        names::LAST_FAILURE,
    ];
    let steering = [names::ATTEMPTS, names::DUE, names::REDRIVES];
    let mut writer = HeaderWriter::with_capacity(old.size() + 64);
    for (name, value) in old {
        if !last_failure.contains(&name) && !steering.contains(&name) {
            writer = writer.append(name, value);
        }
    }
    let now = clock.now();
    let headers: Headers = writer
        .append(names::ATTEMPTS, "0")
        .append(names::DUE, now.as_millis().to_string())
        .append(
            names::REDRIVES,
            letter.diagnosis.redrives.saturating_add(1).to_string(),
        )
        .finish_received();
    Ok(letter.message.clone().with_headers(headers).with_timestamp(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::{Diagnosis, Position, Timestamp};

    #[test]
    fn a_letter_goes_back_without_its_last_failure_and_with_everything_else() {
        let mut message = Message::new("payload").with_key("ada");
        for (name, value) in [
            ("tenant", "eu"),
            (names::MESSAGE_ID, "m-1"),
            (names::ORIGIN_DESTINATION, "orders"),
            (names::ORIGIN_PARTITION, "3"),
            (names::ORIGIN_OFFSET, "7"),
            (names::ATTEMPTS, "3"),
            (names::REDRIVES, "1"),
            (names::FIRST_FAILURE, "5"),
            (names::GROUP, "billing"),
            (names::ERROR, "the bank is closed"),
        ] {
            message = message.with_header(name, value).unwrap();
        }
        let diagnosis = Diagnosis::from_headers(message.headers().view());
        let letter = DeadLetter {
            position: Position::new("orders.DLT", 3, 0),
            message,
            diagnosis,
        };
        let origin = tokio::time::Instant::now();
        let clock = Clock::Virtual {
            start: Timestamp::from_millis(1_000_000),
            origin,
        };
        let back = revived(&letter, clock).unwrap();
        assert_eq!(back.payload(), letter.message.payload());
        assert_eq!(back.key(), letter.message.key());
        let header = |name| back.headers().get_str(name);
        assert_eq!(header("tenant"), Some("eu"));
        assert_eq!(header(names::MESSAGE_ID), Some("m-1"));
        assert_eq!(header(names::ORIGIN_OFFSET), Some("7"));
        assert_eq!(header(names::FIRST_FAILURE), Some("5"));
        assert_eq!(header(names::ATTEMPTS), Some("0"));
        assert_eq!(header(names::REDRIVES), Some("2"));
        assert!(header(names::DUE).is_some_and(|due| due.starts_with("100")));
        assert_eq!(header(names::ERROR), None);
        assert_eq!(header(names::GROUP), None);
    }
}

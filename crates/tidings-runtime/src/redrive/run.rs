//! One redrive while it runs: [`Run`].

use super::letters::{DeadLetter, Scan};
use super::marks::Marks;
use super::revive::{edited, revived};
use super::turns::Turns;
use super::{RedriveError, RedriveInput, RedriveMode, RedriveReport, RedriveSpec, recorder};
use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use tidings_core::{BinderError, DynBinder, Outgoing, PartitionPosition, PublishError, Receipt};

pub(super) struct Run<'a> {
    binder: &'a dyn DynBinder,
    spec: &'a RedriveSpec,
    recorder: String,
    /// The partitions of each retry destination: how far a letter's own word can be followed.
    partitions: HashMap<Arc<str>, Vec<u32>>,
    report: RedriveReport,
    turns: Turns,
}

/// A message on its way back.
struct Sent {
    letter: DeadLetter,
    retry: Arc<str>,
    receipt: Receipt,
}

impl<'a> Run<'a> {
    pub(super) async fn new(binder: &'a dyn DynBinder, spec: &'a RedriveSpec) -> Result<Self, BinderError> {
        let mut partitions = HashMap::new();
        for input in &spec.inputs {
            if partitions.contains_key(&input.retry) {
                continue;
            }
            let found = match binder.positions(&input.retry, None).await {
                Ok(found) => found.iter().map(|at| at.partition).collect(),
                // Some brokers make a destination when it is first written: the key decides then.
                Err(BinderError::UnknownDestination { .. }) => Vec::new(),
                Err(error) => return Err(error),
            };
            partitions.insert(input.retry.clone(), found);
        }
        Ok(Self {
            binder,
            spec,
            recorder: recorder(&spec.group),
            partitions,
            report: RedriveReport::default(),
            turns: Turns::default(),
        })
    }

    pub(super) fn report(&self) -> RedriveReport {
        self.report
    }

    pub(super) async fn partition(
        &mut self,
        destination: &Arc<str>,
        at: PartitionPosition,
    ) -> Result<ControlFlow<()>, RedriveError> {
        let mut marks = Marks::new(at.first, at.progress.as_ref());
        let first = marks.watermark();
        let mut scan = Scan::new(self.binder, destination.clone(), at.partition, first, at.end);
        while let Some(letters) = scan.next().await? {
            let mut pending = self.pending(letters, &mut marks);
            loop {
                let sent = self.send_some(&mut pending, &mut marks).await;
                // A dry run changes nothing, not even what is known of others' letters.
                if marks.take_changed() && self.spec.mode != RedriveMode::DryRun {
                    let store = self.binder.store_progress(
                        destination,
                        at.partition,
                        &self.recorder,
                        marks.progress(),
                    );
                    store.await?;
                }
                sent?;
                if self.tell().is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                if pending.is_empty() || self.room() == 0 {
                    break;
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn tell(&self) -> ControlFlow<()> {
        tell(self.spec, &self.report)
    }

    /// The selected ones among the group's letters that were not sent back before.
    fn pending(&mut self, letters: Vec<DeadLetter>, marks: &mut Marks) -> VecDeque<DeadLetter> {
        let mut selected = VecDeque::new();
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
            if self.room() > 0 && self.spec.selection.accepts(&letter) {
                selected.push_back(letter);
            }
        }
        selected
    }

    /// How many more may go. A refused letter gives its place to the next: else one that can never go would be all
    /// that a limit of one ever finds.
    fn room(&self) -> usize {
        let taken = self.report.selected - self.report.refused;
        self.spec.limit.saturating_sub(taken)
    }

    /// The next letters, as many as the limit and the rate allow.
    async fn send_some(
        &mut self,
        letters: &mut VecDeque<DeadLetter>,
        marks: &mut Marks,
    ) -> Result<(), RedriveError> {
        let count = letters.len().min(self.room());
        if count == 0 {
            return Ok(());
        }
        let count = match (&self.spec.rate, self.spec.mode) {
            (Some(rate), RedriveMode::Send) => {
                let still = || tell(self.spec, &self.report);
                self.turns.wait(rate, count, still).await
            }
            _ => count,
        };
        let round: Vec<_> = letters.drain(..count).collect();
        self.report.selected += round.len();
        match self.spec.mode {
            RedriveMode::Send => {
                let sending = round.into_iter().map(|letter| self.send(letter)).collect();
                self.confirm(sending, marks).await
            }
            RedriveMode::Discard => {
                self.report.discarded += round.len();
                round
                    .iter()
                    .for_each(|letter| marks.finish(letter.position.offset()));
                Ok(())
            }
            RedriveMode::DryRun => Ok(()),
        }
    }

    fn send(&self, mut letter: DeadLetter) -> Sent {
        if let Some(payload) = self.spec.payloads.get(&letter.position) {
            letter.message = edited(letter.message, payload.clone(), self.spec.clock);
        }
        let origin = letter.diagnosis.position.as_ref();
        let same_letters = |input: &&RedriveInput| *input.dead_letter == *letter.position.destination();
        let inputs = || self.spec.inputs.iter().filter(same_letters);
        let exact =
            inputs().find(|input| origin.is_some_and(|origin| origin.destination() == &*input.destination));
        let input = exact
            .or_else(|| inputs().next())
            .expect("only the dead letters of these inputs are read");
        let retry = input.retry.clone();
        let receipt = match revived(&letter, self.spec.clock) {
            Ok(message) => self.binder.sink().publish(Outgoing {
                partition: self.partition_of(&letter, &retry),
                ..Outgoing::new(retry.clone(), message)
            }),
            Err(error) => Receipt::failed(error.into()),
        };
        Sent {
            letter,
            retry,
            receipt,
        }
    }

    /// Where the message came from, if there is such a partition; else where the letter lies; else its key decides.
    fn partition_of(&self, letter: &DeadLetter, retry: &Arc<str>) -> Option<u32> {
        let there = self.partitions.get(retry)?;
        let origin = letter.diagnosis.position.as_ref();
        let wishes = [
            origin.map(|origin| origin.partition()),
            Some(letter.position.partition()),
        ];
        wishes.into_iter().flatten().find(|wish| there.contains(wish))
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
                Err(error) if error.is_permanent() => {
                    self.report.refused += 1;
                    tracing::warn!(letter = %letter.position, %retry, %error, "a dead letter cannot go back");
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

/// Tells how far it is; whether it goes on.
fn tell(spec: &RedriveSpec, report: &RedriveReport) -> ControlFlow<()> {
    match &spec.watch {
        Some(watch) => watch.tell(report),
        None => ControlFlow::Continue(()),
    }
}

//! One redrive while it runs: [`Run`].

use super::letters::{DeadLetter, Scan, held};
use super::marks::Marks;
use super::revive::{edited, revived};
use super::turns::Turns;
use super::{RedriveError, RedriveInput, RedriveMode, RedriveReport, RedriveSpec, recorder};
use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use tidings_core::{BinderError, DynBinder, HeldLetters, Outgoing, PartitionPosition, PublishError, Receipt};

/// For how long letters may lie in front of a rate before they go.
const AHEAD_SECONDS: f64 = 60.0;

pub(super) struct Run<'a> {
    binder: &'a dyn DynBinder,
    spec: &'a RedriveSpec,
    recorder: String,
    /// The partitions of each retry destination: how far a letter's own word can be followed.
    partitions: HashMap<Arc<str>, Vec<u32>>,
    report: RedriveReport,
    turns: Turns,
}

/// A letter that is selected.
struct Chosen {
    letter: DeadLetter,
    /// What its place is called when it is done with.
    ticket: u64,
    /// Where it goes.
    retry: Arc<str>,
}

/// A message on its way back.
struct Sent {
    chosen: Chosen,
    receipt: Receipt,
}

/// What has become of some letters.
struct Round {
    /// Those that are done with.
    done: Vec<u64>,
    ended: Result<(), RedriveError>,
}

impl Round {
    fn well(done: Vec<u64>) -> Self {
        Self { done, ended: Ok(()) }
    }
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
                // Some brokers make a destination when it is first written, some have no partitions to ask for: the key
                // decides then.
                Err(BinderError::UnknownDestination { .. } | BinderError::Unsupported { .. }) => Vec::new(),
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
                let round = self.send_some(&mut pending).await;
                round.done.into_iter().for_each(|offset| marks.finish(offset));
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
                round.ended?;
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

    /// Goes through letters that are handed over. What is not done with is given back in any case.
    pub(super) async fn held(
        &mut self,
        input: &RedriveInput,
        mut letters: Box<dyn HeldLetters>,
    ) -> Result<ControlFlow<()>, RedriveError> {
        let passed = self.go_through(input, &mut *letters).await;
        let closed = letters.close().await;
        let passed = passed?;
        closed?;
        Ok(passed)
    }

    async fn go_through(
        &mut self,
        input: &RedriveInput,
        letters: &mut dyn HeldLetters,
    ) -> Result<ControlFlow<()>, RedriveError> {
        while self.room() > 0 {
            let some = match letters.next(self.at_once()).await {
                Ok(Some(some)) => some,
                Ok(None) | Err(BinderError::UnknownDestination { .. }) => {
                    return Ok(ControlFlow::Continue(()));
                }
                Err(error) => return Err(error.into()),
            };
            let mut chosen = VecDeque::new();
            for one in some {
                let (ticket, letter) = (one.ticket, held(one, Some(&self.spec.group)));
                self.report.pending += 1;
                if self.spec.selection.accepts(&letter) {
                    let retry = input.retry.clone();
                    chosen.push_back(Chosen {
                        letter,
                        ticket,
                        retry,
                    });
                }
            }
            loop {
                let round = self.send_some(&mut chosen).await;
                if !round.done.is_empty() {
                    letters.finish(round.done).await?;
                }
                round.ended?;
                if self.tell().is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                if chosen.is_empty() || self.room() == 0 {
                    break;
                }
            }
        }
        // Nobody else sees what is held, so no more is than has to be.
        let left = usize::try_from(letters.left()).unwrap_or(usize::MAX);
        self.report.pending = self.report.pending.saturating_add(left);
        Ok(ControlFlow::Continue(()))
    }

    /// How many letters are held at the most: those that go soon.
    fn at_once(&self) -> usize {
        match (&self.spec.rate, self.spec.mode) {
            // A float beyond the range becomes the end of the range.
            (Some(rate), RedriveMode::Send) => ((rate.per_second * AHEAD_SECONDS) as usize).max(1),
            _ => usize::MAX,
        }
    }

    fn tell(&self) -> ControlFlow<()> {
        tell(self.spec, &self.report)
    }

    /// The selected ones among the group's letters that were not sent back before.
    fn pending(&mut self, letters: Vec<DeadLetter>, marks: &mut Marks) -> VecDeque<Chosen> {
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
                let retry = self.retry_of(&letter);
                selected.push_back(Chosen {
                    letter,
                    ticket: offset,
                    retry,
                });
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

    /// Where a letter goes: to the group's retry destination of where it was first published.
    fn retry_of(&self, letter: &DeadLetter) -> Arc<str> {
        let origin = letter.diagnosis.position.as_ref();
        let same_letters = |input: &&RedriveInput| *input.dead_letter == *letter.position.destination();
        let inputs = || self.spec.inputs.iter().filter(same_letters);
        let exact =
            inputs().find(|input| origin.is_some_and(|origin| origin.destination() == &*input.destination));
        let input = exact
            .or_else(|| inputs().next())
            .expect("only the dead letters of these inputs are read");
        input.retry.clone()
    }

    /// The next letters, as many as the limit and the rate allow.
    async fn send_some(&mut self, letters: &mut VecDeque<Chosen>) -> Round {
        let count = letters.len().min(self.room());
        if count == 0 {
            return Round::well(Vec::new());
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
                let sending = round.into_iter().map(|chosen| self.send(chosen)).collect();
                self.confirm(sending).await
            }
            RedriveMode::Discard => {
                self.report.discarded += round.len();
                Round::well(round.iter().map(|chosen| chosen.ticket).collect())
            }
            RedriveMode::DryRun => Round::well(Vec::new()),
        }
    }

    fn send(&self, mut chosen: Chosen) -> Sent {
        let letter = &mut chosen.letter;
        if let Some(payload) = self.spec.payloads.get(&letter.position) {
            letter.message = edited(letter.message.clone(), payload.clone(), self.spec.clock);
        }
        let receipt = match revived(letter, self.spec.clock) {
            Ok(message) => self.binder.sink().publish(Outgoing {
                partition: self.partition_of(letter, &chosen.retry),
                ..Outgoing::new(chosen.retry.clone(), message)
            }),
            Err(error) => Receipt::failed(error.into()),
        };
        Sent { chosen, receipt }
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

    /// Waits until every message is kept; those that are done with are told, also when one is not.
    async fn confirm(&mut self, sending: Vec<Sent>) -> Round {
        let mut round = Round::well(Vec::with_capacity(sending.len()));
        for Sent { chosen, receipt } in sending {
            let Chosen {
                letter,
                ticket,
                retry,
            } = chosen;
            let kept = match tokio::time::timeout(self.spec.publish_timeout, receipt).await {
                Ok(kept) => kept,
                Err(_) => Err(PublishError::Timeout {
                    destination: retry.clone(),
                    after: self.spec.publish_timeout,
                }),
            };
            match kept {
                Ok(_position) => {
                    round.done.push(ticket);
                    self.report.redriven += 1;
                }
                Err(error) if error.is_permanent() => {
                    self.report.refused += 1;
                    tracing::warn!(letter = %letter.position, %retry, %error, "a dead letter cannot go back");
                }
                Err(error) if round.ended.is_ok() => {
                    let letter = letter.position.to_string();
                    round.ended = Err(RedriveError::Publish { letter, retry, error });
                }
                Err(_) => {}
            }
        }
        round
    }
}

/// Tells how far it is; whether it goes on.
fn tell(spec: &RedriveSpec, report: &RedriveReport) -> ControlFlow<()> {
    match &spec.watch {
        Some(watch) => watch.tell(report),
        None => ControlFlow::Continue(()),
    }
}

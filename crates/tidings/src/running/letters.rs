//! Dead letters of a running service: looking at them, sending them back.

use super::{Inner, Running};
use crate::error::Error;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tidings_core::{BinderError, LettersOf, Position, Rate};
use tidings_runtime::{
    DeadLetter, LetterList, RedriveInput, RedriveMode, RedriveReport, RedriveSpec, RedriveWatch, Selection,
    pending_dead_letters, redrive,
};

/// How many dead letters are listed at once if nobody says.
const PAGE: usize = 1_000;

impl Running {
    /// Sends dead letters back to the group that gave up on them, and to no other: see [`Selection`]. Each keeps its
    /// key, payload, headers and message id, and is handled anew from attempt 1. What was sent back is remembered,
    /// so that it is not sent again; if the process dies in between, some may be sent twice. A letter that can never
    /// go back as it is stays where it is and is counted in [`RedriveReport::refused`].
    ///
    /// ```no_run
    /// # async fn example(running: &tidings::Running) -> Result<(), tidings::Error> {
    /// use tidings::Selection;
    /// let report = running.redrive("billing", Selection::ErrorContains("bank".to_owned())).await?;
    /// println!("{} sent back", report.redriven);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Unknown`] if no subscription has that group, [`Error::Redrive`] if the broker is away.
    pub async fn redrive(&self, group: &str, selection: Selection) -> Result<RedriveReport, Error> {
        self.redrive_with(group, selection, usize::MAX, RedriveMode::Send)
            .await
    }

    /// As [`redrive`](Self::redrive), at most that many, or only counted.
    ///
    /// # Errors
    /// As [`redrive`](Self::redrive).
    pub async fn redrive_with(
        &self,
        group: &str,
        selection: Selection,
        limit: usize,
        mode: RedriveMode,
    ) -> Result<RedriveReport, Error> {
        let order = RedriveOrder {
            selection,
            limit,
            mode,
            ..RedriveOrder::default()
        };
        self.inner.redrive(group, order).await
    }

    /// The oldest dead letters of a channel that were not sent back yet, at most 1,000.
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no such channel, [`Error::Binder`] if the broker cannot be read.
    pub async fn dead_letters(&self, channel: &str) -> Result<Vec<DeadLetter>, Error> {
        self.dead_letters_after(channel, None, PAGE).await
    }

    /// A page of dead letters: at most `limit`, those behind `after`, which is the position of the last letter of the
    /// page before. On RabbitMQ, which shows a letter only by handing it over, those are listed that groups of this service
    /// gave up on; and if the last letter is gone, the page begins again where it lay.
    ///
    /// # Errors
    /// As [`dead_letters`](Self::dead_letters).
    pub async fn dead_letters_after(
        &self,
        channel: &str,
        after: Option<&Position>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        let channel = self.inner.channel(channel)?;
        let binder = self.binder(&channel.binder)?;
        let found = match &channel.pattern {
            Some(pattern) => pattern.dead_letters(&**binder).await,
            None => Ok(channel.dead_letters.clone()),
        };
        let found = found.map_err(|error| Error::binder(&channel.binder, error))?;
        let lists: Vec<_> = found
            .into_iter()
            .map(|dead_letter| LetterList {
                of: self.inner.owners(&dead_letter, &channel.binder),
                dead_letter: dead_letter.into(),
            })
            .collect();
        let page = pending_dead_letters(&**binder, &lists, after, limit).await;
        page.map_err(|error| Error::binder(&channel.binder, error))
    }
}

/// What is asked of a redrive.
#[derive(Debug)]
pub(crate) struct RedriveOrder {
    pub(crate) selection: Selection,
    pub(crate) limit: usize,
    pub(crate) mode: RedriveMode,
    pub(crate) rate: Option<Rate>,
    pub(crate) payloads: HashMap<Position, Bytes>,
    pub(crate) watch: Option<RedriveWatch>,
}

impl Default for RedriveOrder {
    fn default() -> Self {
        Self {
            selection: Selection::All,
            limit: usize::MAX,
            mode: RedriveMode::Send,
            rate: None,
            payloads: HashMap::new(),
            watch: None,
        }
    }
}

fn add(total: &mut RedriveReport, more: RedriveReport) {
    total.pending += more.pending;
    total.selected += more.selected;
    total.redriven += more.redriven;
    total.discarded += more.discarded;
    total.refused += more.refused;
}

/// Tells of one broker's letters together with those of the brokers before.
fn on_top_of(before: RedriveReport, watch: RedriveWatch, stopped: Arc<AtomicBool>) -> RedriveWatch {
    RedriveWatch::new(move |report| {
        let mut total = before;
        add(&mut total, *report);
        let told = watch.tell(&total);
        if told.is_break() {
            stopped.store(true, Ordering::Relaxed);
        }
        told
    })
}

impl Inner {
    /// Sends back or discards what is asked for: one redrive after the other, whoever asks.
    pub(crate) async fn redrive(&self, group: &str, order: RedriveOrder) -> Result<RedriveReport, Error> {
        let _one_at_a_time = self.redriving.lock().await;
        let stopped = Arc::new(AtomicBool::new(false));
        let mut total = RedriveReport::default();
        for (binder, inputs) in self.redrive_inputs(group)? {
            let watch = order.watch.as_ref();
            let spec = RedriveSpec {
                selection: order.selection.clone(),
                limit: order.limit.saturating_sub(total.selected - total.refused),
                mode: order.mode,
                clock: self.clock,
                publish_timeout: self.publish_timeout,
                rate: order.rate,
                payloads: order.payloads.clone(),
                watch: watch.map(|watch| on_top_of(total, watch.clone(), stopped.clone())),
                ..RedriveSpec::new(group, inputs)
            };
            let opened = self.binders.planned(binder);
            add(&mut total, redrive(&**opened, spec).await?);
            if stopped.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(total)
    }

    /// Whose letters are published to that destination.
    fn owners(&self, dead_letter: &str, binder: &str) -> Vec<LettersOf> {
        let members = self.subscriptions.iter().filter(|one| one.binder == binder);
        let mut owners = Vec::new();
        for (group, inputs) in members.filter_map(|one| Some((one.group.clone()?, one.handle.inputs()))) {
            let own = inputs.iter().filter(|input| {
                let letters = input.dead_letter.as_ref();
                letters.is_some_and(|letters| &*letters.destination == dead_letter)
            });
            owners.extend(own.map(|input| LettersOf::group(input.destination.clone(), group.clone())));
        }
        owners
    }

    /// What a group reads, by binder, with its dead letters and its retry destination.
    fn redrive_inputs(&self, group: &str) -> Result<BTreeMap<&str, Vec<RedriveInput>>, Error> {
        let mut by_binder: BTreeMap<&str, Vec<RedriveInput>> = BTreeMap::new();
        let members = || {
            self.subscriptions
                .iter()
                .filter(|one| one.group.as_deref() == Some(group))
        };
        if members().next().is_none() {
            let known = self.subscriptions.iter().filter_map(|one| one.group.as_deref());
            return Err(Error::unknown("group", group, known));
        }
        for subscription in members() {
            let inputs = by_binder.entry(&subscription.binder).or_default();
            for input in &subscription.handle.inputs() {
                let Some(letters) = &input.dead_letter else {
                    continue;
                };
                let Some(retry) = &input.retry else {
                    let broker = self
                        .binders
                        .get(&subscription.binder)
                        .map_or("this broker", |binder| binder.kind());
                    let cure = "publish the dead letters again by a handler of your own";
                    let error = BinderError::Unsupported {
                        broker,
                        feature: "retry lane to send dead letters to",
                        cure,
                    };
                    return Err(Error::binder(&subscription.binder, error));
                };
                let input = RedriveInput {
                    destination: input.destination.clone(),
                    dead_letter: letters.destination.clone(),
                    retry: retry.clone(),
                };
                if !inputs.contains(&input) {
                    inputs.push(input);
                }
            }
        }
        Ok(by_binder)
    }
}

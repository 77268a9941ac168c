//! What a handler returns is what it publishes: [`IntoOutcome`], [`Outputs`], [`BatchOutcome`].

use crate::codec::Encode;
use crate::event::Event;
use crate::failure::{Failure, FailureKind};
use crate::headers::HeaderWriter;
use crate::message::Message;
use crate::publisher::encode_event;
use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

/// What a handler's return type can publish; known before any message is handled, so that a missing `.to(…)` is found
/// at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Publishes {
    /// Nothing.
    Nothing,
    /// Events that go to the subscription's output channel.
    ToOutputChannel,
    /// Events that name their channel, or a mixture.
    Addressed,
    /// The reply to a request, which goes where the request says, and maybe addressed events.
    Reply,
}

/// One message to be published.
#[derive(Debug, Clone)]
pub struct Output {
    channel: Option<Cow<'static, str>>,
    message: Message,
    delay: Option<Duration>,
    is_reply: bool,
}

impl Output {
    /// An event.
    ///
    /// # Errors
    /// A permanent failure if it cannot be encoded.
    pub fn event<E>(event: &E) -> Result<Self, Failure>
    where
        E: Event,
        E::Codec: Encode<E>,
    {
        let encoded = encode_event(event, HeaderWriter::default(), None);
        encoded
            .map(Self::message)
            .map_err(|error| Failure::new(FailureKind::Permanent, error))
    }

    /// A message.
    pub fn message(message: Message) -> Self {
        Self {
            channel: None,
            message,
            delay: None,
            is_reply: false,
        }
    }

    /// To that channel in place of the subscription's output channel.
    #[must_use]
    pub fn to(mut self, channel: impl Into<Cow<'static, str>>) -> Self {
        self.channel = Some(channel.into());
        self
    }

    /// Delivered no earlier than after that time.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// As the reply to the request that is handled: it goes where that says, and to no channel.
    #[must_use]
    pub fn as_reply(mut self) -> Self {
        self.is_reply = true;
        self
    }

    /// Whether it is the reply to a request.
    pub fn is_reply(&self) -> bool {
        self.is_reply
    }

    pub(crate) fn into_parts(self) -> (Option<Cow<'static, str>>, Message, Option<Duration>) {
        (self.channel, self.message, self.delay)
    }
}

/// What a handling publishes, in order, before its input is marked finished.
#[derive(Debug, Clone, Default)]
pub enum Outputs {
    /// Nothing.
    #[default]
    None,
    /// One message.
    One(Box<Output>),
    /// Several messages.
    Many(Vec<Output>),
}

impl Outputs {
    /// Nothing.
    #[inline]
    pub fn none() -> Self {
        Self::None
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::One(_) => false,
            Self::Many(outputs) => outputs.is_empty(),
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(outputs) => outputs.len(),
        }
    }

    /// With one more.
    #[must_use]
    pub fn and(self, output: Output) -> Self {
        match self {
            Self::None => Self::One(Box::new(output)),
            Self::One(first) => Self::Many(vec![*first, output]),
            Self::Many(mut outputs) => {
                outputs.push(output);
                Self::Many(outputs)
            }
        }
    }

    /// With one more event.
    ///
    /// # Errors
    /// A permanent failure if it cannot be encoded.
    pub fn and_event<E>(self, event: &E) -> Result<Self, Failure>
    where
        E: Event,
        E::Codec: Encode<E>,
    {
        Ok(self.and(Output::event(event)?))
    }

    fn extend(self, others: Outputs) -> Self {
        others.into_iter().fold(self, Outputs::and)
    }
}

impl IntoIterator for Outputs {
    type Item = Output;
    type IntoIter = std::vec::IntoIter<Output>;

    fn into_iter(self) -> Self::IntoIter {
        match self {
            Self::None => Vec::new(),
            Self::One(output) => vec![*output],
            Self::Many(outputs) => outputs,
        }
        .into_iter()
    }
}

impl FromIterator<Output> for Outputs {
    fn from_iter<I: IntoIterator<Item = Output>>(outputs: I) -> Self {
        outputs.into_iter().fold(Self::None, Self::and)
    }
}

/// What a handler may return: nothing, an event, several, none or some, an addressed one, a reply, or a `Result` of
/// those.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be what a handler returns",
    label = "a handler can't return this",
    note = "a handler returns `()`, an event (`#[derive(Event)]`), `Option`, `Vec`, `To` or `Reply` of one, `Outputs`, or `Result<any of these, Failure>`"
)]
pub trait IntoOutcome {
    /// What can be published by it.
    const PUBLISHES: Publishes;

    /// The outputs, or why the message was not handled.
    ///
    /// # Errors
    /// The handler's failure, or that an event cannot be encoded.
    fn into_outcome(self) -> Result<Outputs, Failure>;
}

impl IntoOutcome for () {
    const PUBLISHES: Publishes = Publishes::Nothing;

    fn into_outcome(self) -> Result<Outputs, Failure> {
        Ok(Outputs::None)
    }
}

impl<E> IntoOutcome for E
where
    E: Event,
    E::Codec: Encode<E>,
{
    const PUBLISHES: Publishes = Publishes::ToOutputChannel;

    fn into_outcome(self) -> Result<Outputs, Failure> {
        Outputs::None.and_event(&self)
    }
}

impl<T: IntoOutcome> IntoOutcome for Option<T> {
    const PUBLISHES: Publishes = T::PUBLISHES;

    fn into_outcome(self) -> Result<Outputs, Failure> {
        self.map_or(Ok(Outputs::None), IntoOutcome::into_outcome)
    }
}

impl<T: IntoOutcome> IntoOutcome for Vec<T> {
    const PUBLISHES: Publishes = T::PUBLISHES;

    fn into_outcome(self) -> Result<Outputs, Failure> {
        self.into_iter()
            .try_fold(Outputs::None, |all, one| Ok(all.extend(one.into_outcome()?)))
    }
}

/// The error is a [`Failure`], or anything that can be boxed as an error and is transient then: `anyhow::Error`,
/// `Box<dyn Error + Send + Sync>`, a type of the program's own.
impl<T: IntoOutcome, E: Into<Box<dyn Error + Send + Sync>>> IntoOutcome for Result<T, E> {
    const PUBLISHES: Publishes = T::PUBLISHES;

    fn into_outcome(self) -> Result<Outputs, Failure> {
        self.map_err(|error| Failure::from_boxed(error.into()))?
            .into_outcome()
    }
}

impl IntoOutcome for Outputs {
    const PUBLISHES: Publishes = Publishes::Addressed;

    fn into_outcome(self) -> Result<Outputs, Failure> {
        Ok(self)
    }
}

impl IntoOutcome for Output {
    const PUBLISHES: Publishes = Publishes::Addressed;

    fn into_outcome(self) -> Result<Outputs, Failure> {
        Ok(Outputs::None.and(self))
    }
}

/// An event and the channel that it goes to, in place of the subscription's output channel.
#[derive(Debug, Clone)]
pub struct To<E>(pub &'static str, pub E);

impl<E> IntoOutcome for To<E>
where
    E: Event,
    E::Codec: Encode<E>,
{
    const PUBLISHES: Publishes = Publishes::Addressed;

    fn into_outcome(self) -> Result<Outputs, Failure> {
        Ok(Outputs::None.and(Output::event(&self.1)?.to(self.0)))
    }
}

/// What a batch handler says of its items: all handled unless it names the ones that failed.
#[derive(Debug, Default)]
pub struct BatchOutcome {
    outputs: Outputs,
    verdict: Verdict,
}

#[derive(Debug, Default)]
enum Verdict {
    #[default]
    AllHandled,
    AllFailed(Failure),
    SomeFailed(Vec<(usize, Failure)>),
}

impl BatchOutcome {
    /// Every item was handled.
    pub fn all_handled() -> Self {
        Self::default()
    }

    /// No item was handled.
    pub fn all_failed(failure: impl Into<Failure>) -> Self {
        Self {
            outputs: Outputs::None,
            verdict: Verdict::AllFailed(failure.into()),
        }
    }

    /// One more item failed: the one at that index of the batch that the handler was given. The others are handled.
    #[must_use]
    pub fn failed(mut self, index: usize, failure: impl Into<Failure>) -> Self {
        match &mut self.verdict {
            Verdict::SomeFailed(failed) => failed.push((index, failure.into())),
            Verdict::AllHandled => self.verdict = Verdict::SomeFailed(vec![(index, failure.into())]),
            Verdict::AllFailed(_) => {}
        }
        self
    }

    /// Publishes these before any item is marked finished.
    #[must_use]
    pub fn with_outputs(mut self, outputs: Outputs) -> Self {
        self.outputs = outputs;
        self
    }

    /// The outcome of a larger batch: the handler was given the items that stood at `places`, and counted only those;
    /// the others failed before it was called.
    #[must_use]
    pub fn placed(self, places: &[usize], others: Vec<(usize, Failure)>) -> Self {
        let (outputs, failures) = self.into_parts(places.len());
        let failed = places
            .iter()
            .copied()
            .zip(failures)
            .filter_map(|(place, failure)| Some((place, failure?)));
        failed.chain(others).fold(
            Self::all_handled().with_outputs(outputs),
            |outcome, (place, failure)| outcome.failed(place, failure),
        )
    }

    /// The outputs, and for each of `items` items its failure. A failure that belongs to all is told to each.
    pub fn into_parts(self, items: usize) -> (Outputs, Vec<Option<Failure>>) {
        let mut failures: Vec<Option<Failure>> = std::iter::repeat_with(|| None).take(items).collect();
        match self.verdict {
            Verdict::AllHandled => {}
            // Its error is told as it is, to who wants to know more than its words.
            Verdict::AllFailed(failure) if items == 1 => failures = vec![Some(failure)],
            Verdict::AllFailed(failure) => {
                let (kind, said) = (failure.kind(), failure.to_string());
                failures.fill_with(|| Some(Failure::transient(said.clone()).with_kind(kind)));
            }
            Verdict::SomeFailed(failed) => {
                for (index, failure) in failed {
                    match failures.get_mut(index) {
                        Some(item) => *item = Some(failure),
                        // The handler named an item that it was not given: nothing is known of any item.
                        None => {
                            let said = format!("the batch handler names item {index} of {items}: {failure}");
                            failures.fill_with(|| Some(Failure::transient(said.clone())));
                            break;
                        }
                    }
                }
            }
        }
        (self.outputs, failures)
    }
}

/// What a batch handler may return: what a handler may, for all items together, or a [`BatchOutcome`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be what a batch handler returns",
    label = "a batch handler can't return this",
    note = "a batch handler returns `()`, events, `BatchOutcome`, or `Result<any of these, Failure>`"
)]
pub trait IntoBatchOutcome {
    /// What can be published by it.
    const PUBLISHES: Publishes;

    /// The outcome of each item.
    fn into_batch_outcome(self) -> BatchOutcome;
}

impl<T: IntoOutcome> IntoBatchOutcome for T {
    const PUBLISHES: Publishes = T::PUBLISHES;

    fn into_batch_outcome(self) -> BatchOutcome {
        match self.into_outcome() {
            Ok(outputs) => BatchOutcome::all_handled().with_outputs(outputs),
            Err(failure) => BatchOutcome::all_failed(failure),
        }
    }
}

impl IntoBatchOutcome for BatchOutcome {
    const PUBLISHES: Publishes = Publishes::Addressed;

    fn into_batch_outcome(self) -> BatchOutcome {
        self
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> IntoBatchOutcome for Result<BatchOutcome, E> {
    const PUBLISHES: Publishes = Publishes::Addressed;

    fn into_batch_outcome(self) -> BatchOutcome {
        self.unwrap_or_else(|error| BatchOutcome::all_failed(Failure::from_boxed(error.into())))
    }
}

//! Dead letters, looked at and taken: [`RabbitLetters`].
//!
//! A queue shows a message only by handing it over. What is not acknowledged when the channel ends goes back in its order:
//! in a classic queue to where it was, in a quorum queue in front of what nobody has seen, and behind what was given back
//! before. (A message that is refused one by one goes to the end of a quorum queue without a delivery limit.) So nothing is
//! given back while a look lasts, and no letter comes round twice; and a look that ends early takes the others too before
//! it gives back, unless they are very many: then what it saw lies behind them.
//!
//! A page is what one consumer is handed before the next one begins. When a channel ends, a quorum queue gets the pages of
//! its consumers back in the order of their tags, but of no more than 32. So there are channels of 32 pages, and they are
//! ended one after the other. Where all end at once, because the process dies, blocks of 32 pages may change places.

mod page;
mod reading;

use crate::source::Shared;
use page::Pages;
use reading::Reading;
use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tidings_core::{BinderError, BoxFuture, HeldLetter, HeldLetters, LettersOf};
use tokio::time::Instant;

/// What a queue of dead letters ends with.
const SUFFIX: &str = ".dlq";
/// What is added to a destination's name for the exchange of its dead letters, unless a subscription says otherwise.
const EXCHANGE_SUFFIX: &str = ".DLT";

/// So many letters that were not looked at are taken and given back for the sake of their order: it is done in a second or two.
const FOR_ORDER: u64 = 20_000;

/// The exchange to which the dead letters of a destination go, unless a subscription says otherwise.
pub(crate) fn letters_exchange(destination: &str) -> Arc<str> {
    format!("{destination}{EXCHANGE_SUFFIX}").into()
}

/// The routing key of a group's letters. Several destinations may share an exchange that a subscription names; the letters
/// of each are for one queue all the same.
pub(crate) fn letters_key<'a>(exchange: &str, destination: &str, group: &'a str) -> Cow<'a, str> {
    match exchange.strip_suffix(EXCHANGE_SUFFIX) == Some(destination) {
        true => group.into(),
        false => format!("{destination}.{group}").into(),
    }
}

/// Where the dead letters of a group lie, beside its queue.
pub(crate) fn letters_queue(destination: &str, group: &str) -> String {
    format!("{destination}.{group}{SUFFIX}")
}

/// One look at the dead letters of a queue.
#[derive(Debug)]
pub(crate) struct RabbitLetters {
    shared: Arc<Shared>,
    queue: Arc<str>,
    pages: Pages,
    reading: Option<Reading>,
    /// How many lay there at the beginning and were not handed over yet.
    left: u64,
    /// Since when letters are held.
    since: Instant,
    /// Read and not handed over.
    buffer: VecDeque<HeldLetter>,
    /// Handed over last, and not finished: tickets with offsets.
    current: HashMap<u64, u64>,
    /// Passed over before: how many of each offset.
    passed: HashMap<u64, u32>,
    /// Those of them that come again, since everything was given back meanwhile.
    again: HashMap<u64, u32>,
}

impl RabbitLetters {
    pub(crate) fn new(shared: Arc<Shared>, of: &LettersOf) -> Self {
        let queue = match of {
            LettersOf::Group { destination, group } => letters_queue(destination, group).into(),
            LettersOf::Place(place) => place.clone(),
        };
        Self {
            pages: Pages::new(shared.options.consuming().letter_bytes),
            shared,
            queue,
            reading: None,
            left: 0,
            since: Instant::now(),
            buffer: VecDeque::new(),
            current: HashMap::new(),
            passed: HashMap::new(),
            again: HashMap::new(),
        }
    }

    async fn some(&mut self, at_most: usize) -> Result<Option<Vec<HeldLetter>>, BinderError> {
        for offset in std::mem::take(&mut self.current).into_values() {
            *self.passed.entry(offset).or_default() += 1;
        }
        let longest = self.shared.options.consuming().longest_hold;
        if self.reading.is_some() && self.left > 0 && self.since.elapsed() >= longest {
            self.begin_again().await;
        }
        while self.buffer.is_empty() {
            if !self.read().await? {
                return Ok(None);
            }
        }
        let count = at_most.clamp(1, self.buffer.len());
        let letters: Vec<_> = self.buffer.drain(..count).collect();
        self.left = self.left.saturating_sub(letters.len() as u64);
        self.current = letters
            .iter()
            .map(|one| (one.ticket, one.position.offset()))
            .collect();
        Ok(Some(letters))
    }

    /// Gives everything back, and goes on where it was: no letter may be held for ever.
    async fn begin_again(&mut self) {
        // What was not heard comes again, as everything does.
        let _ = self.give_back().await;
        self.buffer.clear();
        self.pages.begin_again();
        self.again = self.passed.clone();
    }

    async fn give_back(&mut self) -> Result<(), BinderError> {
        let Some(mut reading) = self.reading.take() else {
            return Ok(());
        };
        let mut unseen = self.left.saturating_sub(self.buffer.len() as u64);
        while (1..=FOR_ORDER).contains(&unseen) {
            let page = reading.page(self.pages.next(unseen)).await?;
            if page.is_empty() {
                break;
            }
            unseen = unseen.saturating_sub(page.len() as u64);
        }
        reading.close().await
    }

    /// Reads a page; whether there was one.
    async fn read(&mut self) -> Result<bool, BinderError> {
        let is_first = self.reading.is_none();
        let reading = match &mut self.reading {
            Some(reading) => reading,
            none => none.insert(Reading::open(&self.shared, &self.queue).await?),
        };
        if is_first {
            self.since = Instant::now();
            if self.pages.is_new() {
                self.left = reading.found;
            }
        }
        if self.left == 0 {
            return Ok(false);
        }
        let again: u64 = self.again.values().map(|count| u64::from(*count)).sum();
        let wanted = self.left.saturating_add(again);
        let page = reading.page(self.pages.next(wanted)).await?;
        let is_end = page.is_empty();
        for letter in page {
            self.pages.saw(letter.message.size());
            let offset = letter.position.offset();
            match self.again.get_mut(&offset) {
                Some(count) if *count > 0 => *count -= 1,
                _ => self.buffer.push_back(letter),
            }
        }
        // More may have come meanwhile than lay there at the beginning; they are for the next look.
        self.buffer
            .truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        Ok(!is_end)
    }
}

impl HeldLetters for RabbitLetters {
    fn place(&self) -> &Arc<str> {
        &self.queue
    }

    fn next(&mut self, at_most: usize) -> BoxFuture<'_, Result<Option<Vec<HeldLetter>>, BinderError>> {
        Box::pin(self.some(at_most))
    }

    fn left(&self) -> u64 {
        self.left
    }

    fn finish(&mut self, tickets: Vec<u64>) -> BoxFuture<'_, Result<(), BinderError>> {
        Box::pin(async move {
            let Some(reading) = &mut self.reading else {
                return Ok(());
            };
            for ticket in tickets {
                if self.current.remove(&ticket).is_some() {
                    reading.finish(ticket).await?;
                }
            }
            Ok(())
        })
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, Result<(), BinderError>> {
        Box::pin(async move { self.give_back().await })
    }
}

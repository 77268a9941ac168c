//! Where replies of handlers go: [`Answers`].

use crate::status::{ReplyCounters, StatusBoard};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{
    Delivery, DynBinder, Outgoing, Output, PublishError, Publisher, ReplyAddress, ReplyPath, Sink,
};

/// A reply that the broker cannot take now is tried again for so long, and one that it does not answer for is waited for as
/// long. Its requester does not wait for ever, and messages behind it should not wait for a place that somebody else has named.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// A reply that is ready to be sent, and where to.
pub(crate) type Ready = (Arc<dyn Sink>, Outgoing);

/// How a subscription answers requests.
#[derive(Debug, Clone)]
pub(crate) struct Answers {
    path: Option<Arc<dyn ReplyPath>>,
    sink: Arc<dyn Sink>,
    board: Arc<StatusBoard>,
}

/// Why a reply did not arrive, where that is nobody's fault here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Undelivered {
    /// There is no such address any more, or this service may not write there.
    Gone,
    /// The broker did not take it in time.
    NotTaken,
}

impl Undelivered {
    /// Of a publish that failed; none if the reply itself is at fault.
    fn of(error: &PublishError) -> Option<Self> {
        match error {
            PublishError::UnknownDestination { .. }
            | PublishError::UnknownPartition { .. }
            | PublishError::Unauthorized { .. }
            | PublishError::Unroutable { .. }
            | PublishError::Unsupported { .. } => Some(Self::Gone),
            error if !error.is_permanent() => Some(Self::NotTaken),
            _ => None,
        }
    }
}

/// Whether the same reply is published again: not where it took too long already.
pub(crate) fn is_tried_again(error: &PublishError) -> bool {
    Undelivered::of(error) == Some(Undelivered::NotTaken) && !matches!(error, PublishError::Timeout { .. })
}

impl ReplyCounters {
    /// Counts what became of a reply. None if it is at fault itself.
    pub(crate) fn count<T>(&self, result: &Result<T, PublishError>) -> Option<()> {
        let counter = match result.as_ref().map_err(Undelivered::of) {
            Ok(_) => &self.sent,
            Err(Some(Undelivered::Gone)) => &self.orphaned,
            Err(Some(Undelivered::NotTaken)) => &self.not_taken,
            Err(None) => return None,
        };
        counter.add(1);
        if let Err(error) = result {
            tracing::debug!(%error, "a reply reaches nobody");
        }
        Some(())
    }
}

impl Answers {
    pub(crate) fn new(binder: &dyn DynBinder, board: Arc<StatusBoard>) -> Self {
        let path = binder.reply_path();
        let sink = path.as_ref().map_or_else(|| binder.sink(), |path| path.sink());
        Self { path, sink, board }
    }

    /// The reply to a request, ready to be sent; none if it goes nowhere.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn prepare(
        &self,
        publisher: &Publisher,
        output: Output,
        request: Option<&Delivery>,
        id: Option<&str>,
    ) -> Result<Option<Ready>, PublishError> {
        let Some((request, address)) = request.and_then(|one| Some((one, self.address(publisher, one)?)))
        else {
            return Ok(None);
        };
        let outgoing = publisher.prepare_reply(&address, output, request, id)?;
        Ok(Some((self.sink(publisher), outgoing)))
    }

    /// What tells the requester that its request was given up; none if nobody asks.
    pub(crate) fn refusal(
        &self,
        publisher: &Publisher,
        request: &Delivery,
        reason: &str,
        said: &str,
        id: Option<&str>,
    ) -> Option<Ready> {
        ReplyAddress::read(request.headers())?;
        let address = self.address(publisher, request)?;
        let refusal = publisher.prepare_refusal(&address, request, (reason, said), id);
        // It has a handful of short headers: there is room for them.
        Some((self.sink(publisher), refusal.ok()?))
    }

    /// Where a reply goes, if it goes anywhere.
    fn address(&self, publisher: &Publisher, request: &Delivery) -> Option<ReplyAddress> {
        let replies = &self.board.replies;
        let Some(address) = ReplyAddress::read(request.headers()) else {
            replies.unaddressed.add(1);
            return None;
        };
        let name = &*address.destination;
        let is_given_out = self.path.as_ref().is_some_and(|path| path.is_given_out(name));
        if !is_given_out && !publisher.routes().reply_rule().allows(name) {
            replies.refused.add(1);
            let name: String = name.chars().take(100).flat_map(char::escape_default).collect();
            tracing::warn!(subscription = %request.context().subscription, position = %request.position(),
                "a request wants its reply in \"{name}\", which is no place for replies; see app.reply_addresses");
            return None;
        }
        Some(address)
    }

    /// Part of the transaction, if there is one.
    fn sink(&self, publisher: &Publisher) -> Arc<dyn Sink> {
        publisher.diverted().unwrap_or(&self.sink).clone()
    }
}

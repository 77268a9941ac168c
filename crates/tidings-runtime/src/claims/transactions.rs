//! Large payloads in transactions: what is in line for the claim store is part of the transaction that is committed.

use super::ClaimRule;
use super::sink::ClaimSink;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tidings_core::{
    BoxFuture, DynSource, PublishError, Sink, SinkTransaction, SoleSink, SourceError, SourceLayer,
    Transaction,
};
use tokio::runtime::Handle;

/// The source of an exactly-once subscription, whose effects pass the claim store.
pub(super) struct ClaimSource {
    inner: Box<dyn DynSource>,
    /// The one outside of transactions.
    outside: Arc<ClaimSink>,
    within: Mutex<Option<Within>>,
}

/// The sink of the source's transactions, and the one before it.
type Within = (Arc<dyn Sink>, Arc<ClaimSink>);

impl ClaimSource {
    pub(super) fn new(inner: Box<dyn DynSource>, outside: Arc<ClaimSink>) -> Self {
        Self {
            inner,
            outside,
            within: Mutex::default(),
        }
    }

    /// The same as long as the source's own sink is the same: what is in line is not forgotten when lanes are added.
    fn before(&self, sink: Arc<dyn Sink>) -> Arc<ClaimSink> {
        let mut within = self.within.lock().unwrap_or_else(PoisonError::into_inner);
        match &*within {
            Some((inner, before)) if Arc::ptr_eq(inner, &sink) => before.clone(),
            _ => {
                let before = Arc::new(self.outside.over(sink.clone()));
                *within = Some((sink, before.clone()));
                before
            }
        }
    }

    fn current(&self) -> Option<Arc<ClaimSink>> {
        let within = self.within.lock().unwrap_or_else(PoisonError::into_inner);
        within.as_ref().map(|(_, before)| before.clone())
    }
}

impl SourceLayer for ClaimSource {
    fn inner(&self) -> &dyn DynSource {
        &*self.inner
    }

    fn inner_mut(&mut self) -> &mut dyn DynSource {
        &mut *self.inner
    }

    /// What is in line is published first: it is part of the transaction, also where nobody has awaited it.
    fn commit(&mut self) -> BoxFuture<'_, Result<(), SourceError>> {
        let before = self.current();
        Box::pin(async move {
            if let Some(before) = before {
                before.all_in_line_published().await;
                let refusal = before.take_refusal();
                if let Some(error) = refusal.filter(|error| !error.is_permanent()) {
                    self.inner.abort();
                    return Err(SourceError::Aborted {
                        reason: error.to_string(),
                    });
                }
            }
            self.inner.commit().await
        })
    }

    fn transaction(&self) -> Option<Transaction> {
        let mut transaction = self.inner.transaction()?;
        transaction.sink = self.before(transaction.sink);
        Some(transaction)
    }
}

/// A transaction whose large payloads are put aside.
pub(super) struct ClaimTransaction {
    inner: Box<dyn SinkTransaction>,
    sink: Arc<ClaimSink>,
    /// A message that is refused by its own fault leaves it to the others: whoever publishes awaits each.
    spares_refusals: bool,
}

type Rules = Arc<HashMap<Arc<str>, ClaimRule>>;

impl ClaimTransaction {
    pub(super) fn begun(
        inner: Box<dyn SinkTransaction>,
        rules: &Rules,
        runtime: Handle,
    ) -> Box<dyn SinkTransaction> {
        let sink = Arc::new(ClaimSink::before(inner.sink(), rules, runtime));
        Box::new(Self {
            inner,
            sink,
            spares_refusals: false,
        })
    }

    /// As [`begun`](Self::begun), of somebody who publishes as the only one.
    fn sole(inner: Box<dyn SinkTransaction>, rules: &Rules, runtime: Handle) -> Box<dyn SinkTransaction> {
        Box::new(Self {
            sink: Arc::new(ClaimSink::before(inner.sink(), rules, runtime)),
            inner,
            spares_refusals: true,
        })
    }
}

/// A name that one publisher has at a time, of what puts large payloads aside.
#[derive(Debug)]
pub(super) struct ClaimSole {
    pub(super) inner: Box<dyn SoleSink>,
    pub(super) rules: Rules,
    pub(super) runtime: Handle,
}

impl SoleSink for ClaimSole {
    fn begin(&mut self) -> Result<Box<dyn SinkTransaction>, PublishError> {
        let begun = self.inner.begin()?;
        Ok(ClaimTransaction::sole(begun, &self.rules, self.runtime.clone()))
    }
}

impl SinkTransaction for ClaimTransaction {
    fn sink(&self) -> Arc<dyn Sink> {
        self.sink.clone()
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), PublishError>> {
        Box::pin(async move {
            self.sink.all_in_line_published().await;
            // Dropped, it is given up.
            let refusal = self.sink.take_refusal();
            let spared = |error: &PublishError| self.spares_refusals && error.is_permanent();
            refusal.filter(|error| !spared(error)).map_or(Ok(()), Err)?;
            self.inner.commit().await
        })
    }
}

impl fmt::Debug for ClaimTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimTransaction")
            .field("inner", &self.inner)
            .finish()
    }
}

//! What a broker without a history is asked for all the same: [`Witness`], which stands in front of it in the suite.
//!
//! A queue broker forgets what was handled, and cannot say what it holds. The cases need both, as a means: to see what was
//! published, and whether everything is finished. So a group of the suite's own reads each destination through the driver
//! like any other, and keeps what it gets; and every message has a stamp on its way, by which it is known which of them a
//! group has finished. A message that the driver says is kept, and that does not come, ends the case.
//!
//! What it answers to [`positions`](BinderLayer::positions) is about messages, not about offsets: `end` is how many there
//! were for the group, `watermark` how many of them are finished, wherever they lie.

mod book;
mod letters;
mod log;
mod sink;
mod source;

pub(crate) use book::Book;
use book::Share;

use crate::harness::Harness;
use letters::UnstampedLetters;
use sink::StampingSink;
use source::NotedSource;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tidings_core::{
    BinderError, BinderLayer, BoxFuture, DestinationInfo, DestinationRole, DestinationSpec, DynBinder,
    DynSource, HeldLetters, Layered, LayeredSource, LettersOf, PartitionPosition, Progress, RecordBatch,
    Sink, SourceSpec,
};

/// The group by which the witness reads.
const GROUP: &str = "witness";
/// How soon a broker is asked again.
const AGAIN: Duration = Duration::from_millis(10);
/// The header with a message's stamp.
const STAMP: &str = "suite-stamp";

/// A broker without a history, and what the suite remembers of it.
pub(crate) struct Witness {
    inner: Arc<dyn DynBinder>,
    harness: Arc<dyn Harness>,
    book: Arc<Book>,
    closed: AtomicBool,
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl Witness {
    /// The same broker, watched.
    pub(crate) fn over(
        inner: Arc<dyn DynBinder>,
        harness: Arc<dyn Harness>,
        book: Arc<Book>,
    ) -> Arc<dyn DynBinder> {
        Arc::new(Layered(Self {
            inner,
            harness,
            book,
            closed: AtomicBool::new(false),
        }))
    }

    async fn position(
        &self,
        destination: &str,
        group: Option<&str>,
    ) -> Result<PartitionPosition, BinderError> {
        if self.closed.load(Relaxed) {
            return Err(BinderError::Closed);
        }
        let of = |end, progress| PartitionPosition {
            partition: 0,
            first: 0,
            end,
            progress,
        };
        let Some(group) = group else {
            return Ok(of(self.book.read_all(&self.inner, destination).await?, None));
        };
        let Some(share) = self.share(destination, group).await else {
            return Ok(of(0, None));
        };
        let progress = Progress {
            watermark: share.all.saturating_sub(share.unfinished),
            ..Progress::default()
        };
        Ok(of(share.all, Some(progress)))
    }
}

impl Witness {
    /// How far a group is: while it has members, as they have reported it; else as the broker knows it.
    async fn share(&self, destination: &str, group: &str) -> Option<Share> {
        loop {
            let share = self.book.share(destination, group)?;
            if share.members > 0 {
                return Some(share);
            }
            if let Some(unfinished) = self.harness.unfinished(destination, group).await {
                return Some(Share { unfinished, ..share });
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

impl BinderLayer for Witness {
    fn inner(&self) -> &Arc<dyn DynBinder> {
        &self.inner
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(StampingSink {
            inner: self.inner.sink(),
            book: self.book.clone(),
        })
    }

    fn prepare(&self, destination: DestinationSpec) -> BoxFuture<'_, Result<DestinationInfo, BinderError>> {
        Box::pin(async move {
            let (name, role) = (destination.name.clone(), destination.role);
            let prepared = self.inner.prepare(destination).await?;
            match role {
                // Of its messages there is one reader; they are known as they are sent.
                DestinationRole::Retry => self.book.keeps_what_is_sent(&name),
                _ => self.book.reads(&self.inner, &name).await?,
            }
            Ok(prepared)
        })
    }

    fn subscribe(&self, spec: SourceSpec) -> BoxFuture<'_, Result<Box<dyn DynSource>, BinderError>> {
        Box::pin(async move {
            let inner = self.inner.subscribe(spec.clone()).await?;
            let source = NotedSource::new(inner, &spec, self.book.clone());
            Ok(Box::new(LayeredSource(source)) as Box<dyn DynSource>)
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BinderError>> {
        self.closed.store(true, Relaxed);
        self.inner.close()
    }

    fn hold_letters(&self, of: &LettersOf) -> Option<Box<dyn HeldLetters>> {
        let held = self.inner.hold_letters(of)?;
        Some(Box::new(UnstampedLetters(held)))
    }

    fn positions<'a>(
        &'a self,
        destination: &'a str,
        group: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<PartitionPosition>, BinderError>> {
        Box::pin(async move { Ok(vec![self.position(destination, group).await?]) })
    }

    fn read<'a>(
        &'a self,
        destination: &'a str,
        _partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<RecordBatch, BinderError>> {
        Box::pin(async move {
            self.book.read_all(&self.inner, destination).await?;
            Ok(self.book.messages(destination, from, max_bytes))
        })
    }
}

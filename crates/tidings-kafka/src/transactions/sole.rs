//! A name that one producer has at a time: [`Sole`].

use super::pool::{Ended, Pool, Pooled};
use crate::lock::lock;
use crate::sink::Use;
use std::fmt;
use std::sync::{Arc, Mutex};
use tidings_core::{BoxFuture, PublishError, Sink, SinkTransaction, SoleSink};
use tokio::time::Instant;

/// A transactional producer whose id is made of the name. To get the right to an id is to fence all others that had it.
///
/// Its producer is used until a transaction fails. A new one under the same id would fence whoever has the name by then, and
/// whether this one may still have it is not for it to say.
pub(crate) struct Sole {
    id: String,
    free: Arc<Mutex<Option<Pooled>>>,
}

impl Sole {
    /// Takes the name.
    pub(crate) async fn take(pool: Arc<Pool>, name: String) -> Result<Box<dyn SoleSink>, PublishError> {
        let id = match pool.binder() {
            Some(binder) => format!("tidings-sole-{name}:{binder}"),
            None => format!("tidings-sole-{name}"),
        };
        // A message that is refused by its own fault leaves the transaction to the others.
        let mut pooled = pool.producer(&id, Use::Subscription)?;
        let patience = pool.patience();
        pooled.is_ready(Instant::now() + patience, patience).await?;
        Ok(Box::new(Self {
            id,
            free: Arc::new(Mutex::new(Some(pooled))),
        }))
    }
}

impl SoleSink for Sole {
    fn begin(&mut self) -> Result<Box<dyn SinkTransaction>, PublishError> {
        let pooled = lock(&self.free).take().ok_or(PublishError::Closed)?;
        pooled.transactor.sink().admit();
        Ok(Box::new(Opened {
            pooled: Some(pooled),
            free: self.free.clone(),
        }))
    }
}

impl fmt::Debug for Sole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sole")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A transaction that is open. Dropped, it is given up together with its producer.
struct Opened {
    pooled: Option<Pooled>,
    free: Arc<Mutex<Option<Pooled>>>,
}

impl SinkTransaction for Opened {
    fn sink(&self) -> Arc<dyn Sink> {
        match &self.pooled {
            Some(pooled) => pooled.transactor.sink().sink(),
            // It is taken by the commit only, which takes all of this.
            None => Arc::new(Ended),
        }
    }

    fn commit(mut self: Box<Self>) -> BoxFuture<'static, Result<(), PublishError>> {
        Box::pin(async move {
            let Some(pooled) = &mut self.pooled else {
                return Err(PublishError::Closed);
            };
            pooled.commit().await?;
            *lock(&self.free) = self.pooled.take();
            Ok(())
        })
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

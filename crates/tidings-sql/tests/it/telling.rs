//! A broker of a test's own that can tell publishers apart: [`Telling`].

use crate::fake::Fake;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tidings_core::{BoxFuture, Outgoing, PublishError, Receipt, Sink, SinkTransaction, SoleSink};

type OnCommit = dyn Fn(&[Outgoing]) -> BoxFuture<'static, Result<(), PublishError>> + Send + Sync;
type OnTake = dyn Fn(u64) -> BoxFuture<'static, ()> + Send + Sync;

/// A broker that tells publishers apart. What is in a transaction is [given](Fake::given) with the commit.
#[derive(Clone)]
pub(crate) struct Telling {
    pub(crate) fake: Arc<Fake>,
    pub(crate) takes: Arc<AtomicU64>,
    /// How many are held.
    pub(crate) rights: Arc<AtomicU64>,
    pub(crate) given_up: Arc<AtomicU64>,
    pub(crate) mood: Arc<dyn Fn(&Outgoing) -> Receipt + Send + Sync>,
    pub(crate) on_take: Arc<OnTake>,
    /// What a commit of these is answered with.
    pub(crate) on_commit: Arc<OnCommit>,
}

impl Telling {
    pub(crate) fn new(mood: impl Fn(&Outgoing) -> Receipt + Send + Sync + 'static) -> Self {
        Self {
            fake: Fake::new(),
            takes: Arc::default(),
            rights: Arc::default(),
            given_up: Arc::default(),
            mood: Arc::new(mood),
            on_take: Arc::new(|_| Box::pin(std::future::ready(()))),
            on_commit: Arc::new(|_| Box::pin(std::future::ready(Ok(())))),
        }
    }
}

impl fmt::Debug for Telling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Telling")
    }
}

impl Sink for Telling {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        panic!("outside of a transaction: {outgoing:?}");
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        self.fake.flush()
    }

    fn can_be_sole(&self) -> bool {
        true
    }

    fn sole(&self, _name: &str) -> BoxFuture<'static, Result<Box<dyn SoleSink>, PublishError>> {
        let (this, take) = (self.clone(), self.takes.fetch_add(1, Ordering::AcqRel) + 1);
        Box::pin(async move {
            (this.on_take)(take).await;
            this.rights.fetch_add(1, Ordering::AcqRel);
            Ok(Box::new(Right(this)) as Box<dyn SoleSink>)
        })
    }
}

/// Of one destination, or of whatever has the name.
#[derive(Debug)]
struct Right(Telling);

impl Drop for Right {
    fn drop(&mut self) {
        self.0.rights.fetch_sub(1, Ordering::AcqRel);
    }
}

impl SoleSink for Right {
    fn begin(&mut self) -> Result<Box<dyn SinkTransaction>, PublishError> {
        Ok(Box::new(Open {
            of: self.0.clone(),
            within: Arc::default(),
            committed: false,
        }))
    }
}

#[derive(Debug)]
struct Open {
    of: Telling,
    within: Arc<Within>,
    committed: bool,
}

/// What was taken into a transaction, and the mood.
#[derive(Debug, Default)]
struct Within(Mutex<Vec<Outgoing>>, Mutex<Option<Telling>>);

impl Sink for Within {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        let receipt = self.1.lock().unwrap().as_ref().map(|of| (of.mood)(&outgoing));
        self.0.lock().unwrap().push(outgoing);
        receipt.unwrap()
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl SinkTransaction for Open {
    fn sink(&self) -> Arc<dyn Sink> {
        *self.within.1.lock().unwrap() = Some(self.of.clone());
        self.within.clone()
    }

    fn commit(mut self: Box<Self>) -> BoxFuture<'static, Result<(), PublishError>> {
        Box::pin(async move {
            let within = std::mem::take(&mut *self.within.0.lock().unwrap());
            (self.of.on_commit)(&within).await?;
            self.committed = true;
            for outgoing in within {
                drop(self.of.fake.publish(outgoing));
            }
            Ok(())
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.committed {
            self.of.given_up.fetch_add(1, Ordering::AcqRel);
        }
    }
}

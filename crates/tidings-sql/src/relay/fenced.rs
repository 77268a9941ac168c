//! Sending as the only one: [`Fence`].

use super::verdicts::is_own_fault;
use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::locks::SqlLocks;
use crate::store::SqlStore;
use std::fmt;
use std::sync::Arc;
use tidings_core::{
    Lease, LockStore, Outgoing, Position, PublishError, Receipt, ReceiptSender, Sink, SoleSink,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

type Answer = Result<Position, PublishError>;

/// The lease in whose name is sent.
pub(crate) struct Fence<DB: Dialect> {
    store: SqlStore<DB>,
    locks: Arc<SqlLocks<DB>>,
    name: Arc<str>,
    token: u64,
}

impl<DB: Dialect> Fence<DB> {
    pub(crate) fn new(store: &SqlStore<DB>, lease: &Lease) -> Self {
        Self {
            store: store.clone(),
            locks: Arc::new(store.locks()),
            name: lease.name().clone(),
            token: lease.token(),
        }
    }

    /// Sends to that broker as the only one, for as long as what is returned is there.
    pub(crate) fn before(&self, sink: Arc<dyn Sink>) -> Fenced {
        let (queue, batches) = unbounded_channel();
        let sender = Sender {
            sink,
            right: None,
            fence: Self {
                store: self.store.clone(),
                locks: self.locks.clone(),
                name: self.name.clone(),
                token: self.token,
            },
        };
        Fenced {
            queue,
            task: tokio::spawn(sender.run(batches)).abort_handle(),
        }
    }

    /// # Errors
    /// The lease is over, or nobody knows.
    async fn holds(&self) -> Result<(), PublishError> {
        match self.locks.check(&self.name, self.token).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(unavailable(format!("the lease \"{}\" is over", self.name))),
            Err(error) => Err(unavailable(error.to_string())),
        }
    }

    /// Takes the right to send to that broker from whoever had it.
    async fn take(&self, sink: &dyn Sink) -> Result<Box<dyn SoleSink>, PublishError> {
        // Not for the order, but for the peace: who has the lease is to keep its right.
        self.holds().await?;
        let name = self.store.identity().await;
        let name = name.map_err(|error| unavailable(error.to_string()))?;
        let right = sink.sole(&name).await.map_err(|error| {
            unavailable(format!(
                "the right to send as the only one, \"{name}\", cannot be taken (it can be done without it: sql.relay.fence = \
                 false): {error}"
            ))
        })?;
        // Only now: who gets the lease later takes the right later, and from then on nothing of this one arrives.
        self.holds().await?;
        Ok(right)
    }
}

/// By which this outbox is told from all others.
const IDENTITY: &str = "SELECT id FROM {t}identity";

impl<DB: Dialect> SqlStore<DB> {
    async fn identity(&self) -> Result<String, SqlError> {
        let doing = "looking for the identity of the outbox";
        let rows = self.read(doing, &self.sql(IDENTITY), &[]).await?;
        let row = rows.first().ok_or(sqlx::Error::RowNotFound);
        let id = row.and_then(|row| DB::text(row, 0).map(str::to_owned));
        id.map_err(|error| self.explain(doing, error))
    }
}

/// A broker that takes messages of the holder of the lease only. One batch is to be under way at a time: what stands behind a
/// message that was not taken must not arrive before it.
pub(crate) struct Fenced {
    queue: UnboundedSender<Batch>,
    task: AbortHandle,
}

struct Batch {
    outgoing: Vec<Outgoing>,
    receipts: Vec<ReceiptSender>,
}

impl Fenced {
    pub(crate) fn publish_all(&self, outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        let (senders, receipts) = outgoing.iter().map(|_| Receipt::pair()).unzip();
        let batch = Batch {
            outgoing,
            receipts: senders,
        };
        // If the task is gone, the senders are dropped, and every receipt says that it is closed.
        let _ = self.queue.send(batch);
        receipts
    }
}

impl Drop for Fenced {
    /// What is open is given up.
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Fenced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fenced").finish_non_exhaustive()
    }
}

/// Why nothing of a transaction was taken.
enum Failed {
    /// It could not be begun.
    NotBegun(PublishError),
    /// What is said of each message.
    GivenUp(Vec<Answer>),
}

struct Sender<DB: Dialect> {
    sink: Arc<dyn Sink>,
    /// None before the first message, and after a failure.
    right: Option<Box<dyn SoleSink>>,
    fence: Fence<DB>,
}

impl<DB: Dialect> Sender<DB> {
    async fn run(mut self, mut batches: UnboundedReceiver<Batch>) {
        while let Some(Batch {
            outgoing,
            mut receipts,
        }) = batches.recv().await
        {
            // Nobody waits after a time: then it is sent again, and this one is given up.
            let answers = tokio::select! {
                biased;
                () = given_up(&mut receipts) => continue,
                answers = self.send(outgoing) => answers,
            };
            for (receipt, answer) in receipts.into_iter().zip(answers) {
                receipt.resolve(answer);
            }
        }
    }

    /// All in one transaction; if that fails, each destination has one of its own, so that a bad one does not hold up the
    /// others.
    async fn send(&mut self, outgoing: Vec<Outgoing>) -> Vec<Answer> {
        let mut answers = match self.transact(outgoing.clone()).await {
            Ok(answers) => return answers,
            Err(Failed::NotBegun(error)) => return outgoing.iter().map(|_| Err(error.clone())).collect(),
            Err(Failed::GivenUp(answers)) => answers,
        };
        let destinations = destinations(&outgoing);
        let splits = destinations.len() > 1;
        for destination in destinations {
            let goes_there = |one: &Outgoing| one.destination == destination;
            if splits {
                self.again(&outgoing, &mut answers, |one, _| goes_there(one))
                    .await;
            }
            // A message that is refused by its own fault may take the transaction with it, which is none of the others.
            let theirs = outgoing.iter().zip(&answers).filter(|(one, _)| goes_there(one));
            let count = |of: fn(&Answer) -> bool| theirs.clone().filter(|(_, answer)| of(answer)).count();
            if count(is_refused) > 0 && count(is_refused) + count(Result::is_ok) < theirs.clone().count() {
                self.again(&outgoing, &mut answers, |one, answer| {
                    goes_there(one) && !is_refused(answer)
                })
                .await;
            }
        }
        answers
    }

    /// Some of them once more, in a transaction of their own; what is said of them then.
    async fn again(
        &mut self,
        outgoing: &[Outgoing],
        answers: &mut [Answer],
        which: impl Fn(&Outgoing, &Answer) -> bool,
    ) {
        let all = outgoing.iter().zip(&*answers).enumerate();
        let (places, some): (Vec<usize>, Vec<Outgoing>) = all
            .filter(|(_, (one, answer))| which(one, answer))
            .map(|(place, (one, _))| (place, one.clone()))
            .unzip();
        let theirs = match self.transact(some).await {
            Ok(theirs) | Err(Failed::GivenUp(theirs)) => theirs,
            Err(Failed::NotBegun(error)) => vec![Err(error); places.len()],
        };
        for (place, answer) in places.into_iter().zip(theirs) {
            if let Some(before) = answers.get_mut(place) {
                *before = answer;
            }
        }
    }

    async fn transact(&mut self, outgoing: Vec<Outgoing>) -> Result<Vec<Answer>, Failed> {
        // Without a commit it is not to be used again.
        let mut right = match self.right.take() {
            Some(right) => right,
            None => self.fence.take(&*self.sink).await.map_err(Failed::NotBegun)?,
        };
        let transaction = right.begin().map_err(Failed::NotBegun)?;
        let mut answers = Vec::with_capacity(outgoing.len());
        for receipt in transaction.sink().publish_all(outgoing) {
            answers.push(receipt.await);
        }
        // What is refused by its own fault is for a person to decide; what stands behind it goes on.
        let mut failures = answers.iter().filter_map(|answer| answer.as_ref().err());
        let committed = match failures.find(|error| !is_own_fault(error)) {
            Some(obstacle) => Err(obstacle.clone()),
            None => transaction.commit().await,
        };
        match committed {
            Ok(()) => {
                self.right = Some(right);
                Ok(answers)
            }
            Err(error) => {
                // No fault of those that were taken, whatever the transaction's is.
                let together = |answer: Answer| answer.and_then(|_| Err(unavailable(error.to_string())));
                Err(Failed::GivenUp(answers.into_iter().map(together).collect()))
            }
        }
    }
}

/// By its own fault.
fn is_refused(answer: &Answer) -> bool {
    answer.as_ref().is_err_and(is_own_fault)
}

/// Ready when nobody waits for any of them.
async fn given_up(receipts: &mut [ReceiptSender]) {
    for receipt in receipts {
        receipt.given_up().await;
    }
}

/// Each once.
fn destinations(outgoing: &[Outgoing]) -> Vec<Arc<str>> {
    let mut all: Vec<Arc<str>> = Vec::new();
    for one in outgoing {
        if !all.contains(&one.destination) {
            all.push(one.destination.clone());
        }
    }
    all
}

fn unavailable(reason: String) -> PublishError {
    PublishError::Unavailable {
        destination: "the outbox".into(),
        reason,
    }
}

//! Transactions to one destination, by who may send there: [`Lane`].

use super::fence::{Fence, unavailable};
use super::verdicts::{ParkedKeys, is_own_fault};
use crate::dialect::Dialect;
use bytes::Bytes;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use tidings_core::{Outgoing, Position, PublishError, ReceiptSender, Sink, SoleSink};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout};

type Answer = Result<Position, PublishError>;

/// Messages to one destination, and who waits for the answers.
pub(super) type Batch = VecDeque<(Outgoing, ReceiptSender)>;

/// Sends to one destination, a transaction after the other.
pub(super) struct Lane<DB: Dialect> {
    fence: Fence<DB>,
    sink: Arc<dyn Sink>,
    destination: Arc<str>,
    parked_keys: ParkedKeys,
    /// None before the first message, after a failure, and when it was not used for a while.
    right: Option<Box<dyn SoleSink>>,
    /// So many messages are in a transaction at most: half of what failed, and after a while twice what was taken.
    most: usize,
    grows_at: Instant,
}

/// To try whether more is taken at once costs about this part of the time.
const TRIES: u32 = 10;

impl<DB: Dialect> Lane<DB> {
    pub(super) fn new(
        fence: Fence<DB>,
        sink: Arc<dyn Sink>,
        destination: Arc<str>,
        parked_keys: ParkedKeys,
    ) -> Self {
        Self {
            fence,
            sink,
            destination,
            parked_keys,
            right: None,
            most: usize::MAX,
            grows_at: Instant::now(),
        }
    }

    pub(super) async fn run(mut self, mut batches: UnboundedReceiver<Batch>) {
        loop {
            let next = match self.right {
                Some(_) => timeout(self.fence.idle(), batches.recv()).await,
                None => Ok(batches.recv().await),
            };
            match next {
                Ok(Some(batch)) => self.send(batch).await,
                Ok(None) => return,
                Err(_) => self.right = None,
            }
        }
    }

    /// Transaction by transaction; what stands behind one that failed is not sent.
    async fn send(&mut self, mut batch: Batch) {
        while !batch.is_empty() {
            let began = Instant::now();
            let count = batch.len().min(self.most);
            let (outgoing, mut receipts): (Vec<_>, Vec<_>) = batch.drain(..count).unzip();
            let answers = tokio::select! {
                biased;
                // Nobody waits after a time: then it is sent again, and this one is given up.
                () = given_up(&mut receipts) => None,
                answers = self.transact_sparing(&outgoing) => Some(answers),
            };
            let obstacle = match &answers {
                Some(answers) => answers.iter().find_map(|answer| self.obstacle(answer)),
                None => Some(unavailable("it was not answered in time".into())),
            };
            for (receipt, answer) in receipts.into_iter().zip(answers.into_iter().flatten()) {
                receipt.resolve(answer);
            }
            let Some(obstacle) = obstacle else {
                if Instant::now() >= self.grows_at {
                    self.most = self.most.max(count.saturating_mul(2));
                }
                continue;
            };
            // It may have been too much at once: for its time, a quota, a buffer. The next one that is too much takes as long.
            self.most = (count / 2).max(1);
            self.grows_at = Instant::now() + began.elapsed() * TRIES;
            for (_, receipt) in batch.drain(..) {
                receipt.resolve(Err(obstacle.clone()));
            }
        }
    }

    /// Why what stands behind that message is not to be sent.
    fn obstacle(&self, answer: &Answer) -> Option<PublishError> {
        let error = answer.as_ref().err()?;
        (self.parked_keys == ParkedKeys::Wait || !is_own_fault(error)).then(|| error.clone())
    }

    /// All in one transaction; and again without those that are refused by their own fault, if these take the others with them.
    async fn transact_sparing(&mut self, outgoing: &[Outgoing]) -> Vec<Answer> {
        let behind = || Err(unavailable("an earlier message of its key is parked".into()));
        let mut answers: Vec<Answer> = outgoing.iter().map(|_| behind()).collect();
        loop {
            let places = self.unrefused(outgoing, &answers);
            if places.is_empty() {
                return answers;
            }
            let some = places.iter().filter_map(|place| outgoing.get(*place).cloned());
            let Transacted { said, is_over } = self.transact(some.collect()).await;
            let is_over = is_over || !said.iter().any(is_refused);
            for (place, said) in places.into_iter().zip(said) {
                if let Some(answer) = answers.get_mut(place) {
                    *answer = said;
                }
            }
            if is_over {
                return answers;
            }
        }
    }

    /// Those that were not refused by their own fault, and do not wait behind one that was.
    fn unrefused(&self, outgoing: &[Outgoing], answers: &[Answer]) -> Vec<usize> {
        let mut parked: HashSet<&Bytes> = HashSet::new();
        let all = outgoing.iter().zip(answers).enumerate();
        let open = all.filter(|(_, (one, answer))| {
            let key = one.message.key();
            if is_refused(answer) {
                parked.extend(key.filter(|_| self.parked_keys == ParkedKeys::Wait));
                return false;
            }
            !key.is_some_and(|key| parked.contains(key))
        });
        open.map(|(place, _)| place).collect()
    }

    async fn transact(&mut self, outgoing: Vec<Outgoing>) -> Transacted {
        let count = outgoing.len();
        let not_begun = |error: PublishError| Transacted {
            said: vec![Err(error); count],
            is_over: true,
        };
        // Without a commit it is not to be used again.
        let mut right = match self.right.take() {
            Some(right) => right,
            None => match self.fence.take(&*self.sink, &self.destination).await {
                Ok(right) => right,
                Err(error) => return not_begun(error),
            },
        };
        let transaction = match right.begin() {
            Ok(transaction) => transaction,
            Err(error) => return not_begun(error),
        };
        let mut said = Vec::with_capacity(count);
        for receipt in transaction.sink().publish_all(outgoing) {
            said.push(receipt.await);
        }
        // What is refused by its own fault is for a person to decide; what stands behind it goes on, if it may.
        let committed = match said.iter().find_map(|answer| self.obstacle(answer)) {
            Some(obstacle) => Err(obstacle),
            None => transaction.commit().await,
        };
        let is_over = committed.is_ok();
        if let Err(error) = committed {
            // No fault of those that were taken, whatever the transaction's is.
            let reason = error.to_string();
            for answer in said.iter_mut().filter(|answer| answer.is_ok()) {
                *answer = Err(unavailable(reason.clone()));
            }
        } else {
            self.right = Some(right);
        }
        Transacted { said, is_over }
    }
}

/// What came of a transaction.
struct Transacted {
    /// Of each message.
    said: Vec<Answer>,
    /// Whether it was committed, or could not be begun: without those that were refused it would be no other.
    is_over: bool,
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

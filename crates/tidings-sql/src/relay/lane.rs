//! Transactions to one destination, by who may send there: [`Lane`].

use super::fence::{Fence, unavailable};
use super::most::Most;
use super::verdicts::{ParkedKeys, is_own_fault};
use crate::dialect::Dialect;
use bytes::Bytes;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use tidings_core::{BoxFuture, Outgoing, Position, PublishError, ReceiptSender, Sink, SoleSink};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout};

type Answer = Result<Position, PublishError>;
type Right = Box<dyn SoleSink>;

/// Messages to one destination, and who waits for the answers.
pub(super) type Batch = VecDeque<(Outgoing, ReceiptSender)>;

/// Sends to one destination, a transaction after the other.
pub(super) struct Lane<DB: Dialect> {
    fence: Fence<DB>,
    sink: Arc<dyn Sink>,
    destination: Arc<str>,
    parked_keys: ParkedKeys,
    /// None before the first message, after a failure, and when it was not used for a while.
    right: Option<Right>,
    /// It is being taken. That may take longer than a batch is waited for, and goes on for the next one.
    taking: Option<BoxFuture<'static, Result<Right, PublishError>>>,
    most: Most,
    /// Whether the last transaction was begun.
    begun: bool,
}

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
            taking: None,
            most: Most::new(),
            begun: false,
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
        // Keys of messages that were refused, if these wait.
        let mut parked = HashSet::new();
        while !batch.is_empty() {
            let began = Instant::now();
            let count = batch.len().min(self.most.count());
            let (outgoing, mut receipts): (Vec<_>, Vec<_>) = batch.drain(..count).unzip();
            self.begun = false;
            let answers = tokio::select! {
                biased;
                // Nobody waits after a time: then it is sent again, and this one is given up.
                () = given_up(&mut receipts) => None,
                answers = self.transact_sparing(&outgoing, &parked) => Some(answers),
            };
            let obstacle = match &answers {
                Some(answers) => answers.iter().flatten().find_map(obstacle),
                None => Some(unavailable("it was not answered in time".into())),
            };
            let answers = answers.into_iter().flatten();
            for ((receipt, one), answer) in receipts.into_iter().zip(&outgoing).zip(answers) {
                if answer.as_ref().is_some_and(is_refused) {
                    parked.extend(self.keeps_back(one));
                }
                let behind = || Err(unavailable("an earlier message of its key is parked".into()));
                receipt.resolve(answer.unwrap_or_else(behind));
            }
            let Some(obstacle) = obstacle else {
                self.most.worked(count);
                continue;
            };
            if self.begun {
                self.most.failed(count, began.elapsed());
            }
            for (_, receipt) in batch.drain(..) {
                receipt.resolve(Err(obstacle.clone()));
            }
        }
    }

    /// All in one transaction; and again without those that are refused by their own fault, if these take the others with them.
    /// None for those that wait behind a parked one of their key.
    async fn transact_sparing(
        &mut self,
        outgoing: &[Outgoing],
        parked: &HashSet<Bytes>,
    ) -> Vec<Option<Answer>> {
        let mut answers: Vec<Option<Answer>> = outgoing.iter().map(|_| None).collect();
        loop {
            let places = self.open(outgoing, &mut answers, parked.clone());
            if places.is_empty() {
                return answers;
            }
            let some = places.iter().filter_map(|place| outgoing.get(*place).cloned());
            let Transacted { said, is_over } = self.transact(some.collect()).await;
            let is_over = is_over || !said.iter().any(is_refused);
            for (place, said) in places.into_iter().zip(said) {
                if let Some(answer) = answers.get_mut(place) {
                    *answer = Some(said);
                }
            }
            if is_over {
                return answers;
            }
        }
    }

    /// The places of those that were not refused by their own fault, and do not wait behind one that was.
    fn open(
        &self,
        outgoing: &[Outgoing],
        answers: &mut [Option<Answer>],
        mut parked: HashSet<Bytes>,
    ) -> Vec<usize> {
        let mut places = Vec::with_capacity(outgoing.len());
        for (place, (one, answer)) in outgoing.iter().zip(answers).enumerate() {
            if answer.as_ref().is_some_and(is_refused) {
                parked.extend(self.keeps_back(one));
            } else if one.message.key().is_some_and(|key| parked.contains(key)) {
                *answer = None;
            } else {
                places.push(place);
            }
        }
        places
    }

    /// The key that waits when this one is parked.
    fn keeps_back(&self, parked: &Outgoing) -> Option<Bytes> {
        let key = parked
            .message
            .key()
            .filter(|_| self.parked_keys == ParkedKeys::Wait);
        key.cloned()
    }

    async fn transact(&mut self, outgoing: Vec<Outgoing>) -> Transacted {
        let count = outgoing.len();
        self.begun = false;
        let not_begun = |error: PublishError| Transacted {
            said: vec![Err(error); count],
            is_over: true,
        };
        // Without a commit it is not to be used again.
        let mut right = match self.right.take() {
            Some(right) => right,
            None => match self.take().await {
                Ok(right) => right,
                Err(error) => return not_begun(error),
            },
        };
        let transaction = match right.begin() {
            Ok(transaction) => transaction,
            Err(error) => return not_begun(error),
        };
        self.begun = true;
        let mut said = Vec::with_capacity(count);
        for receipt in transaction.sink().publish_all(outgoing) {
            said.push(receipt.await);
        }
        // What is refused by its own fault is for a person to decide; what stands behind it goes on, if it may.
        let waits = self.parked_keys == ParkedKeys::Wait;
        let spoils =
            |answer: &Answer| obstacle(answer).or_else(|| answer.as_ref().err().filter(|_| waits).cloned());
        let committed = match said.iter().find_map(spoils) {
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

    /// Takes the right, or goes on with it.
    async fn take(&mut self) -> Result<Right, PublishError> {
        let (fence, sink, destination) = (&self.fence, &self.sink, &self.destination);
        let taking = self.taking.get_or_insert_with(|| {
            let (fence, sink, destination) = (fence.clone(), sink.clone(), destination.clone());
            Box::pin(async move { fence.take(&*sink, &destination).await })
        });
        let taken = taking.await;
        self.taking = None;
        taken
    }
}

/// What came of a transaction.
struct Transacted {
    /// Of each message.
    said: Vec<Answer>,
    /// Whether it was committed, or could not be begun: without those that were refused it would be no other.
    is_over: bool,
}

/// Why what stands behind that message is not to be sent: it may come again before it.
fn obstacle(answer: &Answer) -> Option<PublishError> {
    answer
        .as_ref()
        .err()
        .filter(|error| !is_own_fault(error))
        .cloned()
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

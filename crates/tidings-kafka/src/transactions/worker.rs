//! The thread that commits and gives up: [`Worker`].

use crate::background::background;
use crate::native::{GroupMetadata, List};
use crate::sink::{Failed, Producer, Transacting};
use crate::trouble::Fault;
use rdkafka::error::RDKafkaErrorCode;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// One call into librdkafka waits for so long, so that the end of the member is seen in between.
const SLICE: Duration = Duration::from_millis(500);
/// A call that is not answered after this, many times what it was given, never is.
const LOST: Duration = Duration::from_secs(5);
/// Giving up by asking the broker may take so long; then the producer is made anew, which does it too.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);
/// What a member that ends has left open is given up within this time, or by the broker.
const LAST_ABORT: Duration = Duration::from_secs(2);
/// What takes longer is told, and the same again after this time.
const AGAIN: Duration = Duration::from_secs(5);
/// The first wait before another producer is made, doubled up to the second.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A wait that nothing rings for ends after this time.
const NAP: Duration = Duration::from_millis(1);

/// Where a partition is finished to.
#[derive(Debug)]
pub(crate) struct Offset {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) metadata: String,
}

/// What a member commits, and as whom.
#[derive(Debug)]
pub(crate) struct Offsets {
    pub(crate) of: Vec<Offset>,
    pub(crate) member: GroupMetadata,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Command {
    /// Commit what is open, with these offsets.
    Commit { ticket: u64, offsets: Option<Offsets> },
    /// Give up what is open, if anything is, and be ready for the next.
    Settle { ticket: u64 },
}

/// Why a transaction is given up.
#[derive(Debug)]
pub(crate) struct GivenUp {
    pub(crate) reason: String,
    /// The broker takes less text beside an offset than it was given.
    pub(crate) is_of_text: bool,
}

impl From<&str> for GivenUp {
    fn from(reason: &str) -> Self {
        Self {
            reason: reason.to_owned(),
            is_of_text: false,
        }
    }
}

impl From<Failed> for GivenUp {
    fn from(failed: Failed) -> Self {
        Self {
            is_of_text: failed.fault.is_of_text(),
            reason: failed.to_string(),
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is committed.
    Committed,
    /// It is given up, or the broker decides. Not ready yet.
    GivenUp(GivenUp),
    /// Nothing is open, and a transaction may be begun.
    Settled,
    /// Not yet: what is in the way.
    Waiting(Fault),
}

/// Tells the owner, from the worker's thread.
pub(super) type Tell = Box<dyn Fn(u64, Outcome) + Send>;

pub(super) struct Worker {
    pub(super) sink: Transacting,
    pub(super) commands: Receiver<Command>,
    pub(super) stopped: Arc<AtomicBool>,
    pub(super) tell: Tell,
    /// The producer has its right to the id.
    pub(super) ready: bool,
    /// When trouble was told.
    pub(super) told: Option<Instant>,
}

impl Worker {
    pub(super) fn run(mut self) {
        while let Ok(command) = self.commands.recv() {
            match command {
                Command::Commit { ticket, offsets } => {
                    let outcome = match self.commit(ticket, offsets) {
                        Ok(()) => Outcome::Committed,
                        Err(given_up) => Outcome::GivenUp(given_up),
                    };
                    (self.tell)(ticket, outcome);
                }
                Command::Settle { ticket } => {
                    if self.settle(ticket) {
                        (self.tell)(ticket, Outcome::Settled);
                    }
                }
            }
            if self.is_stopped() {
                break;
            }
        }
        self.end();
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Commits what was published, with the offsets: together, or nothing of either. After an error it is given up, or
    /// it is the broker's to say what became of it; settling finds that out.
    fn commit(&mut self, ticket: u64, offsets: Option<Offsets>) -> Result<(), GivenUp> {
        if !self.ready {
            return Err("its producer is not ready".into());
        }
        const GONE: &str = "a message of it was refused, or its partitions were taken away";
        if !self.sink.end()? {
            return Err(GONE.into());
        }
        // What waits for room is part of it.
        while !self.sink.handed_over().ok_or(GONE)? {
            if self.is_stopped() || self.sink.producer().fatal().is_some() {
                return Err("its producer cannot go on".into());
            }
            std::thread::sleep(NAP);
        }
        let producer = self.sink.producer();
        if let Some(offsets) = offsets {
            self.send_offsets(ticket, offsets)?;
        }
        self.until_answered(ticket, || producer.commit(SLICE))?;
        self.sink.ended();
        Ok(())
    }

    /// Sends the offsets. A call that is lost leaves its producer behind: nothing is committed yet, and the producer that
    /// comes next gives up what this one has open.
    fn send_offsets(&mut self, ticket: u64, offsets: Offsets) -> Result<(), GivenUp> {
        let producer = self.sink.producer();
        let mut offsets = Some(offsets);
        let sent = self.until_answered(ticket, || send_in_time(&producer, &mut offsets));
        if offsets.is_none() {
            tracing::warn!(after = ?LOST, "offsets were not answered by the client; its producer is made anew");
            self.ready = false;
            self.renew(ticket);
        }
        Ok(sent?)
    }

    /// Makes sure that nothing is open and the producer is ready. False if the member ends first.
    fn settle(&mut self, ticket: u64) -> bool {
        self.sink.shut();
        if self.ready && (self.sink.is_in_doubt() || (self.sink.is_open() && !self.abort())) {
            self.ready = false;
            if self.renew(ticket).is_none() {
                return false;
            }
        }
        let mut wait = FIRST_WAIT;
        while !self.ready {
            let producer = self.sink.producer();
            match self.until_answered(ticket, || producer.init(SLICE)) {
                Ok(()) => self.ready = true,
                Err(_) if self.is_stopped() => return false,
                Err(failed) => {
                    // Another producer with this id, a missing right, or a broker without transactions.
                    self.report(ticket, &failed.fault);
                    self.pause(wait);
                    wait = (wait * 2).min(LONGEST_WAIT);
                    if self.renew(ticket).is_none() {
                        return false;
                    }
                }
            }
        }
        self.told = None;
        true
    }

    /// Gives up what is open, by asking the broker. False if that did not come to an end that is certain.
    fn abort(&self) -> bool {
        let producer = self.sink.producer();
        let until = Instant::now() + ABORT_TIMEOUT;
        loop {
            match producer.abort(SLICE) {
                Ok(()) => {
                    self.sink.ended();
                    return true;
                }
                Err(failed) if failed.goes_on && Instant::now() < until && !self.is_stopped() => {
                    std::thread::sleep(NAP);
                }
                Err(failed) => {
                    tracing::debug!(%failed, "a transaction could not be given up; its producer is made anew");
                    return false;
                }
            }
        }
    }

    /// Another producer, as often as it takes. None if the member ends first.
    fn renew(&mut self, ticket: u64) -> Option<Arc<Producer>> {
        let mut wait = FIRST_WAIT;
        while !self.is_stopped() {
            match self.sink.renew() {
                Ok(producer) => return Some(producer),
                Err(error) => {
                    let code = RDKafkaErrorCode::Fail;
                    self.report(ticket, &Fault::new(code, error.to_string()));
                    self.pause(wait);
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
        None
    }

    /// Calls until there is an answer: what goes on is called again, however long the broker is away.
    fn until_answered(
        &mut self,
        ticket: u64,
        mut call: impl FnMut() -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        let began = Instant::now();
        loop {
            match call() {
                Err(failed) if failed.goes_on && !self.is_stopped() => {
                    if began.elapsed() > AGAIN {
                        self.report(ticket, &failed.fault);
                    }
                    std::thread::sleep(NAP * 10);
                }
                answered => return answered,
            }
        }
    }

    fn report(&mut self, ticket: u64, fault: &Fault) {
        let now = Instant::now();
        if self.told.is_none_or(|told| told + AGAIN <= now) {
            self.told = Some(now);
            (self.tell)(ticket, Outcome::Waiting(fault.clone()));
        }
    }

    fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait;
        while Instant::now() < until && !self.is_stopped() {
            std::thread::sleep(wait.min(Duration::from_millis(20)));
        }
    }

    /// The member ends: what it has left open would hold up who reads what is committed.
    fn end(self) {
        self.sink.shut();
        if self.sink.is_open() && self.ready {
            let producer = self.sink.producer();
            let until = Instant::now() + LAST_ABORT;
            while let Err(failed) = producer.abort(SLICE) {
                if !failed.goes_on || Instant::now() >= until {
                    tracing::debug!(%failed, "the broker gives up what is open when its time is over");
                    break;
                }
                std::thread::sleep(NAP);
            }
        }
        self.sink.stop();
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("sink", &self.sink)
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}

/// Sends the offsets, and gives them back unless the call is lost.
///
/// librdkafka 2.12 may never answer, whatever time it is given: when a broker dies in this moment it waits for the group's
/// coordinator until the connection to any broker changes, and looks at the clock only then. So it is asked on a thread
/// of its own, which is left behind if need be.
fn send_in_time(producer: &Arc<Producer>, offsets: &mut Option<Offsets>) -> Result<(), Failed> {
    let (tell, answer) = channel();
    if let Some(offsets) = offsets.take() {
        let producer = producer.clone();
        background("tidings-kafka-offsets", move || {
            let sent = producer.send_offsets(&list(&offsets.of), &offsets.member, SLICE);
            // Whoever asked may have stopped waiting.
            let _ = tell.send((offsets, sent));
        });
    }
    let (given_back, sent) = answer.recv_timeout(LOST).map_err(|_| Failed {
        fault: Fault::new(
            RDKafkaErrorCode::OperationTimedOut,
            "the client does not answer; its producer is made anew".to_owned(),
        ),
        goes_on: false,
    })?;
    *offsets = Some(given_back);
    sent
}

fn list(offsets: &[Offset]) -> List {
    let mut list = List::new();
    for one in offsets {
        let offset = i64::try_from(one.offset).unwrap_or(i64::MAX);
        list.add_with(&one.topic, one.partition, offset, &one.metadata);
    }
    list
}

//! Sending rows as they are committed: [`Following`].

use super::connection::{Connection, Said};
use super::error::ReplicationError;
use super::flight::{Flight, UNANSWERED};
use super::landing::Landing;
use super::lsn::Lsn;
use super::options::{BehindLimit, ReplicationOptions};
use super::pgoutput::{Change, Decoder};
use super::slot::Look;
use super::snapshot::Snapshot;
use crate::outbox::rows::Row;
use crate::relay::Stop;
use crate::relay::batch::Batch;
use crate::relay::broken::Broken;
use crate::relay::leading::Leading;
use sqlx::Postgres;
use std::future::{pending, poll_fn};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// For so long a row may be the first of the table and not come, while nothing else does, or others come and go.
const LEFT_BEHIND: Duration = Duration::from_secs(5);
const OVERTAKEN: Duration = Duration::from_secs(60);

/// Why rows are not followed any more.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The relay is to stop.
    Told,
    /// The slot is too far behind.
    Behind,
    /// Something is in the way. What is in the table is sent by polling meanwhile.
    Interrupted(String),
}

/// What was seen of the slot last, if anything.
pub(crate) type Looks = watch::Receiver<Option<Look>>;

/// Sends rows as they are committed, and takes them out when they were confirmed. The server may forget a transaction when
/// everything up to it is out of the table.
pub(crate) struct Following<'a, 'l> {
    leading: &'a mut Leading<'l, Postgres>,
    options: &'a ReplicationOptions,
    connection: Connection,
    decoder: Decoder,
    /// Transactions that are not sent from here: what is left of them was found in the table.
    seen: Snapshot,
    transaction: Transaction,
    gathered: Gathered,
    flight: Flight,
    landing: Option<Landing>,
    /// Up to there everything is done with.
    done: Lsn,
    /// Whether nothing that was sent is to be left in the table.
    whole: bool,
    next_word: Instant,
    /// The first row of the table, and since when it has been that.
    oldest: (Option<i64>, Instant),
    ended: Option<Ended>,
}

/// What is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transaction {
    None,
    Ours,
    Seen,
}

/// Rows that are to be sent together.
#[derive(Default)]
struct Gathered {
    rows: Vec<Row>,
    bytes: usize,
    /// The last transaction that ends with these.
    end: Option<Lsn>,
}

enum Event {
    Told,
    Looked,
    Came(Result<(), ReplicationError>),
    Answered,
    Overdue,
    Landed(Result<(), Broken>),
    Word,
}

impl<'a, 'l> Following<'a, 'l> {
    pub(crate) fn new(
        leading: &'a mut Leading<'l, Postgres>,
        options: &'a ReplicationOptions,
        connection: Connection,
        seen: Snapshot,
    ) -> Self {
        Self {
            decoder: Decoder::new(leading.relay.store.schema()),
            leading,
            options,
            connection,
            seen,
            transaction: Transaction::None,
            gathered: Gathered::default(),
            flight: Flight::default(),
            landing: None,
            done: Lsn(0),
            whole: true,
            next_word: Instant::now(),
            oldest: (None, Instant::now()),
            ended: None,
        }
    }

    /// How far everything was done with when it ended.
    pub(crate) async fn run(mut self, stop: &mut Stop, looks: &mut Looks) -> Result<(Ended, Lsn), Broken> {
        loop {
            // Time may have passed: what is sent by two is sent twice, and out of turn by the one who came late.
            match self.leading.keep_lease().await.map_err(Broken::from) {
                Ok(()) => {}
                Err(Broken::Away(problem)) => self.interrupt(problem),
                Err(lost) => return Err(lost),
            }
            if let Err(error) = self.take_in().await {
                self.interrupt(error.to_string());
            }
            self.land();
            if self.landing.is_none()
                && let Some(ended) = self.ended.take()
            {
                // Of what it was told before there is no loss: it is sent again, and found to be done with.
                let _ = self.connection.confirm(self.done).await;
                self.connection.close().await;
                return Ok((ended, self.done));
            }
            let event = self.event(stop, looks).await;
            self.react(event, looks).await?;
        }
    }

    fn interrupt(&mut self, reason: String) {
        // The first reason is the one that explains the others.
        self.ended.get_or_insert(Ended::Interrupted(reason));
    }

    fn has_room(&self) -> bool {
        let messages = self.flight.messages() + self.gathered.rows.len();
        let bytes = self.flight.bytes() + self.gathered.bytes;
        messages < self.options.max_in_flight && bytes < self.options.max_in_flight_bytes
    }

    /// Sends what has come, as far as there is room.
    async fn take_in(&mut self) -> Result<(), ReplicationError> {
        while self.ended.is_none() && self.has_room() {
            match self.connection.said()? {
                None => break,
                Some(Said::Change(change)) => self.change(change)?,
                Some(Said::Alive { end, wants_answer }) => {
                    if self.transaction == Transaction::None {
                        self.reached(end);
                    }
                    if wants_answer {
                        self.next_word = Instant::now();
                    }
                }
            }
        }
        self.send();
        Ok(())
    }

    fn change(&mut self, change: bytes::Bytes) -> Result<(), ReplicationError> {
        let relay = self.leading.relay;
        let change = self
            .decoder
            .read(change)
            .map_err(|error| ReplicationError::Unreadable {
                place: relay.store.place().to_owned(),
                reason: error.to_string(),
            })?;
        match change {
            Change::Begin { transaction } => {
                self.transaction = match self.seen.has_seen(transaction) {
                    true => Transaction::Seen,
                    false => Transaction::Ours,
                };
            }
            Change::Row(row) if self.transaction == Transaction::Ours => {
                self.gathered.bytes += row
                    .outgoing
                    .as_ref()
                    .map_or(0, |outgoing| outgoing.message.size());
                self.gathered.rows.push(row);
                let full = self.gathered.rows.len() >= relay.options.batch;
                if full || self.gathered.bytes >= relay.options.batch_bytes {
                    self.send();
                }
            }
            Change::Row(_) | Change::Nothing => {}
            Change::Commit { end } => {
                self.transaction = Transaction::None;
                self.reached(end);
            }
        }
        Ok(())
    }

    /// When everything before is done with, everything up to there is.
    fn reached(&mut self, end: Lsn) {
        if !self.gathered.rows.is_empty() {
            self.gathered.end = Some(end);
        } else if self.flight.ends(end) {
        } else if let Some(landing) = &mut self.landing {
            landing.landed.end = Some(end);
        } else {
            self.done = self.done.max(end);
        }
    }

    fn send(&mut self) {
        if self.gathered.rows.is_empty() {
            return;
        }
        // What stands behind a message that was not taken must not arrive before it.
        self.flight.hear();
        self.heed();
        let outlet = &mut self.leading.outlet;
        if outlet.takes_one_at_a_time() && !self.flight.is_answered() {
            return;
        }
        let gathered = std::mem::take(&mut self.gathered);
        // From then on, and when the lease may be over, it is enough that they are in the table.
        if self.ended.is_some() {
            return;
        }
        let after = self.leading.relay.options.publish_timeout;
        let batch = Batch::send(outlet, gathered.rows, after);
        self.flight.add(batch, gathered.bytes);
        if let Some(end) = gathered.end {
            self.flight.ends(end);
        }
    }

    /// Ends it when something that was answered keeps its key back.
    fn heed(&mut self) {
        if let Some(reason) = self.flight.obstacle(self.leading.relay.options.parked_keys) {
            self.interrupt(reason);
        }
    }

    /// Begins to take out what was answered.
    fn land(&mut self) {
        self.heed();
        if self.ended.is_some() {
            self.hand_over();
        }
        if self.landing.is_some() {
            return;
        }
        let landed = self.flight.land();
        if landed.rows.is_empty() {
            return;
        }
        self.landing = Some(Landing::begin(self.leading, landed));
    }

    /// What is not answered is waited for elsewhere, so that nothing hangs on it; with all that was sent to its channels, since
    /// what stands behind a message of its key that is not taken stays in the table with it. Whether there was something.
    fn hand_over(&mut self) -> bool {
        let unanswered = self.flight.part();
        let is_some = !unanswered.is_empty();
        self.whole &= !is_some;
        self.leading.wait_apart(unanswered);
        is_some
    }

    async fn event(&mut self, stop: &mut Stop, looks: &mut Looks) -> Event {
        let reads = self.ended.is_none() && self.has_room();
        let Self {
            connection,
            flight,
            landing,
            next_word,
            ended,
            leading,
            ..
        } = self;
        let patience = UNANSWERED.min(leading.relay.options.publish_timeout);
        let overdue = flight.waits_since().map(|since| since + patience);
        let landed = async {
            match landing {
                Some(landing) => landing.end().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop), if ended.is_none() => Event::Told,
            Ok(()) = looks.changed(), if ended.is_none() => Event::Looked,
            landed = landed => Event::Landed(landed),
            () = poll_fn(|context| flight.poll_answers(context)) => Event::Answered,
            came = connection.fill(), if reads => Event::Came(came),
            () = sleep_until(overdue.unwrap_or_else(far)), if overdue.is_some() => Event::Overdue,
            () = sleep_until(*next_word) => Event::Word,
        }
    }

    async fn react(&mut self, event: Event, looks: &mut Looks) -> Result<(), Broken> {
        match event {
            Event::Told => self.ended = Some(Ended::Told),
            Event::Looked => self.look(*looks.borrow_and_update()),
            Event::Came(Ok(())) | Event::Answered => {}
            Event::Came(Err(error)) => self.interrupt(error.to_string()),
            Event::Overdue => {
                if self.hand_over() {
                    let reason = self.leading.not_answered();
                    self.interrupt(reason);
                }
            }
            Event::Landed(result) => {
                let Some(landing) = self.landing.take() else {
                    return Ok(());
                };
                self.flight.gone(&landing.landed);
                match result {
                    Ok(()) => self.landed(&landing),
                    Err(Broken::Away(problem)) => {
                        self.whole = false;
                        self.interrupt(problem);
                    }
                    Err(lost) => return Err(lost),
                }
            }
            Event::Word => {
                let interval = self.options.status_interval;
                self.next_word = Instant::now() + interval.min(self.leading.relay.options.lease / 3);
                if let Err(error) = self.connection.confirm(self.done).await {
                    self.interrupt(error.to_string());
                }
            }
        }
        Ok(())
    }

    fn landed(&mut self, landing: &Landing) {
        self.leading.note(&landing.landed.rows, &landing.verdicts);
        let out = landing.verdicts.done.len() + landing.verdicts.refused.len();
        self.whole &= out == landing.landed.rows.len();
        if let Some(end) = landing.landed.end.filter(|_| self.whole) {
            self.done = self.done.max(end);
        }
    }

    /// How the slot fares, and whether something lies in the table that has not come.
    fn look(&mut self, look: Option<Look>) {
        let Some(look) = look else { return };
        let beyond = look.lag.is_some_and(|lag| lag > self.options.lag_limit);
        if beyond && self.options.behind_limit == BehindLimit::Poll {
            self.ended.get_or_insert(Ended::Behind);
        }
        let now = Instant::now();
        if look.oldest != self.oldest.0 {
            self.oldest = (look.oldest, now);
        }
        let idle = self.flight.is_empty() && self.gathered.rows.is_empty();
        let patience = if idle { LEFT_BEHIND } else { OVERTAKEN };
        if let (Some(oldest), since) = self.oldest
            && now - since >= patience
            && !self.has(oldest)
        {
            self.interrupt(format!(
                "row {oldest} of the outbox did not come by replication; was the publication changed?"
            ));
        }
    }

    /// Whether that row was sent and is not taken out yet.
    fn has(&self, id: i64) -> bool {
        let landing = self.landing.iter().flat_map(|landing| &landing.landed.rows);
        let mut rows = landing.chain(&self.gathered.rows).chain(self.flight.rows());
        rows.any(|row| row.id == id)
    }
}

/// Later than anything that is waited for.
fn far() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

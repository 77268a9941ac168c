//! What all parts of a process under attack share: [`Scene`].

use super::database::TestDb;
use super::place::Place;
use super::plant::SqlPlant;
use crate::history::{Effect, Event, History, SqlEvent};
use crate::points::Points;
use crate::service::Parcel;
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tidings::Message;
use tidings_core::{Outgoing, Sink};
use tidings_sql::sqlx;
use tidings_sql::{SqlStore, Tx};

/// What a process does to itself at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// It is gone, as by `kill -9`.
    Die,
    /// It stands still, as by `kill -STOP`, until somebody wakes it.
    Freeze,
}

/// What all parts of a process under attack share. Cloning is cheap.
#[derive(Debug)]
pub(crate) struct Scene<DB: TestDb> {
    pub(super) history: Arc<History>,
    pub(super) steps: Steps,
    pub(super) plant: Option<SqlPlant>,
    pub(super) store: SqlStore<DB>,
    /// Where relays send to.
    pub(super) sink: Arc<dyn Sink>,
}

impl<DB: TestDb> Clone for Scene<DB> {
    fn clone(&self) -> Self {
        Self {
            history: self.history.clone(),
            steps: self.steps.clone(),
            plant: self.plant,
            store: self.store.clone(),
            sink: self.sink.clone(),
        }
    }
}

/// The place at which something happens to this process.
#[derive(Debug, Clone)]
pub(super) struct Steps {
    points: Points<Place>,
    act: Act,
    history: Arc<History>,
}

impl Steps {
    /// It acts at the n-th time that the place is passed; never without one.
    pub(super) fn new(armed: Option<(Place, u64, Act)>, history: Arc<History>) -> Self {
        Self {
            points: Points::new(armed.map(|(place, nth, _)| (place, nth)), history.clone()),
            act: armed.map_or(Act::Die, |(_, _, act)| act),
            history,
        }
    }

    /// The place is passed.
    pub(super) fn pass(&self, place: Place) {
        if !self.points.is_due(place) {
            return;
        }
        match self.act {
            Act::Die => self.points.die(place, None),
            Act::Freeze => {
                let kind = format!("stopped at {}, woken after its lease", place.name());
                self.history.write(Event::Sql(SqlEvent::Fault { kind }));
                // A system that forbids it leaves the process running, and the fault is none.
                let _ = kill_process(getpid(), Signal::STOP);
            }
        }
    }
}

impl<DB: TestDb> Scene<DB> {
    /// Whether that bug is planted.
    pub(super) fn has(&self, plant: SqlPlant) -> bool {
        self.plant == Some(plant)
    }

    /// Something was met that must be lived with.
    pub(super) fn met(&self, what: &str, times: usize) {
        let times = times as u64;
        let what = what.to_owned();
        self.history.write(Event::Sql(SqlEvent::Met { what, times }));
    }

    /// The work: a change of the key, which transactions of one key wait for each other by, and a row that tells of it. The
    /// event has the same to say.
    pub(super) async fn work(&self, tx: &mut Tx<DB>, id: &str, key: &str) -> Result<Message, sqlx::Error> {
        let done = self.statements(tx, id, key).await;
        if let Err(error) = &done {
            self.met(name_of(error), 1);
        }
        let effect = done?;
        let event = Parcel {
            id: effect.nonce,
            key: effect.key,
            sequence: effect.number,
        };
        let event = event.message(20);
        if self.has(SqlPlant::PublishBeforeCommit) {
            // The answer does not matter to who has forgotten that there may be none.
            drop(
                self.sink
                    .publish(Outgoing::new(super::child::PAYMENTS, event.clone())),
            );
        }
        Ok(event)
    }

    async fn statements(&self, tx: &mut Tx<DB>, id: &str, key: &str) -> Result<Effect, sqlx::Error> {
        let change = format!(
            "INSERT INTO counters VALUES ('{key}', 1) ON CONFLICT (key) DO UPDATE SET number = counters.number + 1 RETURNING number"
        );
        let number = DB::number(tx, &change).await?;
        let nonce = format!("{:016x}", fastrand::u64(..));
        let row = format!("INSERT INTO effects VALUES ('{id}', '{key}', {number}, '{nonce}')");
        DB::run(tx, &row).await?;
        Ok(Effect {
            id: id.to_owned(),
            key: key.to_owned(),
            number: number.unsigned_abs(),
            nonce,
        })
    }
}

/// What an error of a statement is called in the summary.
fn name_of(error: &sqlx::Error) -> &'static str {
    let code = error
        .as_database_error()
        .and_then(|error| error.code().map(|code| code.into_owned()));
    match code.as_deref() {
        Some("40P01") => "deadlock",
        Some("40001") => "serialization failure",
        Some(code) if code.starts_with("57P") => "statement ended by a shutdown",
        Some(_) => "statement refused",
        None => "connection lost in a statement",
    }
}

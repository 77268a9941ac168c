//! Transactions without an inbox, as requests from outside cause them: some are rolled back on purpose.

use super::child::{Order, PAYMENTS};
use super::database::TestDb;
use super::place::Place;
use super::scene::Scene;
use crate::history::{Event, SqlEvent};
use crate::service::Parcel;
use std::time::Duration;
use tidings_sql::{Outbox, OutboxError, SqlError};

/// How many of a hundred are rolled back.
const ROLLED_BACK: u8 = 20;
/// How many write at the same time.
pub(super) const WRITERS: u32 = 2;

/// Writes one transaction after the other, as long as the process lives. Whatever goes wrong, the table knows.
pub(super) async fn write<DB: TestDb>(scene: &Scene<DB>, order: &Order, writer: u32) {
    let outbox = Outbox::to_channels(&scene.store, [PAYMENTS]);
    let mut dice = fastrand::Rng::with_seed(order.seed ^ u64::from(order.incarnation * WRITERS + writer));
    for number in 0_u64.. {
        let id = format!("w-{}-{writer}-{number}", order.incarnation);
        let key = format!("k{}", dice.u64(..super::child::KEYS));
        let give_up = dice.u8(..100) < ROLLED_BACK;
        let pause = match write_one(scene, &outbox, (&id, &key), give_up).await {
            Ok(()) => Duration::from_micros(dice.u64(500..8_000)),
            Err(_) => Duration::from_millis(20),
        };
        tokio::time::sleep(pause).await;
    }
}

async fn write_one<DB: TestDb>(
    scene: &Scene<DB>,
    outbox: &Outbox<DB>,
    (id, key): (&str, &str),
    give_up: bool,
) -> Result<(), OutboxError> {
    let mut tx = scene.store.begin().await?;
    let Ok(event) = scene.work(&mut tx, id, key).await else {
        // It was noted, and the transaction goes.
        return Ok(());
    };
    let payload = event.payload().map(|payload| payload.to_vec());
    let nonce = Parcel::read(None, payload.as_deref()).id;
    outbox.send(&mut tx, PAYMENTS, event).await?;
    scene.steps.pass(Place::WriteBefore);
    if give_up {
        tx.rollback().await?;
        scene.met("rolled back on purpose", 1);
        return Ok(());
    }
    let done = tx.commit().await;
    match &done {
        Ok(()) => {
            let nonces = vec![nonce];
            scene.history.write(Event::Sql(SqlEvent::Committed { nonces }));
            scene.steps.pass(Place::WriteAfter);
        }
        Err(SqlError::Conflict { .. }) => scene.met("serialization failure", 1),
        Err(_) => scene.met("commit without an answer", 1),
    }
    Ok(done?)
}

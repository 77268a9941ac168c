//! The handlers under attack, with an inbox around each.

use super::child::{INPUTS, PAYMENTS};
use super::claims::Watched;
use super::database::TestDb;
use super::place::Place;
use super::scene::Scene;
use crate::history::{GroupFacts, Phase};
use crate::service::{Fate, Odds, Parcel};
use std::sync::Arc;
use std::time::Duration;
use tidings::{
    App, Batch, BatchOutcome, Delivery, Failure, Output, Outputs, Publisher, Retry, Service, State, millis,
    on,
};
use tidings_sql::Tx;

/// Handles one by one.
pub(super) const SINGLES: &str = "singles";
/// Handles in batches.
pub(super) const BATCHES: &str = "batches";
/// A failure of the database counts as an attempt too, and nothing is to be given up because of it.
const ATTEMPTS: u32 = 1_000;

const ODDS: Odds = Odds {
    once: 4,
    twice: 2,
    always: 0,
    for_good: 1,
    work_us: 300,
};

/// The groups, and what they owe.
pub(super) fn groups() -> Vec<GroupFacts> {
    let group = |group: &str| GroupFacts {
        group: group.to_owned(),
        topic: INPUTS.to_owned(),
        attempts: ATTEMPTS,
        output: None,
    };
    vec![group(SINGLES), group(BATCHES)]
}

/// Whose message it is.
pub(super) fn group_of(id: &str) -> &'static str {
    match id.as_bytes().last() {
        Some(b'0'..=b'3') => SINGLES,
        _ => BATCHES,
    }
}

/// Whether a message can never be handled.
pub(super) fn fails_for_good(id: &str) -> bool {
    Fate::of(group_of(id), id, &ODDS).attempt(1) == Phase::Permanent
}

/// The service.
pub(super) fn service<DB: TestDb>(scene: Scene<DB>) -> Service {
    let retry = || Retry::fixed(ATTEMPTS, millis(5)).budget(1e6, 1e6);
    let inbox = || Watched(scene.clone());
    let is_of = |group: &'static str| {
        move |delivery: &Delivery| {
            let parcel = Parcel::read(delivery.key(), delivery.payload());
            group_of(&parcel.id) == group
        }
    };
    let singles = on(INPUTS, one::<DB>)
        .group(SINGLES)
        .to(PAYMENTS)
        .concurrency(4)
        .filter(is_of(SINGLES))
        .retry(retry())
        .commit(millis(20), 200)
        .inbox(inbox());
    let batches = on(INPUTS, many::<DB>)
        .group(BATCHES)
        .to(PAYMENTS)
        .batch(24, millis(4))
        .concurrency(2)
        .filter(is_of(BATCHES))
        .retry(retry())
        .commit(millis(20), 200)
        .inbox(inbox());
    App::new("chaos")
        .channel(INPUTS, |channel| channel.partitions(2))
        .add(singles)
        .add(batches)
        .with_state(Arc::new(scene))
}

/// Half of the events are sent by hand, the others are returned.
async fn one<DB: TestDb>(
    delivery: Delivery,
    mut tx: Tx<DB>,
    publisher: Publisher,
    State(scene): State<Arc<Scene<DB>>>,
) -> Result<Option<Output>, Failure> {
    let parcel = Parcel::read(delivery.key(), delivery.payload());
    scene.steps.pass(Place::HandleBefore);
    let fate = Fate::of(SINGLES, &parcel.id, &ODDS);
    let event = scene.work(&mut tx, &parcel.id, &parcel.key).await?;
    tokio::time::sleep(fate.work).await;
    let by_hand = parcel.sequence.is_multiple_of(2);
    if by_hand {
        publisher.send(PAYMENTS, event.clone()).await?;
    }
    verdict(fate.attempt(delivery.attempt()))?;
    scene.steps.pass(Place::HandleAfter);
    Ok((!by_hand).then(|| Output::message(event)))
}

/// The items are for different keys in any order, so calls that run at once meet in deadlocks.
async fn many<DB: TestDb>(
    deliveries: Batch<Delivery>,
    mut tx: Tx<DB>,
    State(scene): State<Arc<Scene<DB>>>,
) -> Result<BatchOutcome, Failure> {
    scene.steps.pass(Place::HandleBefore);
    let mut outcome = BatchOutcome::all_handled();
    let mut outputs = Outputs::none();
    for (index, delivery) in deliveries.into_iter().enumerate() {
        let parcel = Parcel::read(delivery.key(), delivery.payload());
        let event = scene.work(&mut tx, &parcel.id, &parcel.key).await?;
        let fate = Fate::of(BATCHES, &parcel.id, &ODDS);
        match verdict(fate.attempt(delivery.attempt())) {
            Ok(()) => outputs = outputs.and(Output::message(event)),
            Err(failure) => outcome = outcome.failed(index, failure),
        }
    }
    tokio::time::sleep(Duration::from_micros(ODDS.work_us)).await;
    scene.steps.pass(Place::HandleAfter);
    Ok(outcome.with_outputs(outputs))
}

fn verdict(phase: Phase) -> Result<(), Failure> {
    match phase {
        Phase::Permanent => Err(Failure::permanent("this one never works")),
        Phase::Transient => Err(Failure::transient("this one works later")),
        Phase::Start | Phase::Ok | Phase::Dropped => Ok(()),
    }
}

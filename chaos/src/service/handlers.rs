//! The handlers of the service under attack.

use super::fate::{Fate, Odds};
use super::parcel::Parcel;
use super::world::World;
use crate::history::{GroupFacts, Phase};
use crate::plant::Plant;
use std::collections::HashSet;
use tidings::{Batch, BatchOutcome, Delivery, Failure, Output, State};

const BILLING: Odds = Odds {
    once: 6,
    twice: 8,
    always: 3,
    for_good: 3,
    work_us: 3_000,
};
const AUDIT: Odds = Odds {
    once: 3,
    twice: 0,
    always: 1,
    for_good: 2,
    work_us: 100,
};
const STATISTICS: Odds = Odds {
    once: 4,
    twice: 0,
    always: 0,
    for_good: 2,
    work_us: 1_000,
};
const LEDGER: Odds = Odds {
    once: 4,
    twice: 3,
    always: 1,
    for_good: 1,
    work_us: 2_000,
};

/// Handles with concurrency, parks, publishes a payment for each order.
pub(super) async fn charge(
    delivery: Delivery,
    State(world): State<World>,
) -> Result<Option<Output>, Failure> {
    let Some(handled) = work(&delivery, &world, &BILLING).await? else {
        return Ok(None);
    };
    let payment = Parcel {
        id: GroupFacts::output_id(&handled.id),
        ..handled
    };
    Ok(Some(Output::message(payment.message(60))))
}

/// Handles in turn.
pub(super) async fn audit(delivery: Delivery, State(world): State<World>) -> Result<(), Failure> {
    work(&delivery, &world, &AUDIT).await.map(drop)
}

/// Handles payments with concurrency.
pub(super) async fn book(delivery: Delivery, State(world): State<World>) -> Result<(), Failure> {
    work(&delivery, &world, &LEDGER).await.map(drop)
}

/// The work on one message; what was handled, if anything was.
async fn work(delivery: &Delivery, world: &World, odds: &Odds) -> Result<Option<Parcel>, Failure> {
    let begun = world.begin(std::slice::from_ref(delivery), world.call()).pop();
    let handling = begun.expect("one begins for each delivery");
    if world.has(Plant::MarkBeforeWork) && world.mark(&handling.line) {
        return Ok(None);
    }
    if world.has_every(Plant::GrowMemory, 2) {
        world.grow();
    }
    let line = &handling.line;
    let fate = Fate::of(&line.group, &line.id, odds);
    if !fate.work.is_zero() {
        tokio::time::sleep(fate.work).await;
    }
    let parcel = Parcel {
        id: line.id.clone(),
        key: line.key.clone(),
        sequence: line.sequence,
    };
    let phase = fate.attempt(line.attempt);
    handling.end(phase);
    verdict(phase).map(|()| Some(parcel))
}

fn verdict(phase: Phase) -> Result<(), Failure> {
    match phase {
        Phase::Permanent => Err(Failure::permanent("this one never works")),
        Phase::Transient => Err(Failure::transient("this one works later, or never")),
        Phase::Start | Phase::Ok | Phase::Dropped => Ok(()),
    }
}

/// Handles several at once. Behind one that failed nothing of its key counts as handled.
pub(super) async fn count(deliveries: Batch<Delivery>, State(world): State<World>) -> BatchOutcome {
    let deliveries: Vec<Delivery> = deliveries.into_iter().collect();
    let handlings = world.begin(&deliveries, world.call());
    let fates: Vec<_> = handlings
        .iter()
        .map(|handling| Fate::of(&handling.line.group, &handling.line.id, &STATISTICS))
        .collect();
    if let Some(work) = fates.iter().map(|fate| fate.work).max() {
        tokio::time::sleep(work).await;
    }
    let mut failed_keys = HashSet::new();
    let mut outcome = BatchOutcome::all_handled();
    for (index, (handling, fate)) in handlings.into_iter().zip(fates).enumerate() {
        let own = fate.attempt(handling.line.attempt);
        let phase = match failed_keys.contains(&handling.line.key) {
            true => Phase::Transient,
            false => own,
        };
        if phase == Phase::Transient {
            failed_keys.insert(handling.line.key.clone());
        }
        handling.end(phase);
        if let Err(failure) = verdict(phase) {
            outcome = outcome.failed(index, failure);
        }
    }
    outcome
}

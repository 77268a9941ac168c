//! Batch handlers in a transaction of an inbox: one claim and one commit a call.
//!
//! Nobody but the handler knows which of its statements belong to which item, and one statement may do the work of all.
//! So when items fail everything since the claim is undone, and the others are handled again in the same transaction:
//! together if the handler named those that failed, and one by one, each behind a savepoint, if that does not help.

use super::Within;
use super::call::Call;
use crate::panics::text_of;
use std::collections::HashMap;
use std::time::Duration;
use tidings_core::{BatchOutcome, Delivery, Failure, FailureKind, HandlerContext, Outgoing};

/// An item that was not handled because of another one, and costs no attempt.
const SOON: Duration = std::time::Duration::from_millis(1);

/// A batch on its way.
struct Items<'a> {
    deliveries: &'a [Delivery],
    context: &'a HandlerContext,
    /// Where the items with claims stand among the deliveries, in the order of the claims.
    places: Vec<usize>,
    /// By place.
    failures: Vec<Option<Failure>>,
}

impl Items<'_> {
    fn delivery(&self, claim: usize) -> Option<&Delivery> {
        self.deliveries.get(*self.places.get(claim)?)
    }

    fn deliveries_of(&self, claims: &[usize]) -> Vec<Delivery> {
        claims
            .iter()
            .filter_map(|claim| self.delivery(*claim))
            .cloned()
            .collect()
    }

    fn fail(&mut self, claim: usize, failure: Failure) {
        if let Some(place) = self.places.get(claim)
            && let Some(slot) = self.failures.get_mut(*place)
        {
            *slot = Some(failure);
        }
    }

    /// The same failure for several.
    fn fail_all(&mut self, claims: &[usize], failure: &Failure) {
        for claim in claims {
            self.fail(*claim, copy(Some(failure)));
        }
    }

    /// Notes what a call came to for these; those that did not fail are left.
    fn note(&mut self, claims: &[usize], failures: Vec<Option<Failure>>) -> Vec<usize> {
        let mut left = Vec::new();
        for (claim, failure) in claims.iter().zip(failures) {
            match failure {
                Some(failure) => self.fail(*claim, failure),
                None => left.push(*claim),
            }
        }
        left
    }

    fn has_failed(&self, claim: usize) -> bool {
        let place = self.places.get(claim);
        place.is_some_and(|place| self.failures.get(*place).is_some_and(Option::is_some))
    }
}

/// Whether a call that failed so would do so again at once, or wants all of its items to wait.
fn tells_of_others(failure: &Failure) -> bool {
    matches!(
        failure.kind(),
        FailureKind::Timeout
            | FailureKind::Later(_)
            | FailureKind::RetryAfter(_)
            | FailureKind::Unavailable(_)
    )
}

impl Within {
    pub(super) async fn batch(&self, deliveries: Vec<Delivery>, context: &HandlerContext) -> BatchOutcome {
        let mut items = Items {
            deliveries: &deliveries,
            context,
            places: Vec::with_capacity(deliveries.len()),
            failures: std::iter::repeat_with(|| None).take(deliveries.len()).collect(),
        };
        let mut first_of: HashMap<String, usize> = HashMap::with_capacity(deliveries.len());
        let mut ids = Vec::with_capacity(deliveries.len());
        let mut twins = Vec::new();
        for (place, delivery) in deliveries.iter().enumerate() {
            match self.inbox.id_of(delivery) {
                Err(failure) => items.failures[place] = Some(failure),
                Ok(id) => match first_of.get(&id) {
                    Some(first) => twins.push((place, *first)),
                    None => {
                        first_of.insert(id.clone(), place);
                        items.places.push(place);
                        ids.push(id);
                    }
                },
            }
        }
        if !ids.is_empty() {
            self.batch_of(ids, &mut items).await;
        }
        for (place, first) in twins {
            if items.failures[first].is_some() {
                let failure = Failure::transient("the message with the same id before it failed");
                items.failures[place] = Some(failure.with_kind(FailureKind::Unavailable(SOON)));
            } else {
                self.board.count_duplicates(1);
            }
        }
        let failed = items.failures.into_iter().enumerate();
        let failed = failed.filter_map(|(place, failure)| Some((place, failure?)));
        failed.fold(BatchOutcome::all_handled(), |outcome, (place, failure)| {
            outcome.failed(place, failure)
        })
    }

    /// Handles those that are no duplicates, and notes what fails.
    async fn batch_of(&self, ids: Vec<String>, items: &mut Items<'_>) {
        let claims: Vec<usize> = (0..ids.len()).collect();
        let mut call = match self.begin(ids).await {
            Ok(call) => call,
            Err(failure) => return items.fail_all(&claims, &failure),
        };
        let fresh: Vec<usize> = claims
            .into_iter()
            .filter(|claim| !call.is_duplicate(*claim))
            .collect();
        self.board
            .count_duplicates((items.places.len() - fresh.len()) as u64);
        let handled = if fresh.is_empty() {
            Ok(Vec::new())
        } else {
            self.handle_fresh(&mut call, &fresh, items).await
        };
        let failed: Vec<usize> = fresh
            .iter()
            .copied()
            .filter(|claim| items.has_failed(*claim))
            .collect();
        let messages = match handled {
            Ok(messages) if failed.len() < fresh.len() => messages,
            Ok(_) => return call.give_up().await,
            Err(failure) => {
                items.fail_all(&fresh, &failure);
                return call.give_up().await;
            }
        };
        if !failed.is_empty()
            && let Err(error) = call.give_back(failed).await
        {
            let failure = self.hold.failure(error);
            items.fail_all(&fresh, &failure);
            return call.give_up().await;
        }
        if let Err(failure) = self.keep(call, messages).await {
            items.fail_all(&fresh, &failure);
        }
    }

    /// All at once; without those that the handler names, if it names some; then one by one.
    ///
    /// # Errors
    /// Why none of them is handled.
    async fn handle_fresh(
        &self,
        call: &mut Call<'_>,
        fresh: &[usize],
        items: &mut Items<'_>,
    ) -> Result<Vec<Outgoing>, Failure> {
        if fresh.len() > 1 {
            call.savepoint().await.map_err(|error| self.hold.failure(error))?;
        }
        let mut left = fresh.to_vec();
        for _ in 0..2 {
            let failures = match call.handle_all(&items.deliveries_of(&left), items.context).await {
                Ok((failures, messages)) if failures.iter().all(Option::is_none) => return Ok(messages),
                Ok((failures, _)) => failures,
                Err(failure) => copies(&failure, left.len()),
            };
            let mut failed = failures.iter().flatten();
            if failures.iter().all(Option::is_some) {
                let tells = failures.iter().flatten().any(tells_of_others);
                let one = copy(failed.next());
                if left.len() == 1 || tells {
                    items.note(&left, failures);
                    return Ok(Vec::new());
                }
                // What the handler met counts: the connection may be gone because of that.
                call.undo().await.map_err(|_| one)?;
                break;
            }
            left = items.note(&left, failures);
            // What the call did for these was done together with what failed.
            call.undo().await.map_err(|error| self.hold.failure(error))?;
        }
        self.one_by_one(call, &left, items).await
    }

    async fn one_by_one(
        &self,
        call: &mut Call<'_>,
        left: &[usize],
        items: &mut Items<'_>,
    ) -> Result<Vec<Outgoing>, Failure> {
        let mut messages = Vec::new();
        for (at, claim) in left.iter().enumerate() {
            call.savepoint().await.map_err(|error| self.hold.failure(error))?;
            let failure = match call
                .handle_all(&items.deliveries_of(&[*claim]), items.context)
                .await
            {
                Ok((mut failures, published)) => match failures.pop().flatten() {
                    Some(failure) => failure,
                    None => {
                        messages.extend(published);
                        continue;
                    }
                },
                Err(failure) => failure,
            };
            if call.undo().await.is_err() {
                return Err(failure);
            }
            let too_long = failure.kind() == FailureKind::Timeout;
            items.fail(*claim, failure);
            if too_long {
                // The transaction should not last as long for each of the others.
                let rest = left.get(at + 1..).unwrap_or_default();
                let failure = Failure::transient("an item of its batch took too long");
                items.fail_all(rest, &failure.with_kind(FailureKind::Unavailable(SOON)));
                break;
            }
        }
        Ok(messages)
    }
}

/// The same failure, told again.
fn copy(failure: Option<&Failure>) -> Failure {
    failure.map_or_else(
        || Failure::transient("the batch failed"),
        |failure| Failure::transient(text_of(failure)).with_kind(failure.kind()),
    )
}

fn copies(failure: &Failure, count: usize) -> Vec<Option<Failure>> {
    std::iter::repeat_with(|| Some(copy(Some(failure))))
        .take(count)
        .collect()
}

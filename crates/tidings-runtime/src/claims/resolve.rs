//! Fetches payloads before their handler is called: [`claiming`].

use super::Claims;
use std::sync::Arc;
use tidings_core::{
    BatchOutcome, BoxFuture, Claim, ClaimError, Delivery, Failure, HandlerContext, HandlerKind,
    HandlerResult, Invoke, Message, Needs, Publishes, RecordBatch, Sequence, SequenceEnd, names,
};

/// The handler, given messages as they were published. What cannot be fetched fails before the handler is called. The
/// message that waits, is parked or dies keeps its reference; only the handler sees the payload.
///
/// Fetching is a part of handling: it counts for the timeout, and it holds a slot.
pub(crate) fn claiming(handler: Arc<dyn Invoke>, claims: Claims) -> Arc<dyn Invoke> {
    Arc::new(Claiming {
        inner: handler,
        claims,
    })
}

struct Claiming {
    inner: Arc<dyn Invoke>,
    claims: Claims,
}

fn is_claimed(delivery: &Delivery) -> bool {
    delivery.headers().find_value(names::CLAIM).is_some()
}

impl Claims {
    /// The delivery with its payload; as it is if that travelled with it.
    async fn resolve(&self, delivery: &Delivery) -> Result<Delivery, Failure> {
        if !is_claimed(delivery) {
            return Ok(delivery.clone());
        }
        let claim = delivery.header(names::CLAIM).and_then(Claim::parse);
        let claim = claim.ok_or_else(|| ClaimError::Malformed.into_failure())?;
        let fetched = self.fetch(&claim).await;
        let payload = fetched.map_err(ClaimError::into_failure)?;
        let mut message: Message = delivery.message().with_payload(Some(payload));
        message.headers_mut().retain(|name| name != names::CLAIM);
        let batch = delivery.batch();
        let at = delivery.lane_offset();
        let batch = RecordBatch::from_messages(batch.lane(), batch.epoch(), at, &[message]);
        Ok(delivery.in_batch(Arc::new(batch), 0))
    }
}

impl Invoke for Claiming {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn kind(&self) -> HandlerKind {
        self.inner.kind()
    }

    fn needs(&self) -> Needs {
        self.inner.needs()
    }

    fn publishes(&self) -> Publishes {
        self.inner.publishes()
    }

    fn has_sequence(&self) -> bool {
        self.inner.has_sequence()
    }

    fn one(&self, delivery: &Delivery) -> BoxFuture<'static, HandlerResult> {
        if !is_claimed(delivery) {
            return self.inner.one(delivery);
        }
        let (inner, claims, delivery) = (self.inner.clone(), self.claims.clone(), delivery.clone());
        Box::pin(async move {
            let delivery = claims.resolve(&delivery).await?;
            inner.one(&delivery).await
        })
    }

    /// As far as nothing is to be fetched; what is goes its own way, and the next stretch begins behind it.
    fn sequence(&self, mut sequence: Sequence) -> BoxFuture<'static, SequenceEnd> {
        let start = sequence.delivery.index();
        let mut ahead = sequence.delivery.clone();
        let claimed = (start..sequence.end).find(|index| {
            ahead.move_to(*index);
            is_claimed(&ahead)
        });
        match claimed {
            Some(first) if first == start => {
                let handling = self.one(&sequence.delivery);
                Box::pin(async move { SequenceEnd::Stopped(start, handling.await) })
            }
            Some(later) => {
                sequence.end = later;
                self.inner.sequence(sequence)
            }
            None => self.inner.sequence(sequence),
        }
    }

    fn batch(
        &self,
        deliveries: &[Delivery],
        context: &Arc<HandlerContext>,
    ) -> BoxFuture<'static, BatchOutcome> {
        if !deliveries.iter().any(is_claimed) {
            return self.inner.batch(deliveries, context);
        }
        let (inner, claims) = (self.inner.clone(), self.claims.clone());
        let (deliveries, context) = (deliveries.to_vec(), context.clone());
        Box::pin(async move {
            let (mut ready, mut places, mut failed) = (Vec::new(), Vec::new(), Vec::new());
            for (place, delivery) in deliveries.iter().enumerate() {
                match claims.resolve(delivery).await {
                    Ok(delivery) => {
                        ready.push(delivery);
                        places.push(place);
                    }
                    Err(failure) => failed.push((place, failure)),
                }
            }
            let outcome = match ready.is_empty() {
                true => BatchOutcome::all_handled(),
                false => inner.batch(&ready, &context).await,
            };
            outcome.placed(&places, failed)
        })
    }
}

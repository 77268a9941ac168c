//! Payloads that are too large to travel: put aside where they are published ([`ClaimLayer`]), fetched where they are
//! handled ([`claiming`]).

mod resolve;
mod sink;
mod transactions;

pub(crate) use resolve::claiming;
pub use sink::ClaimLayer;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidings_core::{Claim, ClaimError, ClaimStore};

/// Which payloads of a destination are put aside, and where.
#[derive(Debug, Clone)]
pub struct ClaimRule {
    /// Larger ones are.
    pub above_bytes: usize,
    /// Still larger ones are refused; so many bytes may be on their way into the store at once, or one payload.
    pub max_bytes: u64,
    /// Where they are kept.
    pub store: Arc<dyn ClaimStore>,
}

/// The stores that a subscription fetches payloads from.
#[derive(Debug, Clone)]
pub struct Claims {
    stores: Arc<BTreeMap<String, Arc<dyn ClaimStore>>>,
    max_bytes: u64,
}

impl Claims {
    /// These stores; no payload of more than `max_bytes` is fetched.
    pub fn new(stores: impl IntoIterator<Item = Arc<dyn ClaimStore>>, max_bytes: u64) -> Self {
        let by_id = stores.into_iter().map(|store| (store.id().to_owned(), store));
        Self {
            stores: Arc::new(by_id.collect()),
            // Places within a batch are numbers of 32 bits, and key and headers stand beside the payload.
            max_bytes: max_bytes.min(u64::from(u32::MAX / 2)),
        }
    }

    /// The payload that was put there: of that size, and with that SHA-256.
    async fn fetch(&self, claim: &Claim) -> Result<Bytes, ClaimError> {
        let Some(store) = self.stores.get(claim.store()) else {
            return Err(ClaimError::UnknownStore {
                store: claim.store().to_owned(),
                known: self.stores.keys().cloned().collect(),
            });
        };
        if claim.size() > self.max_bytes {
            return Err(ClaimError::TooLarge {
                size: claim.size(),
                limit: self.max_bytes,
            });
        }
        let payload = store.get(claim).await?;
        let corrupt = |reason: String| ClaimError::Corrupt {
            store: claim.store().to_owned(),
            name: claim.name(),
            reason,
        };
        if payload.len() as u64 != claim.size() {
            return Err(corrupt(format!(
                "it has {} bytes, not {}",
                payload.len(),
                claim.size()
            )));
        }
        match digest(payload.clone()).await {
            Some(found) if found == *claim.digest() => Ok(payload),
            Some(_) => Err(corrupt("its bytes have another SHA-256".to_owned())),
            // Nothing is known of the payload: its message must not die for that.
            None => Err(ClaimError::Unavailable {
                store: claim.store().to_owned(),
                reason: "the runtime is ending".to_owned(),
            }),
        }
    }
}

/// The SHA-256, worked out on a thread that may take its time. None if the runtime is ending.
async fn digest(payload: Bytes) -> Option<[u8; 32]> {
    let hashing = tokio::task::spawn_blocking(move || Sha256::digest(&payload).into());
    hashing.await.ok()
}

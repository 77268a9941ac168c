//! Payloads that are too large to travel: which channel puts them where.

use super::{Mistakes, PlannedChannel, layered, place_in};
use crate::channel::Store;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidings_claims::DirectoryClaims;
use tidings_config::{ChannelConfig, Origin, Setting};
use tidings_core::{Claim, ClaimStore};
use tidings_runtime::{ClaimRule, Claims};

/// The largest payload if nobody says anything.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// What code and configuration say of a channel's claims.
#[derive(Debug)]
pub(crate) struct PlannedClaims {
    /// Larger payloads are put aside; none only reads them.
    pub(crate) above_bytes: Option<Setting<usize>>,
    pub(crate) max_bytes: Setting<u64>,
    pub(crate) store: Setting<Store>,
}

/// What code says.
#[derive(Default)]
pub(super) struct Said {
    pub(super) above_bytes: Option<Setting<usize>>,
    pub(super) max_bytes: Option<Setting<u64>>,
    pub(super) store: Option<Setting<Store>>,
}

/// The claims of a channel. A directory that configuration names is called after the destination: readers and writers of
/// it agree on that name without another setting.
pub(super) fn plan(
    channel: &str,
    destination: &str,
    code: Said,
    config: &ChannelConfig,
    mistakes: &mut Mistakes,
) -> Option<PlannedClaims> {
    let directory = config.claim_store.clone().map(|setting| {
        setting.map(|directory| {
            let id = code
                .store
                .as_ref()
                .map_or(destination, |store| store.value.0.id());
            Store(Arc::new(DirectoryClaims::new(id, directory)))
        })
    });
    let above = match config.claim_check.clone() {
        Some(setting) => setting
            .value
            .map(|bytes| Setting::new(bytes, setting.origin.clone())),
        None => code.above_bytes,
    };
    let Some(store) = directory.or(code.store) else {
        if let Some(above) = above {
            mistakes.add(
                place_in(&above.origin),
                format!("channel \"{channel}\" puts large payloads aside and has no claim store"),
                "say where: claim_store = \"DIRECTORY\", or .claim_store(…) in code",
            );
        }
        return None;
    };
    if !Claim::is_store_id(store.value.0.id()) {
        mistakes.add(
            place_in(&store.origin),
            format!("{:?} cannot be the id of a claim store", store.value.0.id()),
            "letters, digits, \".\", \"_\" and \"-\" are possible, at most 249",
        );
    }
    Some(PlannedClaims {
        above_bytes: above,
        max_bytes: layered(MAX_BYTES, code.max_bytes, config.claim_max_bytes.clone()),
        store,
    })
}

/// Messages name a store by its id alone: two places must not share one.
pub(super) fn check(channels: &BTreeMap<String, PlannedChannel>, mistakes: &mut Mistakes) {
    let mut known: BTreeMap<&str, (&Setting<Store>, &str)> = BTreeMap::new();
    for channel in channels.values() {
        let Some(claims) = &channel.claims else { continue };
        let store = &claims.store;
        let id = store.value.0.id();
        let (first, of) = *known.entry(id).or_insert((store, &channel.name));
        if first.value != store.value {
            mistakes.add(
                place_in(&store.origin),
                format!(
                    "channels \"{of}\" and \"{}\" have claim stores called \"{id}\" in different places, {} and {}",
                    channel.name,
                    first.value.0.place(),
                    store.value.0.place()
                ),
                "give each store an id of its own, or both the same place",
            );
        }
    }
}

impl PlannedClaims {
    /// What is to be done with payloads that are published; nothing for a channel that only reads them.
    pub(crate) fn rule(&self) -> Option<ClaimRule> {
        let above = self.above_bytes.as_ref()?;
        Some(ClaimRule {
            above_bytes: above.value,
            max_bytes: self.max_bytes.value,
            store: self.store.value.0.clone(),
        })
    }

    /// Its values for people.
    pub(crate) fn values(&self) -> Vec<(&'static str, String, Origin)> {
        let above = self.above_bytes.iter().map(|above| {
            let origin = above.origin.clone();
            ("claim_check", above.value.to_string(), origin)
        });
        let store = &self.store;
        let place = format!("{} in {}", store.value.0.id(), store.value.0.place());
        above
            .chain([("claim_store", place, store.origin.clone())])
            .chain([(
                "claim_max_bytes",
                self.max_bytes.value.to_string(),
                self.max_bytes.origin.clone(),
            )])
            .collect()
    }
}

/// All stores of an app: a message of one channel may have been forwarded by another. None if it has none.
pub(crate) fn stores(channels: &BTreeMap<String, PlannedChannel>) -> Option<Claims> {
    let claims = || channels.values().filter_map(|channel| channel.claims.as_ref());
    let max_bytes = claims().map(|claims| claims.max_bytes.value).max()?;
    let stores = claims().map(|claims| claims.store.value.0.clone() as Arc<dyn ClaimStore>);
    Some(Claims::new(stores, max_bytes))
}

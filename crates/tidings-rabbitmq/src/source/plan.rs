//! Which queues a subscription reads: [`plan`].

use super::lane::Lane;
use super::stream::StreamPlace;
use crate::topology::QueueSpec;
use std::sync::Arc;
use tidings_core::{LaneId, LaneRole, SourceSpec};

/// The lanes of a subscription, and the queue of each.
pub(super) fn plan(
    spec: &SourceSpec,
    queue_of: impl Fn(&Arc<str>) -> QueueSpec,
) -> (Vec<Lane>, Vec<QueueSpec>) {
    let mut all = Vec::new();
    for input in &spec.inputs {
        let id = LaneId(u32::try_from(all.len()).unwrap_or(u32::MAX));
        let queue = queue_of(&input.destination);
        let mut main = Lane::new(id, &input.destination, &queue.name, LaneRole::Main);
        main.stream = queue.is_stream.then(|| StreamPlace::new(spec.start));
        let Some(retry) = &input.retry else {
            all.push((main, queue));
            continue;
        };
        let mut partner = Lane::new(LaneId(id.0 + 1), retry, retry, LaneRole::Retry);
        (main.partner, partner.partner) = (Some(partner.id), Some(id));
        let beside = QueueSpec {
            name: retry.clone(),
            bound_to: Vec::new(),
            letters: None,
            ..queue.clone()
        };
        all.extend([(main, queue), (partner, beside)]);
    }
    all.into_iter().unzip()
}

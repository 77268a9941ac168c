//! Deleting what is old: whole segments, and never what a group has not finished, unless that is allowed.

use crate::guard::Guard;
use crate::options::Unread;
use crate::shared::Shared;
use crate::topics::Topic;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tidings_core::Cleanup;
use tidings_log::Retention;

/// Looks from time to time, if there is anything to look for. The task ends with the broker.
pub(crate) fn start(shared: &Arc<Shared>) {
    let interval = shared.options.retention_interval;
    if !shared.retaining.swap(true, Ordering::AcqRel) {
        let weak = Arc::downgrade(shared);
        // A runtime that shuts down drops the task, also before it began: the next destination starts another.
        let ended = Guard::new(move || {
            if let Some(shared) = weak.upgrade() {
                shared.retaining.store(false, Ordering::Release);
            }
        });
        shared.spawn(run(Arc::downgrade(shared), interval, ended));
    }
}

/// The same, once a destination has its own settings.
pub(crate) fn start_if_wanted(shared: &Arc<Shared>, topic: &Topic) {
    if topic.retention() != (None, None) && !shared.is_read_only() {
        start(shared);
    }
}

async fn run<F: FnOnce()>(weak: Weak<Shared>, interval: Duration, _ended: Guard<F>) {
    loop {
        tokio::time::sleep(interval).await;
        let Some(shared) = weak.upgrade().filter(|shared| !shared.is_closed()) else {
            return;
        };
        if let Err(reason) = shared.blocking(retain_all).await {
            tracing::error!(reason, "retention could not delete old segments");
        }
    }
}

/// Deletes what may go, everywhere. One partition that refuses does not keep the others.
pub(crate) fn retain_all(shared: &Arc<Shared>) -> Result<(), String> {
    let mut refused = None;
    for topic in shared.topics.all() {
        if let Err(reason) = retain(shared, &topic) {
            refused = Some(reason);
        }
    }
    refused.map_or(Ok(()), Err)
}

/// The group under whose name it is stored which dead letters another group got back ends so. It reads nothing for
/// itself, and letters of other groups are nothing to it.
const RECORDER: &str = ".redrive";

/// Age and size for a destination. The broker's are for what groups read: where nobody has a position, as among dead
/// letters that wait for somebody to look, nobody can have finished anything. There only what the destination was
/// prepared with counts, unless unread messages may go anyway.
fn limits(shared: &Shared, topic: &Topic) -> (Option<Duration>, Option<u64>) {
    let (age, bytes) = topic.retention();
    if topic.cleanup() != Cleanup::Delete {
        // The last message of a key is kept however old it is, unless the destination says otherwise.
        return (age, bytes);
    }
    let is_read = || {
        shared
            .progress
            .has_group(&topic.name, |group| !group.ends_with(RECORDER))
    };
    if shared.options.unread == Unread::Keep && !is_read() {
        return (age, bytes);
    }
    (
        age.or(shared.options.retention_time),
        bytes.or(shared.options.retention_bytes),
    )
}

fn retain(shared: &Shared, topic: &Topic) -> Result<(), String> {
    let (age, max_bytes) = limits(shared, topic);
    if age.is_none() && max_bytes.is_none() {
        return Ok(());
    }
    let mut refused = None;
    for partition in topic
        .partitions
        .iter()
        .filter(|partition| !partition.is_settled(shared))
    {
        let retained = partition.log(shared).and_then(|log| {
            let end = partition.end(shared, log);
            let unfinished = match shared.options.unread {
                Unread::Keep => shared.progress.lowest(&topic.name, partition.index),
                Unread::Drop => None,
            };
            let policy = Retention {
                max_age_ms: age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
                max_bytes,
                now_ms: shared.clock().now().as_millis(),
                keep_from: unfinished.unwrap_or(end).min(end),
            };
            log.retain(&policy).map_err(Arc::new)
        });
        if let Err(error) = retained {
            refused = Some(format!("{}: {error}", partition.place()));
        }
    }
    refused.map_or(Ok(()), Err)
}

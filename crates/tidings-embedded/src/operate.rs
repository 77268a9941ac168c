//! What operators ask for beyond reading and writing: the groups, and forgetting one.

use crate::progress::Entry;
use crate::shared::Shared;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tidings_core::{BinderError, GroupInfo, GroupPosition};

/// Refuses what writes on a broker that may only look.
pub(crate) fn check_writable(shared: &Shared) -> Result<(), BinderError> {
    match shared.is_read_only() {
        false => Ok(()),
        true => Err(BinderError::Unsupported {
            broker: "embedded, opened read-only,",
            feature: "storing of positions",
            cure: "stop the process that owns the directory and open for writing",
        }),
    }
}

/// Refuses questions for positions that this broker cannot see.
pub(crate) fn check_known(shared: &Shared) -> Result<(), BinderError> {
    match shared.knows_groups() {
        true => Ok(()),
        false => Err(BinderError::Unsupported {
            broker: "embedded, opened read-only beside its owner,",
            feature: "positions of groups",
            cure: "ask the process that owns the directory, or stop it",
        }),
    }
}

/// Every group that has a position or a member, by name.
pub(crate) fn groups(shared: &Shared) -> Result<Vec<GroupInfo>, BinderError> {
    check_known(shared)?;
    let members: HashMap<*const Entry, Arc<str>> = shared
        .groups
        .readers()
        .into_iter()
        .map(|(entry, subscription)| (Arc::as_ptr(&entry), subscription))
        .collect();
    let mut by_name: BTreeMap<Arc<str>, Vec<GroupPosition>> = BTreeMap::new();
    for entry in shared.progress.all() {
        let progress = entry.stored();
        let member = members.get(&Arc::as_ptr(&entry)).cloned();
        if progress.is_some() || member.is_some() {
            by_name
                .entry(entry.group.clone())
                .or_default()
                .push(GroupPosition {
                    destination: entry.destination.clone(),
                    partition: entry.partition,
                    progress,
                    member,
                });
        }
    }
    let groups = by_name.into_iter().map(|(name, mut positions)| {
        positions.sort_by(|one, other| {
            (&one.destination, one.partition).cmp(&(&other.destination, other.partition))
        });
        GroupInfo { name, positions }
    });
    Ok(groups.collect())
}

/// Forgets a group's positions in a destination, unless a member reads one of them.
pub(crate) async fn delete_progress(
    shared: &Arc<Shared>,
    destination: &Arc<str>,
    group: &str,
) -> Result<(), BinderError> {
    check_writable(shared)?;
    let failed = |reason: String| BinderError::Failed {
        doing: format!("delete the positions of the group \"{group}\" in \"{destination}\""),
        reason,
    };
    let entries = shared.progress.of_group(destination, group);
    let read = "a member of the group reads it: stop the group first";
    if entries.iter().any(|entry| entry.is_owned()) {
        return Err(failed(read.to_owned()));
    }
    // A member that came in between keeps what it has got.
    let forgotten: Vec<_> = entries.iter().filter(|entry| entry.forget()).cloned().collect();
    let all = forgotten.len() == entries.len();
    shared.keeper.forget(shared, forgotten).await.map_err(failed)?;
    match all {
        true => Ok(()),
        false => Err(failed(read.to_owned())),
    }
}

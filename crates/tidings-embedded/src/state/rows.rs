//! Rows of the small state as they are stored: each is sealed with its key.

use super::{CURE, Stored, sealed};
use crate::delayed::Due;
use crate::{deaths, progress};
use tidings_core::Deaths;

/// Destination, group, partition.
pub(crate) type GroupKey<'k> = (&'k str, &'k str, u32);

/// What is stored under a group's key: its progress, or the deaths of messages.
pub(crate) fn seal_group(key: GroupKey<'_>, value: Vec<u8>) -> Vec<u8> {
    let (destination, group, partition) = key;
    sealed::seal(
        &[destination.as_bytes(), group.as_bytes(), &partition.to_le_bytes()],
        value,
    )
}

fn unseal_group<'v>(key: GroupKey<'_>, value: &'v [u8]) -> Option<&'v [u8]> {
    let (destination, group, partition) = key;
    sealed::unseal(
        &[destination.as_bytes(), group.as_bytes(), &partition.to_le_bytes()],
        value,
    )
}

/// A message for later.
pub(crate) fn seal_delayed(due: Due, value: Vec<u8>) -> Vec<u8> {
    sealed::seal(&[&delayed_key(due)], value)
}

/// The message for later as it was given; none if it is damaged.
pub(crate) fn read_delayed(due: Due, value: &[u8]) -> Option<&[u8]> {
    sealed::unseal(&[&delayed_key(due)], value)
}

/// A stored progress, or why it cannot be read and what to do.
pub(crate) fn read_progress(key: GroupKey<'_>, value: &[u8]) -> Result<Stored, String> {
    let (destination, group, partition) = key;
    let place = || {
        format!(
            "the progress of {} in {}/{partition}",
            group.escape_debug(),
            destination.escape_debug()
        )
    };
    let Some(whole) = unseal_group(key, value) else {
        return Err(format!("{} is damaged: {CURE}", place()));
    };
    match progress::decode(whole) {
        Some(progress) => Ok((destination.to_owned(), group.to_owned(), partition, progress)),
        None => Err(format!(
            "{} was written by a newer version: use the release that wrote it, or a newer one",
            place()
        )),
    }
}

/// Stored deaths of messages; none if they cannot be read.
pub(crate) fn read_deaths(key: GroupKey<'_>, value: &[u8]) -> Option<Vec<Deaths>> {
    unseal_group(key, value).and_then(deaths::decode)
}

fn delayed_key(due: Due) -> [u8; 16] {
    ((due.due as u128) << 64 | u128::from(due.sequence)).to_le_bytes()
}

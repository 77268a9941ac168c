//! Who reads which partition for a group: [`Groups`]. Members are sources of this process.
//!
//! Partitions move cooperatively: only those that must are taken from their member, it may drain them until a
//! deadline, and only when it has let go, or the deadline has passed, does the next member get them, with the progress
//! that was reported by then. Each assignment has an epoch; a report of an earlier one is ignored.

use crate::balance::balance;
use crate::lock::lock;
use crate::progress::Entry;
use crate::shared::Shared;
use crate::signal::Signal;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings_core::Epoch;
use tokio::time::Instant;

/// A group's share in one destination: group, destination.
pub(crate) type Share = (Arc<str>, Arc<str>);

/// One source of a group.
#[derive(Debug)]
pub(crate) struct Member {
    /// Whose it is.
    pub(crate) subscription: Arc<str>,
    pub(crate) signal: Arc<Signal>,
    pub(crate) inbox: Mutex<VecDeque<Command>>,
    pub(crate) revoke_timeout: Duration,
}

/// A partition of an input of a source, in one assignment. With its retry partition, if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) input: usize,
    pub(crate) partition: u32,
    pub(crate) epoch: Epoch,
}

/// What a member is told.
#[derive(Debug)]
pub(crate) enum Command {
    Assign(Vec<Grant>),
    Revoke {
        units: Vec<Unit>,
        deadline: Instant,
    },
    Lost(Vec<Unit>),
    /// An input that was added is ready to be read: where its partitions begin without a group.
    Ready {
        input: usize,
        starts: Vec<u64>,
    },
}

/// A partition that a member gets.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) unit: Unit,
    /// Where the group's progress is; none without a group.
    pub(crate) main: Option<Arc<Entry>>,
    pub(crate) retry: Option<Arc<Entry>>,
    /// Where to begin without a group.
    pub(crate) start: u64,
}

impl Member {
    /// Tells the member.
    pub(crate) fn tell(&self, command: Command) {
        lock(&self.inbox).push_back(command);
        self.signal.raise();
    }
}

/// A member's part in a share.
#[derive(Debug)]
struct Joined {
    member: Arc<Member>,
    input: usize,
    retry: Option<Arc<str>>,
}

#[derive(Debug, Clone)]
enum Owner {
    Free,
    Held(Holding),
    /// Held by a member that was asked to let go.
    Leaving(Holding),
}

#[derive(Debug, Clone)]
struct Holding {
    member: Arc<Member>,
    unit: Unit,
    main: Arc<Entry>,
    retry: Option<Arc<Entry>>,
}

impl Holding {
    /// From here on its reports count for nothing.
    fn end(&self) {
        self.main.take_from(self.unit.epoch);
        if let Some(retry) = &self.retry {
            retry.take_from(self.unit.epoch);
        }
    }
}

#[derive(Debug, Default)]
struct Membership {
    members: Vec<Joined>,
    owners: Vec<Owner>,
}

/// All groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    shares: Mutex<HashMap<Share, Membership>>,
}

impl Groups {
    /// A member wants its part of a destination that has so many partitions.
    pub(crate) fn join(
        &self,
        shared: &Arc<Shared>,
        share: &Share,
        partitions: u32,
        member: &Arc<Member>,
        input: usize,
        retry: Option<Arc<str>>,
    ) {
        let mut shares = lock(&self.shares);
        let membership = shares.entry(share.clone()).or_default();
        membership.owners.resize(partitions as usize, Owner::Free);
        membership.members.push(Joined {
            member: member.clone(),
            input,
            retry,
        });
        membership.rebalance(shared, share);
    }

    /// A member goes; what it had is free at once.
    pub(crate) fn leave(&self, shared: &Arc<Shared>, share: &Share, member: &Arc<Member>) {
        let mut shares = lock(&self.shares);
        let Some(membership) = shares.get_mut(share) else {
            return;
        };
        membership
            .members
            .retain(|joined| !Arc::ptr_eq(&joined.member, member));
        for owner in &mut membership.owners {
            if let Owner::Held(holding) | Owner::Leaving(holding) = owner
                && Arc::ptr_eq(&holding.member, member)
            {
                holding.end();
                *owner = Owner::Free;
            }
        }
        if membership.members.is_empty() {
            shares.remove(share);
        } else {
            membership.rebalance(shared, share);
        }
    }

    /// A member has let go of what it was asked for.
    pub(crate) fn release(&self, shared: &Arc<Shared>, share: &Share, unit: Unit) {
        if let Some(membership) = lock(&self.shares).get_mut(share) {
            membership.free(unit);
            membership.rebalance(shared, share);
        }
    }

    /// Who reads for which group now, by the group's entry for the partition.
    pub(crate) fn readers(&self) -> Vec<(Arc<Entry>, Arc<str>)> {
        let shares = lock(&self.shares);
        let mut readers = Vec::new();
        for owner in shares.values().flat_map(|membership| &membership.owners) {
            if let Owner::Held(holding) | Owner::Leaving(holding) = owner {
                let entries = [Some(&holding.main), holding.retry.as_ref()];
                let entries = entries.into_iter().flatten().cloned();
                readers.extend(entries.map(|entry| (entry, holding.member.subscription.clone())));
            }
        }
        readers
    }

    /// The deadline of a revocation has passed.
    fn expire(&self, shared: &Arc<Shared>, share: &Share, units: &[Unit]) {
        let mut shares = lock(&self.shares);
        let Some(membership) = shares.get_mut(share) else {
            return;
        };
        let mut lost: Option<(Arc<Member>, Vec<Unit>)> = None;
        for unit in units {
            if let Some(holding) = membership.free(*unit) {
                lost.get_or_insert_with(|| (holding.member.clone(), Vec::new()))
                    .1
                    .push(*unit);
            }
        }
        if let Some((member, units)) = lost {
            tracing::warn!(group = %share.0, destination = %share.1, ?units, "a member kept revoked partitions beyond its deadline");
            member.tell(Command::Lost(units));
            membership.rebalance(shared, share);
        }
    }
}

impl Membership {
    /// Frees a partition that its member was asked for, if it is still that assignment.
    fn free(&mut self, unit: Unit) -> Option<Holding> {
        let owner = self.owners.get_mut(unit.partition as usize)?;
        match owner {
            Owner::Leaving(holding) if holding.unit.epoch == unit.epoch => {
                let holding = holding.clone();
                holding.end();
                *owner = Owner::Free;
                Some(holding)
            }
            _ => None,
        }
    }

    fn place(&self, member: &Arc<Member>) -> Option<usize> {
        self.members
            .iter()
            .position(|joined| Arc::ptr_eq(&joined.member, member))
    }

    /// Gives free partitions to those who should have them, and asks for those that others should have.
    fn rebalance(&mut self, shared: &Arc<Shared>, share: &Share) {
        let places: Vec<_> = self
            .owners
            .iter()
            .map(|owner| match owner {
                Owner::Held(holding) => self.place(&holding.member),
                Owner::Free | Owner::Leaving(_) => None,
            })
            .collect();
        let wanted = balance(self.members.len(), &places);
        let mut granted: Vec<Vec<Grant>> = self.members.iter().map(|_| Vec::new()).collect();
        let mut revoked: Vec<Vec<Unit>> = self.members.iter().map(|_| Vec::new()).collect();
        let members = &self.members;
        for (partition, (owner, (wanted, place))) in
            (0..).zip(self.owners.iter_mut().zip(wanted.iter().zip(places)))
        {
            let Some(wanted) = *wanted else { continue };
            match owner {
                Owner::Free => {
                    if let (Some(joined), Some(grants)) = (members.get(wanted), granted.get_mut(wanted)) {
                        let (grant, holding) = grant(shared, share, joined, partition);
                        grants.push(grant);
                        *owner = Owner::Held(holding);
                    }
                }
                Owner::Held(holding) if place != Some(wanted) => {
                    if let Some(units) = place.and_then(|place| revoked.get_mut(place)) {
                        units.push(holding.unit);
                    }
                    *owner = Owner::Leaving(holding.clone());
                }
                Owner::Held(_) | Owner::Leaving(_) => {}
            }
        }
        for (joined, (grants, units)) in self.members.iter().zip(granted.into_iter().zip(revoked)) {
            if !units.is_empty() {
                revoke(shared, share, &joined.member, units);
            }
            if !grants.is_empty() {
                joined.member.tell(Command::Assign(grants));
            }
        }
    }
}

fn grant(shared: &Shared, share: &Share, joined: &Joined, partition: u32) -> (Grant, Holding) {
    let epoch = shared.next_epoch();
    let entry = |destination: &Arc<str>| {
        let entry = shared.progress.entry(destination, &share.0, partition);
        entry.assign(Some(epoch));
        entry
    };
    let (main, retry) = (entry(&share.1), joined.retry.as_ref().map(entry));
    let unit = Unit {
        input: joined.input,
        partition,
        epoch,
    };
    let grant = Grant {
        unit,
        main: Some(main.clone()),
        retry: retry.clone(),
        start: 0,
    };
    let holding = Holding {
        member: joined.member.clone(),
        unit,
        main,
        retry,
    };
    (grant, holding)
}

/// Asks a member to let go, and takes the partitions away when the deadline has passed.
fn revoke(shared: &Arc<Shared>, share: &Share, member: &Member, units: Vec<Unit>) {
    let deadline = Instant::now() + member.revoke_timeout;
    member.tell(Command::Revoke {
        units: units.clone(),
        deadline,
    });
    let (weak, share) = (Arc::downgrade(shared), share.clone());
    shared.spawn(async move {
        tokio::time::sleep_until(deadline).await;
        if let Some(shared) = weak.upgrade() {
            shared.groups.expire(&shared, &share, &units);
        }
    });
}

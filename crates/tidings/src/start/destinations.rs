//! Makes sure that every destination exists: those of channels, retry lanes and dead letters.

use crate::error::Error;
use crate::plan::{Mistakes, Plan, PlannedChannel, PlannedSubscription, place_in};
use std::collections::BTreeMap;
use tidings_config::Origin;
use tidings_core::{Create, DestinationRole, DestinationSpec, DynBinder, Reads, retry_destination};

/// How many partitions each destination of a broker has.
#[derive(Debug, Default)]
pub(crate) struct Destinations {
    partitions: BTreeMap<String, u32>,
}

/// A broker whose destinations are being prepared.
#[derive(Clone, Copy)]
pub(super) struct Preparing<'a> {
    pub(super) plan: &'a Plan,
    /// The binder's name, as in `[binder.NAME]`.
    pub(super) name: &'a str,
    pub(super) binder: &'a dyn DynBinder,
}

impl Destinations {
    /// Channels first, then what belongs to subscriptions: it gets as many partitions as what they read. Dead letters
    /// are read by subscriptions of their own, so they come before those.
    pub(super) async fn prepare(at: Preparing<'_>, mistakes: &mut Mistakes) -> Result<Self, Error> {
        let mut destinations = Self::default();
        // What matches a pattern is made by others.
        let channels = at
            .plan
            .channels
            .values()
            .filter(|channel| channel.pattern.is_none());
        for channel in channels.filter(|channel| channel.binder.value == at.name) {
            destinations.channel(channel, at, mistakes).await?;
        }
        for reads in [Reads::Messages, Reads::DeadLetters] {
            let subscriptions = at.plan.subscriptions.iter();
            let here = subscriptions.filter(|one| one.reads == reads && one.binder == at.name);
            for subscription in here {
                destinations.subscription(subscription, at, mistakes).await?;
            }
        }
        Ok(destinations)
    }

    /// How many partitions a destination has; none if nobody asked for it.
    pub(crate) fn partitions(&self, destination: &str) -> Option<u32> {
        self.partitions.get(destination).copied()
    }

    async fn channel(
        &mut self,
        channel: &PlannedChannel,
        at: Preparing<'_>,
        mistakes: &mut Mistakes,
    ) -> Result<(), Error> {
        let wanted = channel.partitions.value;
        let spec = DestinationSpec {
            create: channel.create.value,
            retention_time: channel.retention_time.as_ref().map(|time| time.value),
            retention_bytes: channel.retention_bytes.as_ref().map(|bytes| bytes.value),
            cleanup: channel.cleanup.as_ref().map(|cleanup| cleanup.value),
            ..DestinationSpec::new(channel.destination.value.as_str(), wanted)
        };
        let found = self.make(spec, at).await?;
        if found != wanted && channel.partitions.origin != Origin::Default {
            let destination = &channel.destination.value;
            mistakes.add(
                place_in(&channel.partitions.origin),
                format!(
                    "\"{destination}\" has {found} partitions, not {wanted}, and is never changed silently"
                ),
                format!("say partitions = {found}, or lead the channel to a new destination"),
            );
        }
        Ok(())
    }

    async fn subscription(
        &mut self,
        subscription: &PlannedSubscription,
        at: Preparing<'_>,
        mistakes: &mut Mistakes,
    ) -> Result<(), Error> {
        let has_lane = at.binder.capabilities().retry_lane;
        let named = subscription.inputs.iter().filter(|input| input.pattern.is_none());
        for input in named {
            let channel = at.plan.channels.get(&input.channel);
            let create = channel.map_or(Create::IfMissing, |channel| channel.create.value);
            let partitions = match self.partitions(&input.destination) {
                Some(partitions) => partitions,
                // Dead letters that no subscription of this app writes.
                None => {
                    let main = channel.and_then(|channel| self.partitions(&channel.destination.value));
                    let letters = letters(&input.destination, main.unwrap_or(1), create);
                    self.make(letters, at).await?
                }
            };
            if let Some(letters) = &input.dead_letter
                && self.partitions(letters).is_none()
            {
                self.make(self::letters(letters, partitions, create), at).await?;
            }
            if let Some(group) = subscription.group.as_ref().filter(|_| has_lane) {
                let retry = retry_destination(&input.destination, &group.value);
                let spec = DestinationSpec::new(&*retry, partitions).create(create);
                let found = self.make(spec.role(DestinationRole::Retry), at).await?;
                if found != partitions {
                    mistakes.add(
                        &subscription.place,
                        format!("\"{retry}\" has {found} partitions and \"{}\" has {partitions}", input.destination),
                        "both must have the same number: create the retry destination anew, or take another group",
                    );
                }
            }
        }
        Ok(())
    }

    async fn make(&mut self, spec: DestinationSpec, at: Preparing<'_>) -> Result<u32, Error> {
        let prepared = at.binder.prepare(spec).await;
        let info = prepared.map_err(|error| Error::binder(at.name, error))?;
        self.partitions.insert(info.name.to_string(), info.partitions);
        Ok(info.partitions)
    }
}

/// Dead letters of another destination.
fn letters(name: &str, partitions: u32, create: Create) -> DestinationSpec {
    let spec = DestinationSpec::new(name, partitions).create(create);
    spec.role(DestinationRole::DeadLetters)
}

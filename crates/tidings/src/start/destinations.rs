//! Makes sure that every destination exists: those of channels, retry lanes and dead letters.

use crate::binders::Binders;
use crate::error::Error;
use crate::plan::{Mistakes, Plan, PlannedChannel, PlannedSubscription, place_in};
use std::collections::BTreeMap;
use tidings_config::Origin;
use tidings_core::{Create, DestinationSpec, Reads, retry_destination};

/// How many partitions each destination has, by binder and name.
#[derive(Debug, Default)]
pub(super) struct Destinations {
    partitions: BTreeMap<(String, String), u32>,
}

impl Destinations {
    /// Channels first, then what belongs to subscriptions: it gets as many partitions as what they read. Dead letters
    /// are read by subscriptions of their own, so they come before those.
    pub(super) async fn prepare(plan: &Plan, binders: &Binders) -> Result<Self, Error> {
        let mut mistakes = Mistakes::default();
        let mut destinations = Self::default();
        for channel in plan.channels.values() {
            destinations.channel(channel, binders, &mut mistakes).await?;
        }
        for reads in [Reads::Messages, Reads::DeadLetters] {
            for subscription in plan
                .subscriptions
                .iter()
                .filter(|subscription| subscription.reads == reads)
            {
                destinations
                    .subscription(subscription, plan, binders, &mut mistakes)
                    .await?;
            }
        }
        mistakes.finish()?;
        Ok(destinations)
    }

    /// How many partitions a destination has.
    pub(super) fn partitions(&self, binder: &str, destination: &str) -> u32 {
        self.known(binder, destination).unwrap_or(1)
    }

    fn known(&self, binder: &str, destination: &str) -> Option<u32> {
        self.partitions
            .get(&(binder.to_owned(), destination.to_owned()))
            .copied()
    }

    async fn channel(
        &mut self,
        channel: &PlannedChannel,
        binders: &Binders,
        mistakes: &mut Mistakes,
    ) -> Result<(), Error> {
        let wanted = channel.partitions.value;
        let spec = DestinationSpec {
            name: channel.destination.value.as_str().into(),
            partitions: wanted,
            create: channel.create.value,
            retention_time: channel.retention_time.as_ref().map(|time| time.value),
            retention_bytes: channel.retention_bytes.as_ref().map(|bytes| bytes.value),
            cleanup: channel.cleanup.as_ref().map(|cleanup| cleanup.value),
        };
        let found = self.make(&channel.binder.value, spec, binders).await?;
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
        plan: &Plan,
        binders: &Binders,
        mistakes: &mut Mistakes,
    ) -> Result<(), Error> {
        let binder = &subscription.binder;
        let has_lane = binders
            .get(binder)
            .is_some_and(|binder| binder.capabilities().retry_lane);
        for input in &subscription.inputs {
            let create = plan
                .channels
                .get(&input.channel)
                .map_or(Create::IfMissing, |channel| channel.create.value);
            let partitions = match self.known(binder, &input.destination) {
                Some(partitions) => partitions,
                // Dead letters that no subscription of this app writes.
                None => {
                    let main = plan
                        .channels
                        .get(&input.channel)
                        .map(|channel| &channel.destination.value);
                    let main = main.and_then(|main| self.known(binder, main)).unwrap_or(1);
                    self.make(binder, belonging(&input.destination, main, create), binders)
                        .await?
                }
            };
            if let Some(letters) = &input.dead_letter
                && self.known(binder, letters).is_none()
            {
                self.make(binder, belonging(letters, partitions, create), binders)
                    .await?;
            }
            if let Some(group) = subscription.group.as_ref().filter(|_| has_lane) {
                let retry = retry_destination(&input.destination, &group.value);
                let found = self
                    .make(binder, belonging(&retry, partitions, create), binders)
                    .await?;
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

    async fn make(&mut self, binder: &str, spec: DestinationSpec, binders: &Binders) -> Result<u32, Error> {
        let opened = binders
            .get(binder)
            .expect("the plan opened every binder that it names");
        let info = opened
            .prepare(spec)
            .await
            .map_err(|error| Error::binder(binder, error))?;
        self.partitions
            .insert((binder.to_owned(), info.name.to_string()), info.partitions);
        Ok(info.partitions)
    }
}

/// A destination that belongs to another one.
fn belonging(name: &str, partitions: u32, create: Create) -> DestinationSpec {
    DestinationSpec {
        name: name.into(),
        partitions,
        create,
        retention_time: None,
        retention_bytes: None,
        cleanup: None,
    }
}

//! What the parts of an app need and their brokers lack: [`check`].

use crate::binders::Binders;
use crate::error::Error;
use crate::plan::{Mistakes, Plan, PlannedChannel, PlannedSubscription, place_in};
use tidings_config::Origin;
use tidings_core::{Capabilities, Start};

/// What is lacking, and what helps.
type Lacking = (&'static str, &'static str);

/// # Errors
/// Everything at once that brokers cannot do.
pub(super) fn check(plan: &Plan, binders: &Binders) -> Result<(), Error> {
    let mut mistakes = Mistakes::default();
    for subscription in &plan.subscriptions {
        let Some(binder) = binders.get(&subscription.binder) else {
            continue;
        };
        for (lacking, cure) in lacks(subscription, binder.capabilities()) {
            let problem = format!(
                "subscription \"{}\" {lacking}, and {} has none of that",
                subscription.name,
                binder.kind()
            );
            mistakes.add(&subscription.place, problem, cure);
        }
    }
    for channel in plan.channels.values() {
        let Some(binder) = binders.get(&channel.binder.value) else {
            continue;
        };
        for (origin, (lacking, cure)) in channel_lacks(channel, binder.capabilities()) {
            let problem = format!(
                "channel \"{}\" {lacking}, and {} has none of that",
                channel.name,
                binder.kind()
            );
            mistakes.add(place_in(origin), problem, cure);
        }
    }
    mistakes.finish()
}

fn lacks(subscription: &PlannedSubscription, can: Capabilities) -> Vec<Lacking> {
    let mut lacking = Vec::new();
    lacking.extend(start_lacks(subscription).filter(|_| !can.replay));
    if subscription.policy.partitions.is_some() && !can.partitions {
        lacking.push((
            "chooses partitions",
            "remove partitions, or use a broker that has them (Kafka, embedded)",
        ));
    }
    if subscription.group.is_some() && !can.stored_positions {
        lacking.push((
            "has a group whose position is stored",
            "use another broker for this channel",
        ));
    }
    if subscription.inputs.iter().any(|input| input.pattern.is_some()) && !can.patterns {
        lacking.push((
            "reads a pattern of destinations",
            "name the destinations one by one, or use a broker with patterns (Kafka, embedded)",
        ));
    }
    if subscription.policy.exactly_once && !can.transactions {
        lacking.push((
            "is exactly_once, which takes transactions",
            "remove exactly_once and make the effects idempotent by the message id, or use a broker with transactions (Kafka)",
        ));
    }
    lacking
}

/// Where reading is to begin that is not with what is published from now on.
fn start_lacks(subscription: &PlannedSubscription) -> Option<Lacking> {
    let is_said = |name: &str| {
        let mut values = subscription.values.iter();
        values.any(|value| value.key == name && value.origin != Origin::Default)
    };
    match subscription.policy.start {
        Start::Offset(_) | Start::Time(_) => Some((
            "starts at an offset or a time",
            "remove start: a group gets what is published from when it first ran; or use a broker with replay (Kafka, embedded)",
        )),
        // Said by nobody, it is what the broker has. A reader without a group wants no more than what is kept.
        Start::Earliest if is_said("start") && subscription.group.is_some() => Some((
            "starts at the earliest message that is kept",
            "remove start: a group gets what is published from when it first ran, so run it once before anything is published; or use a broker with replay (Kafka, embedded)",
        )),
        _ => None,
    }
}

fn channel_lacks(channel: &PlannedChannel, can: Capabilities) -> Vec<(&Origin, Lacking)> {
    let mut lacking = Vec::new();
    let partitions = &channel.partitions;
    if partitions.value > 1 && partitions.origin != Origin::Default && !can.partitions {
        lacking.push((
            &partitions.origin,
            (
                "has several partitions",
                "remove partitions: messages of a key keep their order without them; or use a broker that has them (Kafka, embedded)",
            ),
        ));
    }
    if can.replay {
        return lacking;
    }
    let time = channel.retention_time.as_ref().map(|time| &time.origin);
    let bytes = channel.retention_bytes.as_ref().map(|bytes| &bytes.origin);
    let cleanup = channel.cleanup.as_ref().map(|cleanup| &cleanup.origin);
    for (origin, what) in [
        (time, "keeps messages for a time after they were handled"),
        (bytes, "keeps so many bytes after they were handled"),
        (cleanup, "says what goes of the messages that were handled"),
    ] {
        let lack = (what, "remove it, or use a broker with replay (Kafka, embedded)");
        lacking.extend(origin.map(|origin| (origin, lack)));
    }
    lacking
}

//! Each group has a retry lane of its own beside what it reads: names must not make two of them one.

use super::{Mistakes, PlannedChannel, PlannedSubscription};
use std::collections::BTreeMap;
use tidings_core::retry_destination;

/// `orders` read by the group `eu.billing` and `orders.eu` read by `billing` would wait in the same place, and so
/// would messages of a channel that is called like a retry lane.
pub(super) fn check(
    channels: &BTreeMap<String, PlannedChannel>,
    subscriptions: &[PlannedSubscription],
    mistakes: &mut Mistakes,
) {
    let mut lanes: BTreeMap<(&str, String), (&str, &str)> = BTreeMap::new();
    for subscription in subscriptions {
        let Some(group) = subscription.group.as_ref().map(|group| group.value.as_str()) else {
            continue;
        };
        let named = subscription.inputs.iter().filter(|input| input.pattern.is_none());
        for input in named {
            let lane = retry_destination(&input.destination, group);
            let taken = channels.values().find(|channel| {
                channel.binder.value == subscription.binder && channel.destination.value == lane
            });
            if let Some(channel) = taken {
                mistakes.add(
                    &subscription.place,
                    format!(
                        "channel \"{}\" leads to \"{lane}\", where messages of group \"{group}\" wait",
                        channel.name
                    ),
                    "lead the channel to another destination, or take another group",
                );
            }
            let owner = (input.destination.as_str(), group);
            let first = *lanes.entry((&subscription.binder, lane.clone())).or_insert(owner);
            if first != owner {
                mistakes.add(
                    &subscription.place,
                    format!(
                        "messages of \"{}\" in group \"{group}\" would wait in \"{lane}\", as those of \"{}\" in group \"{}\" do",
                        input.destination, first.0, first.1
                    ),
                    "take another name for one of the groups",
                );
            }
        }
    }
}

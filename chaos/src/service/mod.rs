//! The service under attack: one app with every way through the engine, on the embedded log.

mod fate;
mod handlers;
mod parcel;
mod policies;
mod publishing;
mod watch;
mod world;

pub use fate::{Fate, Odds};
pub use parcel::{Parcel, digest};
pub use policies::Policies;
pub use publishing::publish;
pub use watch::{letter, letters, note_positions, note_rss, resident, settle};
pub use world::{Handling, World};

use crate::history::GroupFacts;
use std::time::Duration;
use tidings::{App, Config, ConfigError, Ordering, Retry, Service, millis, on};

/// Where the campaign publishes to.
pub const ORDERS: &str = "orders";
/// Where the first group publishes to.
pub const PAYMENTS: &str = "payments";
/// How long a drain may take.
pub const DRAIN: Duration = Duration::from_millis(500);
/// How much later it may end, whatever the broker does.
pub const GRACE: Duration = Duration::from_secs(3);
/// How often a message of the batch group is delivered: those behind a failed one of their key fail with it.
const BATCH_ATTEMPTS: u32 = 50;

/// The groups, and what they owe.
pub fn groups() -> Vec<GroupFacts> {
    let group = |group: &str, topic: &str, attempts, output: Option<&str>| GroupFacts {
        group: group.to_owned(),
        topic: topic.to_owned(),
        attempts,
        output: output.map(str::to_owned),
    };
    vec![
        group("billing", ORDERS, 3, Some(PAYMENTS)),
        group("audit", ORDERS, 2, None),
        group("statistics", ORDERS, BATCH_ATTEMPTS, None),
        group("ledger", PAYMENTS, 3, None),
    ]
}

/// The configuration.
///
/// # Errors
/// If it is none, which a test excludes.
pub fn config() -> Result<Config, ConfigError> {
    let drain = DRAIN.as_millis();
    Config::from_toml(&format!("app.drain_timeout = \"{drain}ms\"\n"), "chaos")
}

/// The service, with the bugs that belong to policies.
pub fn service(world: World, policies: Policies) -> Service {
    // The second member joins a moment later, so that every start moves lanes from one to the other.
    let billing = |name: &str| {
        on(ORDERS, handlers::charge)
            .group("billing")
            .name(name)
            .to(PAYMENTS)
            .concurrency(policies.concurrency)
            .ordering(policies.ordering)
            .retry(retry(3, Duration::from_millis(30)))
            .commit(millis(20), 200)
            .max_in_flight(policies.max_in_flight)
            .max_parked(policies.max_parked)
    };
    let audit = on(ORDERS, handlers::audit)
        .group("audit")
        .ordering(Ordering::Partition)
        .retry(retry(2, Duration::from_millis(3)))
        .commit(millis(30), 100);
    let statistics = on(ORDERS, handlers::count)
        .group("statistics")
        .batch(16, millis(4))
        .retry(retry(BATCH_ATTEMPTS, Duration::from_millis(3)))
        .commit(millis(25), 100);
    let ledger = on(PAYMENTS, handlers::book)
        .group("ledger")
        .concurrency(policies.bookings)
        .retry(retry(3, Duration::from_millis(30)))
        .commit(millis(20), 50);
    let ledger = if policies.spawn { ledger.spawn() } else { ledger };
    App::new("chaos")
        .channel(ORDERS, |channel| channel.partitions(3))
        .channel(PAYMENTS, |channel| channel.partitions(2))
        .add(billing("billing"))
        .add(billing("billing-2"))
        .add(audit)
        .add(statistics)
        .add(ledger)
        .with_state(world.clone())
}

/// The second attempt comes at once, further ones after `later`; what waits longer than 10 ms is parked.
fn retry(attempts: u32, later: Duration) -> Retry {
    Retry::custom(attempts, move |failed| match failed {
        1 => Duration::from_millis(2),
        _ => later,
    })
    .durable_after(Duration::from_millis(10))
    .budget(1_000.0, 1_000_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::History;
    use crate::points::Points;
    use std::sync::Arc;

    #[test]
    fn the_service_is_wired_as_its_facts_say() {
        let directory = tempfile::tempdir().unwrap();
        let history = Arc::new(History::open(&directory.path().join("h.jsonl"), 0).unwrap());
        let world = World::new(history.clone(), Points::new(None, history), None);
        let described = service(world, Policies::of(1, 0, None))
            .describe(&config().unwrap())
            .unwrap();
        for facts in groups() {
            let found = described
                .subscriptions
                .iter()
                .filter(|one| one.group.as_ref().is_some_and(|group| group.value == facts.group));
            assert!(found.count() > 0, "{}", facts.group);
        }
    }
}

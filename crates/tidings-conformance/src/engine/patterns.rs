//! A channel that is every destination that matches a pattern.

use crate::apps::{Running, retry, until};
use crate::features::Feature;
use crate::stage::{Broker, Stage, Verdict, destination, text_of};
use crate::world::{How, Script, World, id_of, message};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tidings::{App, Delivery, Selection, Subscription, dead_letter, on};
use tidings_core::{Create, Outgoing};

const PATTERN: &str = r"^orders\..*";
/// Discovery by itself is what one case is about; in the others it is asked for.
const SELDOM: &str = "[binder.main]\ndiscovery_interval = \"1h\"\n";
const LATEST: &str = "[subscription.billing]\nstart = \"latest\"\n";

fn app() -> App {
    App::new("case").channel("orders", |channel| channel.destination(PATTERN))
}

async fn start(stage: &Stage, broker: &Broker, subscription: Subscription<()>, config: &str) -> Running {
    let config = format!("{SELDOM}{config}");
    stage.start_with(broker, app().add(subscription), &config).await
}

/// A message of a key of its destination's own.
async fn put(broker: &Broker, name: &str, id: u64) {
    let message = message(id, Some(&format!("{name} {}", id % 3)));
    let kept = broker.send(Outgoing::new(name, message)).await;
    kept.expect("a healthy broker takes a message");
}

async fn put_all(broker: &Broker, name: &str, ids: std::ops::Range<u64>) {
    for id in ids {
        put(broker, name, id).await;
    }
}

async fn names(broker: &Broker) -> BTreeSet<String> {
    let all = broker.destinations().await.expect("they can be listed");
    all.iter().map(|info| info.name.to_string()).collect()
}

fn succeeded(world: &World) -> BTreeSet<u64> {
    world.succeeded().into_iter().collect()
}

pub(crate) async fn what_matches_is_read_also_what_comes_later(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Patterns, Feature::StoredPositions])?;
    let (broker, world) = (stage.open().await, World::default());
    for name in ["orders.eu", "orders", "payments.eu", "old.orders.eu"] {
        broker.has(name, 2).await;
        put_all(&broker, name, 0..1).await;
    }
    put_all(&broker, "orders.eu", 1..5).await;
    let running = start(&stage, &broker, world.subscription(), "").await;
    running.settled().await;
    assert_eq!(succeeded(&world), (0..5).collect());
    let of: BTreeSet<_> = world
        .handlings()
        .iter()
        .map(|one| one.position.destination().to_owned())
        .collect();
    assert_eq!(of, BTreeSet::from(["orders.eu".to_owned()]));
    broker.has("orders.us", 3).await;
    put_all(&broker, "orders.us", 10..20).await;
    running.settled().await;
    assert_eq!(succeeded(&world), (0..5).chain(10..20).collect());
    assert_eq!(world.handlings().len(), 15, "each once");
    let us = world.of(10).remove(0).position;
    assert_eq!(
        us.destination(),
        "orders.us",
        "the handler is told where a message is from"
    );
    running.0.stop().await;
    Ok(())
}

pub(crate) async fn what_appears_is_found_within_the_interval_and_read_from_its_first_message(
    stage: Stage,
) -> Verdict {
    stage.needs(&[Feature::Patterns, Feature::StoredPositions])?;
    let (broker, world) = (stage.open().await, World::default());
    // Nothing matches at the start, which is no error.
    let often = format!("[binder.main]\ndiscovery_interval = \"300ms\"\n{LATEST}");
    let app = app().add(world.subscription());
    let running = stage.start_with(&broker, app, &often).await;
    assert!(running.0.running().health().ready);
    broker.has("orders.eu", 2).await;
    put_all(&broker, "orders.eu", 0..5).await;
    until("what came before it was found", || succeeded(&world).len() == 5).await;
    // And it goes on there.
    put_all(&broker, "orders.eu", 5..8).await;
    until("what came after", || succeeded(&world).len() == 8).await;
    assert_eq!(world.handlings().len(), 8);
    running.0.stop().await;
    Ok(())
}

pub(crate) async fn the_start_is_for_what_is_there_when_a_group_begins_and_for_nothing_later(
    stage: Stage,
) -> Verdict {
    stage.needs(&[Feature::Patterns, Feature::StoredPositions, Feature::Replay])?;
    let (broker, world) = (stage.open().await, World::default());
    for name in ["orders.eu", "orders.empty"] {
        broker.has(name, 2).await;
    }
    put_all(&broker, "orders.eu", 0..5).await;
    let running = start(&stage, &broker, world.subscription(), LATEST).await;
    running.settled().await;
    assert!(world.handlings().is_empty(), "it begins at the latest");
    broker.has("orders.us", 2).await;
    put_all(&broker, "orders.us", 10..15).await;
    put_all(&broker, "orders.eu", 5..8).await;
    running.settled().await;
    assert_eq!(succeeded(&world), (5..8).chain(10..15).collect());
    running.0.stop().await;
    // While nobody runs, a destination appears, and others get messages.
    broker.has("orders.asia", 2).await;
    put_all(&broker, "orders.asia", 20..25).await;
    put_all(&broker, "orders.eu", 30..33).await;
    put_all(&broker, "orders.empty", 40..43).await;
    let running = start(&stage, &broker, world.subscription(), LATEST).await;
    running.settled().await;
    let all = (5..8).chain(10..15).chain(20..25).chain(30..33).chain(40..43);
    assert_eq!(succeeded(&world), all.collect());
    assert_eq!(world.handlings().len(), 19, "each once");
    running.0.stop().await;
    Ok(())
}

pub(crate) async fn each_destination_has_a_retry_lane_and_dead_letters_of_its_own(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Patterns, Feature::RetryLane, Feature::StoredPositions])?;
    let (broker, world, other) = (stage.open().await, World::default(), World::default());
    broker.has("orders.eu", 2).await;
    let billing = || world.subscription().retry(retry(3, stage.minutes(5)));
    let noting = other.clone();
    let audit = move |delivery: Delivery| noting.clone().handle(delivery);
    let app = app().add(billing()).add(on("orders", audit).group("audit"));
    let running = stage.start_with(&broker, app, SELDOM).await;
    broker.has("orders.us", 3).await;
    for (name, from) in [("orders.eu", 0), ("orders.us", 100)] {
        world.script(from, Script::fails(2, How::Transient));
        world.script(from + 1, Script::always(How::Permanent));
        put_all(&broker, name, from..from + 9).await;
    }
    running.settled().await;
    assert_eq!(world.attempts(0), [1, 2, 3]);
    assert_eq!(world.attempts(100), [1, 2, 3]);
    world.keys_kept_their_order();
    assert_eq!(running.dead().await, ["1", "101"]);
    let belongs =
        |name: &str| [".DLT", ".billing.retry", ".audit.retry"].map(|ending| format!("{name}{ending}"));
    let expected = ["orders.eu", "orders.us"]
        .into_iter()
        .flat_map(|name| std::iter::once(name.to_owned()).chain(belongs(name)));
    // Had a pattern taken one of them for a channel, that would have a retry lane and dead letters too.
    assert_eq!(names(&broker).await, expected.collect());
    assert!(
        broker.size("orders.us.billing.retry").await > 0,
        "waits are durable"
    );
    assert_eq!(
        (
            broker.size("orders.eu.DLT").await,
            broker.size("orders.us.DLT").await
        ),
        (1, 1)
    );
    assert_eq!(
        other.handlings().len(),
        18,
        "the other group sees every message once, and nobody's retries"
    );
    assert_eq!(other.succeeded().len(), 18);
    running.0.stop().await;
    Ok(())
}

pub(crate) async fn dead_letters_of_a_pattern_go_back_to_their_group(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Patterns, Feature::RetryLane, Feature::StoredPositions])?;
    let (broker, world) = (stage.open().await, World::default());
    broker.has("orders.eu", 2).await;
    let billing = || world.subscription().retry(retry(1, Duration::ZERO));
    let running = start(&stage, &broker, billing(), "").await;
    broker.has("orders.us", 2).await;
    for (name, id) in [("orders.eu", 1), ("orders.us", 2), ("orders.us", 3)] {
        world.script(id, Script::fails(1, How::Permanent));
        put(&broker, name, id).await;
    }
    running.settled().await;
    assert_eq!(running.dead().await, ["1", "2", "3"]);
    running.0.stop().await;
    // Another process sends them back.
    let running = start(&stage, &broker, billing(), "").await;
    let report = running
        .0
        .redrive("billing", Selection::All)
        .await
        .expect("it can");
    assert_eq!((report.pending, report.redriven), (3, 3));
    running.settled().await;
    assert!(running.dead().await.is_empty());
    assert_eq!(succeeded(&world), (1..4).collect());
    let from: Vec<_> = world.of(2).iter().map(|one| one.position.clone()).collect();
    assert_eq!((from[0].destination(), &from[0]), ("orders.us", &from[1]));
    running.0.stop().await;
    Ok(())
}

pub(crate) async fn a_handler_of_dead_letters_reads_those_of_every_match(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Patterns, Feature::StoredPositions])?;
    let (broker, world) = (stage.open().await, World::default());
    let seen: Arc<Mutex<BTreeSet<(String, u64)>>> = Arc::default();
    let notes = seen.clone();
    let rescue = move |delivery: Delivery| {
        let origin = delivery.position().destination().to_owned();
        let id = id_of(delivery.payload().unwrap_or_default());
        let notes = notes.clone();
        async move {
            let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
            notes.insert((origin, id));
        }
    };
    let billing = world.subscription().retry(retry(1, Duration::ZERO));
    let app = app()
        .add(billing)
        .add(dead_letter("orders", rescue).group("rescue"));
    let running = stage.start_with(&broker, app, SELDOM).await;
    for (name, id) in [("orders.eu", 1), ("orders.us", 2)] {
        broker.has(name, 2).await;
        world.script(id, Script::always(How::Permanent));
        put(&broker, name, id).await;
        running.settled().await;
    }
    // The dead letters of the second appeared after the last look at them.
    running.settled().await;
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let ids: Vec<_> = seen.iter().map(|(_, id)| *id).collect();
    assert_eq!(ids, [1, 2], "{seen:?}");
    let stored = names(&broker).await;
    assert!(
        !stored.iter().any(|name| name.contains("DLT.billing")),
        "{stored:?}"
    );
    running.0.stop().await;
    Ok(())
}

pub(crate) async fn members_that_come_and_go_share_what_appears_and_lose_nothing(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Patterns, Feature::StoredPositions, Feature::Partitions])?;
    let (broker, world) = (stage.open().await, World::default());
    for id in 0..240 {
        world.script(id, Script::takes(Duration::from_millis(id % 7)));
    }
    let often = "[binder.main]\ndiscovery_interval = \"200ms\"\nsession_drain = \"2s\"\n";
    let member = async || {
        let app = app().add(world.subscription().concurrency(4));
        stage.start_with(&broker, app, often).await
    };
    broker.has("orders.0", 3).await;
    let mut members = vec![member().await, member().await];
    for round in 0..6 {
        let name = format!("orders.{round}");
        if round > 0 {
            broker.has(&name, 3).await;
        }
        put_all(&broker, &name, round * 40..round * 40 + 20).await;
        // One comes or goes just while the others learn of it.
        match round % 2 {
            0 => members.push(member().await),
            _ => assert!(members.remove(0).0.stop().await.finished_in_time),
        }
        put_all(&broker, &name, round * 40 + 20..(round + 1) * 40).await;
    }
    until("every message", || world.succeeded().len() == 240).await;
    for running in &members {
        running.settled().await;
    }
    world.keys_kept_their_order();
    assert_eq!(world.handlings().len(), 240, "polite members repeat nothing");
    for running in members {
        running.0.stop().await;
    }
    Ok(())
}

pub(crate) async fn what_cannot_be_read_is_said_and_stops_nothing_else(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Patterns, Feature::StoredPositions])?;
    let (broker, world) = (stage.open().await, World::default());
    for name in [
        "orders.eu",
        "orders.eu.DLT",
        "orders.eu.billing.retry",
        "orders.us",
    ] {
        broker.has(name, 2).await;
    }
    let never = App::new("case").channel("orders", |channel| {
        channel.destination(PATTERN).create(Create::Never)
    });
    let running = stage
        .start_with(&broker, never.add(world.subscription()), SELDOM)
        .await;
    put(&broker, "orders.eu", 1).await;
    put(&broker, "orders.us", 2).await;
    until("what can be read", || succeeded(&world).contains(&1)).await;
    let obstacle = running.status("billing").obstacle.unwrap_or_default();
    assert!(obstacle.contains("\"orders.us\" is not read"), "{obstacle}");
    assert!(obstacle.contains("create it"), "{obstacle}");
    let retry = broker.prepare(destination("orders.us.billing.retry", 2)).await;
    retry.expect("it can be made by hand");
    broker.has("orders.us.DLT", 2).await;
    running.settled().await;
    assert_eq!(succeeded(&world), (1..3).collect());
    assert_eq!(running.status("billing").obstacle, None);
    let dead = running.0.published("orders").await.expect("they can be read");
    assert_eq!(dead.iter().map(text_of).collect::<BTreeSet<_>>().len(), 2);
    running.0.stop().await;
    Ok(())
}

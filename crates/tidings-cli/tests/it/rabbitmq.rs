//! The verbs on a real RabbitMQ.

use crate::service::{order, shop};
use crate::world::{PATIENCE, Said, World, interrupt};
use brokers::{VirtualHost, rabbit_or_skip, unique};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};
use tidings::prelude::*;

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + 3 * PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn letters(world: &World) -> Vec<serde_json::Value> {
    let rows = world.ok(&["dlq", "ls", "orders", "--group", "billing"]).rows();
    rows.into_iter().map(|row| row["position"].clone()).collect()
}

/// A shop that has handled three orders, two of which are dead letters; it runs no more.
async fn left_behind(host: &VirtualHost) -> World {
    let text = format!(
        "[binder.main]\nurl = \"{}\"\nrabbitmq.queue_type = \"classic\"\n",
        host.url()
    );
    let world = World::new();
    world.write("tidings.toml", &text);
    let running = shop()
        .start(Config::from_toml(&text, "tidings.toml").unwrap())
        .await
        .unwrap();
    let orders = [("ada", "1 bad card"), ("bob", "2"), ("cid", "3 bad card")];
    // Nothing is kept for a queue that is not there yet.
    tokio::task::block_in_place(|| {
        until("the queues are read", || {
            let queues = host.queues().unwrap();
            queues
                .iter()
                .filter(|queue| queue.name.ends_with(".retry"))
                .count()
                == 3
        });
    });
    order(&running, &orders).await;
    tokio::task::block_in_place(|| until("two are dead letters", || letters(&world).len() == 2));
    assert!(running.drain().await.is_clean());
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verbs_look_into_a_rabbitmq_and_send_letters_back() {
    let Some(api) = rabbit_or_skip("the_verbs_look_into_a_rabbitmq_and_send_letters_back") else {
        return;
    };
    let host = api.virtual_host(&unique("cli")).unwrap();
    let world = left_behind(&host).await;
    tokio::task::block_in_place(|| dead_letters(&world, &host));
    tokio::task::block_in_place(|| queues(&world));
    tokio::task::block_in_place(|| mistakes(&world, &host));
    tokio::task::block_in_place(|| another_exchange(&host));
}

fn dead_letters(world: &World, host: &VirtualHost) {
    let positions = letters(world);
    let position = positions[0].as_str().unwrap().to_owned();
    assert!(position.starts_with("orders.billing.dlq/0@"), "{position}");
    let shown = world.ok(&["dlq", "show", &position, "--json"]).rows();
    assert_eq!(shown[0]["diagnosis"]["reason"], "permanent", "{shown:?}");
    assert_eq!(shown[0]["diagnosis"]["group"], "billing");
    let billing = ["orders", "--group", "billing"];
    let dry = world.ok(&[&["dlq", "redrive"], &billing[..], &["--dry-run"]].concat());
    assert_eq!(
        (dry.rows()[0]["selected"].clone(), dry.rows()[0]["sent"].clone()),
        (json!(2), json!(0))
    );
    assert_eq!(letters(world), positions, "looking changes nothing");
    let sent = world.ok(&[&["dlq", "redrive"], &billing[..], &["--key", "ada"]].concat());
    assert_eq!(sent.rows()[0]["sent"], 1);
    until("it waits for its group", || {
        host.queue("orders.billing.retry")
            .unwrap()
            .is_some_and(|queue| queue.ready == Some(1))
    });
    assert_eq!(letters(world), positions[1..]);
    world
        .say(&[&["dlq", "discard"], &billing[..]].concat())
        .refused(4, &["delete 1 dead letters from their queue", "--yes"]);
    let position = positions[1].as_str().unwrap();
    let mut edit = world.command(&["dlq", "redrive", position, "--edit"]);
    edit.env("EDITOR", "sed -i 's/bad card/4242/'");
    let said = Said::of(edit.output().unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    until("both wait for their group", || {
        host.queue("orders.billing.retry")
            .unwrap()
            .is_some_and(|queue| queue.ready == Some(2))
    });
    assert!(letters(world).is_empty());
    let waiting = host.peek("orders.billing.retry", 9).unwrap();
    assert_eq!(waiting[1].payload, b"3 4242");
}

/// What lies in the queues of a group, instead of positions.
fn queues(world: &World) {
    let row = |queue: &str, holds: &str, waiting: u32| {
        json!({
            "group": "billing", "topic": "orders", "queue": queue, "holds": holds, "waiting": waiting, "readers": 0,
        })
    };
    let shown = world.ok(&["groups", "show", "billing", "--topic", "orders"]);
    let expected = [
        row("orders.billing", "messages", 0),
        row("orders.billing.retry", "retries", 2),
        row("orders.billing.dlq", "dead letters", 0),
    ];
    assert_eq!(shown.rows(), expected);
    world
        .say(&["groups", "show", "biling", "--topic", "orders"])
        .refused(3, &["no queue \"orders.biling\"", "check the name of the group"]);
    world
        .say(&["groups", "show", "billing", "--topic", "ordres"])
        .refused(3, &["no topic \"ordres\""]);
    world
        .say(&["groups", "show", "billing"])
        .refused(4, &["tidings groups show GROUP --topic CHANNEL"]);
    world
        .say(&[
            "groups", "reset", "billing", "--topic", "orders", "--to", "earliest",
        ])
        .refused(4, &["keeps nothing of what was handled"]);
}

/// Exchanges and queues have the names that the project gives them.
fn another_exchange(host: &VirtualHost) {
    let world = World::new();
    let text = format!(
        "[binder.main]\nurl = \"{}\"\n\n[channel.parcels.rabbitmq]\nexchange = \"post\"\nqueue = \"{{group}}-inbox\"\n",
        host.url()
    );
    world.write("tidings.toml", &text);
    world
        .say(&["publish", "parcels", "1"])
        .refused(3, &["no topic \"parcels\""]);
    world.say(&["publish", "parcels", "1", "--create"]).refused(
        1,
        &["no queue is bound to the exchange \"post\" for the routing key"],
    );
    world
        .say(&["groups", "show", "sorting", "--topic", "parcels"])
        .refused(3, &["no queue \"sorting-inbox\""]);
}

fn mistakes(world: &World, host: &VirtualHost) {
    let published = world.ok(&["publish", "orders", "4", "--key", "dan"]);
    assert_eq!(published.rows().len(), 1);
    let later = world.ok(&["publish", "orders", "later", "--delay", "1h"]);
    assert_eq!(later.rows()[0]["position"], json!(null));
    let mut tail = world.spawn(&mut world.command(&["tail", "orders", "--follow", "--raw"]));
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let end = Instant::now() + PATIENCE;
    let first = std::thread::spawn(move || lines.next());
    // What comes before it follows is not seen.
    while !first.is_finished() && Instant::now() < end {
        world.ok(&["publish", "orders", "5"]);
    }
    if !first.is_finished() {
        tail.kill().unwrap();
    }
    assert_eq!(first.join().unwrap().map(Result::unwrap).as_deref(), Some("5"));
    interrupt(&tail);
    assert!(tail.wait().unwrap().success());
    world
        .say(&["tail", "orders"])
        .refused(4, &["keeps nothing of what was handled", "--follow"]);
    world.say(&["topics"]).refused(4, &["rabbitmqctl"]);
    world.say(&["groups"]).refused(4, &["rabbitmqctl"]);
    world
        .say(&["log", "verify"])
        .refused(4, &["is no directory of this machine"]);
    world
        .say(&["publish", "ordres", "x"])
        .refused(3, &["no topic \"ordres\""]);
    world
        .say(&["dlq", "ls", "ordres", "--group", "billing"])
        .refused(3, &["no topic \"ordres\""]);
    world
        .say(&["dlq", "ls", "orders", "--group", "biling"])
        .refused(3, &["orders.biling.dlq", "--group"]);
    world
        .say(&["dlq", "ls"])
        .refused(2, &["has no list of the queues", "--group"]);
    let wrong = host.url().replace(":guest@", ":hunter2@");
    let said = world.say(&["dlq", "ls", "orders", "--group", "billing", "--url", &wrong]);
    said.refused(5, &["check the user and the password"]);
    assert!(!said.err.contains("hunter2"), "{}", said.err);
}

#[test]
fn a_rabbitmq_that_is_away_is_told_at_once_with_its_cure() {
    let world = World::new();
    world
        .say(&["topics", "--url", "amqp://ada:hunter2@127.0.0.1:1/v"])
        .refused(5, &["127.0.0.1:1", "start the server"]);
    world
        .say(&["topics", "--url", "amqp://h:x"])
        .refused(2, &["\"x\" is no port"]);
}

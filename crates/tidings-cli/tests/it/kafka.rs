//! The verbs on a real Kafka.

use crate::service::{order, shop};
use crate::world::{PATIENCE, Said, World};
use brokers::{kafka_or_skip, unique};
use serde_json::json;
use tidings::Running;
use tidings::prelude::*;

/// A project whose topics and groups nobody else has.
struct Project {
    world: World,
    text: String,
    billing: String,
}

impl Project {
    fn on(bootstrap: &str) -> Self {
        let (orders, payments) = (unique("orders"), unique("payments"));
        let (billing, analytics, shipping) = (unique("billing"), unique("analytics"), unique("shipping"));
        let text = format!(
            "[binder.main]\nurl = \"kafka://{bootstrap}\"\ncommit_interval = \"50ms\"\n\
             [channel.orders]\ndestination = \"{orders}\"\n[channel.payments]\ndestination = \"{payments}\"\n\
             [subscription.billing]\ngroup = \"{billing}\"\n[subscription.analytics]\ngroup = \"{analytics}\"\n\
             [subscription.shipping]\ngroup = \"{shipping}\"\n"
        );
        let world = World::new();
        world.write("tidings.toml", &text);
        Self { world, text, billing }
    }

    async fn start(&self) -> Running {
        let config = Config::from_toml(&self.text, "tidings.toml").unwrap();
        shop().start(config).await.unwrap()
    }

    /// What the program says about moving the group of billing.
    fn reset(&self, arguments: &[&str]) -> Said {
        let reset = ["groups", "reset", &self.billing, "--topic", "orders", "--to"];
        self.world.say(&[&reset, arguments].concat())
    }

    /// Waits until billing has stored that it handled so many messages.
    async fn settle(&self, handled: u64) {
        let settled = async {
            loop {
                let shown = ["groups", "show", &self.billing, "--topic", "orders"];
                let rows = tokio::task::block_in_place(|| self.world.say(&shown)).rows();
                let stored = rows
                    .iter()
                    .filter_map(|row| row["position"].as_u64())
                    .sum::<u64>();
                if stored == handled {
                    return;
                }
                tokio::time::sleep(millis(20)).await;
            }
        };
        tokio::time::timeout(3 * PATIENCE, settled)
            .await
            .expect("it settles");
    }
}

fn sum(said: &Said, field: &str) -> u64 {
    assert_eq!(said.code, 0, "{said:?}");
    said.rows().iter().map(|row| row[field].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verbs_look_into_a_kafka_and_move_groups_of_apps_that_are_stopped() {
    let name = "the_verbs_look_into_a_kafka_and_move_groups_of_apps_that_are_stopped";
    let Some(bootstrap) = kafka_or_skip(name) else {
        return;
    };
    let project = Project::on(bootstrap);
    let running = project.start().await;
    order(&running, &[("ada", "1"), ("cid", "3 bad card"), ("ada", "4")]).await;
    let world = &project.world;
    let published = tokio::task::block_in_place(|| world.ok(&["publish", "orders", "2", "--key", "bob"]));
    assert_eq!(published.rows().len(), 1);
    project.settle(4).await;
    tokio::task::block_in_place(|| {
        let mut payloads: Vec<_> = world.ok(&["tail", "orders", "--last", "9"]).rows();
        payloads.sort_by_key(|row| row["payload"].to_string());
        assert_eq!(payloads.len(), 4, "{payloads:?}");
        assert_eq!(sum(&world.ok(&["topics", "orders"]), "messages"), 4);
        let letters = world.ok(&["dlq", "ls", "orders"]).rows();
        let ours = letters
            .iter()
            .filter(|row| row["group"] == json!(project.billing));
        assert_eq!(ours.count(), 1, "{letters:?}");
        let groups = world.ok(&["groups", "ls", "--topic", "orders"]).rows();
        let billing = groups
            .iter()
            .find(|row| row["group"] == json!(project.billing))
            .unwrap();
        assert_eq!(
            (&billing["lag"], &billing["members"]),
            (&json!(0), &json!(["billing"]))
        );
        project
            .reset(&["earliest"])
            .refused(4, &["runs", "billing", "nothing was changed"]);
        assert_eq!(sum(&project.reset(&["earliest", "--dry-run"]), "again"), 4);
        world.say(&["describe"]).refused(4, &["not the apps that use it"]);
        world
            .say(&["log", "verify"])
            .refused(4, &["is no directory of this machine"]);
    });
    assert!(running.drain().await.is_clean());
    tokio::task::block_in_place(|| {
        assert_eq!(sum(&project.reset(&["earliest"]), "after"), 0);
        project
            .reset(&["latest"])
            .refused(4, &["skip 4 messages", "--yes"]);
        assert_eq!(sum(&project.reset(&["1h"]), "after"), 0);
        assert_eq!(sum(&project.reset(&["latest", "--yes"]), "after"), 4);
        assert_eq!(sum(&project.reset(&["offset:1"]), "again"), 4 - occupied(world));
    });
    let again = project.start().await;
    project.settle(4).await;
    let handled = again.subscription("billing").unwrap().status().handled;
    assert!(
        handled + 1 >= 4 - occupied(world),
        "it went on where it was put: {handled}"
    );
    assert!(again.drain().await.is_clean());
}

/// How many partitions of the orders hold messages.
fn occupied(world: &World) -> u64 {
    let rows = world.ok(&["topics", "orders"]).rows();
    rows.iter()
        .filter(|row| row["messages"].as_u64() > Some(0))
        .count() as u64
}

#[test]
fn a_kafka_that_is_away_is_told_at_once_with_its_cure() {
    let world = World::new();
    world
        .say(&["topics", "--url", "kafka://127.0.0.1:1"])
        .refused(5, &["127.0.0.1:1", "start the broker"]);
    world
        .say(&["topics", "--url", "kafka://ada:hunter2@h"])
        .refused(2, &["sasl.password"]);
    world.write(
        "tidings.toml",
        "[binder.main]\nurl = \"kafka://127.0.0.1:1\"\nkafka.\"linger.sm\" = 3\n",
    );
    world
        .say(&["topics"])
        .refused(2, &["\"linger.ms\"?", "tidings.toml:3"]);
}

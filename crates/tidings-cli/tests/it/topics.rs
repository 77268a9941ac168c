use crate::world::World;
use serde_json::json;

fn with_orders() -> World {
    let world = World::new();
    world.ok(&[
        "publish", "orders", "tea", "--key", "ada", "--create", "2", "--count", "3",
    ]);
    world
}

#[test]
fn topics_are_listed_with_what_they_hold() {
    let world = with_orders();
    let listed = world.ok(&["topics"]).rows();
    assert_eq!(
        listed,
        [json!({"topic": "orders", "channels": [], "partitions": 2, "messages": 3})]
    );
    let partitions = world.ok(&["topics", "orders"]).rows();
    assert_eq!(partitions.len(), 2);
    let total: u64 = partitions
        .iter()
        .map(|row| row["messages"].as_u64().unwrap())
        .sum();
    assert_eq!(total, 3);
}

#[test]
fn a_table_has_a_head_and_no_colours_where_there_is_no_terminal() {
    let said = with_orders().ok(&["topics", "--output", "table"]);
    assert_eq!(
        said.out,
        "TOPIC   PARTITIONS  MESSAGES  CHANNELS\norders           2         3\n"
    );
}

#[test]
fn a_wrong_name_is_told_the_nearest() {
    let world = with_orders();
    world.say(&["topics", "ordres"]).refused(
        3,
        &[
            "no topic \"ordres\" in embedded:./data",
            "did you mean \"orders\"?",
        ],
    );
    world.say(&["topics", "xyzzy"]).refused(3, &["there are orders"]);
}

#[test]
fn a_missing_directory_is_named_with_the_cure_and_not_made() {
    let world = World::new();
    for verb in [
        vec!["topics"],
        vec!["tail", "orders"],
        vec!["groups"],
        vec!["groups", "show", "g"],
        vec!["groups", "reset", "g", "--topic", "t", "--to", "earliest"],
        vec!["dlq", "ls"],
        vec!["dlq", "show", "a.DLT/0@0"],
        vec!["dlq", "redrive"],
        vec!["dlq", "discard", "--yes"],
        vec!["publish", "orders", "x"],
        vec!["describe"],
    ] {
        world.say(&verb).refused(
            3,
            &[
                "there is no directory ./data (default)",
                "--url embedded:DIRECTORY",
            ],
        );
    }
    assert!(!world.data().exists());
}

#[test]
fn an_address_names_the_broker_and_must_be_one() {
    let world = with_orders();
    let elsewhere = World::new();
    let url = format!("embedded:{}", world.data().display());
    assert_eq!(elsewhere.ok(&["topics", "--url", &url]).rows().len(), 1);
    elsewhere
        .say(&["topics", "--url", "data"])
        .refused(2, &["no address of a broker", "embedded:"]);
    elsewhere
        .say(&["topics", "--url", "memory:"])
        .refused(4, &["lives in the memory of the app alone"]);
    elsewhere
        .say(&["topics", "--url", "nats://h"])
        .refused(2, &["nats://h", "embedded:"]);
    elsewhere
        .say(&["topics", "--url", "embeded:./data"])
        .refused(2, &["embeded:./data (--url)", "did you mean embedded:?"]);
}

#[test]
fn a_channel_of_the_project_leads_to_its_topic() {
    let world = World::new();
    world.write(
        "tidings.toml",
        "[channel.orders]\ndestination = \"order-events\"\n[shop]\nhttp = \"x\"\n",
    );
    let said = world.ok(&["publish", "orders", "tea", "--create", "1"]);
    assert_eq!(said.rows()[0]["position"], "order-events/0@0");
    assert_eq!(world.ok(&["topics"]).rows()[0]["channels"], json!(["orders"]));
    assert_eq!(world.ok(&["tail", "orders"]).rows()[0]["topic"], "order-events");
    assert_eq!(world.ok(&["tail", "order-events"]).rows().len(), 1);
    world
        .say(&["tail", "orderz"])
        .refused(3, &["did you mean \"orders\"?"]);
}

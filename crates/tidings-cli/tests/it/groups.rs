use crate::service::left_behind;
use crate::world::World;
use serde_json::{Value, json};

const ORDERS: &[(&str, &str)] = &[("ada", "1"), ("bob", "2"), ("cid", "3 bad card"), ("ada", "4")];

fn after(rows: &[Value]) -> Vec<u64> {
    rows.iter().map(|row| row["after"].as_u64().unwrap()).collect()
}

fn position(world: &World, group: &str) -> Vec<Value> {
    let rows = world.ok(&["groups", "show", group, "--topic", "orders"]).rows();
    rows.iter().map(|row| row["position"].clone()).collect()
}

#[tokio::test]
async fn groups_are_listed_with_their_lag() {
    let world = left_behind(ORDERS, 1).await;
    world.ok(&["publish", "orders", "5", "--key", "ada"]);
    let rows = world.ok(&["groups"]).rows();
    let names: Vec<_> = rows
        .iter()
        .map(|row| (row["group"].as_str().unwrap(), row["topic"].as_str().unwrap()))
        .collect();
    assert_eq!(
        names,
        [
            ("analytics", "orders"),
            ("billing", "orders"),
            ("shipping", "payments")
        ]
    );
    let billing = &rows[1];
    assert_eq!(
        (&billing["lag"], &billing["waiting"], &billing["members"]),
        (&json!(1), &json!(0), &json!([]))
    );
    assert_eq!(world.ok(&["groups", "ls", "--topic", "payments"]).rows().len(), 1);
    let table = world.ok(&["groups", "--output", "table"]).out;
    assert!(
        table.starts_with("GROUP      TOPIC     PARTITIONS  LAG  WAITING  RUNNING\n"),
        "{table}"
    );
    let partitions = world
        .ok(&["groups", "show", "billing", "--topic", "orders"])
        .rows();
    assert_eq!(
        partitions
            .iter()
            .map(|row| row["lag"].as_u64().unwrap())
            .sum::<u64>(),
        1
    );
}

#[tokio::test]
async fn a_wrong_group_or_topic_is_told_the_nearest() {
    let world = left_behind(ORDERS, 1).await;
    world
        .say(&["groups", "show", "biling"])
        .refused(3, &["no group \"biling\"", "did you mean \"billing\"?"]);
    world
        .say(&["groups", "ls", "--topic", "payment"])
        .refused(3, &["did you mean \"payments\"?"]);
    world
        .say(&[
            "groups", "reset", "shipping", "--topic", "orders", "--to", "earliest",
        ])
        .refused(3, &["that the group shipping has read", "payments"]);
    let rows = world
        .ok(&["groups", "reset", "shipping", "--to", "earliest", "--dry-run"])
        .rows();
    assert!(
        !rows.is_empty() && rows.iter().all(|row| row["topic"] == "payments"),
        "the only one that it reads: {rows:?}"
    );
    assert_eq!(
        world
            .say(&["groups", "reset", "billing", "--topic", "orders"])
            .code,
        2
    );
}

#[tokio::test]
async fn a_dry_run_shows_what_a_reset_would_do_and_changes_nothing() {
    let world = left_behind(ORDERS, 1).await;
    let before = position(&world, "billing");
    let said = world.ok(&[
        "groups",
        "reset",
        "billing",
        "--topic",
        "orders",
        "--to",
        "earliest",
        "--dry-run",
    ]);
    assert!(said.err.contains("dry run"), "{}", said.err);
    let rows = said.rows();
    assert_eq!(after(&rows), [0, 0, 0, 0]);
    assert_eq!(
        rows.iter().map(|row| row["again"].as_u64().unwrap()).sum::<u64>(),
        4
    );
    assert!(rows.iter().all(|row| row["dry_run"] == true));
    assert_eq!(
        rows.iter().map(|row| row["before"].clone()).collect::<Vec<_>>(),
        before
    );
    assert_eq!(position(&world, "billing"), before);
}

#[tokio::test]
async fn a_group_is_put_where_it_is_told_to_go_on() {
    let world = left_behind(ORDERS, 1).await;
    let reset = |arguments: &[&str]| {
        world.say(
            &[
                &["groups", "reset", "billing", "--topic", "orders", "--to"],
                arguments,
            ]
            .concat(),
        )
    };
    let said = reset(&["earliest"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(position(&world, "billing"), [0, 0, 0, 0]);
    // Forward over what was not handled: only with a yes.
    reset(&["latest"]).refused(4, &["skip 4 messages that billing has not handled", "--yes"]);
    assert_eq!(position(&world, "billing"), [0, 0, 0, 0]);
    let said = reset(&["latest", "--yes"]);
    assert_eq!(
        said.rows()
            .iter()
            .map(|row| row["skipped"].as_u64().unwrap())
            .sum::<u64>(),
        4
    );
    let ends: Vec<_> = world
        .ok(&["topics", "orders"])
        .rows()
        .iter()
        .map(|row| row["end"].clone())
        .collect();
    assert_eq!(position(&world, "billing"), ends);
    // Beyond the end is the end.
    assert_eq!(json!(after(&reset(&["offset:1000"]).rows())), json!(ends));
    assert_eq!(after(&reset(&["1h", "--partition", "1"]).rows()), [0]);
    reset(&["earliest", "--partition", "9"]).refused(3, &["no partition 9", "it has 4"]);
    // The other group was left alone.
    assert_eq!(position(&world, "analytics"), ends);
}

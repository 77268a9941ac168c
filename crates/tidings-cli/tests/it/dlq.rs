use crate::service::{left_behind, settle, start};
use crate::world::{PATIENCE, Said, World, interrupt};
use serde_json::{Value, json};
use std::io::Read;
use std::time::Instant;
use tidings::{DynBinder, Message, spring};
use tidings_core::Outgoing;

/// Four dead letters: three with a bad card, one whose bank is down.
const ORDERS: &[(&str, &str)] = &[
    ("ada", "{\"n\":1,\"card\":\"bad card\"}"),
    ("bob", "{\"n\":2}"),
    ("bob", "{\"n\":3,\"card\":\"bad card\"}"),
    ("cid", "{\"n\":4,\"bank\":\"bank down\"}"),
    ("dan", "{\"n\":5,\"card\":\"bad card\"}"),
];

async fn world() -> World {
    left_behind(ORDERS, 4).await
}

fn letters(world: &World) -> Vec<Value> {
    world.ok(&["dlq", "ls"]).rows()
}

fn position_of(world: &World, key: &str) -> String {
    let rows = world.ok(&["dlq", "ls", "--key", key]).rows();
    rows[0]["position"].as_str().unwrap().to_owned()
}

/// The payloads that wait for a group's next start.
fn sent_back(world: &World) -> Vec<Value> {
    world
        .ok(&["tail", "orders.billing.retry", "--from", "beginning"])
        .rows()
        .iter()
        .map(|row| row["payload"]["n"].clone())
        .collect()
}

#[tokio::test]
async fn dead_letters_are_listed_by_what_is_meant() {
    let world = world().await;
    let count = |arguments: &[&str]| world.ok(&[&["dlq", "ls"], arguments].concat()).rows().len();
    assert_eq!(count(&[]), 4);
    assert_eq!(count(&["orders"]), 4);
    assert_eq!(count(&["orders.DLT"]), 4);
    assert_eq!(count(&["payments"]), 0);
    assert_eq!(count(&["--group", "billing"]), 4);
    assert_eq!(count(&["--group", "shipping"]), 0);
    assert_eq!(count(&["--key", "ada"]), 1);
    assert_eq!(count(&["--error-contains", "bad card"]), 3);
    assert_eq!(count(&["--since", "1h", "--until", "2100-01-01"]), 4);
    assert_eq!(count(&["--until", "1h"]), 0);
    assert_eq!(count(&["--limit", "2"]), 2);
    assert_eq!(count(&[&position_of(&world, "cid")]), 1);
    let id = letters(&world)[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(count(&["--id", &id, "--id", "another"]), 1);
    let row = &world.ok(&["dlq", "ls", "--key", "cid"]).rows()[0];
    assert_eq!(
        (&row["group"], &row["reason"], &row["attempts"]),
        (&json!("billing"), &json!("exhausted"), &json!(2))
    );
    assert!(
        row["error"]
            .as_str()
            .unwrap()
            .contains("the bank does not answer")
    );
}

#[tokio::test]
async fn a_wrong_name_is_told_the_nearest() {
    let world = world().await;
    world
        .say(&["dlq", "ls", "ordres"])
        .refused(3, &["did you mean \"orders\"?"]);
    world
        .say(&["dlq", "show", "orders.DTL/0@0"])
        .refused(3, &["did you mean \"orders.DLT\"?"]);
    world
        .say(&["dlq", "show", "orders.DLT"])
        .refused(2, &["no position", "orders.DLT/0@5"]);
    world
        .say(&["dlq", "show", "orders.DLT/9@0"])
        .refused(3, &["no partition 9"]);
    world
        .say(&["dlq", "show", "orders.DLT/0@99"])
        .refused(3, &["nothing lies at orders.DLT/0@99"]);
    for verb in ["ls", "redrive", "discard"] {
        world
            .say(&["dlq", verb, "--group", "biling"])
            .refused(3, &["no group \"biling\"", "did you mean \"billing\"?"]);
        world
            .say(&["dlq", verb, "billing"])
            .refused(3, &["that is a group", "write --group billing"]);
    }
    let said = world.ok(&["dlq", "redrive", "--group", "shipping"]);
    assert!(said.err.contains("no dead letter is meant by that"), "{said:?}");
}

#[tokio::test]
async fn one_is_shown_with_diagnosis_headers_and_payload() {
    let world = world().await;
    let position = position_of(&world, "ada");
    let text = world.ok(&["dlq", "show", &position, "--output", "table"]).out;
    for part in [
        "group        billing",
        "reason       permanent",
        "bad card",
        "message-id: ",
        "{\n  \"n\": 1,",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let json = &world.ok(&["dlq", "show", &position]).rows()[0];
    assert_eq!(
        (&json["diagnosis"]["group"], &json["payload"]["n"]),
        (&json!("billing"), &json!(1))
    );
    assert_eq!(world.ok(&["dlq", "show", &position, "--raw"]).out, ORDERS[0].1);
}

#[tokio::test]
async fn a_dry_run_counts_and_changes_nothing() {
    let world = world().await;
    for verb in ["redrive", "discard"] {
        let said = world.ok(&["dlq", verb, "orders", "--dry-run"]);
        assert!(said.err.contains("dry run"), "{}", said.err);
        assert_eq!(
            (&said.rows()[0]["selected"], &said.rows()[0]["dry_run"]),
            (&json!(4), &json!(true))
        );
    }
    assert_eq!((letters(&world).len(), sent_back(&world).len()), (4, 0));
}

#[tokio::test]
async fn letters_go_back_once_and_are_handled_anew() {
    let world = world().await;
    let said = world.ok(&["dlq", "redrive", "orders", "--error-contains", "bank"]);
    assert_eq!(
        said.rows(),
        [json!({"group": "billing", "selected": 1, "sent": 1, "refused": 0, "dry_run": false})]
    );
    assert_eq!((letters(&world).len(), sent_back(&world)), (3, vec![json!(4)]));
    let again = world.ok(&["dlq", "redrive", "orders", "--error-contains", "bank"]);
    assert!(
        again.rows().is_empty() && again.err.contains("no dead letter is meant"),
        "{again:?}"
    );
    // Its bank is still down: when the shop starts it fails anew, and is a dead letter again.
    let shop = start(&world).await;
    settle(&shop, 4).await;
    shop.drain().await;
    let row = &world.ok(&["dlq", "ls", "--key", "cid"]).rows()[0];
    assert_eq!(row["redrives"], 1);
}

#[tokio::test]
async fn a_letter_is_edited_before_it_goes_back() {
    let world = world().await;
    let position = position_of(&world, "ada");
    let edit = |editor: &str, position: &str| {
        let mut command = world.command(&["dlq", "redrive", position, "--edit"]);
        Said::of(command.env("EDITOR", editor).output().unwrap())
    };
    edit("true", &position).refused(4, &["not changed", "nothing was sent"]);
    edit("false", &position).refused(4, &["editor false ended with"]);
    edit("echo '{' >", &position).refused(4, &["no JSON", "nothing was sent"]);
    edit("", &position).refused(2, &["EDITOR"]);
    edit("true", "orders").refused(2, &["--edit takes one letter, and 4 are meant"]);
    assert!(sent_back(&world).is_empty());
    let said = edit("sed -i 's/bad card/4242/'", &position);
    assert_eq!(said.rows()[0]["sent"], 1, "{said:?}");
    let row = &world.ok(&["tail", "orders.billing.retry"]).rows()[0];
    assert_eq!(row["payload"], json!({"n": 1, "card": "4242"}));
    assert!(row["headers"]["tidings-edited"].is_string(), "{row}");
    let shop = start(&world).await;
    settle(&shop, 3).await;
    shop.drain().await;
    let paid = world.ok(&["tail", "payments", "--grep", "4242"]).rows();
    assert_eq!(paid.len(), 1);
}

#[tokio::test]
async fn discarding_needs_a_yes_is_remembered_and_deletes_nothing() {
    let world = world().await;
    world
        .say(&["dlq", "discard", "--key", "ada"])
        .refused(4, &["discard 1 dead letters for good", "--yes"]);
    assert_eq!(letters(&world).len(), 4);
    let said = world.ok(&["dlq", "discard", "--key", "ada", "--yes"]);
    assert_eq!(
        said.rows(),
        [json!({"group": "billing", "selected": 1, "discarded": 1, "dry_run": false})]
    );
    assert_eq!((letters(&world).len(), sent_back(&world).len()), (3, 0));
    assert_eq!(world.ok(&["dlq", "redrive"]).rows()[0]["sent"], 3);
    assert_eq!(sent_back(&world).len(), 3, "what was discarded does not go back");
    assert_eq!(
        world
            .ok(&["tail", "orders.DLT", "--from", "beginning"])
            .rows()
            .len(),
        4
    );
}

#[tokio::test]
async fn what_somebody_else_put_there_is_left_alone() {
    let world = world().await;
    world.ok(&["publish", "orders.DLT", "foreign"]);
    assert_eq!(letters(&world).len(), 5);
    let said = world.ok(&["dlq", "redrive", "orders", "--dry-run"]);
    assert!(said.err.contains("1 are left out"), "{}", said.err);
    assert_eq!(said.rows()[0]["selected"], 4);
}

#[tokio::test]
async fn a_letter_that_spring_wrote_is_listed_shown_and_sent_back() {
    let world = world().await;
    let letter = Message::new("{\"n\":9}")
        .with_key("eve")
        .with_header(spring::ORIGINAL_TOPIC, "orders")
        .and_then(|letter| letter.with_header(spring::ORIGINAL_PARTITION, 0_i32.to_be_bytes()))
        .and_then(|letter| letter.with_header(spring::ORIGINAL_OFFSET, 3_i64.to_be_bytes()))
        .and_then(|letter| letter.with_header(spring::ORIGINAL_CONSUMER_GROUP, "billing"))
        .and_then(|letter| letter.with_header(spring::EXCEPTION_MESSAGE, "the listener failed"))
        .unwrap();
    let url = format!("embedded:{}", world.data().display());
    let options = tidings_embedded::EmbeddedOptions::from_url(&url).unwrap();
    let broker = tidings_embedded::EmbeddedBroker::open(options).unwrap();
    let outgoing = Outgoing::new("orders.DLT", letter);
    DynBinder::sink(&broker).publish(outgoing).await.unwrap();
    DynBinder::close(&broker).await.unwrap();

    let row = &world.ok(&["dlq", "ls", "--key", "eve"]).rows()[0];
    assert_eq!(
        (&row["group"], &row["origin"], &row["error"]),
        (
            &json!("billing"),
            &json!("orders/0@3"),
            &json!("the listener failed")
        )
    );
    let position = position_of(&world, "eve");
    let text = world.ok(&["dlq", "show", &position, "--output", "table"]).out;
    assert!(
        text.contains("the listener failed") && !text.contains("kafka_dlt"),
        "{text}"
    );
    assert_eq!(world.ok(&["dlq", "redrive", &position]).rows()[0]["sent"], 1);
    assert_eq!(sent_back(&world), [json!(9)]);
    assert_eq!(letters(&world).len(), 4, "it is remembered");
}

#[tokio::test]
async fn ctrl_c_ends_a_slow_redrive_and_what_was_done_is_remembered() {
    let world = world().await;
    let mut child = world.spawn(&mut world.command(&["dlq", "redrive", "--rate", "2/s"]));
    let url = format!("embedded:{}", world.data().display());
    let options = tidings_embedded::EmbeddedOptions::from_url(&url)
        .unwrap()
        .access(tidings_embedded::Access::ReadOnly);
    let beside = tidings_embedded::EmbeddedBroker::open(options).unwrap();
    let started = Instant::now();
    loop {
        let positions = DynBinder::positions(&beside, "orders.billing.retry", None)
            .await
            .unwrap();
        if positions.iter().any(|at| at.end > at.first) {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "nothing was sent");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    interrupt(&child);
    let code = child.wait().unwrap().code();
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(code, Some(130), "{told}");
    assert!(
        told.contains("interrupted") && told.contains("will not be done again"),
        "{told}"
    );
    let sent = sent_back(&world).len();
    assert!((1..4).contains(&sent), "{sent}");
    assert_eq!(letters(&world).len() + sent, 4);
}

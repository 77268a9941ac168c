//! Every verb while the app runs: it owns the directory, and is asked.

use crate::service::{order, settle, start};
use crate::world::{Said, World};
use serde_json::json;
use tidings::Running;

const ORDERS: &[(&str, &str)] = &[
    ("ada", "{\"n\":1,\"card\":\"bad card\"}"),
    ("bob", "{\"n\":2}"),
    ("cid", "{\"n\":3,\"card\":\"bad card\"}"),
];

async fn world() -> (World, Running) {
    let world = World::new();
    let running = start(&world).await;
    order(&running, ORDERS).await;
    settle(&running, 2).await;
    (world, running)
}

/// The program beside the runtime that serves it.
async fn ok(world: &World, arguments: &[&str]) -> Said {
    let said = say(world, arguments).await;
    assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
    said
}

async fn say(world: &World, arguments: &[&str]) -> Said {
    let mut command = world.command(arguments);
    Said::of(
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_looked_into_and_published_to_while_it_runs() {
    let (world, running) = world().await;
    let said = ok(&world, &["publish", "orders", "{\"n\":4}", "--key", "dan"]).await;
    assert_eq!(said.rows()[0]["topic"], "orders");
    settle(&running, 2).await;
    assert_eq!(
        ok(&world, &["tail", "payments", "--grep", "\"n\":4"])
            .await
            .rows()
            .len(),
        1
    );
    assert!(
        ok(&world, &["topics"])
            .await
            .rows()
            .iter()
            .any(|row| row["topic"] == "payments")
    );
    let groups = ok(&world, &["groups"]).await.rows();
    let billing = groups.iter().find(|row| row["group"] == "billing").unwrap();
    assert_eq!(billing["lag"], 0, "{billing}");
    assert!(!billing["members"].as_array().unwrap().is_empty(), "{billing}");
    assert_eq!(ok(&world, &["dlq", "ls"]).await.rows().len(), 2);
    running.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_describes_itself() {
    let (world, running) = world().await;
    let text = ok(&world, &["describe", "--output", "table"]).await.out;
    assert!(text.contains("shop") && text.contains("billing"), "{text}");
    assert!(ok(&world, &["describe"]).await.out.contains("\"billing\""));
    running.drain().await;
    say(&world, &["describe"])
        .await
        .refused(5, &["no app that can be asked runs", "tidings config"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_go_back_through_the_app_that_runs() {
    let (world, running) = world().await;
    let said = ok(
        &world,
        &["dlq", "redrive", "orders", "--key", "ada", "--rate", "100/s"],
    )
    .await;
    assert_eq!(
        said.rows(),
        [json!({"group": "billing", "selected": 1, "sent": 1, "refused": 0, "dry_run": false})]
    );
    // It fails again and is a dead letter again, sent back once before.
    settle(&running, 2).await;
    let row = &ok(&world, &["dlq", "ls", "--key", "ada"]).await.rows()[0];
    assert_eq!(row["redrives"], 1, "{row}");
    let position = row["position"].as_str().unwrap().to_owned();
    let mut edit = world.command(&["dlq", "redrive", &position, "--edit"]);
    edit.env("EDITOR", "sed -i 's/bad card/4242/'");
    let said = Said::of(
        tokio::task::spawn_blocking(move || edit.output().unwrap())
            .await
            .unwrap(),
    );
    assert_eq!(said.code, 0, "{said:?}");
    settle(&running, 1).await;
    assert_eq!(
        ok(&world, &["tail", "payments", "--grep", "4242"])
            .await
            .rows()
            .len(),
        1
    );
    let said = ok(&world, &["dlq", "discard", "--key", "cid", "--yes"]).await;
    assert_eq!(said.rows()[0]["discarded"], 1);
    assert!(ok(&world, &["dlq", "ls"]).await.rows().is_empty());
    running.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_runs_is_not_moved() {
    let (world, running) = world().await;
    let reset = [
        "groups", "reset", "billing", "--topic", "orders", "--to", "earliest",
    ];
    say(&world, &reset).await.refused(
        4,
        &["the group billing runs", "stop the app", "nothing was changed"],
    );
    let dry = ok(&world, &[&reset[..], &["--dry-run"]].concat()).await;
    assert_eq!(dry.rows().len(), 4);
    running.drain().await;
    assert_eq!(ok(&world, &reset).await.rows().len(), 4);
}

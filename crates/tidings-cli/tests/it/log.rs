//! `tidings log`: damage is found and named, a repair keeps what can be read, a copy of a running app is whole.

use crate::service::{left_behind, start};
use crate::world::{Said, World};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tidings_core::{Binder, DestinationSpec, Message, Outgoing};
use tidings_embedded::{EmbeddedBroker, EmbeddedOptions, Location};

/// Forty orders in one partition, a dozen in each of its segments, and an empty topic beside them.
async fn stopped() -> World {
    let world = World::new();
    let options = EmbeddedOptions::new(Location::Directory(world.data())).segment_bytes(4_096);
    let broker = EmbeddedBroker::open(options).unwrap();
    for name in ["orders", "payments"] {
        let spec = DestinationSpec::new(name, 1);
        broker.prepare(spec).await.unwrap();
    }
    for number in 0..40 {
        let order = format!("{number}:{}", "x".repeat(300));
        let message = Outgoing::new("orders", Message::new(order));
        broker.sink().publish(message).await.unwrap();
    }
    broker.close().await.unwrap();
    world
}

/// The segments of the orders.
fn segments(data: &Path) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(data.join("topics/orders/0")).unwrap();
    let mut found: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|end| end == "log"));
    found.sort();
    assert!(found.len() > 2, "{found:?}");
    found
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 4;
    std::fs::write(path, bytes).unwrap();
}

/// Everything below a directory, with its bytes: nothing in it may change.
fn tree(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
        } else {
            found.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

fn problems(said: &Said) -> Vec<Value> {
    let mut rows = said.rows();
    rows.retain(|row| row.get("problem").is_some());
    rows
}

fn partition<'a>(rows: &'a [Value], topic: &str) -> &'a Value {
    rows.iter().find(|row| row["topic"] == topic).unwrap()
}

#[tokio::test]
async fn a_healthy_directory_is_sound_and_its_partitions_are_counted() {
    let world = stopped().await;
    let before = tree(&world.data());
    let said = world.ok(&["log", "verify"]);
    let rows = said.rows();
    let orders = partition(&rows, "orders");
    assert_eq!(orders["records"], 40);
    assert_eq!((&orders["first"], &orders["end"]), (&0.into(), &40.into()));
    assert_eq!(orders["segments"], segments(&world.data()).len());
    assert_eq!(orders["problems"], 0);
    let bytes: u64 = segments(&world.data())
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .sum();
    assert_eq!(orders["bytes"], bytes);
    assert_eq!(partition(&rows, "payments")["records"], 0);
    assert!(said.err.ends_with("sound\n"), "{said:?}");
    assert_eq!(tree(&world.data()), before, "looking changes nothing");
    let table = world.ok(&["log", "verify", "--output", "table"]).out;
    assert!(table.starts_with("TOPIC "), "{table}");
}

#[tokio::test]
async fn one_topic_is_verified_alone_and_a_wrong_name_is_told_the_nearest() {
    let world = stopped().await;
    let rows = world.ok(&["log", "verify", "--topic", "orders"]).rows();
    assert_eq!(rows.len(), 1);
    world
        .say(&["log", "verify", "--topic", "ordres"])
        .refused(3, &["no topic \"ordres\"", "did you mean \"orders\"?"]);
    // What the other topic has lost is none of this one's business.
    flip(&segments(&world.data())[1], 700);
    assert_eq!(world.say(&["log", "verify", "--topic", "payments"]).code, 0);
    assert_eq!(world.say(&["log", "verify", "--topic", "orders"]).code, 6);
}

#[tokio::test]
async fn a_flipped_bit_is_found_with_file_offset_byte_and_cure() {
    let world = stopped().await;
    let file = segments(&world.data())[1].clone();
    flip(&file, 700);
    let said = world.say(&["log", "verify"]);
    assert_eq!(said.code, 6, "{said:?}");
    let found = problems(&said);
    let problem = found.iter().find(|one| one["severity"] == "damage").unwrap();
    let named = problem["file"].as_str().unwrap();
    assert!(
        named.ends_with(file.file_name().unwrap().to_str().unwrap()),
        "{problem}"
    );
    let byte = problem["byte"].as_u64().unwrap();
    assert!((1..=700).contains(&byte), "{problem}");
    assert!(problem["offset"].as_u64().unwrap() < 40, "{problem}");
    assert!(!problem["cure"].as_str().unwrap().is_empty());
    assert!(said.err.contains("tidings log repair --dry-run"), "{said:?}");
    let text = world.say(&["log", "verify", "--output", "table"]);
    assert!(text.out.contains("damage: ./data/topics/orders/0/"), "{text:?}");
    assert!(text.out.contains("  cure: "), "{text:?}");
}

#[tokio::test]
async fn a_torn_tail_is_harmless_and_a_missing_segment_is_not() {
    let world = stopped().await;
    let all = segments(&world.data());
    let last = all.last().unwrap();
    let mut bytes = std::fs::read(last).unwrap();
    bytes.extend_from_slice(&[0x5a; 21]);
    std::fs::write(last, &bytes).unwrap();
    let said = world.say(&["log", "verify"]);
    assert_eq!(said.code, 0, "{said:?}");
    let found = problems(&said);
    assert!(
        !found.is_empty() && found.iter().all(|one| one["severity"] == "harmless"),
        "{found:?}"
    );
    assert_eq!(partition(&said.rows(), "orders")["end"], 40);
    assert!(said.err.contains("sound: nothing is lost"), "{said:?}");

    std::fs::remove_file(&all[1]).unwrap();
    let said = world.say(&["log", "verify"]);
    assert_eq!(said.code, 6, "{said:?}");
    assert!(problems(&said).iter().any(|one| one["severity"] == "damage"));
    assert!(partition(&said.rows(), "orders")["records"].as_u64().unwrap() < 40);
}

/// An unreadable end alone looks like a write that was never finished. Not where a group has handled what was there.
#[tokio::test]
async fn a_lost_end_that_a_group_has_handled_is_damage() {
    let world = left_behind(&[("ada", "tea")], 0).await;
    let partitions = world.ok(&["topics", "payments"]).rows();
    let used = partitions.iter().find(|row| row["end"] == 1).unwrap();
    let file = format!("topics/payments/{}/00000000000000000000.log", used["partition"]);
    let path = world.data().join(file);
    let mut bytes = std::fs::read(&path).unwrap();
    // Nothing of it but its beginning is what it was.
    bytes[100..].fill(b'#');
    std::fs::write(&path, bytes).unwrap();
    // The index and the sync mark know what was on the disk. Without them only the group's position does.
    let _ = std::fs::remove_file(path.with_extension("index"));
    let _ = std::fs::remove_file(path.with_file_name("synced"));
    let said = world.say(&["log", "verify"]);
    assert_eq!(said.code, 6, "{said:?}");
    let found = problems(&said);
    let damage = found.iter().find(|one| one["severity"] == "damage").unwrap();
    let words = damage["problem"].as_str().unwrap();
    assert!(
        words.contains("\"shipping\"") && words.contains("the log ends at 0"),
        "{damage}"
    );
    world.ok(&["log", "repair", "--yes"]);
    world.ok(&["log", "verify"]);
}

#[tokio::test]
async fn a_dry_run_of_a_repair_changes_nothing_and_a_repair_needs_a_yes_where_something_is_lost() {
    let world = stopped().await;
    flip(&segments(&world.data())[1], 700);
    let before = tree(&world.data());
    let dry = world.ok(&["log", "repair", "--dry-run"]);
    assert!(dry.err.contains("dry run: nothing was changed"), "{dry:?}");
    let row = &dry.rows()[0];
    assert_eq!((&row["topic"], &row["dry_run"]), (&"orders".into(), &true.into()));
    assert!(!row["steps"].as_array().unwrap().is_empty(), "{row}");
    let lost = &row["lost"][0];
    assert!(
        lost["first"].as_u64().unwrap() < lost["end"].as_u64().unwrap(),
        "{row}"
    );
    assert_eq!(tree(&world.data()), before, "a dry run changes nothing");
    world.say(&["log", "repair"]).refused(
        4,
        &[
            "this would repair a partition of ./data",
            "give up",
            "nothing was changed",
            "--yes",
        ],
    );
    assert_eq!(tree(&world.data()), before, "without a yes nothing changes");
}

#[tokio::test]
async fn after_a_repair_the_directory_is_sound_and_everything_readable_is_where_it_was() {
    let world = stopped().await;
    let all = segments(&world.data());
    flip(&all[1], 700);
    std::fs::remove_file(&all[2]).unwrap();
    let read_before = world.say(&["log", "verify", "--topic", "orders"]);
    assert_eq!(read_before.code, 6);
    let said = world.ok(&["log", "repair", "--yes"]);
    let row = &said.rows()[0];
    assert_eq!(row["dry_run"], false);
    let lost: u64 = row["lost"]
        .as_array()
        .unwrap()
        .iter()
        .map(|lost| lost["end"].as_u64().unwrap() - lost["first"].as_u64().unwrap())
        .sum();
    assert!(
        lost > 0 && said.err.contains("done: ./data/damaged/repair-"),
        "{said:?}"
    );
    let verified = world.ok(&["log", "verify"]);
    let rows = verified.rows();
    let orders = partition(&rows, "orders");
    assert_eq!(orders["records"].as_u64().unwrap(), 40 - lost, "{orders}");
    assert_eq!(orders["end"], 40);
    assert!(
        verified.err.contains("are lost since an earlier repair"),
        "{verified:?}"
    );
    // The first and the last are still themselves.
    let tail = world.ok(&["tail", "orders", "--from", "beginning"]).rows();
    assert_eq!(tail.len() as u64, 40 - lost);
    let has = |row: &Value, number: u64| {
        row["payload"]
            .as_str()
            .unwrap()
            .starts_with(&format!("{number}:"))
    };
    for row in &tail {
        assert!(has(row, row["offset"].as_u64().unwrap()), "{row}");
    }
    let again = world.ok(&["log", "repair"]);
    assert!(
        again.rows().is_empty() && again.err.contains("nothing to repair"),
        "{again:?}"
    );
}

#[tokio::test]
async fn what_loses_nothing_is_repaired_without_a_yes() {
    let world = stopped().await;
    let index = segments(&world.data())[0].with_extension("index");
    flip(&index, 20);
    let said = world.ok(&["log", "repair", "--output", "table"]);
    assert!(said.out.contains("what a repair of ./data would do"), "{said:?}");
    let rows = world.ok(&["log", "verify"]).rows();
    assert_eq!(partition(&rows, "orders")["records"], 40);
}

/// A person is shown what would be done and asked; a no changes nothing.
#[tokio::test]
async fn a_person_is_asked_before_a_repair() {
    if Command::new("script").arg("--version").output().is_err() {
        println!("SKIPPED a_person_is_asked: the program `script` (util-linux) is not installed");
        return;
    }
    let world = stopped().await;
    flip(&segments(&world.data())[1], 700);
    let before = tree(&world.data());
    let answer = |answer: &str| {
        let program = env!("CARGO_BIN_EXE_tidings");
        let typed = format!("echo {answer} | script -qec \"'{program}' log repair\" /dev/null");
        let mut shell = Command::new("sh");
        shell.args(["-c", &typed]).current_dir(world.path());
        Said::of(shell.env_remove("TIDINGS_URL").output().unwrap())
    };
    let no = answer("n");
    assert!(no.out.contains("what a repair of ./data would do"), "{no:?}");
    assert!(
        no.out.contains("Go on? [y/N]") && no.out.contains("you said no"),
        "{no:?}"
    );
    assert_eq!(tree(&world.data()), before);
    let yes = answer("y");
    assert!(yes.out.contains("done: "), "{yes:?}");
    assert_eq!(world.say(&["log", "verify"]).code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_an_owner_lives_it_is_verified_beside_it_and_not_repaired() {
    let world = World::new();
    let running = start(&world).await;
    let say = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        tokio::task::spawn_blocking(move || Said::of(command.output().unwrap()))
    };
    let verified = say(&["log", "verify"]).await.unwrap();
    assert_eq!(verified.code, 0, "{verified:?}");
    let me = std::process::id().to_string();
    assert!(
        verified.err.contains(&format!("the process {me} owns")),
        "{verified:?}"
    );
    for repair in [&["log", "repair", "--yes"][..], &["log", "repair", "--dry-run"]] {
        say(repair)
            .await
            .unwrap()
            .refused(5, &[&me, "nothing was changed", "stop it"]);
    }
    running.drain().await;
    let repaired = world.ok(&["log", "repair", "--yes"]);
    assert!(repaired.err.contains("nothing to repair"), "{repaired:?}");
}

#[test]
fn a_wrong_directory_is_refused_by_name_and_stays_as_it_is() {
    let world = World::new();
    world.write("file", "no directory");
    world.write("tidings.toml", "");
    std::fs::create_dir(world.path().join("src")).unwrap();
    world.write("src/main.rs", "fn main() {}");
    for verb in [
        &["log", "verify"][..],
        &["log", "repair", "--yes"],
        &["log", "snapshot", "--to", "copy"],
    ] {
        let of = |url: &str| world.say(&[verb, &["--url", url]].concat());
        of("embedded:./src").refused(
            3,
            &["./src", "is no broker's directory", "--url embedded:DIRECTORY"],
        );
        of("embedded:./file").refused(3, &["./file", "is a file and no directory"]);
        of("embedded:./nothing").refused(3, &["there is no directory ./nothing"]);
        of("memory:").refused(4, &["lives in the memory of the app alone"]);
        world
            .say(verb)
            .refused(3, &["there is no directory ./data (default)"]);
    }
    assert_eq!(tree(&world.path().join("src")).len(), 1);
    assert!(!world.path().join("copy").exists());
}

#[tokio::test]
async fn a_stopped_directory_is_copied_and_restored_by_opening_the_copy() {
    let world = stopped().await;
    let said = world.ok(&["log", "snapshot", "--to", "backup/monday"]);
    let row = &said.rows()[0];
    assert_eq!((&row["topics"], &row["partitions"]), (&2.into(), &2.into()));
    assert!(said.err.contains("--url embedded:backup/monday"), "{said:?}");
    let copy = ["--url", "embedded:backup/monday"];
    let verified = world.ok(&[&["log", "verify"][..], &copy].concat());
    assert_eq!(partition(&verified.rows(), "orders")["records"], 40);
    world.ok(&[&["publish", "orders", "more"][..], &copy].concat());
    // The original does not notice.
    assert_eq!(partition(&world.ok(&["topics"]).rows(), "orders")["messages"], 40);
    let copied = world
        .ok(&["log", "snapshot", "--to", "whole", "--no-links"])
        .rows();
    assert_eq!(copied[0]["linked"], 0);
}

#[tokio::test]
async fn a_copy_goes_nowhere_where_something_is() {
    let world = stopped().await;
    world.write("file", "x");
    std::fs::create_dir(world.path().join("full")).unwrap();
    world.write("full/file", "x");
    for (to, words) in [
        ("full", "full is not empty"),
        ("data", "data is not empty"),
        ("data/copy", "is within the directory"),
        ("file", "is no directory"),
    ] {
        let said = world.say(&["log", "snapshot", "--to", to]);
        said.refused(4, &[words, "nothing was copied"]);
    }
    assert!(!world.data().join("copy").exists());
    assert_eq!(world.say(&["log", "snapshot"]).code, 2);
}

/// What belongs to the process that runs, and not into a copy.
const OWN: [&str; 2] = ["manage.json", "running.marks"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_running_app_under_load_opens_and_is_whole() {
    let world = World::new();
    let running = start(&world).await;
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let publishing = tokio::spawn({
        let (running, stop, acknowledged) = (running.clone(), stop.clone(), acknowledged.clone());
        async move {
            while !stop.load(Ordering::Relaxed) {
                let order = tidings::Message::new("{\"n\":1}").with_key("ada");
                running.publisher().send("orders", order).await.unwrap();
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    while acknowledged.load(Ordering::Relaxed) < 50 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let before = acknowledged.load(Ordering::Relaxed);
    let mut command = world.command(&["log", "snapshot", "--to", "backup"]);
    let said = tokio::task::spawn_blocking(move || Said::of(command.output().unwrap()));
    let said = said.await.unwrap();
    let after = acknowledged.load(Ordering::Relaxed);
    stop.store(true, Ordering::Relaxed);
    publishing.await.unwrap();
    let has_own = OWN.map(|own| world.data().join(own).exists());
    running.drain().await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(after > before, "the app went on");
    let backup = world.path().join("backup");
    assert_eq!(has_own, [true, true]);
    for own in OWN {
        assert!(!backup.join(own).exists(), "{own} belongs to the process");
    }
    let verified = Said::of(
        world
            .command(&["log", "verify", "--url", "embedded:backup"])
            .output()
            .unwrap(),
    );
    assert_eq!(verified.code, 0, "{verified:?}");
    let rows = verified.rows();
    let copied: u64 = rows
        .iter()
        .filter(|row| row["topic"] == "orders")
        .map(|row| row["records"].as_u64().unwrap())
        .sum();
    assert!(
        (before..=after + 1).contains(&copied),
        "{before} {copied} {after}"
    );
    // Restored: what was not handled in the copy is handled by an app that is started on it.
    let groups = world.ok(&["groups", "--url", "embedded:backup"]).rows();
    let billing = groups.iter().find(|row| row["group"] == "billing").unwrap();
    assert!(billing["lag"].as_u64().unwrap() <= copied, "{billing}");
}

use crate::world::World;
use serde_json::Value;

fn world() -> World {
    let world = World::new();
    world.ok(&["publish", "orders", "first", "--create", "1"]);
    world
}

fn payloads(world: &World) -> Vec<Value> {
    let rows = world.ok(&["tail", "orders", "--from", "beginning"]).rows();
    rows.into_iter()
        .skip(1)
        .map(|row| row["payload"].clone())
        .collect()
}

#[test]
fn a_payload_comes_from_the_command_line_a_file_or_a_pipe() {
    let world = world();
    world.write("order.json", "{\"from\":\"file\"}");
    let said = world.ok(&[
        "publish",
        "orders",
        "from the command line",
        "--key",
        "k",
        "-H",
        "type=order.placed",
    ]);
    assert_eq!(said.rows()[0]["position"], "orders/0@1");
    world.ok(&["publish", "orders", "--file", "order.json"]);
    assert_eq!(world.pipe("from a pipe\n", &["publish", "orders"]).code, 0);
    let rows = world.ok(&["tail", "orders"]).rows();
    assert_eq!(
        (&rows[1]["key"], &rows[1]["headers"]["type"]),
        (&Value::from("k"), &Value::from("order.placed"))
    );
    assert!(
        rows[1]["id"].as_str().is_some_and(|id| id.len() == 36),
        "each message gets an id"
    );
    assert_eq!(rows[2]["payload"]["from"], "file");
    assert_eq!(rows[3]["payload"], "from a pipe\n");
}

#[test]
fn each_line_is_a_message_and_empty_ones_are_none() {
    let world = world();
    let said = world.pipe(
        "{\"o\":\"a\"}\r\n\n{\"o\":7}\n",
        &["publish", "orders", "--lines", "--key-field", "o"],
    );
    let offsets: Vec<_> = said
        .rows()
        .iter()
        .map(|row| row["offset"].as_u64().unwrap())
        .collect();
    assert_eq!(offsets, [1, 2]);
    let keys: Vec<_> = world
        .ok(&["tail", "orders"])
        .rows()
        .iter()
        .skip(1)
        .map(|row| row["key"].clone())
        .collect();
    assert_eq!(keys, ["a", "7"]);
}

#[test]
fn many_lines_keep_their_order() {
    let world = world();
    let lines: String = (0..5_000).map(|number| format!("{number}\n")).collect();
    let said = world.pipe(&lines, &["publish", "orders", "--lines"]);
    assert_eq!((said.code, said.out.lines().count()), (0, 5_000));
    assert!(
        payloads(&world)
            .iter()
            .enumerate()
            .all(|(number, payload)| payload.as_u64() == Some(number as u64))
    );
}

#[test]
fn a_count_repeats_and_a_tombstone_has_no_payload() {
    let world = world();
    assert_eq!(world.ok(&["publish", "orders", "x", "-n", "3"]).rows().len(), 3);
    world.ok(&["publish", "orders", "--tombstone", "--key", "gone"]);
    let rows = world.ok(&["tail", "orders", "-n", "1"]).rows();
    assert_eq!(
        (&rows[0]["payload"], &rows[0]["encoding"]),
        (&Value::Null, &Value::from("none"))
    );
}

#[test]
fn what_is_delayed_has_no_place_yet() {
    let said = world().ok(&["publish", "orders", "later", "--delay", "1h"]);
    assert_eq!(said.rows()[0]["offset"], Value::Null);
}

#[test]
fn wrong_input_is_refused_and_nothing_is_published() {
    let world = world();
    world
        .say(&["publish", "ordres", "x"])
        .refused(3, &["did you mean \"orders\"?"]);
    world
        .say(&["publish", "orders", "x", "-H", "Tidings-due=1"])
        .refused(2, &["Tidings-due steers Tidings itself", "tidings-"]);
    world
        .say(&["publish", "orders", "--file", "nowhere"])
        .refused(1, &["read nowhere"]);
    world
        .say(&["publish", "orders", "x", "--partition", "9"])
        .refused(3, &["no partition 9"]);
    world
        .pipe("[]\n", &["publish", "orders", "--lines", "--key-field", "o"])
        .refused(2, &["message 1", "no JSON object"]);
    for wrong in [
        vec!["publish", "orders", "x", "-H", "nothing"],
        vec!["publish", "orders", "x", "--file", "y"],
        vec!["publish", "orders", "--tombstone"],
        vec!["publish", "orders", "x", "--count", "0"],
    ] {
        assert_eq!(world.say(&wrong).code, 2, "{wrong:?}");
    }
    assert!(payloads(&world).is_empty());
}

#[test]
fn a_message_that_is_too_large_is_refused_by_name() {
    let world = world();
    world.write("large", &"x".repeat(2 << 20));
    world
        .say(&["publish", "orders", "--file", "large"])
        .refused(4, &["message 1", "the limit is", "0 before it"]);
}

#[test]
fn an_owner_that_cannot_be_asked_is_named() {
    let world = world();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let url = format!("embedded:{}", world.data().display());
    let options = tidings_embedded::EmbeddedOptions::from_url(&url).unwrap();
    let owner = tidings_embedded::EmbeddedBroker::open(options).unwrap();
    world
        .say(&["publish", "orders", "x"])
        .refused(5, &[&std::process::id().to_string(), "owns it"]);
    // Looking is possible beside it, and it says what is not seen.
    let said = world.ok(&["tail", "orders"]);
    assert!(
        said.err.contains("cannot be asked") && said.rows().len() == 1,
        "{said:?}"
    );
    drop(owner);
}

#[test]
fn what_a_full_disk_refuses_ends_with_the_code_of_a_broker_that_is_away() {
    let world = world();
    let lines = format!("{}\n", "x".repeat(4_000)).repeat(2_000);
    // A limit on the size of files stands in for the disk; the broker's own state stays below it. In blocks of 512.
    let state = std::fs::metadata(world.data().join("state.redb")).unwrap().len();
    let blocks = (state / 512 + 2_000).to_string();
    let script = "trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\"";
    let program = env!("CARGO_BIN_EXE_tidings");
    let mut child = std::process::Command::new("sh");
    child.args(["-c", script, &blocks, program, "publish", "orders", "--lines"]);
    child
        .current_dir(world.path())
        .stdin(std::process::Stdio::piped());
    let mut child = world.spawn(&mut child);
    let mut stdin = child.stdin.take().unwrap();
    let writing = std::thread::spawn(move || drop(std::io::Write::write_all(&mut stdin, lines.as_bytes())));
    let said = crate::world::Said::of(child.wait_with_output().unwrap());
    writing.join().unwrap();
    said.refused(5, &["orders", "make room"]);
}

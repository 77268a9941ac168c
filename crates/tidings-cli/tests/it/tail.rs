use crate::world::{Said, World, interrupt};
use serde_json::Value;
use std::io::{BufRead, BufReader};

/// Twenty orders over four partitions, numbered in the order of their times.
fn twenty() -> World {
    let world = World::new();
    world.ok(&["publish", "orders", "{\"n\":0}", "--create", "4", "--key", "k0"]);
    for number in 1..20 {
        let payload = format!("{{\"n\":{number}}}");
        let key = format!("k{}", number % 5);
        world.ok(&[
            "publish",
            "orders",
            &payload,
            "--key",
            &key,
            "-H",
            &format!("parity={}", number % 2),
        ]);
    }
    world
}

fn numbers(said: &Said) -> Vec<u64> {
    said.rows()
        .iter()
        .map(|row| row["payload"]["n"].as_u64().unwrap())
        .collect()
}

#[test]
fn the_last_ones_are_shown_in_the_order_of_their_times() {
    let world = twenty();
    assert_eq!(
        numbers(&world.ok(&["tail", "orders"])),
        (10..20).collect::<Vec<_>>()
    );
    assert_eq!(numbers(&world.ok(&["tail", "orders", "-n", "3"])), [17, 18, 19]);
    assert_eq!(
        numbers(&world.ok(&["tail", "orders", "--last", "100"])),
        (0..20).collect::<Vec<_>>()
    );
    assert_eq!(
        numbers(&world.ok(&["tail", "orders", "--last", "0"])),
        Vec::<u64>::new()
    );
    // Of those that are meant, however far back they lie.
    assert_eq!(
        numbers(&world.ok(&["tail", "orders", "-n", "2", "--key", "k1"])),
        [11, 16]
    );
    assert_eq!(
        numbers(&world.ok(&["tail", "orders", "-n", "2", "--grep", "\"n\":1}"])),
        [1]
    );
}

#[test]
fn it_begins_where_it_is_told_to() {
    let world = twenty();
    let at = |place: &str| numbers(&world.ok(&["tail", "orders", "--from", place]));
    assert_eq!(at("beginning"), (0..20).collect::<Vec<_>>());
    assert_eq!(at("end"), Vec::<u64>::new());
    assert_eq!(at("1h"), (0..20).collect::<Vec<_>>());
    assert_eq!(at("2100-01-01"), Vec::<u64>::new());
    let all = world.ok(&["tail", "orders", "--from", "beginning"]).rows();
    let after: Vec<_> = all
        .iter()
        .filter(|row| row["offset"].as_u64() >= Some(2))
        .map(|row| row["payload"]["n"].clone())
        .collect();
    assert_eq!(
        at("offset 2").into_iter().map(Value::from).collect::<Vec<_>>(),
        after
    );
    // A time begins with the first message of that time: that of the twelfth.
    let time = all[12]["time"].as_str().unwrap();
    let since = at(time);
    assert!(
        since.contains(&12) && since.contains(&19) && !since.contains(&0),
        "{since:?}"
    );
}

#[test]
fn it_shows_only_what_is_meant() {
    let world = twenty();
    let ask =
        |more: &[&str]| numbers(&world.ok(&[&["tail", "orders", "--from", "beginning"], more].concat()));
    assert_eq!(ask(&["--key", "k2"]), [2, 7, 12, 17]);
    assert_eq!(ask(&["-H", "parity=1", "--key", "k2"]), [7, 17]);
    assert_eq!(ask(&["--limit", "2", "-H", "parity=1"]), [1, 3]);
    let partition = world.ok(&["tail", "orders", "--from", "beginning", "--partition", "2"]);
    assert!(partition.rows().iter().all(|row| row["partition"] == 2));
    world
        .say(&["tail", "orders", "--partition", "4"])
        .refused(3, &["no partition 4", "it has 4, from 0 on"]);
    assert_eq!(world.say(&["tail", "orders", "--from", "someday"]).code, 2);
}

#[test]
fn a_line_for_people_has_time_place_key_and_payload() {
    let world = World::new();
    world.ok(&[
        "publish",
        "orders",
        "{ \"a\" : 1 }",
        "--create",
        "1",
        "--key",
        "ada",
    ]);
    world.ok(&["publish", "orders", "steers \u{1b}[2J the screen"]);
    let said = world.ok(&["tail", "orders", "--output", "table"]);
    let lines: Vec<_> = said.out.lines().collect();
    assert!(
        lines[0].ends_with("Z  orders/0@0  ada  {\"a\":1}"),
        "{}",
        lines[0]
    );
    assert!(
        lines[1].ends_with("orders/0@1  -  steers \\u{1b}[2J the screen"),
        "{}",
        lines[1]
    );
    let said = world.ok(&["tail", "orders", "--output", "table", "--verbose", "-n", "2"]);
    assert!(
        said.out.contains("message-id: ") && said.out.contains("{\n  \"a\": 1\n}"),
        "{}",
        said.out
    );
    let said = world.ok(&["tail", "orders", "--raw"]);
    assert_eq!(said.out, "{ \"a\" : 1 }\nsteers \u{1b}[2J the screen\n");
}

#[test]
fn following_shows_what_comes_and_ctrl_c_is_its_regular_end() {
    let world = World::new();
    world.ok(&["publish", "orders", "before", "--create", "2"]);
    let mut child = world.spawn(&mut world.command(&["tail", "orders", "--follow"]));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next =
        || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap()["payload"].clone();
    assert_eq!(next(), "before");
    // Another program publishes while it follows: following takes nobody's place.
    world.ok(&["publish", "orders", "while it follows"]);
    assert_eq!(next(), "while it follows");
    world.ok(&["publish", "orders", "once more"]);
    assert_eq!(next(), "once more");
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn following_ends_after_its_limit() {
    let world = World::new();
    world.ok(&["publish", "orders", "one", "--create", "1"]);
    let said = world.ok(&["tail", "orders", "--follow", "--limit", "1"]);
    assert_eq!(said.rows().len(), 1);
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let world = World::new();
    let lines = "a line that is long enough to fill a pipe before it ends\n".repeat(3_000);
    world.ok(&["publish", "orders", "first", "--create", "1"]);
    world.pipe(&lines, &["publish", "orders", "--lines", "--quiet"]);
    let mut child = world.spawn(&mut world.command(&["tail", "orders", "--from", "beginning"]));
    let mut first = String::new();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut first).unwrap();
    drop(reader);
    let said = Said::of(child.wait_with_output().unwrap());
    assert_eq!((said.code, said.err.as_str()), (0, ""));
}

#[test]
fn damage_is_told_with_its_place_and_an_exit_code_of_its_own() {
    let world = World::new();
    world.ok(&["publish", "orders", "message number 1", "--create", "1"]);
    world.ok(&["publish", "orders", "message number 2"]);
    let log = world.data().join("topics/orders/0/00000000000000000000.log");
    let mut bytes = std::fs::read(&log).unwrap();
    let place = bytes.windows(8).position(|window| window == b"number 1").unwrap();
    bytes[place] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let said = world.say(&["tail", "orders"]);
    said.refused(
        6,
        &[
            "orders/0 is damaged at offset 0",
            "00000000000000000000.log",
            "checksum",
            "restore",
        ],
    );
    assert_eq!(said.err.lines().count(), 1, "{}", said.err);
}

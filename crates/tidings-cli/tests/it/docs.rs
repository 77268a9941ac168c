//! The sessions of `docs/cli.md` are what the program really says.
//!
//! A block that begins with ```` ```console ```` is a session: a line after `$ ` is run in a shell, and what follows is
//! what it must print. Times, ids and traces differ from run to run and count as equal. `UPDATE_DOCS=1` writes down
//! what the program says instead.

use crate::service::{is_at_rest, order, settle, start};
use crate::world::{PATIENCE, World};
use std::path::{Path, PathBuf};
use std::process::Command;
use tidings::Running;

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md")
}

/// As on a terminal: tables unless JSON is asked for.
const SHELL: &str = r#"tidings() { case " $* " in *" --json "*) command tidings "$@";; *) command tidings --output table "$@";; esac; }
"#;

async fn run(world: &World, command: &str) -> String {
    let programs = Path::new(env!("CARGO_BIN_EXE_tidings"))
        .parent()
        .unwrap()
        .to_owned();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(format!("{SHELL}exec 2>&1\n{command}"))
        .current_dir(world.path());
    shell
        .env("PATH", path)
        .env("TZ", "UTC")
        .env("EDITOR", "sed -i 's/not a card/4242/'")
        .env_remove("TIDINGS_URL");
    let output = tokio::task::spawn_blocking(move || shell.output().unwrap())
        .await
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The shop with two orders, one of which nobody can charge.
async fn world() -> (World, Running) {
    let world = World::new();
    world.write(
        "tidings.toml",
        "[binder.main]\nurl = \"embedded:./data\"\n\n[channel.orders]\npartitions = 4\n",
    );
    let running = start(&world).await;
    let orders = [
        ("ada", "{\"order\":\"o-1\",\"card\":\"4242\",\"cents\":500}"),
        ("bob", "{\"order\":\"o-2\",\"card\":\"not a card\",\"cents\":700}"),
        ("eve", "{\"order\":\"o-3\",\"card\":\"not a card\",\"cents\":90}"),
    ];
    order(&running, &orders).await;
    settle(&running, 2).await;
    (world, running)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sessions_of_the_page_are_what_the_program_says() {
    let text = std::fs::read_to_string(page()).unwrap();
    let (world, running) = world().await;
    let mut written = String::new();
    let mut lines = text.lines().peekable();
    let mut commands = 0;
    while let Some(line) = lines.next() {
        written += &format!("{line}\n");
        if line == "<!-- the app is stopped -->" {
            running.drain().await;
        }
        if line != "```console" {
            continue;
        }
        while let Some(command) = lines.next_if(|line| *line != "```") {
            let command = command
                .strip_prefix("$ ")
                .unwrap_or_else(|| panic!("no command: {command}"));
            let mut expected = String::new();
            while let Some(line) = lines.next_if(|line| *line != "```" && !line.starts_with("$ ")) {
                expected += &format!("{line}\n");
            }
            let said = run(&world, command).await;
            written += &format!("$ {command}\n{said}");
            commands += 1;
            if std::env::var_os("UPDATE_DOCS").is_none() {
                assert_eq!(steady(&said), steady(&expected), "$ {command}");
            }
            rest(&running).await;
        }
    }
    assert!(commands > 10, "{commands} commands");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(page(), written).unwrap();
    }
}

async fn rest(running: &Running) {
    let resting = async {
        // A broker that was closed answers nothing, and nothing runs any more.
        while running.health().parts.iter().any(|part| part.kind == "binder") && !is_at_rest(running).await {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, resting)
        .await
        .expect("the shop comes to rest");
}

/// The text without what differs from run to run.
fn steady(text: &str) -> String {
    let shapes = [
        "dddd-dd-ddTdd:dd:dd.dddZ",
        "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh",
        "00-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh",
    ];
    let mut steady = String::new();
    let text = text.lines().map(without_sizes).collect::<Vec<_>>().join("\n");
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let shape = shapes.iter().find(|shape| has_shape(rest, shape));
        let length = shape.map_or(first.len_utf8(), |shape| shape.len());
        steady.push_str(shape.map_or(&rest[..length], |shape| shape));
        rest = &rest[length..];
    }
    steady
}

/// How large something is depends on how messages met in a batch, how many positions were stored on when, and the pid
/// and the time in a name on the run.
fn without_sizes(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let is_size = |at: usize| {
        let has_unit = words
            .get(at + 1)
            .is_some_and(|unit| ["B", "KiB", "MiB"].contains(unit));
        has_unit && words[at].parse::<f64>().is_ok()
    };
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    if !words.contains(&"SIZE")
        && !(0..words.len()).any(is_size)
        && !line.contains("process ")
        && !line.contains(" positions ")
    {
        return line.split("/repair-").take(1).collect();
    }
    let steady = (0..words.len())
        .filter(|at| !words[*at].is_empty())
        .map(|at| match words[at] {
            _ if is_size(at) => "large",
            _ if at > 0 && is_size(at - 1) => "enough",
            number if at > 0 && words[at - 1] == "process" && is_number(number) => "pid",
            number if words.get(at + 1) == Some(&"positions") && is_number(number) => "some",
            word => word,
        });
    steady.collect::<Vec<_>>().join(" ")
}

fn has_shape(text: &str, shape: &str) -> bool {
    let fits = |(letter, shape): (u8, u8)| match shape {
        b'd' => letter.is_ascii_digit(),
        b'h' => letter.is_ascii_hexdigit(),
        other => letter == other,
    };
    text.len() >= shape.len() && text.bytes().zip(shape.bytes()).all(fits)
}

#[test]
fn what_differs_from_run_to_run_counts_as_equal_and_nothing_else() {
    let one = "at 2026-11-21T11:29:35.880Z 01a1fdde-7088-7b9a-85d1-e85b41f2ab8a x";
    let other = "at 1999-01-01T00:00:00.000Z 00000000-0000-0000-0000-000000000000 x";
    assert_eq!(steady(one), steady(other));
    assert_ne!(steady("orders/0@1"), steady("orders/0@2"));
    assert_eq!(steady("orders  1   1.21 KiB  7"), steady("orders  1  987 B  7"));
    assert_ne!(steady("orders  1   1.21 KiB  7"), steady("orders  1  987 B  8"));
    assert_eq!(
        steady("the process 12 owns it"),
        steady("the process 3401 owns it")
    );
    assert_ne!(steady("12 letters"), steady("13 letters"));
}

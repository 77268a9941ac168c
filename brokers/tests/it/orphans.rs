//! What is left when the one who started a server is killed.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use brokers::background::Server;

use crate::support::{eventually, is_skipped, lives, program, recorded};

#[test]
fn a_server_and_its_directory_go_with_a_killed_parent() {
    let test = "a_server_and_its_directory_go_with_a_killed_parent";
    // A Kafka whose directory is removed gives up by itself after a while. So it must first go where nobody tidies up.
    for keep in ["1", ""] {
        let home = tempfile::tempdir().unwrap();
        let mut command = program(home.path(), &["hold"]);
        command.env("TIDINGS_BROKERS_KEEP", keep);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut parent = command.spawn().unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(parent.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        if line.is_empty() {
            let output = parent.wait_with_output().unwrap();
            assert!(is_skipped(test, &output), "{output:?}");
            return;
        }
        assert!(line.starts_with("TIDINGS_TEST_KAFKA=127.0.0.1:"), "{line}");
        let runs = home.path().join("brokers/run");
        let servers = recorded(&runs);
        assert!(servers.len() == 1 && lives(servers[0]), "{servers:?}");
        parent.kill().unwrap();
        parent.wait().unwrap();
        eventually("the end of the server", || !lives(servers[0]));
        let is_empty = || std::fs::read_dir(&runs).unwrap().next().is_none();
        if keep.is_empty() {
            eventually("the end of its directory", is_empty);
        } else {
            assert!(!is_empty());
        }
    }
}

#[test]
fn a_command_killed_while_it_starts_a_server_leaves_nothing_that_down_does_not_end() {
    let test = "a_command_killed_while_it_starts_a_server_leaves_nothing_that_down_does_not_end";
    let home = tempfile::tempdir().unwrap();
    let mut up = program(home.path(), &["up", "kafka"]);
    let mut up = up.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let directory = home.path().join("brokers/up");
    let mut ended = false;
    eventually("a process with a record", || {
        ended = up.try_wait().unwrap().is_some();
        ended || !recorded(&directory).is_empty()
    });
    let servers = recorded(&directory);
    if ended {
        let output = up.wait_with_output().unwrap();
        assert!(is_skipped(test, &output), "{output:?}");
        return;
    }
    up.kill().unwrap();
    up.wait().unwrap();
    let status = program(home.path(), &["status", "kafka"]).output().unwrap();
    assert!(status.status.success());
    // Where the kill came before the word to start, the server has ended by itself.
    assert!(servers.len() == 1, "{servers:?}");
    let down = program(home.path(), &["down", "kafka"]).output().unwrap();
    assert!(down.status.success(), "{down:?}");
    assert!(!lives(servers[0]));
    let server = Server::named("kafka").unwrap();
    assert!(!directory.join(server.name()).exists());
}

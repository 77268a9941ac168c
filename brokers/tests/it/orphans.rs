//! What is left when the one who started a server is killed.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use brokers::background::Server;

use crate::support::{
    Process, descendants, eventually, home, is_kept, is_skipped, lives, program, recorded, shared_memory_of,
};

#[test]
fn a_server_and_its_directory_go_with_a_killed_parent() {
    let test = "a_server_and_its_directory_go_with_a_killed_parent";
    // A Kafka whose directory is removed gives up by itself after a while. So it must first go where nobody tidies up.
    for keep in ["1", ""] {
        let home = tempfile::tempdir().unwrap();
        let Some((parent, said)) = hold(test, home.path(), &["hold"], keep) else {
            return;
        };
        assert!(said[0].starts_with("TIDINGS_TEST_KAFKA=127.0.0.1:"), "{said:?}");
        assert_eq!(recorded(&home.path().join("brokers/run")).len(), 1);
        nothing_outlives(parent, home.path(), keep);
    }
}

#[test]
fn rabbitmq_and_all_that_erlang_starts_go_with_a_killed_parent() {
    let test = "rabbitmq_and_all_that_erlang_starts_go_with_a_killed_parent";
    for keep in ["1", ""] {
        let home = tempfile::tempdir().unwrap();
        let Some((parent, said)) = hold(test, home.path(), &["hold", "rabbitmq"], keep) else {
            return;
        };
        assert!(said[0].starts_with("TIDINGS_TEST_RABBITMQ=amqp://guest:guest@127.0.0.1:"));
        assert!(said[1].starts_with("TIDINGS_TEST_RABBITMQ_API=http://127.0.0.1:"));
        // The node and its epmd have records; what the node has started has none.
        let servers = recorded(&home.path().join("brokers/run"));
        assert_eq!(servers.len(), 2);
        let helpers = servers.iter().map(|pid| descendants(*pid).len() - 1);
        assert!(helpers.sum::<usize>() > 0, "Erlang has helpers");
        nothing_outlives(parent, home.path(), keep);
    }
}

#[test]
fn postgres_and_all_that_it_starts_go_with_a_killed_parent() {
    let test = "postgres_and_all_that_it_starts_go_with_a_killed_parent";
    for keep in ["1", ""] {
        let home = home();
        let Some((parent, said)) = hold(test, home.path(), &["hold", "postgres"], keep) else {
            return;
        };
        assert!(said[0].starts_with("TIDINGS_TEST_POSTGRES=postgres://postgres@127.0.0.1:"));
        let servers = recorded(&home.path().join("brokers/run"));
        assert_eq!(servers.len(), 1);
        assert!(descendants(servers[0]).len() > 1, "it has children");
        let mut runs = std::fs::read_dir(home.path().join("brokers/run")).unwrap();
        let block = shared_memory_of(&runs.next().unwrap().unwrap().path().join("data"));
        nothing_outlives(parent, home.path(), keep);
        eventually("the end of its shared memory", || !is_kept(&block));
    }
}

/// A program that holds servers, and the variables that it tells; `None` where it is skipped.
fn hold(test: &str, home: &Path, arguments: &[&str], keep: &str) -> Option<(Child, Vec<String>)> {
    let mut command = program(home, arguments);
    command.env("TIDINGS_BROKERS_KEEP", keep);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut parent = command.spawn().unwrap();
    let output: Lines<BufReader<ChildStdout>> = BufReader::new(parent.stdout.take().unwrap()).lines();
    let said: Vec<String> = output
        .map(Result::unwrap)
        .take_while(|line| line != "ready")
        .collect();
    if said.is_empty() {
        let output = parent.wait_with_output().unwrap();
        assert!(is_skipped(test, &output), "{output:?}");
        return None;
    }
    Some((parent, said))
}

fn nothing_outlives(mut parent: Child, home: &Path, keep: &str) {
    let family = descendants(parent.id());
    parent.kill().unwrap();
    parent.wait().unwrap();
    eventually("the end of all", || !family.iter().any(Process::lives));
    let runs = home.join("brokers/run");
    let is_empty = || std::fs::read_dir(&runs).unwrap().next().is_none();
    if keep.is_empty() {
        eventually("the end of its directory", is_empty);
    } else {
        assert!(!is_empty());
    }
}

#[test]
fn a_command_killed_while_it_starts_a_server_leaves_nothing_that_down_does_not_end() {
    let test = "a_command_killed_while_it_starts_a_server_leaves_nothing_that_down_does_not_end";
    killed_in_the_middle(test, "kafka", 1);
}

#[test]
fn a_command_killed_while_it_starts_rabbitmq_leaves_nothing_that_down_does_not_end() {
    let test = "a_command_killed_while_it_starts_rabbitmq_leaves_nothing_that_down_does_not_end";
    killed_in_the_middle(test, "rabbitmq", 2);
}

#[test]
fn a_command_killed_while_it_starts_postgres_leaves_nothing_that_down_does_not_end() {
    let test = "a_command_killed_while_it_starts_postgres_leaves_nothing_that_down_does_not_end";
    killed_in_the_middle(test, "postgres", 1);
}

fn killed_in_the_middle(test: &str, name: &str, processes: usize) {
    let home = home();
    let mut up = program(home.path(), &["up", name]);
    let mut up = up.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let directory = home.path().join("brokers/up");
    let mut ended = false;
    eventually("every process with a record", || {
        ended = up.try_wait().unwrap().is_some();
        ended || recorded(&directory).len() >= processes
    });
    let servers = recorded(&directory);
    if ended {
        let output = up.wait_with_output().unwrap();
        assert!(is_skipped(test, &output), "{output:?}");
        return;
    }
    up.kill().unwrap();
    up.wait().unwrap();
    let status = program(home.path(), &["status", name]).output().unwrap();
    assert!(status.status.success());
    // Where the kill came before the word to start, the server has ended by itself.
    assert_eq!(servers.len(), processes);
    let family: Vec<Process> = servers.iter().flat_map(|pid| descendants(*pid)).collect();
    let down = program(home.path(), &["down", name]).output().unwrap();
    assert!(down.status.success(), "{down:?}");
    assert!(!servers.iter().any(|pid| lives(*pid)));
    eventually("the end of all", || !family.iter().any(Process::lives));
    let server = Server::named(name).unwrap();
    assert!(!directory.join(server.name()).exists());
}

//! `up`, `status` and `down`, as people use them.

use std::process::{Child, Command, Stdio};

use crate::support::{Process, descendants, eventually, home, is_skipped, lives, program, recorded, stdout};

#[test]
fn a_server_stays_up_is_found_again_and_goes_down() {
    let test = "a_server_stays_up_is_found_again_and_goes_down";
    goes_up_and_down(test, "kafka", "url kafka://127.0.0.1:", 1);
}

#[test]
fn a_rabbitmq_stays_up_is_found_again_and_goes_down() {
    let test = "a_rabbitmq_stays_up_is_found_again_and_goes_down";
    goes_up_and_down(test, "rabbitmq", "url amqp://guest:guest@127.0.0.1:", 2);
}

#[test]
fn a_postgres_stays_up_is_found_again_and_goes_down() {
    let test = "a_postgres_stays_up_is_found_again_and_goes_down";
    goes_up_and_down(test, "postgres", "url postgres://postgres@127.0.0.1:", 1);
}

fn goes_up_and_down(test: &str, name: &str, url: &str, processes: usize) {
    let home = home();
    let run = |arguments: &[&str]| program(home.path(), arguments).output().unwrap();
    let up = run(&["up", name]);
    if is_skipped(test, &up) {
        return;
    }
    let said = stdout(&up);
    assert!(
        up.status.success() && said.starts_with(&format!("{name} is up\n  {url}")),
        "{up:?}"
    );
    let directory = home.path().join("brokers/up");
    let first = recorded(&directory);
    assert!(first.len() == processes && first.iter().all(|pid| lives(*pid)));
    let status = stdout(&run(&["status"]));
    assert!(
        first.iter().all(|pid| status.contains(&format!(" {pid} "))),
        "{status}"
    );
    assert_eq!(status.matches(" ready\n").count(), processes, "{status}");
    assert!(status.contains("kafka-cluster"), "{status}");

    let again = stdout(&run(&["up", name]));
    assert_eq!(again, said.replace("is up", "was up already"));

    // Somebody kills the node: its record is stale, and `up` starts anew.
    let node = *first.last().unwrap();
    std::process::Command::new("kill")
        .args(["-9", &node.to_string()])
        .status()
        .unwrap();
    eventually("the end of the node", || !lives(node));
    assert!(stdout(&run(&["status", name])).contains("gone"));
    assert!(stdout(&run(&["up", name])).starts_with(&format!("{name} is up\n")));
    let second = recorded(&directory);
    assert!(second.len() == processes && second.iter().all(|pid| lives(*pid) && !first.contains(pid)));
    let family: Vec<Process> = second.iter().flat_map(|pid| descendants(*pid)).collect();

    assert_eq!(stdout(&run(&["down", name])), format!("{name} is down\n"));
    assert!(!second.iter().any(|pid| lives(*pid)));
    eventually("the end of all", || !family.iter().any(Process::lives));
    assert_eq!(
        stdout(&run(&["down", name])),
        format!("{name} was down already\n")
    );
    assert!(stdout(&run(&["status", name])).contains(" down"));
}

/// A process that has nothing to do with us, and ends with its test.
struct Stranger(Child);

impl Stranger {
    fn start() -> Self {
        let mut sleep = Command::new("sleep");
        sleep.arg("600").stdin(Stdio::null());
        Self(sleep.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_process_that_was_given_the_id_of_a_server_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let stranger = Stranger::start();
    let directory = home.path().join("brokers/up/kafka");
    std::fs::create_dir_all(&directory).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    std::fs::write(
        directory.join("node-1.process"),
        format!("{} 1 {boot}", stranger.0.id()),
    )
    .unwrap();
    std::fs::write(directory.join("about"), "node node-1 9\n").unwrap();
    let status = program(home.path(), &["status", "kafka"]).output().unwrap();
    assert!(stdout(&status).contains("gone"), "{status:?}");
    let down = program(home.path(), &["down"]).output().unwrap();
    assert!(down.status.success(), "{down:?}");
    assert!(lives(stranger.0.id()));
    assert!(!directory.exists());
}

#[test]
fn unknown_servers_and_commands_are_named() {
    let home = tempfile::tempdir().unwrap();
    for (arguments, problem) in [
        (&["up", "zookeeper"][..], "no server \"zookeeper\""),
        (&["sideways"][..], "no command \"sideways\""),
    ] {
        let output = program(home.path(), arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = crate::support::stderr(&output);
        assert!(said.contains(problem) && said.contains("kafka-cluster"), "{said}");
    }
}

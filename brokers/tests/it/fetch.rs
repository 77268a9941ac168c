//! Kafka is fetched once, by one process; machines that lack something are told what.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::{program, stderr};

/// A Maven that counts its runs and brings three empty jars, slowly.
const MAVEN: &str = r#"#!/bin/sh
echo run >> "$COUNT"
for argument; do case $argument in -DoutputDirectory=*) out=${argument#*=};; esac; done
mkdir -p "$out"; sleep 0.5
for jar in kafka_2.13 kafka-clients kafka-tools; do echo > "$out/$jar-4.1.1.jar"; done
"#;

/// A Java that knows no Kafka.
const JAVA: &str = "#!/bin/sh\necho 'there is no such class'; exit 1\n";

/// A PATH with those programs and what starting them takes.
fn world(directory: &Path, programs: &[(&str, &str)]) {
    for (name, text) in programs {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = std::env::var_os("PATH").unwrap();
    for name in ["sh", "cat", "rm", "mkdir", "sleep", "setpriv", "setsid"] {
        let found = std::env::split_paths(&path)
            .map(|place| place.join(name))
            .find(|file| file.exists());
        if let Some(found) = found {
            std::os::unix::fs::symlink(found, directory.join(name)).unwrap();
        }
    }
}

fn up(home: &Path, path: &Path) -> Command {
    let mut command = program(home, &["up", "kafka"]);
    command
        .env("TIDINGS_BROKERS_CACHE", home.join("cache"))
        .env("PATH", path);
    command.env("COUNT", home.join("count")).env_remove("JAVA_HOME");
    command
}

#[test]
fn two_processes_that_need_kafka_fetch_it_once() {
    let (home, path) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    world(path.path(), &[("mvn", MAVEN), ("java", JAVA)]);
    // Each has its own servers, and both the one cache.
    let run = |number: u32| {
        let mut command = up(home.path(), path.path());
        command.env("CARGO_TARGET_DIR", home.path().join(number.to_string()));
        std::thread::spawn(move || command.output().unwrap())
    };
    for output in [run(1), run(2)].map(|thread| thread.join().unwrap()) {
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("StorageTool format") && said.contains("there is no such class"),
            "{said}"
        );
    }
    let count = || {
        std::fs::read_to_string(home.path().join("count"))
            .unwrap()
            .lines()
            .count()
    };
    assert_eq!(count(), 1);
    // A jar that lost its end is noticed, and all is fetched again.
    std::fs::write(home.path().join("cache/kafka-4.1.1/kafka-clients-4.1.1.jar"), "").unwrap();
    up(home.path(), path.path()).output().unwrap();
    assert_eq!(count(), 2);
}

#[test]
fn a_machine_without_java_or_maven_is_told_how_to_get_them() {
    for (programs, missing) in [
        (
            &[("mvn", MAVEN)][..],
            "`java` is not installed or not on the PATH; Kafka 4 needs Java 17",
        ),
        (
            &[("java", JAVA)][..],
            "`mvn` is not installed or not on the PATH; it fetches Kafka once: `apt-get install maven`",
        ),
    ] {
        let (home, path) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        world(path.path(), programs);
        let output = up(home.path(), path.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert!(stderr(&output).contains(missing), "{output:?}");
    }
}

#[test]
fn a_machine_without_rabbitmq_is_told_how_to_get_it() {
    let (home, path) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // Where RabbitMQ itself is found beside the PATH, epmd is not.
    world(path.path(), &[]);
    let mut command = program(home.path(), &["up", "rabbitmq"]);
    let output = command.env("PATH", path.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let said = stderr(&output);
    assert!(
        said.contains("is not installed") && said.contains("`apt-get install rabbitmq-server`"),
        "{said}"
    );
}

#[test]
fn a_fetch_that_fails_says_what_maven_said() {
    let (home, path) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let maven = "#!/bin/sh\necho '[ERROR] Unknown host repo.maven.apache.org'; exit 1\n";
    world(path.path(), &[("mvn", maven), ("java", JAVA)]);
    let output = up(home.path(), path.path()).output().unwrap();
    let said = stderr(&output);
    assert!(
        said.contains("Unknown host") && said.contains("filled ~/.m2"),
        "{said}"
    );
}

//! Builds the tests and learns which package each test program belongs to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::cargo::{cargo, display, metadata, packages};
use crate::error::XtaskError;

/// What became of the build.
#[derive(Debug)]
pub(crate) enum Build {
    Done(Built),
    /// The compiler has said why.
    Failed,
}

/// What was built.
#[derive(Debug, Default)]
pub(crate) struct Built {
    /// The package of each executable, by the name of its file.
    pub(crate) packages: BTreeMap<String, String>,
    /// Where each executable is, by the name of its file.
    pub(crate) paths: BTreeMap<String, PathBuf>,
    /// The program that starts servers, where its package is among those that were built.
    pub(crate) brokers: Option<PathBuf>,
    /// The servers that the tests of packages among them want.
    pub(crate) servers: BTreeSet<String>,
}

/// The package that starts servers. Whoever names it in its manifest wants a Kafka, or what it says itself:
///
/// ```toml
/// [package.metadata.brokers]
/// servers = ["rabbitmq"]
/// ```
pub(crate) const BROKERS: &str = "brokers";

/// Builds the test programs. Cargo calls them by the path of their source, which is the same in every package; only its
/// messages for machines tell them apart.
pub(crate) fn build(options: &[&str]) -> Result<Build, XtaskError> {
    let mut command = cargo(&["test", "--no-run", "--message-format", "json-render-diagnostics"]);
    command.args(options).stderr(Stdio::inherit());
    let output = command.output().map_err(|source| XtaskError::Start {
        command: display(&command),
        source,
    })?;
    if !output.status.success() {
        return Ok(Build::Failed);
    }
    let metadata = metadata()?;
    let names = package_by_manifest(&metadata)?;
    let messages = String::from_utf8_lossy(&output.stdout);
    let messages: Vec<Value> = messages
        .lines()
        .filter_map(|message| serde_json::from_str(message).ok())
        .collect();
    let built: BTreeMap<String, String> = messages
        .iter()
        .filter_map(|message| program(message, &names))
        .collect();
    let wanted = servers_by_package(&metadata)?;
    let servers = built.values().filter_map(|package| wanted.get(package.as_str()));
    Ok(Build::Done(Built {
        servers: servers.flatten().cloned().collect(),
        paths: messages.iter().filter_map(executable).collect(),
        brokers: messages.iter().find_map(brokers_program),
        packages: built,
    }))
}

/// What the package itself and those that name it, for their tests or else, want.
fn servers_by_package(metadata: &Value) -> Result<BTreeMap<&str, Vec<String>>, XtaskError> {
    let name_of = |value: &'_ Value| value.get("name").and_then(Value::as_str).map(str::to_owned);
    let wants = |package: &&Value| {
        let dependencies = package.get("dependencies").and_then(Value::as_array);
        let mut names = dependencies.into_iter().flatten().filter_map(name_of);
        name_of(package).as_deref() == Some(BROKERS) || names.any(|name| name == BROKERS)
    };
    let wanting = packages(metadata)?.iter().filter(wants);
    Ok(wanting
        .filter_map(|package| Some((package.get("name")?.as_str()?, servers_of(package))))
        .collect())
}

fn servers_of(package: &Value) -> Vec<String> {
    match package
        .pointer("/metadata/brokers/servers")
        .and_then(Value::as_array)
    {
        Some(names) => names
            .iter()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect(),
        None => vec!["kafka".into()],
    }
}

/// The executable of that program, if the message is about it and not about its tests.
fn brokers_program(message: &Value) -> Option<PathBuf> {
    let target = message.get("target")?;
    let is_program = target.get("kind")?.as_array()?.iter().any(|kind| kind == "bin");
    let for_tests = message.get("profile")?.get("test")?.as_bool()?;
    let file = message.get("executable")?.as_str()?;
    (is_program && !for_tests && target.get("name")? == BROKERS).then(|| file.into())
}

fn package_by_manifest(metadata: &Value) -> Result<BTreeMap<String, String>, XtaskError> {
    let text = |package: &Value, key: &str| package.get(key).and_then(Value::as_str).map(str::to_owned);
    let pairs = packages(metadata)?
        .iter()
        .filter_map(|package| Some((text(package, "manifest_path")?, text(package, "name")?)));
    Ok(pairs.collect())
}

/// The file and package of an executable, if the message is about one.
fn program(message: &Value, names: &BTreeMap<String, String>) -> Option<(String, String)> {
    let (file, _) = executable(message)?;
    let package = names.get(message.get("manifest_path")?.as_str()?)?;
    Some((file, package.clone()))
}

/// The name and the path of an executable, if the message is about one.
fn executable(message: &Value) -> Option<(String, PathBuf)> {
    let path = Path::new(message.get("executable")?.as_str()?);
    Some((path.file_name()?.to_str()?.to_owned(), path.to_owned()))
}

/// The tests of that program in the order in which it starts them; none where it does not say.
pub(crate) fn tests_of(path: &Path) -> Vec<String> {
    let listed = Command::new(path).args(["--list", "--format", "terse"]).output();
    let listed = listed.map(|output| output.stdout).unwrap_or_default();
    let names = String::from_utf8_lossy(&listed);
    let names = names.lines().filter_map(|line| line.strip_suffix(": test"));
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_executable_is_assigned_to_the_package_of_its_manifest() {
        let metadata = json!({ "packages": [
            { "name": "tidings", "manifest_path": "/w/crates/tidings/Cargo.toml" },
            { "name": "shop", "manifest_path": "/w/examples/shop/Cargo.toml" },
        ]});
        let names = package_by_manifest(&metadata).unwrap();
        let test = |file: &str, manifest: &str| json!({ "executable": file, "manifest_path": manifest });
        for (message, expected) in [
            (test("/t/it-2c", "/w/examples/shop/Cargo.toml"), Some("shop")),
            (
                json!({ "executable": null, "manifest_path": "/w/examples/shop/Cargo.toml" }),
                None,
            ),
            (test("/t/x", "/elsewhere/Cargo.toml"), None),
            (json!({ "reason": "build-finished" }), None),
        ] {
            let found = program(&message, &names);
            assert_eq!(
                found.as_ref().map(|(_, package)| package.as_str()),
                expected,
                "{message}"
            );
        }
    }

    #[test]
    fn a_package_gets_the_servers_that_it_says_and_kafka_where_it_only_names_the_package() {
        let rabbit = json!({ "brokers": { "servers": ["rabbitmq"] } });
        let metadata = json!({ "packages": [
            { "name": "tidings-core", "dependencies": [{ "name": "bytes" }], "metadata": null },
            { "name": "tidings-kafka", "dependencies": [{ "name": "brokers", "kind": "dev" }], "metadata": null },
            { "name": "tidings-rabbit", "dependencies": [{ "name": "brokers", "kind": "dev" }], "metadata": rabbit },
            { "name": "brokers", "dependencies": [] },
        ]});
        let wanted = servers_by_package(&metadata).unwrap();
        let expected = [
            ("brokers", "kafka"),
            ("tidings-kafka", "kafka"),
            ("tidings-rabbit", "rabbitmq"),
        ];
        assert_eq!(
            wanted,
            BTreeMap::from(expected.map(|(package, server)| (package, vec![server.to_owned()])))
        );
    }

    #[test]
    fn the_program_that_starts_servers_is_told_from_its_tests() {
        let message = |name: &str, kind: &str, test: bool| {
            json!({
                "target": { "name": name, "kind": [kind] },
                "profile": { "test": test },
                "executable": "/t/brokers",
            })
        };
        for (message, expected) in [
            (message("brokers", "bin", false), true),
            (message("brokers", "bin", true), false),
            (message("brokers", "lib", true), false),
            (message("shop", "bin", false), false),
        ] {
            assert_eq!(brokers_program(&message).is_some(), expected, "{message}");
        }
    }
}

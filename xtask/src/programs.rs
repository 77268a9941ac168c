//! Builds the tests and learns which package each test program belongs to.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::cargo::{cargo, display, metadata, packages};
use crate::error::XtaskError;

/// What became of the build.
#[derive(Debug)]
pub(crate) enum Build {
    /// The package of each executable, by the name of its file.
    Done(BTreeMap<String, String>),
    /// The compiler has said why.
    Failed,
}

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
    let names = package_by_manifest(&metadata()?)?;
    let messages = String::from_utf8_lossy(&output.stdout);
    let programs = messages.lines().filter_map(|message| program(message, &names));
    Ok(Build::Done(programs.collect()))
}

fn package_by_manifest(metadata: &Value) -> Result<BTreeMap<String, String>, XtaskError> {
    let text = |package: &Value, key: &str| package.get(key).and_then(Value::as_str).map(str::to_owned);
    let pairs = packages(metadata)?
        .iter()
        .filter_map(|package| Some((text(package, "manifest_path")?, text(package, "name")?)));
    Ok(pairs.collect())
}

/// The file and package of an executable, if the message is about one.
fn program(message: &str, names: &BTreeMap<String, String>) -> Option<(String, String)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let file = Path::new(message.get("executable")?.as_str()?)
        .file_name()?
        .to_str()?;
    let package = names.get(message.get("manifest_path")?.as_str()?)?;
    Some((file.to_owned(), package.clone()))
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
        for (message, expected) in [
            (
                r#"{"executable":"/t/it-2c","manifest_path":"/w/examples/shop/Cargo.toml"}"#,
                Some("shop"),
            ),
            (
                r#"{"executable":null,"manifest_path":"/w/examples/shop/Cargo.toml"}"#,
                None,
            ),
            (
                r#"{"executable":"/t/x","manifest_path":"/elsewhere/Cargo.toml"}"#,
                None,
            ),
            ("no json", None),
        ] {
            let found = program(message, &names);
            assert_eq!(
                found.as_ref().map(|(_, package)| package.as_str()),
                expected,
                "{message}"
            );
        }
    }
}

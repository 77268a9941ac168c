//! Running cargo and other programs from the root of the workspace.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::error::XtaskError;

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the manifest directory of xtask lies in the root of the workspace")
}

/// A cargo command that runs in the root of the workspace.
///
/// The variables by which cargo describes *this* package to this program are removed: a build script that watches one
/// of them would otherwise run again each time a person changes between `cargo test` and `cargo xtask test`.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(describes_own_package) {
            command.env_remove(name);
        }
    }
    command
}

fn describes_own_package(variable: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
        .iter()
        .any(|prefix| variable.starts_with(prefix))
}

/// Runs a command with its output on this program's own, and says what runs and how long it took.
pub(crate) fn run_step(command: &mut Command) -> Result<(), XtaskError> {
    let line = display(command);
    eprintln!("==> {line}");
    let started = Instant::now();
    let status = command.status().map_err(|source| XtaskError::Start {
        command: line.clone(),
        source,
    })?;
    if !status.success() {
        return Err(XtaskError::Command {
            command: line,
            status,
        });
    }
    eprintln!("    {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Runs a command and returns what it printed; its errors go to this program's own.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>, XtaskError> {
    let line = display(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| XtaskError::Start {
            command: line.clone(),
            source,
        })?;
    if !output.status.success() {
        return Err(XtaskError::Command {
            command: line,
            status: output.status,
        });
    }
    Ok(output.stdout)
}

/// The workspace as cargo sees it: our packages, without those of others.
pub(crate) fn metadata() -> Result<Value, XtaskError> {
    let text = output(&mut cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    serde_json::from_slice(&text).map_err(|error| XtaskError::Metadata(error.to_string()))
}

/// The packages in the answer of [`metadata`].
pub(crate) fn packages(metadata: &Value) -> Result<&[Value], XtaskError> {
    metadata
        .get("packages")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .ok_or_else(|| XtaskError::Metadata("no list \"packages\"".into()))
}

/// The names of our packages.
pub(crate) fn package_names() -> Result<Vec<String>, XtaskError> {
    let metadata = metadata()?;
    let names = packages(&metadata)?
        .iter()
        .filter_map(|package| package.get("name")?.as_str());
    Ok(names.map(str::to_owned).collect())
}

/// The command line as a person would type it.
pub(crate) fn display(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut line = program
        .file_name()
        .unwrap_or(command.get_program())
        .to_string_lossy()
        .into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

//! Changing a payload in the editor that somebody likes: [`edit`].

use crate::error::CliError;
use crate::out::{compact_json, is_json, pretty_json};
use std::io::Write;
use std::process::Command;

/// What came out of the editor.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Edited {
    /// Another payload.
    Changed(Vec<u8>),
    /// The same payload.
    Same,
}

/// Opens the payload in `$VISUAL` or `$EDITOR`. JSON is laid out for the editor and checked after it.
pub(super) fn edit(payload: &[u8]) -> Result<Edited, CliError> {
    let json = std::str::from_utf8(payload).ok().filter(|_| is_json(payload));
    let shown = json.map_or_else(
        || payload.to_vec(),
        |text| format!("{}\n", pretty_json(text)).into_bytes(),
    );
    let after = in_editor(&shown, if json.is_some() { ".json" } else { ".txt" })?;
    if after == shown {
        return Ok(Edited::Same);
    }
    if json.is_none() {
        return Ok(Edited::Changed(after));
    }
    let wrong = |reason: String| {
        CliError::refused(
            format!("what you wrote is no JSON: {reason}; nothing was sent"),
            "edit it again",
        )
    };
    let text = std::str::from_utf8(&after).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| wrong(error.to_string()))?;
    let after = compact_json(text);
    let same = json.is_some_and(|before| compact_json(before) == after);
    Ok(if same {
        Edited::Same
    } else {
        Edited::Changed(after.into_bytes())
    })
}

/// The file after the editor has ended. It lies where only this user can read it, and is gone afterwards.
fn in_editor(text: &[u8], suffix: &str) -> Result<Vec<u8>, CliError> {
    let editor = ["VISUAL", "EDITOR"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|editor| !editor.is_empty()));
    let Some(editor) = editor else {
        return Err(CliError::usage(
            "neither VISUAL nor EDITOR names an editor",
            "set one, for example EDITOR=nano",
        ));
    };
    let failed = |error| CliError::io("edit the payload in a temporary file", error);
    let mut file = tempfile::Builder::new()
        .prefix("tidings-")
        .suffix(suffix)
        .tempfile()
        .map_err(failed)?;
    file.write_all(text).and_then(|()| file.flush()).map_err(failed)?;
    // The variable may have arguments in it, as `code --wait`: a shell splits them as everywhere else.
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("sh")
        .arg(file.path())
        .status();
    let status = status.map_err(|error| CliError::io(format!("start the editor {editor}"), error))?;
    if !status.success() {
        return Err(CliError::refused(
            format!("the editor {editor} ended with {status}; nothing was sent"),
            "end it without an error to go on",
        ));
    }
    // By its name: many editors write another file and rename it.
    std::fs::read(file.path()).map_err(failed)
}

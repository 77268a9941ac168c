//! The reference page, made from the records.

use crate::record::KeyRecord;
use crate::records::records;
use std::fmt::Write;

/// The reference of every key, in Markdown: a table per section, with type, default, and what it means.
pub fn reference_markdown() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         Read in this order, later wins: defaults, the program's code, `tidings.toml`, `tidings.<profile>.toml` for the \
         profile in `TIDINGS_PROFILE`, environment variables, command-line arguments.\n\n\
         The variable of a key is its path in upper case: `subscription.billing.retry.attempts` is \
         `TIDINGS__SUBSCRIPTION__BILLING__RETRY__ATTEMPTS`. With `_FILE` at its end it names a file that holds the \
         value. `TIDINGS_URL` is `binder.main.url`. Durations are written `500ms`, `1h30m` or `PT1S`; sizes `64MiB`, \
         `1MB` or a number of bytes.\n",
    );
    let mut section = None;
    for record in records() {
        if section != Some(heading(record)) {
            section = Some(heading(record));
            let _ = write!(
                page,
                "\n## {}\n\n| key | value | default | meaning |\n|---|---|---|---|\n",
                heading(record)
            );
        }
        page.push_str(&row(record));
    }
    page
}

fn heading(record: &KeyRecord) -> &'static str {
    match record.segments().next() {
        Some("binder") => "`[binder.<name>]`",
        Some("channel") => "`[channel.<name>]`",
        Some("subscription") => "`[subscription.<name>]`",
        _ => "The program",
    }
}

fn row(record: &KeyRecord) -> String {
    let skipped = if record.path.contains("<name>") { 2 } else { 0 };
    let key: Vec<_> = record.segments().skip(skipped).collect();
    format!(
        "| `{}` | {}; `{}` | {} | {} |\n",
        key.join("."),
        cell(&record.kind.expected()),
        cell(record.example),
        cell(record.default),
        cell(record.doc),
    )
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

//! The records and what is made from them: the page for users and the schema for editors.

use std::path::PathBuf;
use tidings_config::{Config, ConfigError, json_schema, records, reference_markdown};

/// Set, the files are written anew instead of compared: `cargo xtask reference`.
const REWRITE: &str = "TIDINGS_WRITE_REFERENCE";

fn in_repository(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(file)
}

/// Whether a generated file says what the records say; written anew if that is asked for.
fn check_generated(file: &str, wanted: &str, is_same: impl Fn(&str) -> bool) {
    let path = in_repository(file);
    if std::env::var_os(REWRITE).is_some() {
        let directory = path.parent().expect("it lies in a directory");
        std::fs::create_dir_all(directory).expect("the repository can be written");
        std::fs::write(&path, wanted).expect("the repository can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        is_same(&found),
        "{file} is not what the records say; run `cargo xtask reference` and commit it"
    );
}

#[test]
fn the_reference_page_in_the_repository_is_what_the_records_say() {
    let page = reference_markdown();
    check_generated("docs/configuration.md", &page, |found| found == page);
}

#[test]
fn the_schema_in_the_repository_is_what_the_records_say() {
    let schema = json_schema();
    let value: serde_json::Value = serde_json::from_str(&schema).unwrap();
    // The order of keys in a JSON object means nothing and depends on how serde_json is built.
    check_generated("schema/tidings.schema.json", &schema, |found| {
        serde_json::from_str::<serde_json::Value>(found).is_ok_and(|found| found == value)
    });
}

#[test]
fn the_reference_page_tells_of_every_key() {
    let page = reference_markdown();
    for record in records() {
        let key = record.path.rsplit('>').next().unwrap().trim_start_matches('.');
        let key = key.strip_prefix("app.").unwrap_or(key);
        let key = key.strip_prefix("manage.").unwrap_or(key);
        let key = key.strip_prefix("sql.").unwrap_or(key);
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{key}` |")));
        assert!(row.is_some(), "{}", record.path);
    }
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        assert_eq!(line.replace("\\|", "").matches('|').count(), 7, "{line}");
    }
    for heading in [
        "## The top of the file",
        "## `[app]`",
        "## `[binder.<name>]`",
        "## `[channel.<name>]`",
        "## `[subscription.<name>]`",
        "## `[manage]`",
    ] {
        assert_eq!(page.matches(heading).count(), 1, "{heading}");
    }
    assert_eq!(
        page.lines().filter(|line| line.starts_with("| `")).count(),
        records().len()
    );
}

#[test]
fn what_the_reference_page_shows_is_what_the_loader_takes() {
    let page = reference_markdown();
    let mut seen = 0;
    for block in page.split("```").skip(1).step_by(2) {
        let (language, text) = block.split_once('\n').unwrap();
        let builder = Config::builder().env::<&str, &str>([]);
        let config = match language {
            "toml" => builder.toml("tidings.toml", text).load().unwrap(),
            "yaml" => builder.yaml("tidings.yaml", text).load().unwrap(),
            _ => continue,
        };
        let retry = config.subscription("billing").retry;
        assert!(text.starts_with('#') || retry.attempts.unwrap().value == 5);
        seen += 1;
    }
    assert_eq!(seen, 4);
}

#[test]
fn every_record_is_documented_and_its_path_is_unique() {
    let mut paths: Vec<_> = records().iter().map(|record| record.path).collect();
    for record in records() {
        assert!(
            record.doc.ends_with('.') && !record.default.is_empty() && !record.example.is_empty(),
            "{}",
            record.path
        );
    }
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), records().len());
}

#[test]
fn every_example_is_valid_toml_that_is_accepted() {
    for record in records() {
        let line = format!("{} = {}\n", record.path.replace("<name>", "x"), record.example);
        match Config::from_toml(&line, "t.toml") {
            Ok(_) | Err(ConfigError::MayLoseMessages { .. }) => {}
            Err(error) => panic!("{line}: {error}"),
        }
    }
}

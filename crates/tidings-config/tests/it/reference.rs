//! The records and the page made from them.

use tidings_config::{Config, records, reference_markdown};

#[test]
fn the_reference_page_tells_of_every_key() {
    let page = reference_markdown();
    for record in records() {
        let key = record.path.rsplit('>').next().unwrap().trim_start_matches('.');
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{key}` |")));
        assert!(row.is_some(), "{}", record.path);
    }
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        assert_eq!(line.replace("\\|", "").matches('|').count(), 5, "{line}");
    }
    for heading in [
        "## The program",
        "## `[binder.<name>]`",
        "## `[channel.<name>]`",
        "## `[subscription.<name>]`",
    ] {
        assert_eq!(page.matches(heading).count(), 1, "{heading}");
    }
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
        Config::from_toml(&line, "t.toml").expect(&line);
    }
}

//! A database that cannot be used.

use shop::database::DATABASE_URL;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::tempdir;

/// What a shop says that cannot be opened.
fn said(data: &Path, database: Option<&str>) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shop"));
    command.args(["--http", "127.0.0.1:0", "--data"]).arg(data);
    command
        .env_remove(DATABASE_URL)
        .envs(database.map(|url| (DATABASE_URL, url)));
    command.env("TIDINGS__SQL__TIMEOUT", "200ms");
    let ended = command.stdout(Stdio::null()).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    String::from_utf8(ended.stderr).unwrap()
}

#[test]
fn a_database_that_cannot_be_used_is_named_with_its_cause_and_the_cure_and_without_its_password() {
    let directory = tempdir().unwrap();
    let data = directory.path().join("data");
    for (url, parts) in [
        (
            "mysql://shop:geheim@db/shop",
            [DATABASE_URL, "postgres://USER", "leave it out"],
        ),
        ("geheim", [DATABASE_URL, "postgres://USER", "sqlite:FILE"]),
        (
            "postgres://shop:geheim@127.0.0.1:x/shop",
            [DATABASE_URL, "127.0.0.1:x", "correct the variable"],
        ),
        (
            "postgres://shop:geheim@127.0.0.1:1/shop",
            ["start it", "127.0.0.1:1/shop", "refused"],
        ),
    ] {
        let said = said(&data, Some(url));
        assert!(parts.iter().all(|part| said.contains(part)), "{url}: {said}");
        assert!(!said.contains("geheim"), "{url}: {said}");
    }
    // What is there is no database, and then no directory.
    std::fs::create_dir_all(data.join("shop.db")).unwrap();
    for (data, parts) in [
        (data.clone(), ["shop.db", "unable to open", "--data"]),
        (
            write(&directory.path().join("file")),
            ["file", "exists", "--data"],
        ),
    ] {
        let said = said(&data, None);
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }
}

fn write(path: &Path) -> std::path::PathBuf {
    std::fs::write(path, "no directory").unwrap();
    path.to_owned()
}

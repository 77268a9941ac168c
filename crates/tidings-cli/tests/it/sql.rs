//! `tidings sql`.

use crate::world::{Said, World};

#[test]
fn tables_are_made_once_and_printed_as_they_are_made() {
    let world = World::new();
    let database = ["--database", "sqlite:shop.db", "--schema", "events"];
    let migrate = [&["sql", "migrate"][..], &database].concat();
    let first = world.ok(&migrate).rows();
    assert_eq!(
        (first[0]["version"].as_i64(), first[0]["name"].as_str()),
        (Some(1), Some("migrations"))
    );
    assert!(first.iter().any(|row| row["name"] == "outbox"), "{first:?}");
    let second = world.ok(&migrate);
    assert!(
        second.rows().is_empty() && second.err.contains("nothing was lacking"),
        "{}",
        second.err
    );

    let printed = world
        .ok(&["sql", "print", "--database", "postgres://ada:secret@nowhere/shop"])
        .out;
    assert!(
        printed.contains("CREATE TABLE tidings.outbox") && !printed.contains("secret"),
        "{printed}"
    );
    let printed = world.ok(&[&["sql", "print"][..], &database].concat()).out;
    assert!(printed.contains("CREATE TABLE events_outbox"), "{printed}");
}

#[test]
fn a_database_that_is_not_named_or_not_there_is_said_so() {
    let world = World::new();
    for (arguments, code, cure) in [
        (&["sql", "print"][..], 2, "DATABASE_URL"),
        (
            &["sql", "migrate", "--database", "mysql://ada:secret@db/shop"],
            2,
            "postgres://USER",
        ),
        (
            &[
                "sql",
                "migrate",
                "--database",
                "postgres://ada:secret@127.0.0.1:1/shop",
            ],
            5,
            "127.0.0.1:1/shop",
        ),
        (
            &["sql", "print", "--database", "sqlite:shop.db", "--schema", "No"],
            2,
            "a-z, 0-9 and _",
        ),
    ] {
        let output = world
            .command(arguments)
            .env_remove("DATABASE_URL")
            .output()
            .unwrap();
        let said = Said::of(output);
        said.refused(code, &[cure]);
        assert!(!said.err.contains("secret"), "{}", said.err);
    }
}

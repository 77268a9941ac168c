//! PostgreSQL: databases of tests, faults, restarts.

use std::time::Duration;

use brokers::{BrokersError, Postgres, PostgresOptions, or_skip};

use crate::support::{descendants, eventually, is_kept, shared_memory_of};

#[test]
fn what_is_committed_outlives_a_killed_server_on_the_same_port_and_nothing_outlives_a_drop() {
    let test = "what_is_committed_outlives_a_killed_server_on_the_same_port_and_nothing_outlives_a_drop";
    let Some(postgres) = or_skip(test, Postgres::start(PostgresOptions::durable())) else {
        return;
    };
    let ours = postgres.database("orders").unwrap();
    ours.sql("CREATE TABLE orders (id text); INSERT INTO orders VALUES ('o-1')")
        .unwrap();
    assert_eq!(ours.sql("SHOW wal_level; SHOW fsync").unwrap(), "logical\non");

    let (url, pid) = (postgres.url(), postgres.pid().unwrap());
    let family = descendants(pid);
    assert!(family.len() > 1, "it has children: {family:?}");
    postgres.kill().unwrap();
    assert_eq!(postgres.pid(), None);
    assert!(family.iter().all(|process| !process.lives()));
    assert!(matches!(postgres.freeze(), Err(BrokersError::NodeStopped { .. })));
    assert!(ours.sql("SELECT 1").is_err());
    postgres.start_again().unwrap();
    assert_eq!(postgres.url(), url);
    assert_eq!(ours.sql("SELECT count(*) FROM orders").unwrap(), "1");

    postgres.stop().unwrap();
    postgres.start_again().unwrap();
    assert_eq!(ours.sql("SELECT count(*) FROM orders").unwrap(), "1");
    let wrong = ours.sql("SELECT nonsense").unwrap_err().to_string();
    assert!(wrong.contains("column \"nonsense\" does not exist"), "{wrong}");

    // A server that stands still is ended all the same.
    postgres.freeze().unwrap();
    let started = std::time::Instant::now();
    let family = descendants(postgres.pid().unwrap());
    let directory = postgres.directory().to_owned();
    let block = shared_memory_of(&directory.join("data"));
    assert!(is_kept(&block));
    std::mem::forget(ours);
    drop(postgres);
    assert!(started.elapsed() < Duration::from_secs(8));
    assert!(!directory.exists());
    eventually("the end of all", || family.iter().all(|process| !process.lives()));
    assert!(!is_kept(&block), "its shared memory is left behind");
}

#[test]
fn a_server_that_was_killed_leaves_nothing_either() {
    let test = "a_server_that_was_killed_leaves_nothing_either";
    let Some(postgres) = or_skip(test, Postgres::start(PostgresOptions::plain())) else {
        return;
    };
    let block = shared_memory_of(&postgres.directory().join("data"));
    postgres.kill().unwrap();
    assert!(is_kept(&block));
    drop(postgres);
    assert!(!is_kept(&block));
}

#[test]
fn a_frozen_server_is_silent_and_goes_on_where_it_was() {
    let test = "a_frozen_server_is_silent_and_goes_on_where_it_was";
    let Some(postgres) = or_skip(test, Postgres::start(PostgresOptions::plain())) else {
        return;
    };
    postgres.freeze().unwrap();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| postgres.api().sql("postgres", "SELECT 7"));
        std::thread::sleep(Duration::from_millis(300));
        assert!(!asked.is_finished());
        postgres.thaw().unwrap();
        assert_eq!(asked.join().unwrap().unwrap(), "7");
    });
}

#[test]
fn a_setting_that_postgres_does_not_know_is_shown_with_the_log() {
    let test = "a_setting_that_postgres_does_not_know_is_shown_with_the_log";
    let error = Postgres::start(PostgresOptions::plain().setting("no_such_setting", "1")).unwrap_err();
    if error.is_missing_program() {
        let _: Option<()> = or_skip(test, Err(error));
        return;
    }
    assert!(matches!(error, BrokersError::Ended { .. }), "{error}");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[test]
fn tests_share_a_postgres_and_do_not_see_each_other() {
    let test = "tests_share_a_postgres_and_do_not_see_each_other";
    let Some(api) = brokers::postgres_or_skip(test) else {
        return;
    };
    let [first, second] = [(), ()].map(|()| api.database("shared").unwrap());
    assert_ne!(first.name(), second.name());
    first.sql("CREATE TABLE orders (id text)").unwrap();
    assert!(second.sql("SELECT * FROM orders").is_err());
    let name = first.name().to_owned();
    drop(first);
    let left = api.sql(
        "postgres",
        &format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'"),
    );
    assert_eq!(left.unwrap(), "0");
}

#[test]
fn a_secure_server_lets_nobody_in_without_tls_and_one_user_by_certificate_only() {
    let test = "a_secure_server_lets_nobody_in_without_tls_and_one_user_by_certificate_only";
    let Some(postgres) = or_skip(test, Postgres::start(PostgresOptions::secure())) else {
        return;
    };
    let certificates = postgres.certificates().unwrap();
    let as_seen_by = |user: &str, words: &str| {
        let url = postgres.url().replace("postgres@", &format!("{user}@"));
        let output = std::process::Command::new("psql")
            .args([
                "-At",
                "-c",
                "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
            ])
            .arg(format!("{url}/postgres?{words}"))
            .output()
            .unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let authority = certificates.authority();
    let full = format!("sslmode=verify-full&sslrootcert={}", authority.display());
    assert_eq!(as_seen_by("postgres", &full), "t\n");
    let plain = as_seen_by("postgres", "sslmode=disable");
    assert!(plain.contains("no encryption"), "{plain}");
    let without = as_seen_by("client", &full);
    assert!(without.contains("certificate"), "{without}");
}

//! Opening, migrating, transactions, errors in words.

use crate::support::{Home, TestDb, everywhere, table};
use sqlx::{Postgres, Sqlite};
use std::time::Duration;
use tidings_sql::{ErrorClass, Migrate, SqlError, SqlOptions, SqlStore, classify, migrations_as_sql};

everywhere! {
    a_transaction_is_kept_whole_or_not_at_all
    instances_that_start_together_migrate_once
    what_is_wrong_with_the_tables_is_said_with_the_cure
    tables_made_by_hand_are_taken_as_they_are
}

async fn a_transaction_is_kept_whole_or_not_at_all<DB: TestDb>(home: Home) {
    let store = home.open::<DB>().await;
    let mut tx = store.begin().await.unwrap();
    DB::run(&mut tx, "CREATE TABLE stock (item TEXT PRIMARY KEY)")
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let mut dropped = store.begin().await.unwrap();
    DB::run(&mut dropped, "INSERT INTO stock VALUES ('dropped')")
        .await
        .unwrap();
    drop(dropped);
    let mut given_up = store.begin().await.unwrap();
    DB::run(&mut given_up, "INSERT INTO stock VALUES ('given up')")
        .await
        .unwrap();
    given_up.rollback().await.unwrap();

    let mut tx = store.begin().await.unwrap();
    DB::run(&mut tx, "INSERT INTO stock VALUES ('kept')")
        .await
        .unwrap();
    let mut bad = tx.savepoint().await.unwrap();
    DB::run(&mut bad, "INSERT INTO stock VALUES ('of a bad item')")
        .await
        .unwrap();
    let twice = DB::run(&mut bad, "INSERT INTO stock VALUES ('kept')")
        .await
        .unwrap_err();
    assert_eq!(classify::<DB>(&twice), ErrorClass::Permanent);
    bad.rollback().await.unwrap();
    let mut good = tx.savepoint().await.unwrap();
    DB::run(&mut good, "INSERT INTO stock VALUES ('of a good item')")
        .await
        .unwrap();
    good.keep().await.unwrap();
    tx.commit().await.unwrap();

    let mut connection = store.pool().acquire().await.unwrap();
    let kept = "SELECT count(*) FROM stock WHERE item IN ('kept', 'of a good item')";
    assert_eq!(DB::number(&mut connection, kept).await, 2);
    assert_eq!(DB::number(&mut connection, "SELECT count(*) FROM stock").await, 2);
}

async fn instances_that_start_together_migrate_once<DB: TestDb>(home: Home) {
    let openings: Vec<_> = (0..8)
        .map(|_| {
            let url = home.url.clone();
            tokio::spawn(async move { SqlStore::<DB>::open(&url).await })
        })
        .collect();
    for opening in openings {
        opening.await.unwrap().unwrap();
    }
    let store = home.open::<DB>().await;
    let mut connection = store.pool().acquire().await.unwrap();
    let migrations = table::<DB>("migrations");
    let applied = format!("SELECT count(*) FROM {migrations}");
    let steps = migrations_as_sql::<DB>(&SqlOptions::default())
        .unwrap()
        .matches(&format!("INSERT INTO {migrations} "))
        .count();
    assert_eq!(DB::number(&mut connection, &applied).await, steps as i64);
}

async fn what_is_wrong_with_the_tables_is_said_with_the_cure<DB: TestDb>(home: Home) {
    let never = SqlOptions::default().migrate(Migrate::Never);
    let refused = |options: SqlOptions| {
        let url = home.url.clone();
        async move { SqlStore::<DB>::open_with(&url, options).await.unwrap_err() }
    };
    let missing = refused(never.clone()).await;
    assert!(matches!(missing, SqlError::Missing { .. }), "{missing}");
    assert!(missing.to_string().contains("tidings sql migrate"), "{missing}");

    let store = home.open::<DB>().await;
    let mut tx = store.begin().await.unwrap();
    let migrations = table::<DB>("migrations");
    let newer = format!("INSERT INTO {migrations} (version, name) VALUES (4711, 'of the future')");
    DB::run(&mut tx, &newer).await.unwrap();
    tx.commit().await.unwrap();
    for options in [SqlOptions::default(), never.clone()] {
        let too_new = refused(options).await;
        assert!(
            matches!(too_new, SqlError::TooNew { found: 4711, .. }),
            "{too_new}"
        );
        assert!(!too_new.is_transient());
    }

    let mut tx = store.begin().await.unwrap();
    DB::run(&mut tx, &format!("DELETE FROM {migrations}"))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let old = refused(never).await;
    assert!(
        matches!(&old, SqlError::Outdated { lacking, .. } if lacking.first() == Some(&1)),
        "{old}"
    );
}

async fn tables_made_by_hand_are_taken_as_they_are<DB: TestDb>(home: Home) {
    let options = SqlOptions::default().schema("by_hand").migrate(Migrate::Never);
    // Any other store gives a connection to the same database.
    let other = home.open::<DB>().await;
    let sql = migrations_as_sql::<DB>(&options).unwrap();
    let mut connection = other.pool().acquire().await.unwrap();
    DB::run(&mut connection, &sql).await.unwrap();
    let store = home.open_with::<DB>(options).await;
    store.begin().await.unwrap().commit().await.unwrap();
}

#[tokio::test]
async fn a_busy_sqlite_file_is_waited_for_and_then_a_conflict() {
    let home = crate::support::sqlite();
    let ours = home
        .open_with::<Sqlite>(SqlOptions::default().busy_timeout(Duration::from_millis(50)))
        .await;
    // Another process would have a store of its own, as this one.
    let theirs = home.open::<Sqlite>().await;
    let held = theirs.begin().await.unwrap();
    let busy = ours.begin().await.unwrap_err();
    assert!(
        matches!(busy, SqlError::Conflict { .. }) && busy.is_transient(),
        "{busy}"
    );
    held.rollback().await.unwrap();
    ours.begin().await.unwrap().commit().await.unwrap();
}

#[tokio::test]
async fn a_sqlite_database_in_memory_lasts_as_long_as_its_store() {
    let store = SqlStore::<Sqlite>::open("sqlite::memory:").await.unwrap();
    let mut tx = store.begin().await.unwrap();
    Sqlite::run(&mut tx, "CREATE TABLE stock (item TEXT)")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let mut connection = store.pool().acquire().await.unwrap();
    assert_eq!(
        Sqlite::number(&mut connection, "SELECT count(*) FROM stock").await,
        0
    );
}

#[tokio::test]
async fn an_address_that_leads_nowhere_is_named() {
    let away = SqlStore::<Sqlite>::open("sqlite:/nowhere/test.db")
        .await
        .unwrap_err();
    assert!(
        away.is_transient() && away.to_string().contains("/nowhere/test.db"),
        "{away}"
    );
    let other = SqlStore::<Sqlite>::open("postgres://localhost/shop")
        .await
        .unwrap_err();
    assert!(other.to_string().contains("sqlite:FILE"), "{other}");
    let other = SqlStore::<sqlx::Postgres>::open("sqlite:test.db")
        .await
        .unwrap_err();
    assert!(other.to_string().contains("postgres://"), "{other}");
    // Port 1 of this machine has no server.
    let away = SqlStore::<sqlx::Postgres>::open("postgres://ada:secret@127.0.0.1:1/shop")
        .await
        .unwrap_err();
    let said = away.to_string();
    assert!(
        away.is_transient() && said.contains("127.0.0.1:1/shop") && !said.contains("secret"),
        "{said}"
    );
}

#[tokio::test]
async fn a_transaction_whose_statement_failed_is_not_taken_for_committed() {
    let Some(home) =
        crate::support::postgres("a_transaction_whose_statement_failed_is_not_taken_for_committed")
    else {
        return;
    };
    let store = home
        .open_with::<Postgres>(SqlOptions::default().max_connections(1))
        .await;
    let mut tx = store.begin().await.unwrap();
    Postgres::run(&mut tx, "CREATE TABLE stock (item TEXT)")
        .await
        .unwrap();
    // A handler that does not look at its errors.
    Postgres::run(&mut tx, "INSERT INTO nowhere VALUES (1)")
        .await
        .unwrap_err();
    let refused = tx.commit().await.unwrap_err();
    assert!(matches!(refused, SqlError::Aborted { .. }), "{refused}");
    assert!(!refused.is_transient());

    // What is refused by COMMIT itself, and what the user's own statements have ended, is said too; and nothing of it is
    // left on the only connection.
    let deferred = "CREATE TABLE twice (item TEXT UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO twice VALUES ('a'), ('a')";
    for (statements, said) in [(deferred, "twice_item_key"), ("ROLLBACK", "COMMIT AND CHAIN")] {
        let mut tx = store.begin().await.unwrap();
        Postgres::run(&mut tx, statements).await.unwrap();
        let refused = tx.commit().await.unwrap_err();
        assert!(
            matches!(&refused, SqlError::Statement { source, .. } if source.to_string().contains(said)),
            "{refused:?}"
        );
    }
    let mut tx = store.begin().await.unwrap();
    Postgres::run(&mut tx, "CREATE TABLE stock (item TEXT)")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let seen = sqlx::query("SELECT FROM stock").execute(store.pool()).await;
    seen.unwrap();
}

#[tokio::test]
async fn a_role_that_may_not_create_tables_is_enough_at_run_time() {
    let Some(home) = crate::support::postgres("a_role_that_may_not_create_tables_is_enough_at_run_time")
    else {
        return;
    };
    let role = brokers::unique("worker").replace('-', "_");
    let database = home.url.rsplit_once('/').unwrap().1.to_owned();
    let theirs = home
        .url
        .replacen("postgres://postgres", &format!("postgres://{role}"), 1);
    let owner = sqlx::PgPool::connect(&home.url).await.unwrap();
    let mut connection = owner.acquire().await.unwrap();
    Postgres::run(
        &mut connection,
        &format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'worker'; REVOKE CREATE ON DATABASE {database} FROM PUBLIC"
        ),
    )
    .await
    .unwrap();
    let theirs = theirs.replacen(&format!("{role}@"), &format!("{role}:worker@"), 1);

    let refused = SqlStore::<Postgres>::open(&theirs).await.unwrap_err();
    assert!(
        matches!(&refused, SqlError::Forbidden { cure, .. } if cure.contains("tidings sql migrate")),
        "{refused}"
    );

    drop(
        SqlStore::<Postgres>::from_pool(owner.clone(), SqlOptions::default())
            .await
            .unwrap(),
    );
    let unreadable = SqlStore::<Postgres>::open(&theirs).await.unwrap_err();
    assert!(matches!(unreadable, SqlError::Forbidden { .. }), "{unreadable}");
    Postgres::run(
        &mut connection,
        &format!(
            "GRANT USAGE ON SCHEMA tidings TO {role}; \
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tidings TO {role}"
        ),
    )
    .await
    .unwrap();
    let store = SqlStore::<Postgres>::open(&theirs).await.unwrap();
    store.begin().await.unwrap().commit().await.unwrap();
    store.close().await;
    Postgres::run(
        &mut connection,
        &format!("DROP OWNED BY {role}; DROP ROLE {role}"),
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn transactions_in_each_others_way_are_worth_another_try() {
    let Some(home) = crate::support::postgres("transactions_in_each_others_way_are_worth_another_try") else {
        return;
    };
    let store = home.open::<Postgres>().await;
    let mut tx = store.begin().await.unwrap();
    let stock =
        "CREATE TABLE stock (item TEXT, pieces INT); INSERT INTO stock VALUES ('teapot', 1), ('cup', 1)";
    Postgres::run(&mut tx, stock).await.unwrap();
    tx.commit().await.unwrap();
    let take = |item: &str| format!("UPDATE stock SET pieces = pieces - 1 WHERE item = '{item}'");

    // Each holds what the other one wants.
    let (mut one, mut other) = (store.begin().await.unwrap(), store.begin().await.unwrap());
    Postgres::run(&mut one, &take("teapot")).await.unwrap();
    Postgres::run(&mut other, &take("cup")).await.unwrap();
    let (cup, teapot) = (take("cup"), take("teapot"));
    let results = tokio::join!(Postgres::run(&mut one, &cup), Postgres::run(&mut other, &teapot));
    let deadlock = results.0.err().or(results.1.err()).unwrap();
    assert_eq!(
        classify::<Postgres>(&deadlock),
        ErrorClass::Transient,
        "{deadlock}"
    );
    drop((one, other));

    let (mut one, mut other) = (store.begin().await.unwrap(), store.begin().await.unwrap());
    for tx in [&mut one, &mut other] {
        Postgres::run(tx, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
            .await
            .unwrap();
        assert_eq!(Postgres::number(tx, "SELECT count(*) FROM stock").await, 2);
        Postgres::run(tx, "INSERT INTO stock VALUES ('jug', 1)")
            .await
            .unwrap();
    }
    one.commit().await.unwrap();
    let refused = other.commit().await.unwrap_err();
    assert!(
        matches!(refused, SqlError::Conflict { .. }) && refused.is_transient(),
        "{refused}"
    );
}

#[tokio::test]
async fn a_database_that_is_killed_or_silent_is_unavailable_and_comes_back() {
    let test = "a_database_that_is_killed_or_silent_is_unavailable_and_comes_back";
    let Some(server) = brokers::or_skip(test, brokers::Postgres::start(brokers::PostgresOptions::plain()))
    else {
        return;
    };
    let home = Home::on(server.database("tidings").unwrap());
    let store = home
        .open_with::<Postgres>(SqlOptions::default().timeout(Duration::from_secs(2)))
        .await;
    let mut tx = store.begin().await.unwrap();
    Postgres::run(&mut tx, "CREATE TABLE stock (item TEXT)")
        .await
        .unwrap();
    server.kill().unwrap();
    let lost = tx.commit().await.unwrap_err();
    // COMMIT goes out before anything says that nobody is there.
    assert!(
        matches!(lost, SqlError::Unavailable { .. } | SqlError::InDoubt { .. }),
        "{lost}"
    );
    let away = store.begin().await.unwrap_err();
    assert!(
        matches!(away, SqlError::Unavailable { .. } | SqlError::Silent { .. }),
        "{away}"
    );
    server.start_again().unwrap();
    store.begin().await.unwrap().commit().await.unwrap();

    let held = store.begin().await.unwrap();
    server.freeze().unwrap();
    let silent = store.begin().await.unwrap_err();
    assert!(silent.is_transient(), "{silent}");
    let silent = held.commit().await.unwrap_err();
    assert!(
        silent.is_transient() && silent.to_string().contains("127.0.0.1"),
        "{silent}"
    );
    server.thaw().unwrap();
    store.begin().await.unwrap().commit().await.unwrap();
}

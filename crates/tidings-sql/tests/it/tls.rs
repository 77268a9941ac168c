//! PostgreSQL by TLS: statements and replication, and what is wrong with certificates.

use crate::fake::{Fake, Running, eventually, quick, send};
use crate::support::{Home, TestDb};
use brokers::{Postgres as Server, PostgresOptions, or_skip};
use sqlx::Postgres;
use sqlx::postgres::PgConnectOptions;
use std::path::Path;
use std::time::Duration;
use tidings_sql::{Outbox, Reading, ReplicationOptions, ReplicationRelay, SqlError, SqlOptions, SqlStore};

/// A database of its own, by the words of an address.
fn home(server: &Server) -> Home {
    Home::on(server.database("tidings").unwrap())
}

fn parsed(url: &str) -> PgConnectOptions {
    url.parse().unwrap()
}

fn known_as(user: &str, url: &str) -> String {
    url.replace("postgres@", &format!("{user}@"))
}

fn trusting(mode: &str, authority: &Path) -> String {
    format!("sslmode={mode}&sslrootcert={}", authority.display())
}

async fn count(store: &SqlStore<Postgres>, sql: &str) -> i64 {
    let mut connection = store.pool().acquire().await.unwrap();
    Postgres::number(&mut connection, sql).await
}

/// What comes by statements and by replication does, and on connections that are secure or are not.
async fn works(url: &str, is_secure: bool) {
    let store = SqlStore::<Postgres>::open(url).await.unwrap();
    let outbox = Outbox::to_channels(&store, ["orders"]);
    let fake = Fake::new();
    // It looks too seldom to find anything.
    let relay = quick().poll_interval(Duration::from_secs(30));
    let relay = ReplicationRelay::new(&store, fake.clone(), relay, ReplicationOptions::default()).unwrap();
    let (relay, status) = Running::replicating(relay);
    let replicates = || status.reading() == Reading::Replication;
    eventually("it replicates", replicates).await;
    for number in 0..200 {
        send(&outbox, "key", &format!("{number} {}", "long ".repeat(1000))).await;
    }
    eventually("all are sent", || fake.payloads().len() == 200).await;
    let mine = "FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE datname = current_database()";
    let walsenders = format!("SELECT count(*) {mine} AND backend_type = 'walsender' AND ssl = {is_secure}");
    assert_eq!(count(&store, &walsenders).await, 1, "{url}");
    let others = format!("SELECT count(*) {mine} AND ssl <> {is_secure}");
    assert_eq!(count(&store, &others).await, 0, "{url}");
    relay.stop().await;
    store.pool().close().await;
}

async fn refused(url: &str) -> String {
    let options = SqlOptions::default().timeout(Duration::from_secs(10));
    let refused = SqlStore::<Postgres>::open_with(url, options).await.unwrap_err();
    assert!(
        matches!(refused, SqlError::Unavailable { .. } | SqlError::Address { .. }),
        "{refused:?}"
    );
    refused.to_string()
}

#[tokio::test]
async fn statements_and_replication_go_by_tls_as_the_address_says() {
    let test = "statements_and_replication_go_by_tls_as_the_address_says";
    let Some(server) = or_skip(test, Server::start(PostgresOptions::secure())) else {
        return;
    };
    let certificates = server.certificates().unwrap();
    let full = trusting("verify-full", &certificates.authority());
    let shown = format!(
        "{full}&sslcert={}&sslkey={}",
        certificates.client_certificate().display(),
        certificates.client_key().display()
    );
    for words in ["sslmode=require", "sslmode=prefer", &full] {
        let home = home(&server);
        works(&format!("{}?{words}", home.url), true).await;
    }
    let known = home(&server);
    works(&format!("{}?{shown}", known_as("client", &known.url)), true).await;
    let with_password = home(&server);
    let with_password = known_as("secret:secret", &with_password.url);
    works(&format!("{with_password}?{full}"), true).await;

    let plain = refused(&format!("{}?sslmode=disable", known.url)).await;
    assert!(plain.contains("no encryption"), "{plain}");
    let unknown = refused(&format!("{}?{full}", known_as("client", &known.url))).await;
    assert!(unknown.contains("certificate"), "{unknown}");
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_refused_with_the_cure_and_the_outbox_polled() {
    let test = "a_server_that_nobody_vouches_for_is_refused_with_the_cure_and_the_outbox_polled";
    let other = PostgresOptions::secure()
        .setting("ssl_cert_file", "../tls/wronghost.crt")
        .setting("ssl_key_file", "../tls/wronghost.key");
    let Some(server) = or_skip(test, Server::start(other)) else {
        return;
    };
    let certificates = server.certificates().unwrap();
    let home = home(&server);
    let by = |words: &str| format!("{}?{words}", home.url);
    let stranger = trusting("verify-full", &certificates.other_authority());
    let wrong_host = trusting("verify-full", &certificates.authority());
    let wrong = [
        (stranger, "sslrootcert"),
        (wrong_host, "sslmode=verify-ca"),
        (
            trusting("verify-ca", &certificates.other_authority()),
            "sslrootcert",
        ),
        // Who names an authority wants it to be asked.
        (
            trusting("require", &certificates.other_authority()),
            "sslrootcert",
        ),
        (
            trusting("verify-full", Path::new("/nowhere/ca.pem")),
            "sslrootcert = /nowhere/ca.pem",
        ),
        // A key is no certificate.
        (
            trusting("verify-full", &certificates.client_key()),
            "no certificate in it",
        ),
        (
            "sslmode=prefer&sslcert=here.pem".into(),
            "both sslcert and sslkey",
        ),
        // Nothing on this machine has vouched for it either.
        ("sslmode=verify-ca".into(), "sslrootcert"),
    ];
    for (words, cure) in &wrong {
        let refused = refused(&by(words)).await;
        assert!(
            refused.contains(cure) && refused.contains("127.0.0.1"),
            "{refused}"
        );
    }
    let good = by(&trusting("verify-ca", &certificates.authority()));
    works(&good, true).await;

    // The same by the connection of replication alone, which has an address of its own.
    let store = SqlStore::<Postgres>::open(&good).await.unwrap();
    let outbox = Outbox::to_channels(&store, ["orders"]);
    for (words, cure) in &wrong {
        let options = ReplicationOptions::default().connect(parsed(&by(words)));
        let fake = Fake::new();
        let relay = ReplicationRelay::new(&store, fake.clone(), quick(), options).unwrap();
        let (relay, status) = Running::replicating(relay);
        send(&outbox, "key", words).await;
        eventually("it is polled", || fake.payloads() == [words.as_str()]).await;
        let told = || status.obstacle().is_some_and(|obstacle| obstacle.contains(cure));
        eventually(cure, told).await;
        assert_eq!(status.reading(), Reading::Polling);
        relay.stop().await;
    }
}

#[tokio::test]
async fn a_server_without_tls_is_taken_as_it_is_or_refused_as_the_address_says() {
    let test = "a_server_without_tls_is_taken_as_it_is_or_refused_as_the_address_says";
    let Some(home) = crate::support::postgres(test) else {
        return;
    };
    works(&format!("{}?sslmode=prefer", home.url), false).await;
    let refused = refused(&format!("{}?sslmode=require", home.url)).await;
    assert!(refused.contains("ssl = on"), "{refused}");
    let store = home.open::<Postgres>().await;
    let options = ReplicationOptions::default();
    let options = options.connect(parsed(&format!("{}?sslmode=require", home.url)));
    let relay = ReplicationRelay::new(&store, Fake::new(), quick(), options).unwrap();
    let (relay, status) = Running::replicating(relay);
    let told = || {
        status
            .obstacle()
            .is_some_and(|obstacle| obstacle.contains("ssl = on"))
    };
    eventually("it is said", told).await;
    relay.stop().await;
}

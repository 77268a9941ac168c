//! Whoever should be let in is.

use crate::support::{PATIENCE, Signed, allowed, kafka, login, options, spec, tls, works};
use brokers::{Listener, Security, Token as Jwt};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tidings_core::{Binder, BinderHealth, Message, Outgoing};
use tidings_kafka::{ClientOptions, KafkaBinder, Token, TokenError, TokenSource};

#[tokio::test(flavor = "multi_thread")]
async fn passwords_open_the_door_by_each_mechanism() {
    let Some(kafka) = kafka("passwords_open_the_door_by_each_mechanism") else {
        return;
    };
    let security = kafka.security().unwrap();
    let alice = Security::ALICE;
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let properties = login(security, mechanism, alice.name, alice.password);
        works(mechanism, options(kafka, Listener::SaslSsl, properties)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_opens_the_door_from_files_and_from_properties() {
    let Some(kafka) = kafka("a_client_certificate_opens_the_door_from_files_and_from_properties") else {
        return;
    };
    let security = kafka.security().unwrap();
    let mut files = tls(security, "SSL");
    files.extend([
        (
            "ssl.certificate.location",
            security.client_certificate().display().to_string(),
        ),
        ("ssl.key.location", security.client_key().display().to_string()),
    ]);
    works("files", options(kafka, Listener::Mtls, files)).await;
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap();
    let inline = vec![
        ("security.protocol", "SSL".to_owned()),
        ("ssl.ca.pem", read(security.authority())),
        ("ssl.certificate.pem", read(security.client_certificate())),
        ("ssl.key.pem", read(security.client_key())),
    ];
    works("inline", options(kafka, Listener::Mtls, inline)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_an_own_source_open_the_door_to_all_clients() {
    let Some(kafka) = kafka("tokens_of_an_own_source_open_the_door_to_all_clients") else {
        return;
    };
    let security = kafka.security().unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let counted = asked.clone();
    let source = Signed(Arc::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Jwt::new("alice")
    }));
    let options = options(kafka, Listener::OAuth, tls(security, "SASL_SSL")).with_token_source(source);
    works("tokens", options).await;
    assert_eq!(
        asked.load(Ordering::Relaxed),
        1,
        "producer, consumer and reader share one token"
    );
}

/// Fails a few times, then gives tokens that live for a moment.
struct Moody {
    asked: Arc<AtomicU32>,
    good: Signed,
}

impl TokenSource for Moody {
    async fn token(&self) -> Result<Token, TokenError> {
        match self.asked.fetch_add(1, Ordering::Relaxed) {
            0..2 => Err(TokenError::new("the vault is sealed: unseal it")),
            _ => self.good.token().await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fails_is_told_by_health_and_recovers_and_tokens_are_renewed_while_the_service_runs() {
    let Some(kafka) = kafka("a_source_that_fails_is_told_by_health_and_recovers") else {
        return;
    };
    let security = kafka.security().unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let source = Moody {
        asked: asked.clone(),
        good: Signed(Arc::new(|| Jwt::new("alice").expires_in_s(4))),
    };
    let options = options(kafka, Listener::OAuth, tls(security, "SASL_SSL")).with_token_source(source);
    let binder = KafkaBinder::open(options).unwrap();
    let topic = allowed("topic");
    // It waits for the token, or says why there is none.
    let told = loop {
        match binder.health() {
            BinderHealth::Down(reason) => break reason,
            BinderHealth::Up => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    };
    assert!(told.contains("the vault is sealed: unseal it"), "{told}");
    let until = tokio::time::Instant::now() + PATIENCE;
    while binder.prepare(spec(&topic)).await.is_err() {
        assert!(tokio::time::Instant::now() < until, "it recovers");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Three lives of a token: the broker ends a connection whose token has expired.
    let before = asked.load(Ordering::Relaxed);
    while asked.load(Ordering::Relaxed) < before + 3 {
        let published = binder
            .sink()
            .publish(Outgoing::new(topic.clone(), Message::new("x")));
        tokio::time::timeout(PATIENCE, published)
            .await
            .expect("in time")
            .expect("it is kept");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(binder.health(), BinderHealth::Up);
    binder.close().await.unwrap();
}

#[test]
fn properties_that_do_not_go_together_are_an_error_before_anything_is_sent() {
    let with = |properties: &[(&str, &str)]| -> ClientOptions {
        let options = ClientOptions::from_url("kafka://127.0.0.1:1").unwrap();
        options.with_properties(properties.iter().copied()).unwrap()
    };
    let oidc = ("sasl.oauthbearer.method", "oidc");
    let sasl = ("security.protocol", "SASL_SSL");
    let oauth = ("sasl.mechanism", "OAUTHBEARER");
    let endpoint = (
        "sasl.oauthbearer.token.endpoint.url",
        "http://id.example.com/token",
    );
    let (id, secret) = (
        ("sasl.oauthbearer.client.id", "shop"),
        ("sasl.oauthbearer.client.secret", "hunter2"),
    );
    for (properties, words) in [
        (vec![("sasl.username", "ada")], "set it to SASL_SSL"),
        (vec![("ssl.ca.location", "/ca.pem")], "set it to SSL"),
        (vec![sasl], "\"sasl.mechanism\" is missing"),
        (
            vec![sasl, ("sasl.mechanism", "GSSAPI")],
            "does not speak \"sasl.mechanism\" = GSSAPI",
        ),
        (
            vec![sasl, ("sasl.mechanism", "PLAIN"), ("sasl.username", "ada")],
            "needs \"sasl.password\"",
        ),
        (vec![sasl, oauth], "with_token_source"),
        (
            vec![sasl, oauth, oidc],
            "needs \"sasl.oauthbearer.token.endpoint.url\"",
        ),
        (
            vec![sasl, oauth, oidc, endpoint, id, secret],
            "does not begin with https://",
        ),
    ] {
        let error = KafkaBinder::open(with(&properties)).expect_err(words).to_string();
        assert!(error.contains(words) && !error.contains("hunter2"), "{error}");
    }
    for fine in [
        vec![("security.protocol", "PLAINTEXT"), ("sasl.username", "ada")],
        vec![
            sasl,
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "ada"),
            ("sasl.password", "pw"),
        ],
    ] {
        KafkaBinder::open(with(&fine)).expect("it is meant so");
    }
}

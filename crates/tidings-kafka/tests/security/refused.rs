//! Whoever is not let in is told why and what to do, soon, and nobody is told a secret.

use crate::support::{Properties, Signed, kafka, login, logs, options, spec, tls};
use brokers::{Kafka, Listener, Security, Token as Jwt, TokenKey, unique};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tidings_core::{Binder, BinderHealth, Message, Outgoing};
use tidings_kafka::{ClientOptions, KafkaBinder};

const WRONG: &str = "wrong-hunter2";

/// One way to be turned away, and the words that are to be said.
struct Case {
    name: &'static str,
    options: ClientOptions,
    words: &'static [&'static str],
}

fn case(name: &'static str, options: ClientOptions, words: &'static [&'static str]) -> Case {
    Case { name, options, words }
}

/// Something publishes while nobody lets it in; it shall not wait for the test's end.
fn brief(mut properties: Properties) -> Properties {
    properties.push(("message.timeout.ms", "3000".to_owned()));
    properties
}

fn passwords(kafka: &Kafka, security: &Security) -> Vec<Case> {
    let with = |user: &str, password: &str, mechanism: &str| {
        options(
            kafka,
            Listener::SaslSsl,
            brief(login(security, mechanism, user, password)),
        )
    };
    const CURE: &[&str] = &["SCRAM-SHA-512", "check \"sasl.username\", \"sasl.password\""];
    vec![
        case("wrong password", with("alice", WRONG, "SCRAM-SHA-512"), CURE),
        case("unknown user", with("mallory", WRONG, "SCRAM-SHA-512"), CURE),
        case(
            "wrong password",
            with("alice", WRONG, "PLAIN"),
            &["check \"sasl.username\", \"sasl.password\""],
        ),
    ]
}

fn certificates(kafka: &Kafka, security: &Security) -> Vec<Case> {
    let alice = Security::ALICE;
    let good = || brief(login(security, "SCRAM-SHA-512", alice.name, alice.password));
    let mut unknown = good();
    unknown[1].1 = security.other_authority().display().to_string();
    vec![
        case(
            "unknown authority",
            options(kafka, Listener::SaslSsl, unknown),
            &["authority that is not trusted", "\"ssl.ca.location\""],
        ),
        case(
            "wrong host",
            options(kafka, Listener::WrongHost, good()),
            &["made out to another host", "advertised.listeners"],
        ),
        case(
            "no client certificate",
            options(kafka, Listener::Mtls, brief(tls(security, "SSL"))),
            &["wants a client certificate", "\"ssl.certificate.location\""],
        ),
    ]
}

fn protocols(kafka: &Kafka, security: &Security) -> Vec<Case> {
    let alice = Security::ALICE;
    let mut plain = login(security, "SCRAM-SHA-512", alice.name, alice.password);
    plain[0].1 = "SASL_PLAINTEXT".to_owned();
    vec![
        case(
            "plain text to TLS",
            options(kafka, Listener::SaslSsl, brief(vec![])),
            &["the broker's port is one of TLS", "\"security.protocol\""],
        ),
        case(
            "SASL in plain text to TLS",
            options(kafka, Listener::SaslSsl, brief(plain)),
            &["the broker's port is one of TLS", "\"security.protocol\""],
        ),
        case(
            "TLS without a user to SASL",
            options(kafka, Listener::SaslSsl, brief(tls(security, "SSL"))),
            &["the broker's port wants a user", "\"sasl.mechanism\""],
        ),
        case(
            "TLS to plain text",
            options(kafka, Listener::Plain, brief(tls(security, "SSL"))),
            &[
                "this client speaks TLS and the broker's port does not",
                "\"security.protocol\"",
            ],
        ),
        case(
            "no such mechanism",
            options(kafka, Listener::WrongHost, {
                let mut properties = login(security, "PLAIN", alice.name, alice.password);
                properties.push(("enable.ssl.certificate.verification", "false".to_owned()));
                brief(properties)
            }),
            &["set \"sasl.mechanism\" to one that the broker has"],
        ),
    ]
}

fn tokens(kafka: &Kafka, security: &Security) -> Vec<Case> {
    let with = |jwt: fn() -> Jwt| {
        options(kafka, Listener::OAuth, brief(tls(security, "SASL_SSL")))
            .with_token_source(Signed(Arc::new(jwt)))
    };
    const CURE: &[&str] = &["the broker refuses the token", "expiry"];
    vec![
        case(
            "expired token",
            with(|| Jwt::new("alice").expires_in_s(-60)),
            CURE,
        ),
        case(
            "forged token",
            with(|| Jwt::new("alice").signed_by(TokenKey::Stranger)),
            CURE,
        ),
        case(
            "token for somebody else",
            with(|| Jwt::new("alice").audience("elsewhere")),
            CURE,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_turned_away_is_told_why_and_what_to_do_and_no_secret_is_shown() {
    let Some(kafka) = kafka("whoever_is_turned_away_is_told_why_and_what_to_do") else {
        return;
    };
    let security = kafka.security().unwrap();
    let mut cases = passwords(kafka, security);
    cases.extend(certificates(kafka, security));
    cases.extend(protocols(kafka, security));
    cases.extend(tokens(kafka, security));
    let all = cases.into_iter().map(|case| tokio::spawn(is_told(case)));
    let mut said = String::new();
    let (mut failed, all): (Vec<String>, Vec<_>) = (Vec::new(), all.collect());
    for one in all {
        match one.await.expect("no panic") {
            Ok(words) => said.push_str(&words),
            Err(words) => failed.push(words),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let said = said + &logs();
    let key = std::fs::read_to_string(security.client_key()).unwrap();
    let key = key.lines().nth(1).unwrap();
    for secret in [WRONG, Security::ALICE.password, "eyJhbGciOiJSUzI1NiI", key] {
        let at = said.find(secret);
        assert!(
            at.is_none(),
            "{secret}: {:?}",
            at.map(|at| &said[at.saturating_sub(300)..at])
        );
    }
}

/// All that is said to the caller, by health and of a message, or what was missing.
async fn is_told(case: Case) -> Result<String, String> {
    let shown = format!("{:?}", case.options);
    let binder = KafkaBinder::open(case.options).map_err(|error| format!("{}: {error}", case.name))?;
    let begin = Instant::now();
    let asked = binder.prepare(spec(&unique("x").into())).await;
    let took = begin.elapsed();
    let asked = asked.map_or_else(|error| error.to_string(), |_| "it works".to_owned());
    let health = match binder.health() {
        BinderHealth::Up => "up".to_owned(),
        BinderHealth::Down(reason) => reason,
    };
    let published = binder
        .sink()
        .publish(Outgoing::new("alice-x", Message::new("x")))
        .await;
    let published = published.map_or_else(|error| error.to_string(), |_| "it was kept".to_owned());
    for said in [&asked, &health, &published] {
        for word in case.words {
            if !said.contains(word) {
                return Err(format!("{}: \"{word}\" is not in: {said}", case.name));
            }
        }
    }
    for said in [&asked, &health] {
        if !said.contains("does not let this client in") {
            return Err(format!("{}: it sounds like absence: {said}", case.name));
        }
    }
    // Far from the ten seconds that a question has; the machine may be busy.
    if took > Duration::from_secs(6) {
        return Err(format!("{}: it took {took:?}: {asked}", case.name));
    }
    drop(binder.close().await);
    Ok(format!("{shown}\n{asked}\n{health}\n{published}\n"))
}

/// Hands connections on to a broker, and counts them.
fn doorkeeper(to: String) -> (u16, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU32::new(0)));
    let counted = count.clone();
    // Both end with the process.
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            counted.fetch_add(1, Ordering::Relaxed);
            let Ok(server) = TcpStream::connect(&to) else {
                continue;
            };
            let (other_client, other_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || copy(client, server));
            std::thread::spawn(move || copy(other_server, other_client));
        }
    });
    (port, count)
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_tried_with_waits_that_grow() {
    let Some(kafka) = kafka("a_wrong_password_is_tried_with_waits_that_grow") else {
        return;
    };
    let security = kafka.security().unwrap();
    let (port, count) = doorkeeper(kafka.bootstrap_of(Listener::SaslSsl).unwrap());
    let options = ClientOptions::from_url(&format!("kafka://localhost:{port}")).unwrap();
    let options = options
        .with_properties(login(security, "SCRAM-SHA-512", "alice", WRONG))
        .unwrap();
    let binder = KafkaBinder::open(options).unwrap();
    let refused = binder.prepare(spec(&unique("x").into())).await;
    assert!(refused.is_err());
    let begin = count.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(8)).await;
    let tried = count.load(Ordering::Relaxed) - begin;
    assert!(
        tried >= 1,
        "it tries again by itself: rights and passwords change while a service runs"
    );
    assert!(tried <= 12, "{tried} times in 8 s");
    assert!(matches!(binder.health(), BinderHealth::Down(_)), "still");
    drop(binder.close().await);
}

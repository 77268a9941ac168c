//! Tokens of an OAuth endpoint: a small one, on TLS.

use crate::support::{PATIENCE, Properties, kafka, logs, options, spec, tls, works};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use brokers::{Kafka, Listener, Token as Jwt, unique};
use native_tls::{Identity, TlsAcceptor, TlsStream};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use tidings_core::{Binder, BinderHealth};
use tidings_kafka::KafkaBinder;

const SECRET: &str = "hunter2&+ /";

/// An endpoint with the broker's certificate; its address.
fn endpoint(kafka: &'static Kafka) -> String {
    let directory = kafka.directory().join("tls");
    let read = |name: &str| std::fs::read(directory.join(name)).unwrap();
    let identity = Identity::from_pkcs8(&read("server.crt"), &read("server.key")).unwrap();
    let acceptor = TlsAcceptor::new(identity).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // It ends with the process.
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // One that does not trust us goes away.
            if let Ok(stream) = acceptor.accept(stream) {
                answer(stream, kafka);
            }
        }
    });
    format!("https://localhost:{port}/token")
}

fn answer(mut stream: TlsStream<TcpStream>, kafka: &Kafka) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    let form = "grant_type=client_credentials&scope=kafka";
    while !String::from_utf8_lossy(&request).ends_with(form) {
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => request.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
    let request = String::from_utf8(request).unwrap().to_lowercase();
    let good = STANDARD.encode("shop:hunter2%26%2B+%2F").to_lowercase();
    let (status, body) = match request.contains(&format!("authorization: basic {good}")) {
        true => {
            let token = kafka.security().unwrap().token(&Jwt::new("alice")).unwrap();
            let body = format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":3600}}"#);
            ("200 OK", body)
        }
        false => ("401 Unauthorized", r#"{"error":"invalid_client"}"#.to_owned()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let _ = stream.shutdown();
}

fn properties(kafka: &'static Kafka, secret: &str) -> Properties {
    let security = kafka.security().unwrap();
    let mut properties = tls(security, "SASL_SSL");
    properties.extend([
        ("sasl.mechanism", "OAUTHBEARER".to_owned()),
        ("sasl.oauthbearer.method", "oidc".to_owned()),
        ("sasl.oauthbearer.token.endpoint.url", endpoint(kafka)),
        ("sasl.oauthbearer.client.id", "shop".to_owned()),
        ("sasl.oauthbearer.client.secret", secret.to_owned()),
        ("sasl.oauthbearer.scope", "kafka".to_owned()),
        ("https.ca.location", security.authority().display().to_string()),
    ]);
    properties
}

#[tokio::test(flavor = "multi_thread")]
async fn client_credentials_get_in_by_librdkafkas_own_properties() {
    let Some(kafka) = kafka("client_credentials_get_in_by_librdkafkas_own_properties") else {
        return;
    };
    works(
        "client credentials",
        options(kafka, Listener::OAuth, properties(kafka, SECRET)),
    )
    .await;
    assert!(!logs().contains(SECRET) && !logs().contains("hunter2%26"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_refuses_or_is_not_trusted_is_told_with_the_cure() {
    let Some(kafka) = kafka("an_endpoint_that_refuses_or_is_not_trusted_is_told_with_the_cure") else {
        return;
    };
    let mut untrusted = properties(kafka, SECRET);
    untrusted.retain(|(name, _)| *name != "https.ca.location");
    let mut absent = properties(kafka, SECRET);
    absent[4].1 = "https://localhost:1/token".to_owned();
    for (properties, words) in [
        (
            properties(kafka, "guessed"),
            "invalid_client): check \"sasl.oauthbearer.client.id\"",
        ),
        (untrusted, "set \"https.ca.location\""),
        (absent, "token.endpoint.url"),
    ] {
        let binder = KafkaBinder::open(options(kafka, Listener::OAuth, properties)).unwrap();
        let asked = tokio::time::timeout(PATIENCE, binder.prepare(spec(&unique("x").into()))).await;
        let asked = asked.expect("in time").expect_err("nobody gets in").to_string();
        let BinderHealth::Down(health) = binder.health() else {
            panic!("it is not well")
        };
        for said in [asked, health] {
            assert!(
                said.contains(words) && said.contains("no token for OAUTHBEARER"),
                "{said}"
            );
            assert!(!said.contains("guessed") && !said.contains("hunter2"), "{said}");
        }
        drop(binder.close().await);
    }
}

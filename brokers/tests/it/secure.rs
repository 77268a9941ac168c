//! The secure broker lets in whom it should, and nobody else.

use std::io::{Read, Write};

use brokers::{
    BrokersError, Kafka, Listener, Login, Options, Security, Token, TokenKey, Tool, or_skip, unique,
};

use crate::openssl::{Tls, handshake};

#[test]
fn the_secure_broker_lets_in_whom_it_should_and_nobody_else() {
    let test = "the_secure_broker_lets_in_whom_it_should_and_nobody_else";
    let Some(kafka) = or_skip(test, Kafka::start(Options::secure())) else {
        return;
    };
    let security = kafka.security().unwrap();
    certificates_are_checked(&kafka, security);
    passwords_are_checked(&kafka, security);
    tokens_are_checked(&kafka, security);
    rights_are_checked(&kafka, security);
}

fn certificates_are_checked(kafka: &Kafka, security: &Security) {
    let authority = security.authority();
    for (listener, trusted, expected) in [
        (Listener::SaslSsl, &authority, "Verify return code: 0 (ok)"),
        (Listener::SaslSsl, &security.other_authority(), "unable to"),
        (Listener::WrongHost, &authority, "hostname mismatch"),
    ] {
        let said = handshake(&kafka.bootstrap_of(listener).unwrap(), trusted, &[]);
        assert!(said.contains(expected), "{listener:?} with {trusted:?}:\n{said}");
    }
    let mtls = kafka.bootstrap_of(Listener::Mtls).unwrap();
    // In TLS 1.3 the client learns of it after the handshake only, when openssl has gone already.
    let said = handshake(&mtls, &authority, &["-tls1_2"]);
    assert!(
        said.contains("certificate required") || said.contains("bad certificate"),
        "{said}"
    );
    let (certificate, key) = (security.client_certificate(), security.client_key());
    let [certificate, key] = [&certificate, &key].map(|path| path.to_str().unwrap());
    let own = ["-tls1_2", "-cert", certificate, "-key", key];
    let said = handshake(&mtls, &authority, &own);
    assert!(!said.contains("alert"), "{said}");
}

fn passwords_are_checked(kafka: &Kafka, security: &Security) {
    let address = kafka.bootstrap();
    for (user, password, expected) in [
        ("alice", "alice-pw", GOOD),
        ("bob", "bob-pw", GOOD),
        ("alice", "guessed", WRONG),
        ("mallory", "alice-pw", WRONG),
    ] {
        let secret = format!("\0{user}\0{password}");
        let answer = authenticate(&address, security, "PLAIN", secret.as_bytes());
        assert_eq!(answer, expected, "{user} with {password}");
    }
}

fn tokens_are_checked(kafka: &Kafka, security: &Security) {
    let address = kafka.bootstrap_of(Listener::OAuth).unwrap();
    let alice = || Token::new("alice");
    for (token, expected) in [
        (alice(), GOOD),
        (alice().audience("somebody else"), WRONG),
        (alice().issuer("https://elsewhere.test"), WRONG),
        (alice().expires_in_s(-3600), WRONG),
        (alice().signed_by(TokenKey::Stranger), WRONG),
    ] {
        let secret = format!(
            "n,,\u{1}auth=Bearer {}\u{1}\u{1}",
            security.token(&token).unwrap()
        );
        let answer = authenticate(&address, security, "OAUTHBEARER", secret.as_bytes());
        assert_eq!(answer, expected, "{token:?}");
    }
}

fn rights_are_checked(kafka: &Kafka, security: &Security) {
    let (alice, bob) = (Security::ALICE, Security::BOB);
    let guessed = Login {
        password: "guessed",
        ..alice
    };
    for (mechanism, user, prefix, expected) in [
        ("SCRAM-SHA-512", alice, Security::ALLOWED_PREFIX, Ok(())),
        ("SCRAM-SHA-256", alice, Security::ALLOWED_PREFIX, Ok(())),
        ("SCRAM-SHA-512", alice, "billing-", Err("Authorization failed")),
        (
            "SCRAM-SHA-512",
            bob,
            Security::ALLOWED_PREFIX,
            Err("Authorization failed"),
        ),
        (
            "SCRAM-SHA-512",
            guessed,
            Security::ALLOWED_PREFIX,
            Err("invalid credentials"),
        ),
    ] {
        let created = create(kafka, security, mechanism, user, &unique(prefix));
        match (&created, expected) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(expected)) if error.to_string().contains(expected) => {}
            _ => panic!("{user:?} with {mechanism}: {created:?}"),
        }
    }
}

/// Java's own client, since kcat cannot do SCRAM with Kafka 4.
fn create(
    kafka: &Kafka,
    security: &Security,
    mechanism: &str,
    user: Login,
    topic: &str,
) -> Result<String, BrokersError> {
    let file = kafka.directory().join(unique("client"));
    let text = format!(
        "security.protocol=SASL_SSL\nsasl.mechanism={mechanism}\nssl.truststore.type=PEM\nssl.truststore.location={}\n\
         sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username=\"{}\" \
         password=\"{}\";\n",
        security.authority().display(),
        user.name,
        user.password
    );
    std::fs::write(&file, text).unwrap();
    let topics = kafka.tool(Tool::Topics).bootstrap(kafka.bootstrap());
    let topics = topics.args(["--create", "--topic", topic, "--command-config"]);
    topics.args([&file]).run()
}

const GOOD: i16 = 0;
/// `SASL_AUTHENTICATION_FAILED`.
const WRONG: i16 = 58;

/// Speaks Kafka's protocol through openssl: handshake for a mechanism, then the secret. Gives the error code.
fn authenticate(address: &str, security: &Security, mechanism: &str, secret: &[u8]) -> i16 {
    let mut stream = Tls::connect(address, &security.authority(), &[]);
    let name = [&(mechanism.len() as i16).to_be_bytes(), mechanism.as_bytes()].concat();
    stream.write_all(&request(17, 1, &name)).unwrap();
    let handshake = answer(&mut stream);
    assert_eq!(handshake[4..6], [0, 0], "the broker has no {mechanism}");

    let bytes = [&(secret.len() as i32).to_be_bytes(), secret].concat();
    stream.write_all(&request(36, 0, &bytes)).unwrap();
    let answered = answer(&mut stream);
    let code = i16::from_be_bytes([answered[4], answered[5]]);
    // A refused token is told in a second step; its message stands where a good one has nothing.
    let text = String::from_utf8_lossy(&answered);
    if text.contains("invalid_token") {
        WRONG
    } else {
        code
    }
}

fn request(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let client = "test";
    let mut request = Vec::new();
    request.extend(key.to_be_bytes());
    request.extend(version.to_be_bytes());
    request.extend(7_i32.to_be_bytes());
    request.extend((client.len() as i16).to_be_bytes());
    request.extend(client.as_bytes());
    request.extend(body);
    [&(request.len() as u32).to_be_bytes(), request.as_slice()].concat()
}

fn answer(output: &mut impl Read) -> Vec<u8> {
    let mut length = [0; 4];
    output.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    output.read_exact(&mut answer).unwrap();
    answer
}

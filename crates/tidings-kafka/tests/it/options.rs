//! Properties of the client: known, the user's to set, and never shown where they are secret.

use tidings_kafka::{ClientOptions, KafkaError};

fn with(properties: &[(&str, &str)]) -> Result<ClientOptions, KafkaError> {
    ClientOptions::from_url("kafka://h1:9092,h2")?.with_properties(properties.iter().copied())
}

fn refused(name: &str, value: &str) -> String {
    with(&[(name, value)]).expect_err(name).to_string()
}

#[test]
fn an_unknown_property_is_an_error_that_names_the_nearest_one() {
    for (written, nearest) in [
        ("linger.mss", "linger.ms"),
        ("security_protocol", "security.protocol"),
        ("sasl.usrname", "sasl.username"),
        ("producer.acks.", "acks"),
    ] {
        let error = refused(written, "x");
        assert!(
            error.contains(&format!("\"{written}\": did you mean \"{nearest}\"?")),
            "{error}"
        );
    }
    assert!(refused("shop.owner", "x").contains("see the list"));
}

#[test]
fn a_value_that_a_property_cannot_have_is_an_error_with_the_clients_words() {
    let error = refused("security.protocol", "tls");
    assert!(
        error.contains("\"security.protocol\" cannot be \"tls\"") && error.contains("Invalid value"),
        "{error}"
    );
    assert!(refused("linger.ms", "soon").contains("linger.ms"));
    assert!(refused("consumer.fetch.min.bytes", "-1").contains("consumer.fetch.min.bytes"));
}

#[test]
fn what_a_promise_depends_on_is_refused_with_the_reason_in_every_spelling() {
    for (name, value, reason) in [
        ("enable.auto.commit", "true", "commits only what is handled"),
        (
            "consumer.enable.auto.offset.store",
            "true",
            "commits only what is handled",
        ),
        ("group.id", "billing", "[subscription.…] group"),
        ("auto.offset.reset", "latest", "start"),
        ("acks", "1", "every replica in sync"),
        ("request.required.acks", "0", "every replica in sync"),
        ("producer.enable.idempotence", "false", "stored twice"),
        ("partitioner", "random", "Java client"),
        ("bootstrap.servers", "h:1", "in the URL"),
    ] {
        let error = refused(name, value);
        assert!(error.contains(reason), "{name}: {error}");
    }
    with(&[
        ("acks", "all"),
        ("enable.idempotence", "true"),
        ("partitioner", "murmur2"),
    ])
    .expect("as it is");
}

#[test]
fn properties_that_no_promise_depends_on_pass_through() {
    with(&[
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.username", "alice"),
        ("sasl.password", "alice-pw"),
        ("compression.type", "zstd"),
        ("producer.linger.ms", "20"),
        ("consumer.fetch.min.bytes", "100"),
        ("group.instance.id", "one"),
        ("isolation.level", "read_uncommitted"),
        ("delivery.timeout.ms", "30000"),
    ])
    .expect("all of them");
}

#[test]
fn no_secret_is_shown() {
    let secrets = [
        "sasl.password",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.keystore.password",
        "sasl.oauthbearer.config",
        "producer.sasl.password",
        "sasl.oauthbearer.client.secret",
    ];
    let properties: Vec<_> = secrets.iter().map(|name| (*name, "hunter2")).collect();
    let options = with(&properties).expect("taken");
    let shown = format!("{options:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(
        shown.contains("sasl.password") && shown.contains("***"),
        "{shown}"
    );
    // Nor where it is wrong, or not for this build: librdkafka repeats values.
    for (name, value) in [
        ("sasl.password", "hunter2\0"),
        ("sasl.oauthbearer.assertion.private.key.pem", "hunter2"),
    ] {
        let error = refused(name, value);
        assert!(!error.contains("hunter2"), "{error}");
    }
}

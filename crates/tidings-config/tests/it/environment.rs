//! Variables.

use crate::{NOTHING, with_env};
use std::fs;
use std::time::Duration;
use tidings_config::{Config, ConfigError, Section, Start};

#[test]
fn a_variable_sets_a_key_whatever_the_spelling_of_its_name() {
    let variables = [
        ("TIDINGS__SUBSCRIPTION__BILLING_EU__CONCURRENCY", "8"),
        ("tidings__channel__orders_v1__partitions", "12"),
        ("TIDINGS__APP__DRAIN_TIMEOUT", "1m"),
        ("TIDINGS__NAME", "shop"),
    ];
    let config = with_env(
        "[subscription.billing-eu]\nconcurrency = 2\npaused = true\n",
        &variables,
    )
    .unwrap();
    let billing = config.subscription("billing-eu");
    assert_eq!(
        (billing.concurrency.unwrap().value, billing.paused.unwrap().value),
        (8, true)
    );
    assert_eq!(
        config.channel("orders.v1").partitions.unwrap().value,
        12,
        "names that no file has work too"
    );
    assert_eq!(config.app().drain_timeout.unwrap().value, Duration::from_secs(60));
    assert_eq!(config.app().name.unwrap().value, "shop");
}

#[test]
fn text_in_a_variable_becomes_what_its_key_needs() {
    let config = with_env(
        "",
        &[
            (
                "TIDINGS__SUBSCRIPTION__A__RETRY",
                "{ attempts = 7, initial = \"2s\" }",
            ),
            ("TIDINGS__SUBSCRIPTION__A__RETRY__JITTER", "0"),
            ("TIDINGS__SUBSCRIPTION__A__START", "{ offset = 42 }"),
            ("TIDINGS__SUBSCRIPTION__A__PAUSED", "TRUE"),
            ("TIDINGS__SUBSCRIPTION__A__TIMEOUT", "none"),
            ("TIDINGS__SUBSCRIPTION__B__START", "offset:43"),
            ("TIDINGS__SUBSCRIPTION__B__GROUP", "42"),
            ("TIDINGS__BINDER__MAIN__SEGMENT_BYTES", "1MiB"),
        ],
    )
    .unwrap();
    let a = config.subscription("a");
    assert_eq!(
        (a.retry.attempts.unwrap().value, a.retry.jitter.unwrap().value),
        (7, 0.0)
    );
    assert_eq!(a.start.unwrap().value, Start::Offset(42));
    assert!(a.paused.unwrap().value);
    assert_eq!(a.timeout.unwrap().value, None);
    assert_eq!(config.subscription("b").start.unwrap().value, Start::Offset(43));
    assert_eq!(
        config.subscription("b").group.unwrap().value,
        "42",
        "a group may look like a number"
    );
    assert_eq!(config.binder("main").segment_bytes.unwrap().value, 1 << 20);
}

#[test]
fn the_url_variable_moves_the_whole_app() {
    let config = with_env(
        "[binder.main]\nurl = \"memory:\"\n",
        &[("TIDINGS_URL", "kafka://h:9092")],
    )
    .unwrap();
    let url = config.binder("main").url.unwrap();
    assert_eq!(url.value.expose(), "kafka://h:9092");
    assert_eq!(url.origin.to_string(), "environment TIDINGS_URL");
}

#[test]
fn two_variables_for_one_key_are_a_conflict() {
    for pair in [
        [
            ("TIDINGS_URL", "memory:"),
            ("TIDINGS__BINDER__MAIN__URL", "memory:"),
        ],
        [("TIDINGS__NAME", "a"), ("tidings__name", "b")],
        [
            ("TIDINGS__SUBSCRIPTION__A__RETRY", "{attempts=1}"),
            ("TIDINGS__SUBSCRIPTION__A__RETRY__ATTEMPTS", "2"),
        ],
    ] {
        let error = with_env("", &pair).unwrap_err();
        assert!(matches!(error, ConfigError::Conflict { .. }), "{error}");
    }
}

#[test]
fn client_properties_are_found_under_their_own_names() {
    let config = with_env(
        "[binder.main]\nkafka.\"client-id\" = \"a\"\n",
        &[
            ("TIDINGS__BINDER__MAIN__KAFKA__CLIENT_ID", "b"),
            ("TIDINGS__BINDER__MAIN__KAFKA__SECURITY_PROTOCOL", "SSL"),
            ("TIDINGS__BINDER__MAIN__RABBITMQ__MAX_IN_FLIGHT", "9"),
        ],
    )
    .unwrap();
    let binder = config.binder("main");
    let kafka: Vec<_> = binder
        .kafka
        .iter()
        .map(|(name, set)| (name.as_str(), set.value.expose()))
        .collect();
    assert_eq!(kafka, [("client-id", "b"), ("security.protocol", "SSL")]);
    assert_eq!(binder.rabbitmq.max_in_flight.unwrap().value, 9);
}

#[test]
fn a_secret_comes_from_a_file_without_its_last_newline() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    let variables = [(
        "TIDINGS__BINDER__MAIN__KAFKA__SASL_PASSWORD_FILE",
        file.to_str().unwrap(),
    )];
    for (content, secret) in [
        ("pw", "pw"),
        ("pw\n", "pw"),
        ("pw\r\n", "pw"),
        ("pw\n\n", "pw\n"),
        (" pw ", " pw "),
    ] {
        fs::write(&file, content).unwrap();
        let config = with_env("", &variables).unwrap();
        let password = config.binder("main").kafka.remove("sasl.password").unwrap();
        assert_eq!(password.value.expose(), secret);
    }
    fs::write(&file, "amqp://ada:pw@host\n").unwrap();
    let config = with_env("", &[("TIDINGS_URL_FILE", file.to_str().unwrap())]).unwrap();
    assert_eq!(config.binder("main").url.unwrap().value.scheme(), "amqp");
}

#[test]
fn a_secret_file_that_is_missing_or_wrong_is_named_and_its_content_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    let variables = [(
        "TIDINGS__SUBSCRIPTION__A__CONCURRENCY_FILE",
        file.to_str().unwrap(),
    )];
    let error = with_env("", &variables).unwrap_err();
    assert!(
        matches!(&error, ConfigError::SecretFile { variable, .. } if variable == variables[0].0),
        "{error}"
    );
    fs::write(&file, "hunter2\n").unwrap();
    let error = with_env("", &variables).unwrap_err().to_string();
    assert!(
        error.contains("subscription.a.concurrency is ***") && !error.contains("hunter2"),
        "{error}"
    );
}

#[test]
fn an_unknown_variable_is_an_error_that_names_the_nearest() {
    for (variable, nearest) in [
        (
            "TIDINGS__SUBSCRIPTION__BILLING__CONCURENCY",
            "TIDINGS__SUBSCRIPTION__BILLING__CONCURRENCY",
        ),
        (
            "TIDINGS__SUBSCRIPTIONS__BILLING__GROUP",
            "TIDINGS__SUBSCRIPTION__BILLING__GROUP",
        ),
        (
            "TIDINGS__SUBSCRIPTION__BILLING__RETRY_MAX",
            "TIDINGS__SUBSCRIPTION__BILLING__RETRY__MAX",
        ),
        ("TIDINGS__APP__DRAINTIMEOUT", "TIDINGS__APP__DRAIN_TIMEOUT"),
    ] {
        let error = with_env("", &[(variable, "1")]).unwrap_err().to_string();
        assert!(
            error.contains(&format!("environment {variable}: unknown key")),
            "{error}"
        );
        assert!(error.contains(&format!("did you mean {nearest}?")), "{error}");
    }
    for variable in [
        "TIDINGS__",
        "TIDINGS____",
        "TIDINGS__X",
        "TIDINGS__SUBSCRIPTION__A__START__OFFSET",
    ] {
        assert!(with_env("", &[(variable, "1")]).is_err(), "{variable}");
    }
}

#[test]
fn variables_of_others_are_left_alone() {
    let variables = [
        ("TIDINGS_PORT", "tcp://10.0.0.1:80"),
        ("TIDINGS_SERVICE_HOST", "x"),
        ("PATH", "/bin"),
        ("TIDINGS_PROFILE", ""),
    ];
    assert!(with_env("", &variables).unwrap().describe().is_empty());
}

#[test]
fn a_variable_that_fits_two_names_is_an_error() {
    let text = "[subscription.a-b]\n[subscription.\"a.b\"]\n";
    let error = with_env(text, &[("TIDINGS__SUBSCRIPTION__A_B__CONCURRENCY", "1")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "environment TIDINGS__SUBSCRIPTION__A_B__CONCURRENCY: the name fits subscription.a-b and \
         subscription.\"a.b\"; set the value in a file, where names are exact"
    );
    let config = with_env("", &[("TIDINGS__SUBSCRIPTION__A_B__CONCURRENCY", "1")]).unwrap();
    config.check_names(Section::Subscription, &["a-b"]).unwrap();
    let error = config
        .check_names(Section::Subscription, &["a-b", "a.b"])
        .unwrap_err();
    assert!(matches!(error, ConfigError::AmbiguousName { .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text_is_an_error_only_if_it_is_ours() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let broken = OsStr::from_bytes(b"\xff");
    let load = |name: &str| {
        Config::builder()
            .toml("t", "")
            .env([(OsStr::new(name), broken)])
            .load()
    };
    assert!(matches!(
        load("TIDINGS__NAME"),
        Err(ConfigError::NotUnicode { .. })
    ));
    assert!(load("OTHER").is_ok());
}

#[test]
fn an_argument_wins_over_a_variable_and_a_wrong_one_is_named() {
    let builder = || {
        Config::builder()
            .toml("t.toml", "")
            .env([("TIDINGS_URL", "memory:")])
    };
    let config = builder()
        .argument("--data", "binder.main.url", "embedded:./x")
        .load()
        .unwrap();
    assert_eq!(config.binder("main").url.unwrap().value.expose(), "embedded:./x");
    let error = builder()
        .argument("--data", "binder.main.url", "x")
        .load()
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("argument --data: binder.main.url is \"x\"; expected an address"),
        "{error}"
    );
    assert!(
        Config::builder()
            .toml("t.toml", "")
            .env(NOTHING)
            .argument("--x", "nope", "x")
            .load()
            .is_err()
    );
}

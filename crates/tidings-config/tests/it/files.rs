//! Files, profiles, and what wins over what.

use crate::NOTHING;
use std::fs;
use std::time::{Duration, SystemTime};
use tidings_config::{BinderUrl, Config, ConfigError, Create, Fsync, Order, Ordering, Secret, Start};

/// A directory with these files.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a scratch directory");
    for (name, text) in files {
        fs::write(directory.path().join(name), text).expect(name);
    }
    directory
}

const EVERYTHING: &str = r#"
name = "shop"

[app]
drain_timeout = "10s"

[binder.main]
url = "kafka://h1:9092,h2:9092"
fsync = "always"
segment_bytes = "1MB"
retention_time = "none"
retention_bytes = "10GiB"
kafka."security.protocol" = "SASL_SSL"
kafka.client.id = "shop"
kafka."message.max.bytes" = 1000

[channel.orders]
destination = "order-events"
partitions = 6
create = "never"

[subscription.billing]
group = "billing"
start = { time = 2026-01-01T00:00:00Z }
ordering = "partition"
concurrency = 16
rate = "600/m"
order = "relaxed"
timeout = "PT1S"
retry = { attempts = 5, initial = "200ms", multiplier = 1.5, budget_floor = "none" }
"#;

#[test]
fn every_section_is_read_with_its_places() {
    let config = Config::from_toml(EVERYTHING, "tidings.toml").unwrap();
    let app = config.app();
    assert_eq!(app.name.unwrap().value, "shop");
    assert_eq!(app.drain_timeout.unwrap().value, Duration::from_secs(10));

    let binder = config.binder("main");
    let url = binder.url.unwrap();
    assert_eq!(url.value, BinderUrl::parse("kafka://h1:9092,h2:9092").unwrap());
    assert_eq!(url.origin.to_string(), "tidings.toml:8");
    assert_eq!(binder.fsync.unwrap().value, Fsync::Always);
    assert_eq!(binder.segment_bytes.unwrap().value, 1_000_000);
    assert_eq!(binder.retention_time.unwrap().value, None);
    assert_eq!(binder.retention_bytes.unwrap().value, Some(10 << 30));
    let kafka: Vec<_> = binder
        .kafka
        .iter()
        .map(|(name, set)| (name.as_str(), set.value.expose()))
        .collect();
    assert_eq!(
        kafka,
        [
            ("client.id", "shop"),
            ("message.max.bytes", "1000"),
            ("security.protocol", "SASL_SSL")
        ]
    );
    assert!(binder.rabbitmq.heartbeat.is_none());

    let channel = config.channel("orders");
    assert_eq!(channel.destination.unwrap().value, "order-events");
    assert_eq!(channel.partitions.unwrap().value, 6);
    assert_eq!(channel.create.unwrap().value, Create::Never);

    let billing = config.subscription("billing");
    assert_eq!(billing.group.unwrap().value, "billing");
    let new_year = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    assert_eq!(billing.start.unwrap().value, Start::Time(new_year));
    assert_eq!(billing.ordering.unwrap().value, Ordering::Partition);
    assert_eq!(billing.concurrency.unwrap().value, 16);
    assert_eq!(billing.rate.unwrap().value, Some(10.0));
    assert_eq!(billing.order.unwrap().value, Order::Relaxed);
    assert_eq!(billing.timeout.unwrap().value, Some(Duration::from_secs(1)));
    let retry = billing.retry;
    assert_eq!(retry.attempts.unwrap().value, 5);
    assert_eq!(retry.initial.unwrap().origin.to_string(), "tidings.toml:30");
    assert_eq!(retry.budget_floor.unwrap().value, None);
    assert!(retry.max.is_none() && billing.paused.is_none());
}

#[test]
fn nothing_is_set_where_nobody_said_anything() {
    let empty = directory(&[]);
    let config = Config::builder()
        .directory(empty.path())
        .env(NOTHING)
        .load()
        .unwrap();
    assert!(config.describe().is_empty());
    assert!(config.profile().is_none() && config.binder("main").url.is_none());
    assert!(config.subscription("billing").retry.attempts.is_none());
}

#[test]
fn later_layers_win_key_by_key() {
    let files = directory(&[
        (
            "tidings.toml",
            "[subscription.a]\nconcurrency = 1\nretry = { attempts = 1, max = \"1s\", jitter = 0.1 }\n",
        ),
        (
            "tidings.prod.toml",
            "[subscription.a.retry]\nattempts = 2\nmax = \"2s\"\n",
        ),
    ]);
    let config = Config::builder()
        .directory(files.path())
        .env([
            ("TIDINGS_PROFILE", "prod"),
            ("TIDINGS__SUBSCRIPTION__A__RETRY__MAX", "3s"),
        ])
        .argument("--paused", "subscription.a.paused", "true")
        .load()
        .unwrap();
    assert_eq!(config.profile(), Some("prod"));
    let a = config.subscription("a");
    let place = |origin: &tidings_config::Origin| {
        origin.to_string().replace(
            &format!("{}{}", files.path().display(), std::path::MAIN_SEPARATOR),
            "",
        )
    };
    let concurrency = a.concurrency.unwrap();
    assert_eq!(
        (concurrency.value, place(&concurrency.origin)),
        (1, "tidings.toml:2".to_owned())
    );
    let jitter = a.retry.jitter.unwrap();
    assert_eq!(
        (jitter.value, place(&jitter.origin)),
        (0.1, "tidings.toml:3".to_owned())
    );
    let attempts = a.retry.attempts.unwrap();
    assert_eq!(
        (attempts.value, place(&attempts.origin)),
        (2, "tidings.prod.toml:2".to_owned())
    );
    let max = a.retry.max.unwrap();
    assert_eq!(max.value, Duration::from_secs(3));
    assert_eq!(
        place(&max.origin),
        "environment TIDINGS__SUBSCRIPTION__A__RETRY__MAX"
    );
    assert_eq!(place(&a.paused.unwrap().origin), "argument --paused");
}

#[test]
fn a_profile_in_code_wins_over_the_variable() {
    let files = directory(&[
        ("tidings.a.toml", "name = \"a\"\n"),
        ("tidings.b.toml", "name = \"b\"\n"),
    ]);
    let builder = || {
        Config::builder()
            .directory(files.path())
            .env([("TIDINGS_PROFILE", "a")])
    };
    assert_eq!(builder().load().unwrap().app().name.unwrap().value, "a");
    assert_eq!(
        builder().profile("b").load().unwrap().app().name.unwrap().value,
        "b"
    );
}

#[test]
fn a_profile_without_a_file_or_with_a_path_in_it_is_an_error() {
    let files = directory(&[("tidings.toml", "")]);
    let load = |profile: &str| {
        Config::builder()
            .directory(files.path())
            .env(NOTHING)
            .profile(profile)
            .load()
    };
    let error = load("prdo").unwrap_err();
    assert!(
        matches!(&error, ConfigError::Profile { profile, .. } if profile == "prdo"),
        "{error}"
    );
    assert!(error.to_string().contains("tidings.prdo.toml"), "{error}");
    for profile in ["../x", "a/b", "", "a.b"] {
        let error = load(profile).unwrap_err().to_string();
        assert!(error.contains("one word of letters"), "{error}");
    }
}

#[test]
fn a_named_file_must_exist_and_an_unnamed_one_need_not() {
    let files = directory(&[("other.toml", "name = \"x\"\n")]);
    let builder = || Config::builder().directory(files.path()).env(NOTHING);
    assert_eq!(
        builder()
            .file("other.toml")
            .load()
            .unwrap()
            .app()
            .name
            .unwrap()
            .value,
        "x"
    );
    let error = builder().file("missing.toml").load().unwrap_err().to_string();
    assert!(error.contains("missing.toml: there is no such file"), "{error}");
}

#[test]
fn a_file_that_is_too_large_or_not_text_is_an_error() {
    let files = directory(&[]);
    let load = |name: &str| {
        Config::builder()
            .directory(files.path())
            .env(NOTHING)
            .file(name)
            .load()
    };
    fs::write(files.path().join("large.toml"), vec![b'#'; (1 << 20) + 1]).unwrap();
    fs::write(files.path().join("binary.toml"), [0xff, 0xfe, 0x00]).unwrap();
    assert!(
        load("large.toml")
            .unwrap_err()
            .to_string()
            .contains("larger than 1048576 bytes")
    );
    assert!(load("binary.toml").unwrap_err().to_string().contains("not UTF-8"));
}

#[test]
fn a_value_that_is_overridden_is_checked_all_the_same() {
    let error = Config::builder()
        .toml("a.toml", "[subscription.a]\nconcurrency = 0\n")
        .toml("b.toml", "[subscription.a]\nconcurrency = 1\n")
        .env(NOTHING)
        .load()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("a.toml:2: subscription.a.concurrency is 0"),
        "{error}"
    );
}

#[test]
fn nothing_that_may_be_a_secret_is_printed() {
    let text = "[binder.main]\nurl = \"amqp://ada:hunter2@host/vhost\"\nkafka.\"sasl.password\" = \"hunter2\"\n\
                [bank]\napi_key = \"hunter2\"\n";
    let files = directory(&[("group", "hunter2\n")]);
    let file = files.path().join("group");
    let config = Config::builder()
        .toml("t.toml", text)
        .env([("TIDINGS__SUBSCRIPTION__A__GROUP_FILE", file.to_str().unwrap())])
        .allow_section("bank")
        .load()
        .unwrap();
    assert_eq!(config.subscription("a").group.clone().unwrap().value, "hunter2");
    let binder = config.binder("main");
    assert_eq!(
        binder.kafka.get("sasl.password").unwrap().value,
        Secret::new("hunter2")
    );
    let printed = format!(
        "{config:?} {:?} {binder:?} {:?}",
        config.describe(),
        config.subscription("a")
    );
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(
        printed.contains("amqp://ada:***@host/vhost") && printed.contains("bank.api_key"),
        "{printed}"
    );
}

#[test]
fn of_several_files_one_with_the_profile_is_enough_and_later_ones_win() {
    let files = directory(&[
        ("a.toml", "name = \"a\"\n"),
        (
            "a.prod.toml",
            "name = \"a in prod\"\n[app]\ndrain_timeout = \"1s\"\n",
        ),
        ("b.toml", "name = \"b\"\n"),
    ]);
    let builder = Config::builder()
        .directory(files.path())
        .env(NOTHING)
        .profile("prod");
    let app = builder.file("a.toml").file("b.toml").load().unwrap().app();
    assert_eq!(app.name.unwrap().value, "b");
    assert_eq!(app.drain_timeout.unwrap().value, Duration::from_secs(1));
}

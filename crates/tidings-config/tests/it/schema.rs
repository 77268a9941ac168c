//! The schema for editors says what the loader says, except where it says that it cannot.

use serde_json::Value;
use tidings_config::{Config, json_schema, records};

fn validator() -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(&json_schema()).expect("JSON");
    jsonschema::draft202012::new(&schema).expect("a valid schema")
}

fn as_json(toml: &str) -> Value {
    let value: toml::Value = toml::from_str(toml).expect(toml);
    serde_json::to_value(value).expect("TOML of these tests is JSON too")
}

#[test]
fn the_schema_is_one_of_its_draft() {
    let schema: Value = serde_json::from_str(&json_schema()).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
}

#[test]
fn schema_and_loader_accept_the_same() {
    let schema = validator();
    let mut good: Vec<String> = records()
        .iter()
        .filter(|record| !record.loses_messages())
        .map(|record| format!("{} = {}", record.path.replace("<name>", "x"), record.example))
        .collect();
    good.extend(
        [
            "",
            "name = \"shop\"\n[app]\ndrain_timeout = \"PT1.5S\"",
            "[binder.main]\nsegment_bytes = 1048576\nkafka.\"security.protocol\" = \"SSL\"\nkafka.a.b = 1",
            "[binder.main]\nmax_message_bytes = \"${LIMIT:1MiB}\"\nretention_time = \"none\"\nfsync_interval = \"1ms\"",
            "[channel.orders]\npartitions = \"${PARTITIONS:6}\"\nretention_bytes = \"1.5 GiB\"",
            "[subscription.billing]\nstart = { time = \"2026-11-01T08:00:00Z\" }\ntimeout = \"1h 30m\"",
            "[subscription.billing]\nstart = \"offset:42\"\nrate = 0.5\nbatch_linger = 0",
            "[subscription.billing.retry]\nattempts = 5\nmax = \"P1D\"\nmultiplier = 2",
            "[subscription.billing]\nretry = { initial = \"500us\", jitter = 1 }",
            "[shop]\nhttp = 1",
        ]
        .map(str::to_owned),
    );
    for toml in &good {
        let loaded = Config::builder()
            .toml("t.toml", toml)
            .env::<&str, &str>([])
            .allow_section("shop")
            .load();
        assert!(loaded.is_ok(), "{toml}\n{}", loaded.unwrap_err());
        let errors: Vec<_> = schema
            .iter_errors(&as_json(toml))
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{toml}\n{errors:?}");
    }
}

#[test]
fn schema_and_loader_refuse_the_same() {
    let schema = validator();
    for toml in [
        "nam = 1",
        "name = 1",
        "shop = 1",
        "app = 1",
        "[app]\ndrain = \"1s\"",
        "[app]\ndrain_timeout = 30",
        "[app]\ndrain_timeout = \"30\"",
        "[app]\ndrain_timeout = \"P1M\"",
        "[app]\ndrain_timeout = \"PT\"",
        "[subscriptions.billing]\nconcurrency = 1",
        "[topics.orders]\npartitions = 1",
        "[binder]\nurl = \"memory:\"",
        "[binder.main]\nurl = \"data\"",
        "[binder.main]\nfsync = \"sometimes\"",
        "[binder.main]\nsegment_bytes = \"64M\"",
        "[binder.main]\nsegment_bytes = 1",
        "[binder.main]\nlose_unread_messages = \"yes\"",
        "[binder.main]\nkafka.a = [1]",
        "[channel.orders]\npartitions = 0",
        "[channel.orders]\npartitions = 10001",
        "[channel.orders]\npartitions = \"6\"",
        "[channel.orders]\ntopic = \"x\"",
        "[channel.orders]\ncreate = \"always\"",
        "[subscription.billing]\nconcurrency = 1.5",
        "[subscription.billing]\nstart = \"offset:-1\"",
        "[subscription.billing]\nstart = { offset = -1 }",
        "[subscription.billing]\nstart = { offset = 1, time = \"2026-11-01T08:00:00Z\" }",
        "[subscription.billing]\nrate = 0",
        "[subscription.billing]\nrate = \"100/x\"",
        "[subscription.billing]\ndead_letter = false",
        "[subscription.billing]\ndead_letter = \"\"",
        "[subscription.billing]\npaused = \"true\"",
        "[subscription.billing]\nretry = 3",
        "[subscription.billing.retry]\nattempts = 0",
        "[subscription.billing.retry]\nmultiplier = 0.5",
        "[subscription.billing.batch]\nsize = 1",
    ] {
        assert!(
            Config::from_toml(toml, "t.toml").is_err(),
            "the loader takes {toml}"
        );
        assert!(!schema.is_valid(&as_json(toml)), "the schema takes {toml}");
    }
}

//! What holds, as data, text and JSON.

use crate::NOTHING;
use tidings_config::{Config, Section, records};

fn config() -> Config {
    Config::builder()
        .toml(
            "tidings.toml",
            "name = \"shop\"\n[subscription.a-b]\nconcurrency = 8\n[binder.main]\nkafka.\"sasl.password\" = \"hunter2\"\n\
             [shop.bank]\nurl = \"https://x\"\n[shop.credentials]\nbank = \"hunter2\"\n",
        )
        .env([
            ("TIDINGS__SUBSCRIPTION__A_B__TIMEOUT", "1m"),
            ("TIDINGS__SUBSCRIPTION__C__TIMEOUT", "2m"),
        ])
        .allow_section("shop")
        .load()
        .expect("it is valid")
}

#[test]
fn every_key_of_every_name_has_a_value_an_origin_and_its_record() {
    let config = config();
    let values = config.effective(&[(Section::Channel, "orders"), (Section::Subscription, "c")]);
    let get = |key: &str| {
        let mut found = values.iter().filter(|value| value.key == key);
        let one = found.next().unwrap_or_else(|| panic!("no {key}"));
        assert!(found.next().is_none(), "{key} twice");
        (one.value.as_str(), one.origin.to_string())
    };
    assert_eq!(
        get("subscription.a-b.concurrency"),
        ("8", "tidings.toml:3".to_owned())
    );
    assert_eq!(
        get("subscription.a-b.timeout"),
        ("1m", "environment TIDINGS__SUBSCRIPTION__A_B__TIMEOUT".to_owned())
    );
    assert_eq!(get("subscription.c.timeout").0, "2m");
    assert_eq!(
        get("subscription.a-b.retry.attempts"),
        ("3", "default".to_owned())
    );
    assert_eq!(get("channel.orders.partitions"), ("4", "default".to_owned()));
    assert_eq!(get("binder.main.fsync"), ("interval", "default".to_owned()));
    assert_eq!(get("binder.main.kafka.\"sasl.password\"").0, "***");
    assert_eq!(get("shop.bank.url").0, "https://x");
    // A part of the path above it says that it is a secret.
    assert_eq!(get("shop.credentials.bank").0, "***");
    let of = |table: &str| {
        records()
            .iter()
            .filter(|record| record.path.starts_with(table))
            .count()
    };
    let program = 1 + of("app.") + of("manage.") + of("sql.");
    // The two tables of properties have one value, the password; those of a channel have none.
    let expected = program + of("binder.") - 2 + of("channel.") - 2 + 2 * of("subscription.") + 1 + 2;
    assert_eq!(values.iter().count(), expected);
    for value in &values {
        assert_eq!(
            value.record.is_none(),
            value.key.starts_with("shop."),
            "{}",
            value.key
        );
    }
}

#[test]
fn it_is_shown_as_a_table_and_as_json_without_secrets() {
    let values = config().effective(&[]);
    let text = values.to_string();
    assert!(!text.contains("hunter2"), "{text}");
    assert_eq!(text.lines().count(), values.iter().count());
    let json: Vec<serde_json::Value> = serde_json::from_str(&values.to_json()).unwrap();
    assert_eq!(json.len(), values.iter().count());
    assert!(!values.to_json().contains("hunter2"));
    let concurrency = json
        .iter()
        .find(|value| value["key"] == "subscription.a-b.concurrency")
        .unwrap();
    assert_eq!(concurrency["value"], "8");
    assert_eq!(concurrency["set"], true);
    assert_eq!(concurrency["origin"], "tidings.toml:3");
    assert_eq!(concurrency["default"], "1");
    assert_eq!(concurrency["type"], "integer");
    assert_eq!(concurrency["range"], "1 to 100000");
    assert!(concurrency["doc"].as_str().unwrap().ends_with('.'));
    let set = config().effective(&[]).only_set();
    assert!(set.iter().all(|value| value.is_set()));
    assert_eq!(set.iter().count(), config().describe().len());
}

#[test]
fn a_configuration_that_says_nothing_is_all_defaults() {
    let config = Config::builder().toml("t.toml", "").env(NOTHING).load().unwrap();
    let values = config.effective(&[]);
    assert!(values.iter().all(|value| !value.is_set()));
    assert!(values.iter().any(|value| value.key == "binder.main.url"));
}

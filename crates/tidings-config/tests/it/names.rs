//! Names of binders, channels and subscriptions.

use crate::with_env;
use tidings_config::{Config, Section};

#[test]
fn a_name_that_the_program_does_not_have_is_named_with_the_nearest() {
    let config = Config::from_toml(
        "[subscription.bilings]\nconcurrency = 3\n[channel.orders]\n",
        "t.toml",
    )
    .unwrap();
    let error = config
        .check_names(Section::Subscription, &["billing", "shipping"])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "t.toml:1: subscription.bilings configures a subscription that the program does not have; did you mean \
         billing? (valid: billing, shipping)"
    );
    config
        .check_names(Section::Channel, &["orders", "payments"])
        .unwrap();
    config.check_names(Section::Binder, &[]).unwrap();
}

#[test]
fn names_in_files_are_exact_and_names_in_variables_are_not() {
    let file = Config::from_toml("[channel.order_events]\npartitions = 1\n", "t.toml").unwrap();
    assert!(file.check_names(Section::Channel, &["order-events"]).is_err());
    assert!(file.channel("order-events").partitions.is_none());
    let variable = with_env("", &[("TIDINGS__CHANNEL__ORDER_EVENTS__PARTITIONS", "1")]).unwrap();
    variable.check_names(Section::Channel, &["order-events"]).unwrap();
    assert_eq!(variable.channel("order-events").partitions.unwrap().value, 1);
    let error = variable
        .check_names(Section::Channel, &["orders"])
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("environment TIDINGS__CHANNEL__ORDER_EVENTS__PARTITIONS: channel.order_events"),
        "{error}"
    );
}

#[test]
fn every_name_is_listed_once_with_its_first_place() {
    let config = with_env(
        "[subscription.a]\nconcurrency = 1\n[subscription.b-c]\n[subscription.a.retry]\nattempts = 1\n",
        &[
            ("TIDINGS__SUBSCRIPTION__B_C__PAUSED", "true"),
            ("TIDINGS__SUBSCRIPTION__D__PAUSED", "true"),
        ],
    )
    .unwrap();
    let names = config.names(Section::Subscription);
    let names: Vec<_> = names
        .iter()
        .map(|name| (name.value.as_str(), name.origin.to_string()))
        .collect();
    assert_eq!(
        names,
        [
            ("a", "tidings.toml:1".to_owned()),
            ("b-c", "tidings.toml:3".to_owned()),
            ("d", "environment TIDINGS__SUBSCRIPTION__D__PAUSED".to_owned()),
        ]
    );
}

#[test]
fn properties_of_one_binder_are_not_those_of_another() {
    let text = "[binder.a-b]\nkafka.x = 1\n[binder.a_b]\nkafka.y = 2\n";
    let config = Config::from_toml(text, "t.toml").unwrap();
    assert_eq!(config.binder("a-b").kafka.into_keys().collect::<Vec<_>>(), ["x"]);
    assert_eq!(config.binder("a_b").kafka.into_keys().collect::<Vec<_>>(), ["y"]);
}

#[test]
fn everything_is_described_with_its_origin() {
    let config = with_env(
        "[subscription.b-c]\nconcurrency = 1\ntimeout = \"PT90S\"\nstart = \"latest\"\n",
        &[
            ("TIDINGS__SUBSCRIPTION__B_C__CONCURRENCY", "2"),
            ("TIDINGS__CHANNEL__X__RETENTION_BYTES", "2097152"),
        ],
    )
    .unwrap();
    let lines: Vec<_> = config
        .describe()
        .into_iter()
        .map(|set| format!("{} = {} ({})", set.key, set.value, set.origin))
        .collect();
    assert_eq!(
        lines,
        [
            "channel.x.retention_bytes = 2MiB (environment TIDINGS__CHANNEL__X__RETENTION_BYTES)",
            "subscription.b-c.concurrency = 2 (environment TIDINGS__SUBSCRIPTION__B_C__CONCURRENCY)",
            "subscription.b-c.start = latest (tidings.toml:4)",
            "subscription.b-c.timeout = 1m30s (tidings.toml:3)",
        ]
    );
}

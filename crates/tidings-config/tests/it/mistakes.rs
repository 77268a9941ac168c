//! What people get wrong, and what they are told.

use crate::{mistake, with_env};
use tidings_config::{Config, ConfigError};

#[test]
fn an_unknown_key_is_named_with_its_line_its_nearest_and_the_valid_ones() {
    let text = mistake("[subscription.billing]\ngroup = \"b\"\nconcurency = 3\n");
    assert!(
        text.starts_with("tidings.toml:3: unknown key subscription.billing.concurency; did you mean concurrency? (valid: group, start"),
        "{text}"
    );
    let text = mistake("[subscription.billing]\nattempts = 3\n");
    assert!(text.contains("did you mean retry.attempts?"), "{text}");
    let text = mistake("[binder.main]\nnats.x = 3\n");
    assert!(text.contains("unknown key binder.main.nats"), "{text}");
    // What an event's codec decides is no configuration.
    let text = mistake("[channel.orders]\ncontent_type = \"text/plain\"\n");
    assert!(text.contains("unknown key channel.orders.content_type"), "{text}");
    let text = mistake("[app]\njson_max_depth = 64\n");
    assert!(text.contains("unknown key app.json_max_depth"), "{text}");
    let text = mistake("[shop]\nhttp = 3\n");
    assert!(
        text.contains("tidings.toml:1: unknown key shop")
            && text.contains("(valid: name, app, binder, channel, subscription, manage, sql)"),
        "{text}"
    );
}

#[test]
fn a_wrong_value_is_named_with_what_is_expected_and_an_example() {
    for (key, value, expected) in [
        (
            "concurrency",
            "0",
            "is 0; expected a whole number from 1 to 100000, for example concurrency = 16",
        ),
        (
            "concurrency",
            "\"8\"",
            "is the text \"8\"; expected a whole number",
        ),
        ("concurrency", "1.0", "is 1.0; expected a whole number"),
        (
            "concurrency",
            "99999999999999999999999999999999999999999999",
            "expected a whole number",
        ),
        (
            "timeout",
            "30",
            "is 30; expected a duration with its unit (500ms, 1m30s, PT1.5S) from 1ms to 1d, or \"none\", for example timeout = \"30s\"",
        ),
        ("timeout", "\"0s\"", "expected a duration"),
        (
            "ordering",
            "\"keys\"",
            "is the text \"keys\"; expected one of key, partition, none",
        ),
        ("rate", "0", "expected a rate above 0"),
        ("group", "\"\"", "expected text that is not empty"),
        ("group", "[]", "is a list; expected text"),
        ("paused", "\"yes\"", "expected true or false"),
        (
            "start",
            "{ offset = 1, time = \"x\" }",
            "is a table; expected earliest, latest",
        ),
        ("start", "\"yesterday\"", "expected earliest, latest"),
        (
            "dead_letter",
            "\"{topic}.DLT\"",
            "only {destination} and {group} may stand in braces",
        ),
        ("retry", "3", "subscription.a.retry is 3; expected a table"),
        ("retry.jitter", "nan", "expected a number from 0 to 1"),
    ] {
        let text = mistake(&format!("[subscription.a]\n{key} = {value}\n"));
        assert!(
            text.starts_with(&format!("tidings.toml:2: subscription.a.{key} is ")),
            "{text}"
        );
        assert!(text.contains(expected), "{text}\nlacks: {expected}");
    }
}

#[test]
fn a_wrong_value_of_a_binder_is_named_likewise() {
    for (key, value, expected) in [
        (
            "url",
            "\"./data\"",
            "expected an address with its scheme, for example url = \"embedded:./data\"",
        ),
        (
            "segment_bytes",
            "\"64M\"",
            "expected a size (64MiB, 1MB, or bytes) from 4KiB to 4GiB",
        ),
        ("segment_bytes", "-1", "is -1; expected a size"),
        ("kafka", "3", "is 3; expected a table"),
        (
            "kafka.x",
            "[]",
            "is a list; expected a table of the client's properties",
        ),
    ] {
        let text = mistake(&format!("[binder.main]\n{key} = {value}\n"));
        assert!(
            text.starts_with("tidings.toml:2: binder.main.") && text.contains(expected),
            "{text}"
        );
    }
}

#[test]
fn dead_letters_cannot_be_switched_off_by_a_key_that_does_not_say_what_is_lost() {
    for value in ["false", "\"none\"", "\"off\"", "\"\""] {
        let text = mistake(&format!("[subscription.a]\ndead_letter = {value}\n"));
        assert!(text.contains("set lose_exhausted_messages = true"), "{text}");
    }
    let config = Config::from_toml("[subscription.a]\nlose_exhausted_messages = true\n", "t.toml").unwrap();
    assert!(config.subscription("a").lose_exhausted_messages.unwrap().value);
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let error = Config::builder()
        .toml(
            "a.toml",
            "colour = 1\n[subscription.a]\nconcurrency = 0\nxyz = 1\n",
        )
        .toml("b.toml", "= 3")
        .env([("TIDINGS__NOPE", "1"), ("TIDINGS_URL", "")])
        .load()
        .unwrap_err();
    let ConfigError::Several { errors } = &error else {
        panic!("{error}")
    };
    assert_eq!(errors.len(), 6, "{error}");
    let text = error.to_string();
    assert!(
        text.starts_with("6 mistakes in the configuration:\n  a.toml:1: unknown key colour"),
        "{text}"
    );
    assert!(text.contains("\n  b.toml:1:1: not valid TOML"), "{text}");
    assert!(
        text.contains("\n  environment TIDINGS_URL: binder.main.url is empty"),
        "{text}"
    );
}

#[test]
fn a_wrong_value_never_shows_a_password() {
    for text in [
        "[binder.main]\nurl = [\"amqp://ada:hunter2@h\"]\n",
        "[binder.main]\nkafka.\"sasl.password\" = [\"hunter2\"]\n",
        "[binder.main]\nurl = \"AMQP://ada:hunter2@h\"\n",
        "[binder.main]\nurl = \"amqp://ada:hunter2@h\n",
        "[channel.a]\ndestination = \"amqp://ada:hunter2@h\"\npartitions = \"amqp://ada:hunter2@h\"\n",
    ] {
        assert!(!mistake(text).contains("hunter2"), "{}", mistake(text));
    }
}

#[test]
fn a_section_of_the_program_that_was_not_allowed_names_the_call_that_allows_it() {
    let found = mistake("[shop]\nhttp = 1\n");
    assert!(
        found.starts_with("tidings.toml:1: unknown key shop")
            && found.contains("call allow_section(\"shop\")"),
        "{found}"
    );
    let found = with_env("", &[("TIDINGS__SHOP__HTTP", "1")])
        .unwrap_err()
        .to_string();
    assert!(found.contains("call allow_section(\"shop\")"), "{found}");
    // Deeper down it is a key of ours that is mistyped.
    let found = mistake("[subscription.a]\nshop = 1\n");
    assert!(!found.contains("allow_section"), "{found}");
}

#[test]
fn what_other_systems_call_a_key_is_answered_with_our_name_for_it() {
    for (text, line, meant) in [
        ("[subscription.a]\nmax-attempts = 3\n", 2, "retry.attempts"),
        ("[subscription.a]\nauto-offset-reset = \"latest\"\n", 2, "start"),
        ("[subscription.a]\ngroup-id = \"x\"\n", 2, "group"),
        ("[subscription.a.retry]\nbackOffMultiplier = 2\n", 2, "multiplier"),
        ("[subscription.a]\nenable-dlq = true\n", 2, "dead_letter"),
        ("[channel.a]\ntopic = \"x\"\n", 2, "destination"),
        ("[channel.a]\nretention = \"1d\"\n", 2, "retention_time"),
        ("[channel.a.retention]\ntime = \"1d\"\n", 2, "retention_time"),
        ("[binder.main]\nbrokers = \"x\"\n", 2, "url"),
        ("[bindings.a]\ngroup = \"x\"\n", 1, "subscription"),
    ] {
        let found = mistake(text);
        assert!(
            found.starts_with(&format!("tidings.toml:{line}: unknown key "))
                && found.contains(&format!("; did you mean {meant}?")),
            "{text}: {found}"
        );
    }
    // A table whose keys we know by other names is answered key by key.
    let found = mistake("[subscription.a.batch]\nsize = 10\nlinger = \"1s\"\n");
    for part in [
        "2 mistakes",
        "tidings.toml:2: unknown key subscription.a.batch.size; did you mean batch_size?",
        "tidings.toml:3: unknown key subscription.a.batch.linger; did you mean batch_linger?",
    ] {
        assert!(found.contains(part), "{found}");
    }
}

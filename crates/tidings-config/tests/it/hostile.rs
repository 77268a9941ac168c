//! Text that nobody meant as a configuration.

use proptest::prelude::*;
use std::collections::BTreeMap;
use tidings_config::{Config, Section};

/// Reads everything that can be read, so that a value that slipped through would show.
fn use_all(config: &Config) {
    let _ = config.app();
    for name in config.names(Section::Binder) {
        let _ = config.binder(&name.value);
    }
    for name in config.names(Section::Channel) {
        let _ = config.channel(&name.value);
    }
    for name in config.names(Section::Subscription) {
        let _ = config.subscription(&name.value);
    }
    let _ = format!("{config:?}");
    let _ = config.section::<BTreeMap<String, String>>("shop");
    let _ = config.check_names(Section::Subscription, &["a", "a-b", "a.b"]);
}

/// Lines that look like configuration, often enough valid.
fn line() -> impl Strategy<Value = String> {
    let section = prop::sample::select(vec![
        "[app]",
        "[binder.main]",
        "[channel.a]",
        "[subscription.a]",
        "[subscription.a.retry]",
        "[shop]",
        "[[shop]]",
    ]);
    let key = prop::sample::select(vec![
        "url",
        "start",
        "retry",
        "retry.max",
        "concurrency",
        "group",
        "kafka.a.b",
        "kafka",
        "timeout",
        "rate",
        "segment_bytes",
        "dead_letter",
        "name",
        "\"\"",
        "http",
        "partitions",
    ]);
    let value = prop_oneof![
        prop::sample::select(vec![
            "1",
            "-1",
            "0.5",
            "inf",
            "true",
            "\"1s\"",
            "\"none\"",
            "\"64MiB\"",
            "[]",
            "[1, {}]",
            "{}",
            "{ offset = 1 }",
            "{ max = \"1s\" }",
            "\"memory:\"",
            "1979-05-27",
            "99999999999999999999",
            "\"latest\"",
        ])
        .prop_map(str::to_owned),
        "\"[a-z0-9:/@{}.]{0,12}\"",
    ];
    prop_oneof![
        section.prop_map(str::to_owned),
        (key, value).prop_map(|(key, value)| format!("{key} = {value}"))
    ]
}

fn load(text: &str, variables: Vec<(String, String)>) {
    let builder = Config::builder()
        .toml("t.toml", text)
        .env(variables)
        .allow_section("shop");
    match builder.load() {
        Ok(config) => use_all(&config),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_makes_the_loader_panic(text in "\\PC{0,200}|[\\[\\]{}=.\"'\\n a-z0-9:]{0,200}") {
        load(&text, Vec::new());
    }

    #[test]
    fn nothing_that_looks_like_configuration_makes_it_panic(lines in prop::collection::vec(line(), 0..8)) {
        load(&lines.join("\n"), Vec::new());
    }

    #[test]
    fn no_single_line_makes_it_panic(section in "\\[(subscription|channel|binder)\\.[a-b_.-]{1,3}\\]", line in line()) {
        load(&format!("{section}\n{line}\n"), Vec::new());
    }

    #[test]
    fn no_variable_makes_it_panic(
        names in prop::collection::vec(
            "(TIDINGS__)(SUBSCRIPTION|CHANNEL|BINDER|SHOP|APP|[A-Z_µ]{0,4})(__[AB_]{0,3}){0,2}\
             (__(START|RETRY|URL|KAFKA|CONCURRENCY|X))?(__[A-Z_]{0,5})?(_FILE)?|TIDINGS_URL|TIDINGS_PROFILE|\\PC{0,12}",
            0..4,
        ),
        values in prop::collection::vec("[a-z0-9{}=\\[\\]\", ]{0,12}|\\PC{0,8}|\\{ max = \"1s\" \\}|memory:", 4),
    ) {
        load("[subscription.a]\nconcurrency = 1\n[shop]\nhttp = 1\n", names.into_iter().zip(values).collect());
    }
}

#[test]
fn deep_and_wide_text_is_refused_or_read_in_time() {
    load(
        &format!("[shop]\nx = {}{}", "[".repeat(50_000), "]".repeat(50_000)),
        Vec::new(),
    );
    load(&format!("x{} = 1", ".a".repeat(50_000)), Vec::new());
    load("", vec![("TIDINGS__SHOP".to_owned(), "{a=".repeat(50_000))]);
    load(
        "",
        vec![(format!("TIDINGS__SHOP{}", "__A".repeat(5_000)), "1".to_owned())],
    );
    let wide: String = (0..2_000)
        .map(|n| format!("[subscription.s{n}]\nconcurrency = 1\n"))
        .collect();
    load(&wide, Vec::new());
}

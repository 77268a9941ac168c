//! The same configuration as YAML: the same keys, the same errors, and none of YAML's surprises.

use crate::NOTHING;
use std::time::Duration;
use tidings_config::{Config, ConfigError, Start};

fn load(text: &str) -> Result<Config, ConfigError> {
    Config::builder().yaml("tidings.yaml", text).env(NOTHING).load()
}

fn mistake(text: &str) -> String {
    load(text).expect_err(text).to_string()
}

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a scratch directory");
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).expect("it can be written");
    }
    directory
}

#[test]
fn yaml_says_what_toml_says_and_every_value_knows_its_line() {
    let yaml = "# shop\nname: shop\nbinder:\n  main:\n    url: \"memory:\"\n    kafka:\n      security.protocol: SSL\n\
                subscription:\n  billing:\n    concurrency: 16\n    start: { offset: 42 }\n    retry:\n      initial: 200ms\n\
                \x20     multiplier: 1.5\n  audit:\n";
    let toml = "name = \"shop\"\n[binder.main]\nurl = \"memory:\"\nkafka.\"security.protocol\" = \"SSL\"\n\
                [subscription.billing]\nconcurrency = 16\nstart = { offset = 42 }\n\
                retry = { initial = \"200ms\", multiplier = 1.5 }\n[subscription.audit]\n";
    let (yaml, toml) = (
        load(yaml).unwrap(),
        Config::from_toml(toml, "tidings.toml").unwrap(),
    );
    let values = |config: &Config| -> Vec<_> {
        let all = config.describe();
        all.into_iter().map(|set| (set.key, set.value)).collect()
    };
    assert_eq!(values(&yaml), values(&toml));
    let billing = yaml.subscription("billing");
    assert_eq!(billing.start.unwrap().value, Start::Offset(42));
    let initial = billing.retry.initial.unwrap();
    assert_eq!(initial.value, Duration::from_millis(200));
    assert_eq!(initial.origin.to_string(), "tidings.yaml:13");
    let names = yaml.names(tidings_config::Section::Subscription);
    assert!(names.iter().any(|name| name.value == "audit"), "{names:?}");
}

#[test]
fn mistakes_in_yaml_read_as_those_in_toml() {
    for (text, expected) in [
        (
            "subscription:\n  billing:\n    concurency: 2\n",
            "tidings.yaml:3: unknown key subscription.billing.concurency; did you mean concurrency?",
        ),
        (
            "subscription:\n  billing:\n    timeout: 30\n",
            "tidings.yaml:3: subscription.billing.timeout is 30; expected a duration with its unit",
        ),
        (
            "subscription:\n  billing:\n    timeout:\n",
            "tidings.yaml:3: subscription.billing.timeout is empty",
        ),
        (
            "subscription: 3\n",
            "tidings.yaml:1: subscription is 3; expected a table",
        ),
    ] {
        let found = mistake(text);
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn what_yaml_would_guess_is_text_or_an_error() {
    // Norway, sexagesimals, and numbers with leading zeros.
    let text =
        "subscription:\n  no:\n    group: no\n    dead_letter: on.y\nchannel:\n  a:\n    destination: 010x\n";
    let config = load(text).unwrap();
    assert_eq!(config.subscription("no").group.unwrap().value, "no");
    for (key, value, found) in [
        ("paused", "yes", "the text \"yes\""),
        ("paused", "On", "the text \"On\""),
        ("timeout", "12:30", "the text \"12:30\""),
        ("concurrency", "12:30:45", "the text \"12:30:45\""),
        ("concurrency", "010", "10.0"),
        ("concurrency", "~", "empty"),
        ("concurrency", "\"8\"", "the text \"8\""),
        ("rate", ".inf", "inf"),
        ("rate", ".nan", "NaN"),
        ("dead_letter", "off", "the text \"off\""),
        ("dead_letter", "false", "false"),
        ("concurrency", "99999999999999999999", "1e20"),
    ] {
        let found_error = mistake(&format!("subscription:\n  a:\n    {key}: {value}\n"));
        assert!(
            found_error.contains(&format!("is {found};")),
            "{key}: {value}: {found_error}"
        );
    }
}

#[test]
fn what_makes_a_short_text_a_large_tree_is_refused_with_its_place() {
    for (text, line, reason) in [
        ("a: &a [x]\nb: 1\n", 1, "anchors (&)"),
        ("a: *a\n", 1, ""),
        ("a:\n  <<: {b: 1}\n", 2, "merge keys"),
        ("name: a\nname: b\n", 2, "\"name\" stands there twice"),
        ("binder:\n  1: {}\n  \"1\": {}\n", 3, "twice"),
        ("name: !secret a\n", 1, "tags (!)"),
        ("name: a\n---\nname: b\n", 0, "one document"),
        ("- a\n- b\n", 1, "one value"),
        ("just text\n", 1, "one value"),
        ("name: [\n", 0, ""),
        ("name: \"a\n", 0, ""),
        ("a:\n\tb: 1\n", 2, ""),
        ("a: b: c\n", 1, ""),
    ] {
        match load(text) {
            Err(ConfigError::Syntax {
                format,
                line: at,
                column,
                reason: found,
                ..
            }) => {
                assert_eq!(format, "YAML");
                assert!(line == 0 || at == line, "{text:?}: line {at}: {found}");
                assert!(column > 0 && found.contains(reason), "{text:?}: {found}");
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }
    let bomb: String = (1..12)
        .map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(",")))
        .collect();
    assert!(mistake(&format!("a0: &a0 [x]\n{bomb}")).contains("anchors"));
    let deep = format!("shop: {}{}\n", "[".repeat(40), "]".repeat(40));
    assert!(
        mistake(&deep).contains("nested deeper than 16"),
        "{}",
        mistake(&deep)
    );
    let large = format!("# {}\n", "x".repeat(1 << 20));
    assert!(mistake(&large).contains("larger than 1048576 bytes"));
    let wide = format!("shop: [{}]\n", "1,".repeat(120_000));
    assert!(
        mistake(&wide).contains("more than 100000 values"),
        "{}",
        mistake(&wide)
    );
}

#[test]
fn a_syntax_error_does_not_show_the_text() {
    for text in [
        "bank:\n  password: hunter2: x\n",
        "password: \"hunter2\n",
        "password: [hunter2\n",
        "password: !!int hunter2\n",
        "password: !!float hunter2\n",
        "password: !!bool hunter2\n",
        "password: !!binary hunter2!\n",
        "password: *hunter2x\n",
        "password: &p hunter2\n",
        "password: |3hunter2\n",
        "password: 'hunter2'x\n",
        "password: hunter2\n\tx: hunter2\n",
    ] {
        let found = mistake(text);
        assert!(!found.contains("hunter2"), "{text:?}: {found}");
    }
}

#[test]
fn an_empty_document_says_nothing() {
    for text in ["", "\n", "# nothing\n", "---\n", "{}\n", "\u{feff}", "null\n"] {
        assert!(load(text).unwrap().describe().is_empty(), "{text:?}");
    }
}

#[test]
fn yaml_files_are_found_and_profiles_may_mix() {
    for (base, profile) in [
        ("tidings.yaml", "tidings.prod.yaml"),
        ("tidings.yml", "tidings.prod.toml"),
        ("tidings.toml", "tidings.prod.yml"),
        ("other.txt", "tidings.prod.yml"),
    ] {
        let text = |name: &str, word: &str| match name.ends_with("toml") {
            true => format!("name = \"{word}\"\n"),
            false => format!("name: {word}\n"),
        };
        let files = directory(&[(base, &text(base, "base")), (profile, &text(profile, "prod"))]);
        let builder = || Config::builder().directory(files.path()).env(NOTHING);
        let name = builder().profile("prod").load().unwrap().app().name.unwrap();
        assert_eq!(name.value, "prod");
        assert!(
            name.origin.to_string().ends_with(&format!("{profile}:1")),
            "{}",
            name.origin
        );
        if base != "other.txt" {
            assert_eq!(builder().load().unwrap().app().name.unwrap().value, "base");
        }
    }
}

#[test]
fn two_files_of_one_layer_are_an_error_that_names_both() {
    let files = directory(&[("tidings.toml", ""), ("tidings.yaml", "")]);
    let builder = || Config::builder().directory(files.path()).env(NOTHING);
    let error = builder().load().unwrap_err();
    assert!(matches!(error, ConfigError::Competing { .. }), "{error}");
    for part in ["tidings.toml and ", "tidings.yaml exist", "remove the other"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    let files = directory(&[
        ("tidings.toml", ""),
        ("tidings.p.toml", ""),
        ("tidings.p.yml", ""),
    ]);
    let builder = Config::builder()
        .directory(files.path())
        .env(NOTHING)
        .profile("p");
    assert!(matches!(builder.load(), Err(ConfigError::Competing { .. })));
    // Named, one of them is enough.
    let files = directory(&[("tidings.toml", "name = \"t\""), ("tidings.yaml", "name: y")]);
    let named = |name: &str| {
        let builder = Config::builder().directory(files.path()).env(NOTHING).file(name);
        builder.load().unwrap().app().name.unwrap().value
    };
    assert_eq!(
        (named("tidings.toml"), named("tidings.yaml")),
        ("t".to_owned(), "y".to_owned())
    );
}

#[test]
fn sections_of_the_program_may_be_yaml() {
    #[derive(Debug, serde::Deserialize, PartialEq)]
    struct Shop {
        http: u16,
        tags: Vec<String>,
        note: Option<String>,
    }
    let config = Config::builder()
        .yaml("tidings.yaml", "shop:\n  http: 80\n  tags: [a, \"1\"]\n  note:\n")
        .env(NOTHING)
        .allow_section("shop")
        .load()
        .unwrap();
    let shop = Shop {
        http: 80,
        tags: vec!["a".to_owned(), "1".to_owned()],
        note: None,
    };
    assert_eq!(config.section::<Shop>("shop").unwrap(), shop);
}

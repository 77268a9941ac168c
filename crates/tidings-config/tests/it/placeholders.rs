//! `${VAR}` inside the values of files.

use crate::with_env;
use tidings_config::{Config, ConfigError, Secret};

#[derive(Debug, serde::Deserialize)]
struct Bank {
    url: String,
    token: Option<Secret>,
    port: Option<u16>,
}

fn bank(text: &str, variables: &[(&str, &str)]) -> Result<(Config, Bank), ConfigError> {
    let config = Config::builder()
        .toml("tidings.toml", text)
        .env(variables.iter().copied())
        .allow_section("bank")
        .load()?;
    let bank = config.section("bank")?;
    Ok((config, bank))
}

#[test]
fn a_placeholder_takes_the_variable_or_its_default_and_says_so() {
    let text = "[subscription.a]\nconcurrency = \"${WORKERS}\"\ntimeout = \"${SECONDS:5}s\"\ngroup = \"${A}-${A}-$${A}\"\n";
    let config = with_env(text, &[("WORKERS", "8"), ("A", "x${B}")]).unwrap();
    let a = config.subscription("a");
    let concurrency = a.concurrency.unwrap();
    assert_eq!(
        (concurrency.value, concurrency.origin.to_string().as_str()),
        (8, "tidings.toml:2 (${WORKERS})")
    );
    let timeout = a.timeout.unwrap();
    assert_eq!(timeout.value, Some(std::time::Duration::from_secs(5)));
    assert_eq!(
        timeout.origin.to_string(),
        "tidings.toml:3 (${SECONDS} is not set)"
    );
    // What a variable holds is not looked at again.
    assert_eq!(a.group.unwrap().value, "x${B}-x${B}-${A}");
}

#[test]
fn a_variable_that_is_not_set_is_an_error_with_file_line_key_and_variable() {
    let error = with_env("[binder.main]\nurl = \"${BROKER}\"\n", &[]).unwrap_err();
    assert!(matches!(error, ConfigError::MissingVariable { .. }));
    assert_eq!(
        error.to_string(),
        "tidings.toml:2: binder.main.url needs the environment variable BROKER, which is not set; set it, or write \
         ${BROKER:default}"
    );
    // Empty is set.
    let error = with_env("[binder.main]\nurl = \"${BROKER}\"\n", &[("BROKER", "")]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("tidings.toml:2 (${BROKER}): binder.main.url is empty"),
        "{error}"
    );
}

#[test]
fn a_placeholder_that_is_none_is_an_error_that_says_how_to_write_it() {
    for (value, reason) in [
        ("${", "has no }"),
        ("${A", "has no }"),
        ("${a.b}", "${a.b} does not name an environment variable"),
        ("${A:-x}", "as in ${A:x}"),
        ("${A:${B}}", "holds another placeholder"),
    ] {
        let error = with_env(&format!("name = \"{value}\"\n"), &[("A", "a")]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("tidings.toml:1: name: ") && text.contains(reason),
            "{text}"
        );
        assert!(text.ends_with("a literal ${ is written $${"), "{text}");
    }
}

#[test]
fn values_from_variables_are_as_secret_as_their_key_and_as_the_variable() {
    let text = "[bank]\nurl = \"https://bank/${BANK_TOKEN}\"\ntoken = \"${T}\"\nport = \"${PORT:80}\"\n\
                [binder.main]\nurl = \"amqp://ada:${PW}@host/\"\nkafka.\"sasl.password\" = \"${PW}\"\n\
                kafka.\"client.id\" = \"${API_KEY}\"\n";
    let variables = [
        ("BANK_TOKEN", "hunter2"),
        ("T", "hunter2"),
        ("PW", "hunter2"),
        ("API_KEY", "hunter2"),
    ];
    let (config, bank) = bank(text, &variables).unwrap();
    assert_eq!((bank.url.as_str(), bank.port), ("https://bank/hunter2", Some(80)));
    assert_eq!(bank.token, Some(Secret::new("hunter2")));
    let values = config.effective(&[]);
    let printed = format!(
        "{config:?} {} {} {:?}",
        values,
        values.to_json(),
        config.binder("main")
    );
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(printed.contains("tidings.toml:2 (${BANK_TOKEN})"), "{printed}");
    // Of an address what the file writes is shown, because the secret may stand in any part of it.
    let (config, _) = self::bank(
        "[bank]\nurl = \"x\"\n[binder.main]\nurl = \"amqp://${API_KEY}.host/?x=${API_KEY}\"\n",
        &variables,
    )
    .unwrap();
    let url = config.binder("main").url.unwrap().value;
    assert_eq!(url.expose(), "amqp://hunter2.host/?x=hunter2");
    assert_eq!(url.to_string(), "amqp://${API_KEY}.host/?x=${API_KEY}");
    // Neither does a mistake show it.
    let text = "[binder.main]\nurl = \"${BANK_TOKEN}\"\n[bank]\nurl = \"x\"\nport = \"${BANK_TOKEN}\"\n";
    let error = self::bank(text, &variables).unwrap_err().to_string();
    assert!(
        error.contains("binder.main.url") && !error.contains("hunter2"),
        "{error}"
    );
    let error = self::bank("[bank]\nurl = \"x\"\nport = \"${BANK_TOKEN}\"\n", &variables).unwrap_err();
    assert!(error.to_string().contains("bank.port is ***"), "{error}");
}

#[test]
fn placeholders_stand_in_yaml_and_in_lists_and_not_in_variables() {
    let config = Config::builder()
        .yaml("t.yaml", "shop:\n  tags: [\"${A}\", b]\n  deep: { x: '${A:}' }\n")
        .env([("A", "1"), ("TIDINGS__NAME", "${A}")])
        .allow_section("shop")
        .load()
        .unwrap();
    #[derive(serde::Deserialize)]
    struct Shop {
        tags: Vec<String>,
        deep: std::collections::BTreeMap<String, String>,
    }
    let shop: Shop = config.section("shop").unwrap();
    assert_eq!(
        (shop.tags.join(","), shop.deep["x"].as_str()),
        ("1,b".to_owned(), "1")
    );
    assert_eq!(config.app().name.unwrap().value, "${A}");
}

#[test]
fn variables_do_not_blow_a_file_up() {
    let text = format!("name = \"{}\"\n", "${A}".repeat(100));
    let error = with_env(&text, &[("A", &"x".repeat(100_000))]).unwrap_err();
    assert!(error.to_string().contains("more than 1048576 bytes"), "{error}");
}

#[test]
fn every_missing_variable_is_reported_at_once_with_other_mistakes() {
    let error = with_env(
        "name = \"${A}\"\n[subscription.a]\ngroup = \"${B}\"\nx = 1\n",
        &[],
    )
    .unwrap_err();
    assert_eq!(error.each().len(), 3, "{error}");
}

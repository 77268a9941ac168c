//! Reads any bytes as a configuration and asserts what must hold for all of them. Shared by the fuzz target and by the
//! tests of `tidings-config`, which run it over the corpus and over random changes of it.
//!
//! The first letter says what the rest is: `y` YAML, anything else TOML. What follows a line `=== env` are variables,
//! one `NAME=value` a line.

use std::collections::BTreeMap;
use tidings_config::{Config, Section};

/// A secret that every run has in its environment, and that no message may show.
const SECRET: &str = "hunter2-in-the-environment";

pub(crate) fn load(data: &[u8]) {
    let all = String::from_utf8_lossy(data);
    let (text, variables) = all.split_once("=== env\n").unwrap_or((&all, ""));
    let mut format = text.chars();
    let is_yaml = format.next() == Some('y');
    let text = format.as_str();
    let mut environment: Vec<(String, String)> = vec![("PASSWORD".to_owned(), SECRET.to_owned())];
    for line in variables.lines() {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        // A variable ending in _FILE names a file; a fuzzer must not open what it invents.
        if !name.to_ascii_lowercase().ends_with("_file")
            && !name.starts_with("TIDINGS_PROFILE")
            && name != "PASSWORD"
        {
            environment.push((name.to_owned(), value.to_owned()));
        }
    }
    let builder = Config::builder().env(environment).allow_section("shop");
    let builder = match is_yaml {
        true => builder.yaml("t.yaml", text),
        false => builder.toml("t.toml", text),
    };
    let (config, mistakes) = builder.load_partly();
    if let Err(error) = mistakes {
        let said = error.to_string();
        assert!(!said.is_empty() && !said.contains(SECRET), "{said}");
        for one in error.each() {
            assert!(!one.to_string().is_empty());
        }
    }
    use_all(&config);
}

/// Reads everything that can be read, so that a value that slipped through would show.
fn use_all(config: &Config) {
    let mut printed = format!("{config:?} {:?}", config.app());
    for name in config.names(Section::Binder) {
        printed += &format!("{:?}", config.binder(&name.value));
    }
    for name in config.names(Section::Channel) {
        printed += &format!("{:?}", config.channel(&name.value));
    }
    for name in config.names(Section::Subscription) {
        printed += &format!("{:?}", config.subscription(&name.value));
    }
    let values = config.effective(&[(Section::Subscription, "a-b")]);
    printed += &values.to_string();
    printed += &values.to_json();
    if let Err(error) = config.section::<BTreeMap<String, String>>("shop") {
        printed += &error.to_string();
    }
    if let Err(error) = config.check_names(Section::Subscription, &["a", "a-b", "a.b"]) {
        printed += &error.to_string();
    }
    assert!(!printed.contains(SECRET), "{printed}");
}

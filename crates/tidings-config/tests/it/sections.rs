//! Sections of the program's own.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tidings_config::{Config, ConfigError, Secret};

#[derive(Debug, Deserialize, PartialEq)]
struct Shop {
    http: SocketAddr,
    #[serde(rename = "max-orders")]
    max_orders: Option<u32>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    limits: BTreeMap<String, f64>,
    bank: Option<Bank>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Bank {
    url: String,
    password: Secret,
    flaky: Option<bool>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Fast,
    Slow(u32),
}

fn section<T: DeserializeOwned>(text: &str, variables: &[(&str, &str)]) -> Result<T, ConfigError> {
    let builder = Config::builder()
        .toml("t.toml", text)
        .env(variables.iter().copied());
    builder.allow_section("shop").load()?.section("shop")
}

fn mistake(text: &str) -> String {
    section::<Shop>(text, &[]).expect_err(text).to_string()
}

const SHOP: &str = r#"
[shop]
http = "127.0.0.1:80"
max-orders = 5
tags = ["a", "b"]
mode = { slow = 3 }
limits = { x = 1, y = 2.5 }
[shop.bank]
url = "https://bank"
password = "hunter2"
"#;

#[test]
fn a_section_is_read_as_the_programs_type() {
    let shop: Shop = section(SHOP, &[]).unwrap();
    assert_eq!(shop.http, "127.0.0.1:80".parse().unwrap());
    assert_eq!((shop.max_orders, shop.mode), (Some(5), Mode::Slow(3)));
    assert_eq!(shop.tags, ["a", "b"]);
    assert_eq!(shop.limits, [("x".to_owned(), 1.0), ("y".to_owned(), 2.5)].into());
    assert_eq!(shop.bank.unwrap().password.expose(), "hunter2");
}

#[test]
fn variables_override_a_section_in_the_types_of_its_fields() {
    let shop: Shop = section(
        SHOP,
        &[
            ("TIDINGS__SHOP__MAX_ORDERS", "9"),
            ("TIDINGS__SHOP__TAGS", "x, y"),
            ("TIDINGS__SHOP__MODE", "fast"),
            ("TIDINGS__SHOP__BANK__PASSWORD", "12345"),
            ("TIDINGS__SHOP__BANK__FLAKY", "true"),
        ],
    )
    .unwrap();
    assert_eq!((shop.max_orders, shop.mode), (Some(9), Mode::Fast));
    assert_eq!(shop.tags, ["x", "y"]);
    let bank = shop.bank.unwrap();
    assert_eq!(
        (bank.password.expose(), bank.flaky, bank.url.as_str()),
        ("12345", Some(true), "https://bank")
    );

    let shop: Shop = section(
        "",
        &[
            ("TIDINGS__SHOP", "{ http = \"127.0.0.1:1\" }"),
            ("TIDINGS__SHOP__MAX_ORDERS", "7"),
            ("TIDINGS__SHOP__BANK", "{ url = \"u\", password = \"p\" }"),
            ("TIDINGS__SHOP__BANK__URL", "v"),
        ],
    )
    .unwrap();
    assert_eq!(
        (shop.http.port(), shop.max_orders),
        (1, Some(7)),
        "a renamed field is found from a variable alone"
    );
    let bank = shop.bank.unwrap();
    assert_eq!((bank.url.as_str(), bank.password.expose()), ("v", "p"));
}

#[test]
fn mistakes_in_a_section_name_their_place() {
    for (text, expected) in [
        (
            "[shop]\nmax-orders = 1\n",
            "missing key shop.http: the program needs it; set it in a file or as TIDINGS__SHOP__HTTP",
        ),
        ("[shop]\nhttp = 1\n", "t.toml:2: shop.http is 1; expected "),
        (
            "[shop]\nhttp = \"x\"\n",
            "t.toml:2: shop.http is the text \"x\"; expected a value that the program accepts (invalid socket address syntax)",
        ),
        (
            "[shop]\nhttp = \"1.1.1.1:1\"\nmax-orders = -1\n",
            "t.toml:3: shop.max-orders is -1; expected u32",
        ),
        (
            "[shop]\nhttp = \"1.1.1.1:1\"\nmax-oders = 1\n",
            "t.toml:3: unknown key shop.max-oders; did you mean max-orders? (valid: http",
        ),
        (
            "[shop]\nhttp = \"1.1.1.1:1\"\n[shop.bank]\nurl = \"u\"\n",
            "missing key shop.bank.password",
        ),
        (
            "[shop]\nhttp = \"1.1.1.1:1\"\n[shop.bank]\nurl = \"u\"\npassword = 12345\n",
            "t.toml:5: shop.bank.password is ***; expected a string",
        ),
        (
            "[shop]\nhttp = \"1.1.1.1:1\"\ntags = [\"a\",\n 7]\n",
            "t.toml:4: shop.tags is 7; expected a string",
        ),
        (
            "[shop]\nhttp = \"1.1.1.1:1\"\nmode = \"medium\"\n",
            "t.toml:3: shop.mode is the text \"medium\"; expected one of fast, slow",
        ),
        (
            "shop = 3\n",
            "t.toml:1: shop is 3; expected a table, for example [shop]",
        ),
    ] {
        let found = mistake(text);
        assert!(found.starts_with(expected), "{found}\nexpected: {expected}");
    }
}

#[test]
fn the_messages_of_the_programs_types_do_not_leak_secrets() {
    #[derive(Debug)]
    struct Quoting;
    impl<'de> Deserialize<'de> for Quoting {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            Err(serde::de::Error::custom(format!("bad value {text}")))
        }
    }
    #[derive(Debug, Deserialize)]
    struct Keys {
        #[expect(dead_code, reason = "it is never made")]
        api_key: Option<Quoting>,
        #[expect(dead_code, reason = "it is never made")]
        other: Option<Quoting>,
    }
    for text in [
        "[shop]\napi_key = \"hunter2\"\n",
        "[shop]\nother = \"x://ada:hunter2@h\"\n",
    ] {
        let error = section::<Keys>(text, &[]).unwrap_err().to_string();
        assert!(
            error.starts_with("t.toml:2: shop.") && !error.contains("hunter2"),
            "{error}"
        );
    }
    let error = section::<Keys>("[shop]\nother = \"plain\"\n", &[])
        .unwrap_err()
        .to_string();
    assert!(error.contains("bad value plain"), "{error}");
}

#[test]
fn a_section_must_be_announced_and_may_be_absent() {
    let config = Config::from_toml("", "t.toml").unwrap();
    assert!(matches!(
        config.section::<Shop>("shop"),
        Err(ConfigError::SectionNotAllowed { .. })
    ));
    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Defaults {
        port: u16,
    }
    assert_eq!(section::<Defaults>("", &[]).unwrap(), Defaults::default());
}

#[test]
#[should_panic(expected = "one of Tidings' own")]
fn a_section_must_not_take_the_name_of_a_known_one() {
    let _ = Config::builder().allow_section("app");
}

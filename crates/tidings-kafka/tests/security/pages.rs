//! What docs/kafka-security.md shows is taken.

use tidings_kafka::ClientOptions;
use toml::{Table, Value};

#[test]
fn every_example_of_the_page_on_security_is_taken() {
    let page = include_str!("../../../../docs/kafka-security.md");
    let examples: Vec<_> = page
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(examples.len() >= 6, "{}", examples.len());
    for example in examples {
        let table: Table = example.parse().expect(example);
        let binder = &table["binder"]["main"];
        let url = binder["url"].as_str().expect(example);
        let options = ClientOptions::from_url(url).expect(example);
        options
            .with_properties(properties("", &binder["kafka"]))
            .expect(example);
    }
}

/// Names with dots may be quoted or not.
fn properties(prefix: &str, value: &Value) -> Vec<(String, String)> {
    match value {
        Value::Table(table) => {
            let each = table.iter().flat_map(|(name, value)| {
                let name = if prefix.is_empty() {
                    name.clone()
                } else {
                    format!("{prefix}.{name}")
                };
                properties(&name, value)
            });
            each.collect()
        }
        other => vec![(prefix.to_owned(), other.as_str().expect("a text").to_owned())],
    }
}

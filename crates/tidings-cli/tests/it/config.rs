use crate::world::World;

const PROJECT: &str = "[binder.main]\nurl = \"embedded:./data\"\n[binder.main.kafka]\n\"sasl.password\" = \"hunter2\"\n\
                       [subscription.billing]\nretry = { attempts = 5 }\n[shop]\nhttp = \"127.0.0.1:80\"\n";

#[test]
fn values_are_shown_with_their_origin_and_without_secrets() {
    let world = World::new();
    world.write("tidings.toml", PROJECT);
    let said = world.ok(&["config"]);
    let rows = said.rows();
    let row = |key: &str| {
        rows.iter()
            .find(|row| row["key"] == key)
            .unwrap_or_else(|| panic!("{key}"))
    };
    assert_eq!(row("binder.main.url")["origin"], "tidings.toml:2");
    assert_eq!(row("subscription.billing.retry.attempts")["value"], "5");
    let default = row("subscription.billing.concurrency");
    assert_eq!(
        (default["origin"].as_str(), default["changed"].as_bool()),
        (Some("default"), Some(false))
    );
    assert!(!said.out.contains("hunter2"), "{}", said.out);
    assert!(
        said.err.contains("[shop] was taken for the program's own"),
        "{}",
        said.err
    );
    let keys: Vec<_> = rows.iter().map(|row| row["key"].as_str().unwrap()).collect();
    assert!(
        keys.is_sorted() && keys.windows(2).all(|pair| pair[0] != pair[1]),
        "{keys:?}"
    );
}

#[test]
fn only_what_was_set_and_only_what_is_asked_for() {
    let world = World::new();
    world.write("tidings.toml", PROJECT);
    let changed = world.ok(&["config", "--changed"]).rows();
    assert_eq!(changed.len(), 4, "{changed:?}");
    let some = world.ok(&["config", "retry"]).rows();
    assert!(
        some.len() > 3
            && some
                .iter()
                .all(|row| row["key"].as_str().unwrap().contains("retry")),
        "{some:?}"
    );
}

#[test]
fn variables_and_profiles_count_as_for_the_app() {
    let world = World::new();
    world.write("tidings.toml", PROJECT);
    world.write("tidings.prod.toml", "[subscription.billing]\nconcurrency = 64\n");
    let mut command = world.command(&["config", "--changed", "--profile", "prod"]);
    let said = crate::world::Said::of(
        command
            .env("TIDINGS_URL", "embedded:/elsewhere")
            .output()
            .unwrap(),
    );
    let rows = said.rows();
    let row = |key: &str| {
        rows.iter()
            .find(|row| row["key"] == key)
            .unwrap_or_else(|| panic!("{key}"))
    };
    assert_eq!(row("binder.main.url")["value"], "embedded:/elsewhere");
    assert_eq!(row("binder.main.url")["origin"], "environment TIDINGS_URL");
    assert_eq!(
        row("subscription.billing.concurrency")["origin"],
        "tidings.prod.toml:2"
    );
}

#[test]
fn a_mistake_names_its_place_and_what_was_meant() {
    let world = World::new();
    world.write("tidings.toml", "[subscripton.billing]\nconcurrency = 4\n");
    world
        .say(&["config"])
        .refused(2, &["tidings.toml:1", "did you mean subscription?"]);
    world.write("tidings.toml", "[subscription.billing]\nconcurency = 4\n");
    world
        .say(&["topics"])
        .refused(2, &["tidings.toml:2", "did you mean"]);
    world
        .say(&["config", "--config", "nowhere.toml"])
        .refused(2, &["nowhere.toml", "no such file"]);
    world.write("tidings.toml", "");
    world
        .say(&["topics", "--binder", "man"])
        .refused(3, &["no binder \"man\"", "did you mean \"main\"?"]);
}

#[test]
fn the_reference_explains_every_key() {
    let said = World::new().ok(&["config", "reference"]);
    assert!(said.out.starts_with("# Configuration") && said.out.contains("`retry.attempts`"));
}

#[test]
fn the_schema_is_json_that_editors_read() {
    let said = World::new().ok(&["config", "schema"]);
    let schema: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema["properties"]["binder"].is_object(), "{}", said.out);
}

//! What a service says of itself: every value with its origin.

use crate::events::{Paid, Placed, paid};
use tidings::prelude::*;
use tidings::{Description, Origin};

async fn charge(Json(order): Json<Placed>) -> Paid {
    paid(&order.order)
}
async fn look(_: Raw) {}

fn described(app: App, config: Config) -> Description {
    app.with_state(()).describe(&config).expect("no mistakes")
}

#[test]
fn configuration_counts_before_code_and_code_before_the_default() {
    let place = line!() + 2;
    let app = App::new("shop").add(
        on("orders", charge)
            .group("billing")
            .to("payments")
            .concurrency(2)
            .retry(Retry::exponential(5, millis(100), 3.0)),
    );
    let config = Config::builder()
        .toml(
            "tidings.toml",
            "[subscription.billing]\nretry = { attempts = 7 }\nconcurrency = 8",
        )
        .env([("TIDINGS__SUBSCRIPTION__BILLING__CONCURRENCY", "16")])
        .load()
        .unwrap();
    let description = described(app, config);
    let billing = description.subscription("billing").unwrap();
    let shown = |key: &str| {
        let value = billing.value(key).unwrap_or_else(|| panic!("no {key}"));
        (value.value.clone(), value.origin.to_string())
    };
    let code = format!("code {}:{place}", file!());
    let said = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(
        shown("concurrency"),
        said("16", "environment TIDINGS__SUBSCRIPTION__BILLING__CONCURRENCY")
    );
    assert_eq!(shown("retry.attempts"), said("7", "tidings.toml:2"));
    assert_eq!(shown("retry.initial"), said("100ms", &code));
    assert_eq!(shown("retry.multiplier"), said("3", &code));
    assert_eq!(shown("ordering"), said("key", "default"));
    assert_eq!(shown("start"), said("earliest", "default"));
    assert_eq!(billing.dead_letters, ["orders.DLT"]);
    assert_eq!(billing.retry, ["orders.billing.retry"]);
}

#[test]
fn of_a_retry_only_what_was_written_is_said_by_code() {
    let app = App::new("shop").add(
        on("orders", look)
            .group("g")
            .retry(Retry::exponential(5, millis(100), 3.0).jitter(0.5)),
    );
    let description = described(app, Config::default());
    let g = description.subscription("g").unwrap();
    for (key, in_code) in [
        ("retry.attempts", true),
        ("retry.initial", true),
        ("retry.multiplier", true),
        ("retry.jitter", true),
        ("retry.max", false),
        ("retry.durable_after", false),
        ("retry.budget", false),
        ("retry.budget_floor", false),
    ] {
        let is_code = g.value(key).unwrap().origin != Origin::Default;
        assert_eq!(is_code, in_code, "{key}");
    }
    let screen = description.to_string();
    assert!(
        screen.contains("retry.attempts 5, retry.initial 100ms, retry.multiplier 3, retry.jitter 0.5 (code)"),
        "{screen}"
    );
}

#[test]
fn a_first_wait_that_configuration_makes_longer_raises_the_longest() {
    let app = App::new("shop").add(on("orders", look).group("g").retry(Retry::fixed(3, secs(1))));
    let config = Config::from_toml("[subscription.g]\nretry.initial = \"30s\"", "t.toml").unwrap();
    let description = described(app, config);
    let max = description.subscription("g").unwrap().value("retry.max").unwrap();
    assert_eq!(
        (max.value.as_str(), max.origin.to_string().as_str()),
        ("30s", "t.toml:2")
    );
}

/// Nothing is handled while a transaction is committed: unless a subscription says it, time decides how long it is.
#[test]
fn a_transaction_holds_more_messages_than_a_commit_of_progress_unless_the_subscription_says_it() {
    let written = "[subscription.written]\ncommit_every = 7";
    let app = App::new("shop")
        .add(on("orders", look).group("plain"))
        .add(on("orders", look).group("once").exactly_once())
        .add(on("orders", look).group("written").exactly_once())
        .add(
            on("orders", look)
                .group("coded")
                .exactly_once()
                .commit(secs(1), 10_000),
        );
    let description = described(app, Config::from_toml(written, "t.toml").unwrap());
    for (name, every) in [
        ("plain", "10000"),
        ("once", "100000"),
        ("written", "7"),
        ("coded", "10000"),
    ] {
        let shown = description.subscription(name).unwrap().value("commit_every");
        assert_eq!(shown.unwrap().value, every, "{name}");
    }
}

#[test]
fn a_subscription_without_a_group_starts_at_the_end_and_waits_in_memory() {
    let description = described(App::new("shop").add(on("orders", look)), Config::default());
    let look = description.subscription("look").expect("named after its handler");
    assert_eq!(look.value("start").unwrap().value, "latest");
    assert!(look.retry.is_empty());
    assert!(
        description.to_string().contains("orders  no group"),
        "{description}"
    );
}

#[test]
fn a_service_fits_on_one_screen() {
    let app = App::new("shop")
        .add(
            on("orders", charge)
                .group("billing")
                .to("payments")
                .concurrency(4),
        )
        .add(
            on("payments", look)
                .group("audit")
                .name("auditor")
                .start(Start::Latest),
        )
        .add(dead_letter("orders", look).name("letters"))
        .add(every(secs(60), async || paid("1")).to("payments").name("poll"));
    let toml = "[channel.orders]\ndestination = \"order-events\"\npartitions = 6\n[binder.main]\nurl = \"memory:\"\n";
    let description = described(app, Config::from_toml(toml, "tidings.toml").unwrap());
    let places = description
        .subscriptions
        .iter()
        .map(|subscription| &subscription.place);
    let places = places.chain(description.producers.iter().map(|producer| &producer.place));
    let text = places.fold(description.to_string(), |text, place| text.replace(place, "HERE"));
    let expected = "\
shop  app.drain_timeout 30s (default)  app.publish_timeout 30s (default)
  binder main  memory: (tidings.toml:5)
  channel orders  destination order-events (tidings.toml:2)  partitions 6 (tidings.toml:3)
  channels payments  partitions 4 (default)
  billing  orders -> payments  group billing  charge at HERE
           concurrency 4 (code)
  auditor  payments  group audit  look at HERE
           start latest (code)
  letters  dead letters of orders  no group  look at HERE
  poll     every 60s -> payments  at HERE
  unless said: ordering key, concurrency 1, retry.attempts 3, retry.initial 1s, retry.max 10s, start earliest, without a group start latest (default)
";
    assert_eq!(text, expected);
}

#[test]
fn passwords_in_addresses_are_not_shown() {
    let config = Config::from_toml("[binder.main]\nurl = \"amqp://ada:hunter2@host\"", "t.toml").unwrap();
    let description = described(App::new("shop").publishes("orders"), config);
    assert!(!format!("{description} {description:?}").contains("hunter2"));
    let binder = description.binders.first().unwrap();
    assert_eq!(
        binder.url.origin,
        Origin::File {
            file: "t.toml".into(),
            line: 2
        }
    );
}

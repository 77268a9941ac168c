//! Mistakes in the wiring: found before anything is opened, all at once, each with its place and its cure.

use crate::events::{Paid, Placed, paid, placed};
use std::time::Duration;
use tidings::prelude::*;
use tidings::{Channel, Error, WiringMistake};

async fn ignore(_: Raw) {}
async fn record(_: Batch<Placed>) {}
async fn charge(Json(order): Json<Placed>) -> Paid {
    paid(&order.order)
}
async fn answer(Json(order): Json<Placed>) -> Reply<Paid> {
    Reply(paid(&order.order))
}
async fn answer_all(_: Batch<Placed>) -> Reply<Paid> {
    Reply(paid("1"))
}
async fn answer_nobody() -> Reply<Paid> {
    Reply(paid("1"))
}
async fn tick() -> Placed {
    placed("1")
}

/// The mistakes of an app with a configuration.
fn mistakes(app: App, toml: &str) -> Vec<WiringMistake> {
    let config = Config::from_toml(toml, "tidings.toml").expect("valid by itself");
    match app.with_state(()).describe(&config) {
        Err(error @ Error::Wiring(_)) => error.wiring_mistakes().to_vec(),
        other => panic!("expected mistakes in the wiring, got {other:?}"),
    }
}

#[track_caller]
fn expect(app: App, toml: &str, place: &str, problem: &str, cure: &str) {
    let found = mistakes(app, toml);
    let fits = |mistake: &&WiringMistake| {
        mistake.place().starts_with(place)
            && mistake.problem().contains(problem)
            && mistake.cure().contains(cure)
    };
    assert_eq!(
        found.iter().filter(fits).count(),
        1,
        "{place} … {problem} … {cure}\nfound: {found:#?}"
    );
    assert_eq!(found.len(), 1, "{found:#?}");
}

fn app(part: impl tidings::Part<()>) -> App {
    App::new("shop").add(part)
}

#[test]
fn every_mistake_in_code_has_its_place_and_its_cure() {
    let many = Vec::<String>::new();
    let cases = [
        (
            app(on("orders", charge).group("billing")),
            "`charge` returns an event",
            ".to(",
        ),
        (
            app(on("orders", ignore).to("payments")),
            "returns nothing",
            "remove .to(",
        ),
        (
            app(on("orders", ignore).batch(10, millis(1))),
            "one by one",
            "Batch<T>",
        ),
        (
            app(on("orders", ignore).concurrency(0)),
            "concurrency of 0",
            "at least 1",
        ),
        (app(on("orders", ignore).rate(0.0)), "rate", ".paused()"),
        (
            app(on("orders", ignore).timeout(Duration::ZERO)),
            "timeout of 0",
            "remove it",
        ),
        (
            app(on("orders", ignore).group("a/b").name("x")),
            "name of a group",
            "letters",
        ),
        (app(on("", ignore)), "name of a channel", "letters"),
        (app(on(many, ignore)), "reads no channel", "at least one"),
        (app(on(["orders", "orders"], ignore)), "twice", "once"),
        (
            app(on("orders", ignore).dead_letter("{destination}")),
            "come back",
            ".DLT",
        ),
        (
            app(on("orders", ignore).dead_letter("{topic}.dead")),
            "{topic}",
            "{destination}",
        ),
        (
            app(every(Duration::ZERO, tick).to("orders")),
            "every 0 s",
            "above 0",
        ),
        (
            app(on("orders", ignore).exactly_once()),
            "exactly_once and has no group",
            ".group(",
        ),
        (app(every(secs(1), tick)), "`tick` returns an event", ".to("),
    ];
    for (app, problem, cure) in cases {
        expect(app, "", file!(), problem, cure);
    }
}

#[test]
fn replies_that_could_answer_nobody_are_mistakes() {
    let cases = [
        (
            app(on("orders", answer).to("payments")),
            "where the request says and not to \"payments\"",
            "remove .to(",
        ),
        (
            app(on("orders", answer_all).group("billing")),
            "each message may have asked",
            "one by one",
        ),
        (
            app(every(secs(1), answer_nobody)),
            "no request that it could answer",
            "return an event",
        ),
    ];
    for (app, problem, cure) in cases {
        expect(app, "", file!(), problem, cure);
    }
}

#[test]
fn partitions_are_chosen_without_a_group_and_at_least_one() {
    let app = |subscription| App::new("shop").add(subscription);
    let shared = app(on("orders", ignore).group("g").partitions([0]));
    expect(
        shared,
        "",
        file!(),
        "chooses partitions and has a group",
        "remove the group",
    );
    let none = app(on("orders", ignore).partitions([]));
    expect(none, "", file!(), "chooses no partition", "at least one");
}

#[test]
fn an_exactly_once_subscription_that_returns_events_to_another_binder_is_refused() {
    let elsewhere = "[binder.other]\nurl = \"memory:\"\n[channel.payments]\nbinder = \"other\"";
    let subscription = on("orders", charge).group("billing").to("payments");
    let app = App::new("shop").add(subscription.exactly_once());
    expect(app, elsewhere, file!(), "on binder \"other\"", "pass it on");
}

#[tokio::test]
async fn exactly_once_on_a_broker_without_transactions_is_refused_at_start_with_a_cure() {
    let in_code = App::new("shop").add(on("orders", ignore).group("g").exactly_once());
    let in_config = App::new("shop").add(on("orders", ignore).group("g"));
    let switched = "[subscription.g]\nexactly_once = true";
    for (app, toml) in [(in_code, ""), (in_config, switched)] {
        let toml = format!("[binder.main]\nurl = \"memory:\"\n{toml}");
        let config = Config::from_toml(&toml, "tidings.toml").expect("valid by itself");
        let started = app.with_state(()).start(config).await;
        let said = started.expect_err("it cannot keep the promise").to_string();
        assert!(said.contains("exactly_once, which takes transactions"), "{said}");
        assert!(said.contains("remove exactly_once"), "{said}");
    }
}

#[test]
fn channels_that_cannot_be_are_refused_where_code_declares_them() {
    let app = || App::new("shop");
    let partitions = |partitions: u32| move |options: Channel| options.partitions(partitions);
    let none = app().channel("orders", partitions(0));
    expect(none, "", file!(), "0 partitions", "1 to 10000");
    let twice = app()
        .channel("orders", partitions(2))
        .channel("orders", partitions(3));
    expect(twice, "", file!(), "another number of partitions", "say the same");
    let elsewhere = app().channel("orders", |options| options.binder("backup"));
    expect(
        elsewhere,
        "",
        file!(),
        "\"backup\", which has no address",
        "[binder.backup]",
    );
}

#[test]
fn middleware_of_its_own_around_a_batch_handler_is_refused_and_the_apps_is_left_out() {
    async fn around(delivery: Delivery, next: Next) -> HandlerResult {
        next.run(delivery).await
    }
    let own = App::new("shop").add(on("orders", record).middleware(around));
    expect(own, "", file!(), "takes a batch", "one by one");
    let app: App = App::new("shop").middleware(around).add(on("orders", record));
    assert!(app.with_state(()).describe(&Config::default()).is_ok());
}

#[test]
fn two_subscriptions_of_one_name_are_refused_at_the_second_with_the_place_of_the_first() {
    let line = line!();
    let app = App::new("shop")
        .add(on("orders", ignore).group("billing"))
        .add(on("payments", ignore).group("billing"));
    let found = mistakes(app, "");
    let [mistake] = &found[..] else {
        panic!("{found:#?}")
    };
    assert_eq!(mistake.place(), format!("{}:{}", file!(), line + 3));
    assert!(
        mistake.problem().contains(&format!("{}:{}", file!(), line + 2)),
        "{mistake}"
    );
    assert!(mistake.cure().contains(".name("), "{mistake}");
}

#[test]
fn configuration_for_what_the_app_does_not_have_names_the_nearest() {
    let app = || App::new("shop").add(on("orders", ignore).group("billing"));
    let toml = "tidings.toml:1";
    expect(
        app(),
        "[subscription.biling]\nconcurrency = 2",
        toml,
        "subscription.biling",
        "did you mean billing?",
    );
    expect(
        app(),
        "[channel.order]\npartitions = 2",
        toml,
        "channel.order",
        "did you mean orders?",
    );
    expect(
        app(),
        "[channel.refunds]\npartitions = 2",
        toml,
        "channel.refunds",
        ".publishes(",
    );
    expect(
        app(),
        "[binder.maine]\nurl = \"memory:\"",
        toml,
        "binder.maine",
        "did you mean main?",
    );
    let batch = "[subscription.billing]\nbatch_size = 7";
    expect(app(), batch, "tidings.toml:2", "billing.batch_size", "Batch<T>");
}

#[test]
fn channels_of_one_subscription_live_on_one_binder() {
    let app = App::new("shop").add(on(["orders", "refunds"], ignore));
    let toml = "[binder.other]\nurl = \"memory:\"\n[channel.refunds]\nbinder = \"other\"";
    expect(
        app,
        toml,
        file!(),
        "different binders: main, other",
        "for each binder",
    );
}

#[test]
fn two_groups_never_share_a_retry_lane_and_no_channel_leads_into_one() {
    let app = App::new("shop")
        .add(on("orders", ignore).group("eu.billing"))
        .add(on("orders.eu", ignore).group("billing"));
    expect(
        app,
        "",
        file!(),
        "would wait in \"orders.eu.billing.retry\"",
        "another name",
    );
    let app = App::new("shop")
        .add(on("orders", ignore).group("g"))
        .publishes("orders.g.retry");
    expect(
        app,
        "",
        file!(),
        "leads to \"orders.g.retry\"",
        "another destination",
    );
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let app = App::new("shop")
        .add(on("orders", charge).concurrency(0))
        .add(on("orders", charge).to("payments"))
        .add(every(secs(1), tick));
    let found = mistakes(app, "[subscription.x]\nconcurrency = 1");
    assert_eq!(found.len(), 5, "{found:#?}");
    let error = Error::Wiring(found);
    let text = format!("{error:?}");
    assert!(text.starts_with("5 mistakes in the wiring:\n  "), "{text}");
    assert_eq!(text.lines().count(), 6, "{text}");
}

#[tokio::test]
async fn an_address_that_this_build_cannot_open_is_refused_with_what_it_can() {
    let app = App::new("shop").add(on("orders", ignore));
    let config =
        Config::from_toml("[binder.main]\nurl = \"nats://ada:secret@host\"", "tidings.toml").unwrap();
    let error = app.start(config).await.unwrap_err().to_string();
    for part in [
        "binder main",
        "embedded, memory",
        "\"nats:\"",
        "tidings.toml:2",
        "take embedded:DIRECTORY",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn dead_letters_of_a_channel_that_nobody_has_are_a_mistake_that_names_the_nearest() {
    let app = || App::new("shop").add(dead_letter("ordres", ignore).name("letters"));
    let typo = app().add(on("orders", ignore).group("billing"));
    expect(
        typo,
        "",
        file!(),
        "dead letters of \"ordres\"",
        "did you mean \"orders\"?",
    );
    expect(
        app(),
        "",
        file!(),
        "nothing here reads, writes or configures",
        ".publishes(\"ordres\")",
    );
    // Whoever only looks after the dead letters of another app says so, in code or in configuration.
    let fits = |app: App, config: &Config| app.with_state(()).describe(config).is_ok();
    assert!(fits(app().publishes("ordres"), &Config::default()));
    let config = Config::from_toml("[channel.ordres]\n", "tidings.toml").unwrap();
    assert!(fits(app(), &config));
    let variables = Config::builder()
        .toml("t.toml", "")
        .env([("TIDINGS__CHANNEL__ORDRES__PARTITIONS", "2")]);
    assert!(fits(app(), &variables.load().unwrap()));
    assert!(fits(app().add(on("x", charge).to("ordres")), &Config::default()));
}

#[tokio::test]
async fn mistakes_in_the_configuration_and_in_the_wiring_are_reported_together() {
    let app = || {
        App::new("shop")
            .channel("orders", |channel| channel.binder("disk"))
            .add(on("orders", charge).group("billing"))
    };
    let toml =
        "[binder.disk]\nurll = \"memory:\"\n[subscription.billing]\nconcurency = 2\n[subscription.biling]\n";
    let builder = || Config::builder().toml("tidings.toml", toml).env::<&str, &str>([]);
    let error = app().start(builder()).await.unwrap_err();
    let Error::Mistakes {
        configuration,
        wiring,
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(configuration.each().len(), 2, "{configuration}");
    // That the binder has no address is no mistake of its own: its address could not be read.
    assert_eq!(wiring.len(), 2, "{wiring:#?}");
    assert_eq!(error.wiring_mistakes(), &wiring[..]);
    let text = format!("{error:?}");
    assert!(
        text.starts_with("2 mistakes in the configuration:\n  tidings.toml:2: "),
        "{text}"
    );
    assert!(text.contains("\n2 in the wiring:\n  "), "{text}");
    assert!(
        text.contains("returns an event") && text.contains("did you mean billing?"),
        "{text}"
    );
    // One kind alone is reported as itself.
    let right = App::new("shop").add(on("orders", ignore).group("billing"));
    let wrong = Config::builder()
        .toml("tidings.toml", "nam = 1")
        .env::<&str, &str>([]);
    assert!(matches!(right.start(wrong).await, Err(Error::Config(_))));
    let empty = Config::builder().toml("tidings.toml", "").env::<&str, &str>([]);
    let wrong = App::new("shop").add(on("orders", charge).group("billing"));
    assert!(matches!(wrong.start(empty).await, Err(Error::Wiring(_))));
}

#[tokio::test]
async fn an_address_that_is_mistyped_names_the_nearest() {
    let app = App::new("shop").add(on("orders", ignore));
    let config = Config::from_toml("[binder.main]\nurl = \"embeded:./data\"", "tidings.toml").unwrap();
    let error = app.start(config).await.unwrap_err().to_string();
    assert!(error.contains("did you mean embedded:?"), "{error}");
}

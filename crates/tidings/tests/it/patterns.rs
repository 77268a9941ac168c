//! A channel that is every destination that matches a pattern: what of it is checked before anything is opened, and how
//! it is told.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::events::{Paid, Placed, paid, placed};
use tidings::prelude::*;
use tidings::test::TestApp;
use tidings::{Cleanup, DestinationSpec, Error, PublishError, WiringMistake};

async fn ignore(_: Raw) {}

async fn charge(Json(order): Json<Placed>) -> Paid {
    paid(&order.order)
}

async fn tick() -> Placed {
    placed("1")
}

fn app() -> App {
    App::new("shop").channel("orders", |channel| channel.destination(r"^orders\..*"))
}

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
    let fits = |mistake: &WiringMistake| {
        mistake.place().starts_with(place)
            && mistake.problem().contains(problem)
            && mistake.cure().contains(cure)
    };
    assert!(
        found.len() == 1 && fits(&found[0]),
        "{place} … {problem} … {cure}\nfound: {found:#?}"
    );
}

#[test]
fn what_cannot_be_a_pattern_is_told_with_its_place_and_the_cure() {
    let reads = || App::new("shop").add(on("orders", ignore).group("billing"));
    let destination = |text: &str| format!("[channel.orders]\ndestination = '{text}'");
    for (text, problem, cure) in [
        ("^orders(", "no regular expression", "syntax of the crate regex"),
        (r"^(a)\1", "no regular expression", "back references"),
        (r"^.*\.DLT$", "which no pattern matches", "dead_letter("),
        (r"^.*\.retry", "which no pattern matches", "their own group"),
    ] {
        expect(reads(), &destination(text), "tidings.toml:2", problem, cure);
    }
    let in_code = App::new("shop")
        .channel("orders", |channel| channel.destination("^["))
        .add(on("orders", ignore).group("billing"));
    expect(
        in_code,
        "",
        file!(),
        "\"^[\" is no regular expression",
        "correct it",
    );
    let as_a_name = App::new("shop").add(on("^orders", ignore).group("billing"));
    expect(
        as_a_name,
        "",
        file!(),
        "is a pattern of destinations",
        "destination = \"^…\"",
    );
}

#[test]
fn a_pattern_is_only_read_and_makes_nothing() {
    let reads = || app().add(on("orders", ignore).group("billing"));
    for (line, what) in [
        ("partitions = 3", "partitions"),
        ("retention_time = \"1h\"", "retention_time"),
        ("retention_bytes = \"1MB\"", "retention_bytes"),
    ] {
        let toml = format!("[channel.orders]\n{line}");
        expect(
            reads(),
            &toml,
            "tidings.toml:2",
            what,
            "where the destinations are made",
        );
    }
    let compacted = reads().channel("orders", |channel| channel.cleanup(Cleanup::Delete));
    expect(compacted, "", file!(), "cleanup", "remove it here");
    let writes = app().add(on("placed", charge).group("billing").to("orders"));
    expect(writes, "", file!(), "which is only read", "one destination");
    let produces = app().add(every(secs(1), tick).to("orders"));
    expect(produces, "", file!(), "which is only read", "one destination");
}

#[test]
fn a_loop_is_a_mistake() {
    let subscription = || on("orders", charge).group("billing").to("orders.paid");
    expect(
        app().add(subscription()),
        "",
        file!(),
        "its own pattern",
        "narrow the pattern",
    );
    let elsewhere = "[channel.\"orders.paid\"]\ndestination = \"paid\"";
    let config = Config::from_toml(elsewhere, "tidings.toml").unwrap();
    let described = app().add(subscription()).with_state(()).describe(&config);
    assert!(described.is_ok(), "{described:?}");
}

#[test]
fn a_description_names_the_pattern_and_how_often_it_is_looked_for() {
    let config = "[binder.main]\ndiscovery_interval = \"30s\"\n";
    let config = Config::from_toml(config, "tidings.toml").unwrap();
    let service = app().add(on("orders", ignore).group("billing")).with_state(());
    let described = service.describe(&config).unwrap();
    let billing = described.subscription("billing").unwrap();
    assert_eq!(billing.destinations, [r"^orders\..*"]);
    assert_eq!(billing.dead_letters, [r"^orders\..*.DLT"]);
    assert_eq!(billing.retry, [r"^orders\..*.billing.retry"]);
    let screen = described.to_string();
    assert!(screen.contains(r"destination ^orders\..*"), "{screen}");
    assert!(
        screen.contains("discovery_interval 30s (tidings.toml:2)"),
        "{screen}"
    );
    assert!(!screen.contains("partitions"), "{screen}");
}

async fn make(test: &TestApp, name: &str, messages: &[&str]) {
    let binder = test.running().binder("main").unwrap();
    let spec = DestinationSpec::new(name, 2);
    binder.prepare(spec).await.unwrap();
    for text in messages {
        let message = Message::new((*text).to_owned()).with_key((*text).to_owned());
        let outgoing = tidings_core::Outgoing::new(name, message);
        binder.sink().publish(outgoing).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_service_knows_what_its_patterns_match() -> Result<(), Error> {
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counting = count.clone();
    let handler = move |_: Raw| {
        counting.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        std::future::ready(())
    };
    let handled = || count.load(std::sync::atomic::Ordering::Relaxed);
    let test = TestApp::start(app().add(on("orders", handler).group("billing")).with_state(())).await?;
    make(&test, "orders.eu", &["1", "2"]).await;
    make(&test, "orders.us", &["3"]).await;
    make(&test, "payments", &["4"]).await;
    // By itself, within the interval that is the default.
    test.pass(secs(11)).await;
    assert_eq!(handled(), 3);
    test.settled().await?;
    assert_eq!(test.published("orders").await?.len(), 3);
    let refused = test.send("orders", Message::new("5")).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Publish(PublishError::Pattern { .. })),
        "{refused}"
    );
    let moved = test.running().seek("billing", Start::Earliest).await?;
    assert_eq!(moved.len(), 4, "both partitions of both destinations: {moved:?}");
    test.settled().await?;
    assert_eq!(handled(), 6, "all of it was replayed");
    test.stop().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn two_patterns_that_overlap_and_a_name_read_each_destination_once() -> Result<(), Error> {
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counting = count.clone();
    let handler = move |_: Raw| {
        counting.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        std::future::ready(())
    };
    let app = app().channel("all", |channel| channel.destination("^"));
    let several = on(["orders", "all", "orders.named"], handler).group("billing");
    let letters = "[subscription.billing]\ndead_letter = \"orders.{group}.dead\"\n";
    let config = Config::from_toml(letters, "tidings.toml").unwrap();
    let test = TestApp::start_with(app.add(several).with_state(()), config).await?;
    for (name, text) in [
        ("orders.eu", "1"),
        ("orders.named", "2"),
        ("orders.billing.dead", "3"),
    ] {
        make(&test, name, &[text]).await;
    }
    test.settled().await?;
    let handled = count.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(handled, 2, "each once, and dead letters are no messages");
    test.stop().await;
    Ok(())
}
